// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A kind is how the bytes of a value are read.
type kind int

const (
	kindBytes kind = iota
	kindAddress
	kindPort
	kindName
	kindProtocol
	kindFamily
	kindState
	kindNumber // of the machine's byte order
	kindType   // of an address
	kindStatus // of a connection
)

// A register is what an expression has loaded, by name, or as a value.
type register struct {
	name  string
	kind  kind
	mask  []byte
	value []byte
	set   *set // whose map gives the value
}

// A translator goes through a rule's expressions as the kernel does, and keeps words
// instead of packets.
type translator struct {
	family   string
	sets     []*set
	regs     [64]register
	words    []string
	protocol string // was asked for, and not yet said
	nfproto  string // the same; addresses say it
	nat      *NAT
	seen     NAT // conditions
	comment  string
}

func (t *translator) say(format string, args ...any) {
	t.flush()
	t.words = append(t.words, fmt.Sprintf(format, args...))
}

// flush says the protocol, if no port has said it, and IP's version, if no address has.
func (t *translator) flush() {
	if p := t.nfproto; p != "" {
		t.nfproto = ""
		t.words = append(t.words, "meta nfproto "+p)
	}
	if p := t.protocol; p != "" {
		t.protocol = ""
		t.words = append(t.words, "meta l4proto "+p)
	}
}

func (t *translator) reg(n uint32) *register { return &t.regs[n%uint32(len(t.regs))] }

// expression is a step of the rule.
func (t *translator) expression(e expr.Any) {
	switch e := e.(type) {
	case *expr.Meta:
		if e.SourceRegister {
			t.say("%s set %s", meta(e.Key).name, t.reg(e.Register).text())
		} else {
			*t.reg(e.Register) = meta(e.Key)
		}
	case *expr.Payload:
		*t.reg(e.DestRegister) = t.payload(e)
	case *expr.Ct:
		*t.reg(e.Register) = ct(e)
	case *expr.Fib:
		*t.reg(e.Register) = fib(e)
	case *expr.Bitwise:
		r := *t.reg(e.SourceRegister)
		r.mask = e.Mask
		*t.reg(e.DestRegister) = r
	case *expr.Cmp:
		t.compare(t.reg(e.Register), e.Op, e.Data)
	case *expr.Range:
		r := t.reg(e.Register)
		t.condition(r, operator(e.Op, false), r.format(e.FromData)+"-"+r.format(e.ToData))
	case *expr.Lookup:
		t.lookup(e)
	case *expr.Immediate:
		*t.reg(e.Register) = register{value: e.Data}
	case *expr.Verdict:
		t.say("%s", verdict(e))
	case *expr.NAT, *expr.Masq, *expr.Redir:
		t.translation(e)
	case *expr.Counter:
	default:
		t.rest(e)
	}
}

// rest are the expressions that need no register.
func (t *translator) rest(e expr.Any) {
	switch e := e.(type) {
	case *expr.Reject:
		t.say("reject")
	case *expr.Log:
		t.say("log")
	case *expr.Limit:
		t.say("limit")
	case *expr.Match:
		t.match(e.Name, e.Info)
	case *expr.Target:
		t.target(e.Name, e.Info)
	case *expr.Notrack:
		t.say("notrack")
	case *expr.Byteorder:
		*t.reg(e.DestRegister) = *t.reg(e.SourceRegister)
	default:
		t.say("[%s]", strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr.")))
	}
}

var metas = [...]struct {
	key  expr.MetaKey
	name string
	kind kind
}{
	{expr.MetaKeyIIFNAME, "iifname", kindName}, {expr.MetaKeyOIFNAME, "oifname", kindName},
	{expr.MetaKeyIIF, "iif", kindNumber}, {expr.MetaKeyOIF, "oif", kindNumber},
	{expr.MetaKeyL4PROTO, "meta l4proto", kindProtocol}, {expr.MetaKeyNFPROTO, "meta nfproto", kindFamily},
	{expr.MetaKeyMARK, "meta mark", kindNumber}, {expr.MetaKeyNFTRACE, "meta nftrace", kindNumber}, {expr.MetaKeySKUID, "skuid", kindNumber},
	{expr.MetaKeyPROTOCOL, "protocol", kindBytes}, {expr.MetaKeyPKTTYPE, "pkttype", kindBytes},
}

func meta(key expr.MetaKey) register {
	for _, m := range metas {
		if m.key == key {
			return register{name: m.name, kind: m.kind}
		}
	}
	return register{name: fmt.Sprint("meta ", key)}
}

// payload names the field of a packet that is loaded.
func (t *translator) payload(e *expr.Payload) register {
	at := [2]uint32{e.Offset, e.Len}
	switch e.Base {
	case expr.PayloadBaseNetworkHeader:
		switch {
		case at == [2]uint32{9, 1}:
			return register{name: "ip protocol", kind: kindProtocol}
		case e.Offset == 12 && e.Len <= 4:
			return register{name: "ip saddr", kind: kindAddress}
		case e.Offset == 16 && e.Len <= 4:
			return register{name: "ip daddr", kind: kindAddress}
		case e.Offset == 8 && e.Len >= 8:
			return register{name: "ip6 saddr", kind: kindAddress}
		case e.Offset == 24 && e.Len >= 8:
			return register{name: "ip6 daddr", kind: kindAddress}
		}
	case expr.PayloadBaseTransportHeader:
		switch at {
		case [2]uint32{0, 2}:
			return register{name: "sport", kind: kindPort}
		case [2]uint32{2, 2}:
			return register{name: "dport", kind: kindPort}
		}
	}
	return register{name: fmt.Sprintf("@%s,%d,%d", [...]string{"ll", "nh", "th", "ih", "tun"}[min(int(e.Base), 4)], e.Offset*8, e.Len*8)}
}

func ct(e *expr.Ct) register {
	switch e.Key {
	case expr.CtKeySTATE:
		return register{name: "ct state", kind: kindState}
	case expr.CtKeySTATUS:
		return register{name: "ct status", kind: kindStatus}
	case expr.CtKeyMARK:
		return register{name: "ct mark", kind: kindNumber}
	}
	return register{name: fmt.Sprint("ct key ", uint32(e.Key))}
}

func fib(e *expr.Fib) register {
	var by []string
	for _, f := range [...]struct {
		on   bool
		name string
	}{{e.FlagSADDR, "saddr"}, {e.FlagDADDR, "daddr"}, {e.FlagMARK, "mark"}, {e.FlagIIF, "iif"}, {e.FlagOIF, "oif"}} {
		if f.on {
			by = append(by, f.name)
		}
	}
	r := register{name: "fib " + strings.Join(by, " . ") + " oif", kind: kindNumber}
	if e.ResultADDRTYPE {
		r.name, r.kind = "fib "+strings.Join(by, " . ")+" type", kindType
	}
	return r
}

func operator(op expr.CmpOp, maskOnly bool) string {
	switch op {
	case expr.CmpOpNeq:
		if maskOnly {
			return "" // ct state established: one bit of them is set
		}
		return "!= "
	case expr.CmpOpLt:
		return "< "
	case expr.CmpOpLte:
		return "<= "
	case expr.CmpOpGt:
		return "> "
	case expr.CmpOpGte:
		return ">= "
	}
	return ""
}

// compare is a condition.
func (t *translator) compare(r *register, op expr.CmpOp, data []byte) {
	if r.kind == kindFamily && op == expr.CmpOpEq {
		t.nfproto = r.format(data)
		return
	}
	if r.kind == kindProtocol && op == expr.CmpOpEq {
		t.protocol = r.format(data)
		t.seen.Protocol = t.protocol
		return
	}
	if zero(data) && r.mask != nil && op == expr.CmpOpNeq && r.kind != kindAddress {
		t.condition(r, operator(op, true), r.format(r.mask))
		return
	}
	text := r.format(data)
	if r.kind == kindAddress && (r.mask != nil || len(data) != 4 && len(data) != 16) {
		n := 8 * len(data)
		if r.mask != nil {
			n = ones(r.mask)
		}
		text = fmt.Sprintf("%s/%d", text, n)
	}
	t.condition(r, operator(op, false), text)
}

func zero(b []byte) bool { return len(strings.Trim(string(b), "\x00")) == 0 }

func ones(mask []byte) (n int) {
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	return n
}

// condition says one, and keeps what NAT is about.
func (t *translator) condition(r *register, op, text string) {
	name := r.name
	switch name {
	case "sport", "dport":
		t.protocol = "" // it is said here
		name = cmp.Or(t.seen.Protocol, "th") + " " + name
	case "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr":
		t.nfproto = ""
	}
	if op == "" {
		switch r.name {
		case "dport":
			t.seen.Port = text
		case "ip daddr", "ip6 daddr":
			t.seen.Destination = text
		case "ip saddr", "ip6 saddr":
			t.seen.Source = text
		}
	}
	if name == "" {
		name = "?"
	}
	t.say("%s %s%s", name, op, text)
}

// lookup is a set, or a map.
func (t *translator) lookup(e *expr.Lookup) {
	r := t.reg(e.SourceRegister)
	var s *set
	for _, k := range t.sets {
		if k.Name == e.SetName {
			s = k
		}
	}
	name := "@" + e.SetName
	if s != nil && s.Anonymous {
		var parts []string
		for _, p := range s.elements() {
			if p.Value != "" {
				p.Key += " : " + p.Value
			}
			parts = append(parts, p.Key)
		}
		name = "{ " + strings.Join(parts, ", ") + " }"
	}
	switch {
	case e.IsDestRegSet && e.DestRegister == 0:
		t.say("%s vmap %s", r.name, name)
	case e.IsDestRegSet:
		*t.reg(e.DestRegister) = register{name: "map " + name, set: s}
	case e.Invert:
		t.condition(r, "!= ", name)
	default:
		t.condition(r, "", name)
	}
}

// translation is a rule's NAT.
func (t *translator) translation(e expr.Any) {
	n := t.seen
	var addr, port *register
	switch e := e.(type) {
	case *expr.Masq:
		n.Kind = "masquerade"
	case *expr.Redir:
		n.Kind = "redirect"
		if e.RegisterProtoMin != 0 {
			port = t.reg(e.RegisterProtoMin)
		}
	case *expr.NAT:
		n.Kind = "dnat"
		if e.Type == expr.NATTypeSourceNAT {
			n.Kind = "snat"
		}
		if e.RegAddrMin != 0 {
			addr = t.reg(e.RegAddrMin)
		}
		if e.RegProtoMin != 0 {
			port = t.reg(e.RegProtoMin)
		}
	}
	if addr != nil {
		n.To = addr.as(kindAddress)
		if addr.set != nil {
			n.Map = addr.set.elements()
		}
	}
	if port != nil && (addr == nil || addr.set == nil) {
		if strings.Contains(n.To, ":") {
			n.To = "[" + n.To + "]"
		}
		n.To += ":" + port.as(kindPort)
	}
	t.nat = &n
	if n.To == "" {
		t.say("%s", n.Kind)
		return
	}
	t.say("%s to %s", n.Kind, n.To)
}

// as is the register's value.
func (r *register) as(k kind) string {
	if r.value == nil {
		return r.name
	}
	return (&register{kind: k}).format(r.value)
}

func (r *register) text() string {
	if r.value == nil {
		return r.name
	}
	return (&register{kind: kindNumber}).format(r.value)
}

// protocols are those of IP that people know.
var protocols = [...]struct {
	number byte
	name   string
}{{unix.IPPROTO_TCP, "tcp"}, {unix.IPPROTO_UDP, "udp"}, {unix.IPPROTO_ICMP, "icmp"}, {unix.IPPROTO_ICMPV6, "icmpv6"}, {unix.IPPROTO_SCTP, "sctp"}}

func protocolName(n byte) string {
	for _, p := range protocols {
		if p.number == n {
			return p.name
		}
	}
	return fmt.Sprint(n)
}

var (
	states   = [...]string{"invalid", "established", "related", "new", "", "", "untracked"}
	statuses = [...]string{"expected", "seen-reply", "assured", "confirmed", "snat", "dnat", "seq-adjust"}
)

// bitNames are the names of the bits that are set.
func bitNames(names []string, n uint32) string {
	var words []string
	for i, s := range names {
		if n&(1<<i) != 0 && s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, ",")
}

var addressTypes = [...]string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"}

// format says bytes as what they are.
func (r *register) format(b []byte) string {
	switch {
	case r.kind == kindAddress && len(b) <= 4:
		return netip.AddrFrom4([4]byte(append(b[:len(b):len(b)], make([]byte, 4-len(b))...))).String()
	case r.kind == kindAddress && len(b) <= 16:
		return netip.AddrFrom16([16]byte(append(b[:len(b):len(b)], make([]byte, 16-len(b))...))).String()
	case r.kind == kindPort && len(b) >= 2:
		return fmt.Sprint(binary.BigEndian.Uint16(b))
	case r.kind == kindName:
		if !strings.Contains(string(b), "\x00") {
			return fmt.Sprintf("%q", string(b)+"*")
		}
		return fmt.Sprintf("%q", strings.TrimRight(string(b), "\x00"))
	case r.kind == kindProtocol && len(b) >= 1:
		return protocolName(b[0])
	case r.kind == kindFamily && len(b) == 1 && b[0] == unix.NFPROTO_IPV4:
		return "ipv4"
	case r.kind == kindFamily && len(b) == 1 && b[0] == unix.NFPROTO_IPV6:
		return "ipv6"
	case len(b) != 4:
		return fmt.Sprintf("0x%x", b)
	}
	n := binaryutil.NativeEndian.Uint32(b)
	switch r.kind {
	case kindState:
		return bitNames(states[:], n)
	case kindStatus:
		return bitNames(statuses[:], n)
	case kindType:
		if int(n) < len(addressTypes) {
			return addressTypes[n]
		}
	case kindNumber:
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("0x%x", b)
}

// value is an element of a set, with the parts of a concatenation joined by dots, as nft has them.
func value(typ nftables.SetDatatype, b []byte) string {
	var parts []string
	types := nftables.ConcatSetTypeElements(typ)
	for _, e := range types {
		n := int(e.Bytes)
		if n == 0 { // a type that isn't known here
			n = len(b)
		}
		if len(b) < n {
			break
		}
		parts = append(parts, element(e.Name, b[:n]))
		b = b[min(len(b), (n+3)&^3):]
	}
	return strings.Join(parts, " . ")
}

func element(typ string, b []byte) string {
	k := kindBytes
	switch typ {
	case "ipv4_addr", "ipv6_addr":
		k = kindAddress
	case "inet_service":
		k = kindPort
	case "inet_proto":
		k = kindProtocol
	case "ifname":
		k = kindName
	case "mark":
		k = kindNumber
	case "ct_state":
		k = kindState
	}
	return (&register{kind: k}).format(b)
}
