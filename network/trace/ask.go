// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/network/rules"
	"vitro/network/topology"
)

// ask fills in what the kernel knows in the thread's namespace, and returns
// the namespace that the packet goes to from here, if it is one of this machine.
func (t *tracer) ask(s *spot, p *Place, res *Result) (next *topology.Namespace) {
	p.Route = route(p.To.Addr())
	for _, e := range p.There {
		if e.iif != 0 && p.From == "" {
			if l, err := netlink.LinkByIndex(e.iif); err == nil {
				p.From = l.Attrs().Name
			}
		}
	}
	if src := p.source(res); src.IsValid() && p.From != "" {
		p.Reverse = route(src.Addr())
	}
	p.Forward, p.Filter = sysctls(p.To.Addr().Is6(), p.From)
	if p.Route.Local {
		p.Sockets = sockets(s, p.To, res.Request.UDP)
	}
	if s.watcher != nil {
		p.Dropped = dropped(s.watcher)
	}
	if p.Route.Err != 0 || p.Route.Local {
		return nil
	}
	next = t.owner(s, p.hop(), p.Route.Link)
	if next != nil {
		p.Route.Next = topology.Clean(next.Title())
		if l := next.Link(p.hop().String()); l != nil && !l.Up {
			p.Route.NextOff = topology.Clean(l.Name)
		}
	}
	return next
}

// source is the packet's, as it comes in.
func (p *Place) source(res *Result) netip.AddrPort {
	if len(p.There) > 0 {
		return p.There[0].Source
	}
	return res.Source
}

// hop is whose hardware address is needed.
func (p *Place) hop() netip.Addr {
	if p.Route.Via.IsValid() {
		return p.Route.Via
	}
	return p.To.Addr()
}

// owner is the namespace that has an address, or that a cable leads to.
func (t *tracer) owner(s *spot, a netip.Addr, link string) *topology.Namespace {
	for _, n := range t.machine.Namespaces {
		if n != s.Namespace && n.Has(a.String()) && n.Near(s.Namespace, t.machine) {
			return n
		}
	}
	for _, l := range s.Links {
		if l.Name != link || l.Peer == nil || l.Peer.Namespace == s.ID {
			continue
		}
		for _, n := range t.machine.Namespaces {
			if n.ID == l.Peer.Namespace {
				return n
			}
		}
	}
	return nil
}

// route is the kernel's answer to where an address is, and what is known of the next hop.
func route(to netip.Addr) (r Route) {
	list, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(list) == 0 {
		if !errors.As(err, &r.Err) {
			r.Err = unix.ENETUNREACH
		}
		return r
	}
	k := list[0]
	r.Local = k.Type == unix.RTN_LOCAL
	if gw, ok := netip.AddrFromSlice(k.Gw); ok {
		r.Via = gw.Unmap()
	}
	l, err := netlink.LinkByIndex(k.LinkIndex)
	if err != nil {
		return r
	}
	a := l.Attrs()
	r.Link, r.LinkDown = a.Name, a.RawFlags&unix.IFF_UP == 0
	r.NoCarrier = !r.LinkDown && a.RawFlags&unix.IFF_LOWER_UP == 0
	hop := to
	if r.Via.IsValid() {
		hop = r.Via
	}
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	neighbours, err := netlink.NeighList(k.LinkIndex, family)
	if err != nil {
		return r
	}
	for _, n := range neighbours {
		if n.IP.Equal(net.IP(hop.AsSlice())) {
			r.Neighbour = stateName(n.State)
		}
	}
	return r
}

// stateName says a neighbour's state as ip-neighbour(8) does.
func stateName(s int) string {
	switch {
	case s&unix.NUD_FAILED != 0:
		return "failed"
	case s&unix.NUD_INCOMPLETE != 0:
		return "incomplete"
	case s&unix.NUD_PERMANENT != 0:
		return "permanent"
	}
	return "reachable"
}

// sysctls are those that decide whether a packet goes on.
func sysctls(six bool, from string) (forward bool, filter int) {
	if six {
		return sysctl("ipv6/conf/all/forwarding") > 0, 0
	}
	forward = sysctl("ipv4/ip_forward") > 0
	if from != "" {
		filter = max(sysctl("ipv4/conf/all/rp_filter"), sysctl(filepath.Join("ipv4/conf", filepath.Base(from), "rp_filter")))
		forward = forward && sysctl(filepath.Join("ipv4/conf", filepath.Base(from), "forwarding")) > 0
	}
	return forward, filter
}

func sysctl(name string) int {
	text, err := os.ReadFile("/proc/sys/net/" + name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// tcpListen is TCP_LISTEN of the kernel's states; a UDP socket that isn't connected is in TCP_CLOSE.
const (
	tcpListen = 10
	tcpClose  = 7
)

// sockets are those that wait at the port.
func sockets(s *spot, to netip.AddrPort, udp bool) (list []Socket) {
	get, state := netlink.SocketDiagTCP, uint8(tcpListen)
	if udp {
		get, state = netlink.SocketDiagUDP, tcpClose
	}
	families := []uint8{unix.AF_INET6}
	if to.Addr().Is4() {
		families = append(families, unix.AF_INET)
	}
	for _, f := range families {
		found, _ := get(f) // what can't be listed isn't there
		for _, k := range found {
			if k.State != state || k.ID.SourcePort != to.Port() {
				continue
			}
			a, _ := netip.AddrFromSlice(k.ID.Source)
			if a = a.Unmap(); a.Is6() && to.Addr().Is4() && !a.IsUnspecified() {
				continue
			}
			w := Socket{Address: a}
			w.PID, w.Command = s.holder(k.INode)
			list = append(list, w)
		}
	}
	return list
}

// holder is a process of the namespace that has the socket open.
func (s *spot) holder(inode uint32) (int, string) {
	want := fmt.Sprintf("socket:[%d]", inode)
	for _, p := range s.Processes {
		dir := fmt.Sprintf("/proc/%d/fd", p.PID)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to == want {
				return p.PID, topology.Clean(p.Command)
			}
		}
	}
	return 0, ""
}

// dropped are the rules of ip_tables, which the kernel doesn't trace for us, that have
// counted something since the table was made, and let nothing through.
func dropped(w *watcher) (list []string) {
	after, err := rules.Read()
	if err != nil {
		return nil
	}
	for _, c := range after {
		i := slices.IndexFunc(w.before, func(b rules.Chain) bool { return b.Legacy && b.String() == c.String() && len(b.Rules) == len(c.Rules) })
		if !c.Legacy || i < 0 {
			continue
		}
		b := w.before[i]
		if c.Policy == "drop" && c.Packets > b.Packets {
			list = append(list, fmt.Sprintf("the policy of chain %s is drop (%s)", &c, c.Show()))
		}
		for j, r := range c.Rules {
			if (r.Ends == "drop" || r.Ends == "reject") && r.Packets > b.Rules[j].Packets {
				list = append(list, fmt.Sprintf("rule %d of chain %s: %s (%s)", j+1, &c, r.Text, c.Show()))
			}
		}
	}
	return list
}
