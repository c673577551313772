// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables/xt"
)

// match says an extension of iptables: a condition.
func (t *translator) match(name string, info xt.InfoAny) {
	switch i := info.(type) {
	case *xt.Tcp:
		t.ports("tcp", i.SrcPorts, i.DstPorts, i.InvFlags&xt.TcpInvSrcPorts != 0, i.InvFlags&xt.TcpInvDestPorts != 0)
	case *xt.Udp:
		t.ports("udp", i.SrcPorts, i.DstPorts, i.InvFlags&xt.UdpInvSrcPorts != 0, i.InvFlags&xt.UdpInvDestPorts != 0)
	case *xt.AddrTypeV1:
		t.addressType(i.Source, i.Dest, i.Flags&1 != 0, i.Flags&2 != 0)
	case *xt.AddrType:
		t.addressType(i.Source, i.Dest, i.InvertSource, i.InvertDest)
	case *xt.ConntrackMtinfo3:
		t.state(i.StateMask, i.MatchFlags, i.InvertFlags)
	case *xt.ConntrackMtinfo2:
		t.state(i.StateMask, i.MatchFlags, i.InvertFlags)
	case *xt.ConntrackMtinfo1:
		t.state(uint16(i.StateMask), i.MatchFlags, i.InvertFlags)
	case *xt.Comment:
		t.comment = string(*i)
	default:
		t.say("-m %s", name)
	}
}

func (t *translator) ports(protocol string, source, destination [2]uint16, notSource, notDestination bool) {
	t.protocol = ""
	t.seen.Protocol = protocol
	said := false
	for _, p := range [...]struct {
		name string
		r    [2]uint16
		not  bool
	}{{"sport", source, notSource}, {"dport", destination, notDestination}} {
		if p.r == [2]uint16{0, 0xffff} || p.r == [2]uint16{} {
			continue
		}
		text, not := fmt.Sprint(p.r[0]), ""
		if p.r[1] != p.r[0] {
			text += fmt.Sprint("-", p.r[1])
		}
		if p.not {
			not = "!= "
		} else if p.name == "dport" {
			t.seen.Port = text
		}
		t.say("%s %s %s%s", protocol, p.name, not, text)
		said = true
	}
	if !said {
		t.say("%s", protocol)
	}
}

func (t *translator) addressType(source, destination uint16, notSource, notDestination bool) {
	for _, a := range [...]struct {
		name string
		bits uint16
		not  bool
	}{{"saddr", source, notSource}, {"daddr", destination, notDestination}} {
		var words []string
		for i, n := range addressTypes {
			if a.bits&(1<<i) != 0 {
				words = append(words, n)
			}
		}
		not := ""
		if a.not {
			not = "!= "
		}
		if words != nil {
			t.say("fib %s type %s%s", a.name, not, strings.Join(words, ","))
		}
	}
}

// xtStates are the bits of xt_conntrack, in which RELATED and the others stand one place higher.
var xtStates = [...]string{"invalid", "established", "related", "new", "", "", "snat", "dnat", "untracked"}

// state says the conditions on a connection; of those beyond its state, that there are some.
func (t *translator) state(mask, flags, inverted uint16) {
	const state = 1 // XT_CONNTRACK_STATE
	if flags&state != 0 {
		not := ""
		if inverted&state != 0 {
			not = "!= "
		}
		t.say("ct state %s%s", not, bitNames(xtStates[:], uint32(mask)))
	}
	if flags&^state != 0 {
		t.say("-m conntrack")
	}
}

// target says what iptables' rule does in the end.
func (t *translator) target(name string, info xt.InfoAny) {
	n := t.seen
	switch name {
	case "MASQUERADE":
		n.Kind = "masquerade"
	case "DNAT", "SNAT", "REDIRECT":
		n.Kind = strings.ToLower(name)
	default:
		t.say("%s", name)
		return
	}
	switch i := info.(type) {
	case *xt.NatRange2:
		n.To = natTo(i.NatRange)
	case *xt.NatRange:
		n.To = natTo(*i)
	case *xt.NatIPv4MultiRangeCompat:
		if len(*i) > 0 {
			n.To = natTo(xt.NatRange((*i)[0]))
		}
	case *xt.Unknown:
		if len(*i) >= 20 { // struct nf_nat_ipv4_multi_range_compat
			n.To = natTo(oldRange(*i))
		}
	}
	t.nat = &n
	if n.To == "" || name == "MASQUERADE" {
		t.say("%s", n.Kind)
		return
	}
	t.say("%s to %s", n.Kind, n.To)
}

func natTo(r xt.NatRange) string {
	to := ""
	if r.Flags&uint(xt.NatRangeMapIPs) != 0 {
		to = r.MinIP.String()
		if strings.Contains(to, ":") {
			to = "[" + to + "]"
		}
	}
	if r.Flags&uint(xt.NatRangeProtoSpecified) != 0 {
		to += fmt.Sprint(":", r.MinPort)
		if r.MaxPort != r.MinPort {
			to += fmt.Sprint("-", r.MaxPort)
		}
	}
	return to
}

// oldRange is the range that REDIRECT has: a count, flags, two addresses, two ports.
func oldRange(b []byte) xt.NatRange {
	ne, be := binary.NativeEndian, binary.BigEndian
	return xt.NatRange{Flags: uint(ne.Uint32(b[4:])), MinIP: bytes.Clone(b[8:12]), MaxIP: bytes.Clone(b[12:16]),
		MinPort: be.Uint16(b[16:]), MaxPort: be.Uint16(b[18:])}
}
