// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network/rules"
)

var (
	be = binary.BigEndian
	ne = binary.NativeEndian
)

// attr is a netlink attribute; what is nested in it comes as its parts.
func attr(typ int, parts ...[]byte) []byte {
	b := make([]byte, 4)
	for _, p := range parts {
		b = append(b, p...)
	}
	ne.PutUint16(b, uint16(len(b)))
	ne.PutUint16(b[2:], uint16(typ))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func nest(typ int, parts ...[]byte) []byte { return attr(typ|unix.NLA_F_NESTED, parts...) }
func number(typ int, n uint32) []byte      { return attr(typ, be.AppendUint32(nil, n)) }
func text(typ int, s string) []byte        { return attr(typ, []byte(s+"\x00")) }

// message is one to nf_tables.
func message(typ, flags int, family byte, resource uint16, body ...[]byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 256)
	b = append(b, family, 0, byte(resource>>8), byte(resource))
	for _, p := range body {
		b = append(b, p...)
	}
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], uint16(typ))
	ne.PutUint16(b[6:], uint16(unix.NLM_F_REQUEST|flags))
	return b
}

// Hooks of the table, each with a chain before all others and one behind them.
var hooks = [...]string{"prerouting", "input", "forward", "output", "postrouting"}

// early is behind the joining of fragments, and before connections are known.
const (
	early = -350
	late  = math.MaxInt32
)

// tableOwner is NFT_TABLE_F_OWNER (Linux 5.12): the table goes with the socket that made it.
const tableOwner = 2

// batch makes the table in one transaction: chains at all hooks, with a rule for what comes from
// the port and one for what goes there.
func batch(name string, protocol byte, port uint16) [][]byte {
	const nft = unix.NFNL_SUBSYS_NFTABLES << 8
	list := [][]byte{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		message(nft|unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, unix.NFPROTO_INET, 0, text(unix.NFTA_TABLE_NAME, name), number(unix.NFTA_TABLE_FLAGS, tableOwner)),
	}
	for h, hook := range hooks {
		for _, priority := range [...]int32{early, late} {
			chain := chainName(hook, priority == late)
			list = append(list, message(nft|unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, unix.NFPROTO_INET, 0,
				text(unix.NFTA_CHAIN_TABLE, name), text(unix.NFTA_CHAIN_NAME, chain), text(unix.NFTA_CHAIN_TYPE, "filter"),
				nest(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, uint32(h)), number(unix.NFTA_HOOK_PRIORITY, uint32(priority)))))
			for _, offset := range [...]uint32{0, 2} {
				list = append(list, message(nft|unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, unix.NFPROTO_INET, 0,
					text(unix.NFTA_RULE_TABLE, name), text(unix.NFTA_RULE_CHAIN, chain), traceRule(protocol, offset, port)))
			}
		}
	}
	return append(list, message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
}

func chainName(hook string, late bool) string {
	if late {
		return hook + "-late"
	}
	return hook + "-early"
}

// traceRule is "meta l4proto PROTOCOL @th,OFFSET,16 PORT meta nftrace set 1".
func traceRule(protocol byte, offset uint32, port uint16) []byte {
	const reg = unix.NFT_REG_1
	expr := func(name string, data ...[]byte) []byte {
		return nest(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, data...))
	}
	is := func(b ...byte) []byte {
		return expr("cmp", number(unix.NFTA_CMP_SREG, reg), number(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ), nest(unix.NFTA_CMP_DATA, attr(unix.NFTA_DATA_VALUE, b)))
	}
	return nest(unix.NFTA_RULE_EXPRESSIONS,
		expr("meta", number(unix.NFTA_META_DREG, reg), number(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO)), is(protocol),
		expr("payload", number(unix.NFTA_PAYLOAD_DREG, reg), number(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_TRANSPORT_HEADER),
			number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, 2)), is(byte(port>>8), byte(port)),
		expr("immediate", number(unix.NFTA_IMMEDIATE_DREG, reg), nest(unix.NFTA_IMMEDIATE_DATA, attr(unix.NFTA_DATA_VALUE, []byte{1}))),
		expr("meta", number(unix.NFTA_META_KEY, unix.NFT_META_NFTRACE), number(unix.NFTA_META_SREG, reg)))
}

// drop is NF_DROP, the lower part of a verdict.
const drop = 0

// eventBytes hold some thousand messages, as the kernel counts them.
const eventBytes = 8 << 20

// A watcher is our table in a namespace, and the kernel's messages about it.
type watcher struct {
	owner, events int
	table         string
	before        []rules.Chain
}

// watch makes the table in the thread's namespace.
func watch(protocol byte, port uint16) (w *watcher, err error) {
	w = &watcher{table: fmt.Sprintf("vitro-trace-%d", os.Getpid()), owner: -1, events: -1}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.before, err = rules.Read(); err != nil {
		return w, err
	}
	if w.owner, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		return w, err
	}
	if w.events, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER); err != nil {
		return w, err
	}
	// A firewall of many chains says more of one packet than a socket holds: the force is root's.
	if unix.SetsockoptInt(w.events, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBytes) != nil {
		_ = unix.SetsockoptInt(w.events, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBytes)
	}
	if err = unix.Bind(w.events, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTRACE - 1)}); err != nil {
		return w, err
	}
	return w, w.send(batch(w.table, protocol, port))
}

// send sends a transaction, and waits for the kernel's answer to its last part.
func (w *watcher) send(list [][]byte) error {
	var b []byte
	for i, m := range list {
		ne.PutUint32(m[8:], uint32(i))
		if i > 0 && i < len(list)-1 {
			ne.PutUint16(m[6:], ne.Uint16(m[6:])|unix.NLM_F_ACK)
		}
		b = append(b, m...)
	}
	tv := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(w.owner, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	if err := unix.Sendto(w.owner, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for acks := 0; acks < len(list)-2; {
		n, _, err := unix.Recvfrom(w.owner, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("set table %s: %w", w.table, err)
		}
		for m := range messages(buf[:n]) {
			if m.typ == unix.NLMSG_ERROR && len(m.data) >= 4 {
				if errno := -int32(ne.Uint32(m.data)); errno != 0 {
					return fmt.Errorf("set table %s: %w", w.table, unix.Errno(errno))
				}
				acks++
			}
		}
	}
	return nil
}

// close removes the table.
func (w *watcher) close() {
	for _, fd := range [...]int{w.owner, w.events} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

type rawMessage struct {
	typ  int
	data []byte
}

// messages are those of a buffer.
func messages(b []byte) func(func(rawMessage) bool) {
	return func(yield func(rawMessage) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(ne.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) || !yield(rawMessage{int(ne.Uint16(b[4:])), b[unix.SizeofNlMsghdr:n]}) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// typeMask is NLA_TYPE_MASK: the rest of an attribute's type are flags.
const typeMask = 0x3fff

// attributes are those of a message, by their types.
func attributes(b []byte) map[int][]byte {
	m := make(map[int][]byte)
	for len(b) >= 4 {
		n := int(ne.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		m[int(ne.Uint16(b[2:]))&typeMask] = b[4:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return m
}

// read takes all messages that have come.
func (w *watcher) read() (list []Event) {
	buf := make([]byte, 1<<16)
	heads := make(map[string][2]netip.AddrPort) // the last of a packet in a chain: not each message has them
	for {
		n, _, err := unix.Recvfrom(w.events, buf, 0)
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return list
		}
		for m := range messages(buf[:n]) {
			if m.typ == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_TRACE && len(m.data) > 4 {
				if e, ok := w.event(attributes(m.data[4:]), m.data[0], heads); ok {
					list = append(list, e)
				}
			}
		}
	}
}

// event reads a message of the tracing.
func (w *watcher) event(a map[int][]byte, family byte, heads map[string][2]netip.AddrPort) (e Event, ok bool) {
	str := func(typ int) string { return strings.TrimRight(string(a[typ]), "\x00") }
	num := func(typ int) uint32 {
		if len(a[typ]) < 4 {
			return 0
		}
		return be.Uint32(a[typ])
	}
	table, chain := str(unix.NFTA_TRACE_TABLE), str(unix.NFTA_TRACE_CHAIN)
	key := string(a[unix.NFTA_TRACE_ID]) // of the packet
	if s, d, ok := addresses(a[unix.NFTA_TRACE_NETWORK_HEADER], a[unix.NFTA_TRACE_TRANSPORT_HEADER]); ok {
		heads[key] = [2]netip.AddrPort{s, d}
	}
	e.Source, e.Destination = heads[key][0], heads[key][1]
	if h := a[unix.NFTA_TRACE_RULE_HANDLE]; len(h) >= 8 {
		e.Handle = be.Uint64(h)
	}
	e.iif = int(num(unix.NFTA_TRACE_IIF))
	typ := num(unix.NFTA_TRACE_TYPE)
	if table == w.table {
		hook, when, _ := strings.Cut(chain, "-")
		e.Hook, e.Late = hook, when == "late"
		return e, e.Source.IsValid()
	}
	verdict := num(unix.NFTA_TRACE_POLICY)
	if typ != unix.NFT_TRACETYPE_POLICY {
		v := attributes(a[unix.NFTA_TRACE_VERDICT])
		if c := v[unix.NFTA_VERDICT_CODE]; len(c) >= 4 {
			verdict = be.Uint32(c)
		}
	}
	e.Chain, e.Policy = familyOf(family)+" "+table+" "+chain, typ == unix.NFT_TRACETYPE_POLICY
	e.Drop = verdict&0xff == drop && typ != unix.NFT_TRACETYPE_RETURN
	for _, c := range w.before {
		for _, r := range c.Rules {
			if c.String() == e.Chain && r.Handle == e.Handle && !e.Policy && !c.Legacy {
				e.Rule, e.Rewrites = r.Text, r.NAT != nil && (r.NAT.Kind == "dnat" || r.NAT.Kind == "redirect")
			}
		}
	}
	return e, e.Source.IsValid()
}

func familyOf(f byte) string {
	switch f {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	}
	return fmt.Sprint("family ", f)
}

// addresses are those of the headers of a packet.
func addresses(network, transport []byte) (source, destination netip.AddrPort, ok bool) {
	if len(network) < 20 || len(transport) < 4 {
		return source, destination, false
	}
	var s, d netip.Addr
	switch network[0] >> 4 {
	case 4:
		s, d = netip.AddrFrom4([4]byte(network[12:])), netip.AddrFrom4([4]byte(network[16:]))
	case 6:
		if len(network) < 40 {
			return source, destination, false
		}
		s, d = netip.AddrFrom16([16]byte(network[8:])), netip.AddrFrom16([16]byte(network[24:]))
	default:
		return source, destination, false
	}
	return netip.AddrPortFrom(s, be.Uint16(transport)), netip.AddrPortFrom(d, be.Uint16(transport[2:])), true
}
