// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/plan"
)

// Veth makes a pair of links that are two ends of one cable: one is a port of
// the bridge, the other is born in the child's network namespace.
type Veth struct {
	Name    string `json:"name"` // of the host's end
	Bridge  string `json:"bridge"`
	Peer    string `json:"peer"` // the container's end
	MAC     string `json:"mac"`  // of the host's end
	PeerMAC string `json:"peer_mac"`
	MTU     int    `json:"mtu"`
}

func (a *Veth) Verb() string    { return "veth" }
func (a *Veth) Undo() plan.Host { return nil } // Release does it
func (a *Veth) Line() string {
	return fmt.Sprintf("veth %s on %s, its peer %s in the child", a.Name, a.Bridge, a.Peer)
}

func (a *Veth) Shell(s *plan.Script) {
	s.Run("ip link add %s address %s mtu %d master %s up type veth peer name %s address %s mtu %d netns \"$PID\"",
		a.Name, a.MAC, a.MTU, a.Bridge, a.Peer, a.PeerMAC, a.MTU)
	s.Run("[ ! -e %[1]s ] || echo 1 >%[1]s", disableIPv6(a.Name))
}

// Do is one message: the kernel makes both ends, moves the peer, plugs the
// other into the bridge, and sets it up. Nobody speaks IPv6 with the port of a bridge, but the kernel would keep
// two routes for each, and go through those of all, three times, whenever one is deleted.
func (a *Veth) Do(e *plan.Env) error {
	return route(func(h *netlink.Handle) error {
		bridge, err := h.LinkByName(a.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", a.Bridge, err)
		}
		req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
		req.AddData(msg)
		for _, attr := range linkData(a.Name, a.MAC, a.MTU) {
			req.AddData(attr)
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge.Attrs().Index))))
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
		peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
		nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
		for _, attr := range linkData(a.Peer, a.PeerMAC, a.MTU) {
			peer.AddChild(attr)
		}
		peer.AddRtAttr(unix.IFLA_NET_NS_PID, nl.Uint32Attr(uint32(e.Pid)))
		req.AddData(info)
		_, err = req.Execute(unix.NETLINK_ROUTE, 0)
		if errors.Is(err, unix.EXFULL) { // BR_MAX_PORTS in net/bridge/br_private.h
			return fmt.Errorf("plug veth %s into bridge %s, which has as many ports as the kernel allows: %w", a.Name, a.Bridge, ErrFull)
		}
		if err != nil {
			return fmt.Errorf("add veth %s with peer in process %d: %w", a.Name, e.Pid, missing(err, "pairs of links", "veth"))
		}
		return noIPv6(mountedProc, a.Name)
	})
}

func linkData(name, mac string, mtu int) []*nl.RtAttr {
	hw, _ := net.ParseMAC(mac) // the plan has checked it
	return []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, hw),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))),
	}
}

// Vlan makes a link of the kind macvlan or ipvlan in the child's network
// namespace: a further station on the wire that one of the host's links is on. It
// vanishes with the namespace.
type Vlan struct {
	Driver string `json:"driver"`
	Mode   string `json:"mode"`
	Parent string `json:"parent"`
	Name   string `json:"name"`
	MAC    string `json:"mac,omitempty"` // macvlan only: ipvlan has the parent's
	MTU    int    `json:"mtu"`
}

func (a *Vlan) Verb() string    { return a.Driver }
func (a *Vlan) Undo() plan.Host { return nil }
func (a *Vlan) Line() string {
	return fmt.Sprintf("%s %s on %s in the child, mode %s", a.Driver, a.Name, a.Parent, a.Mode)
}

func (a *Vlan) Shell(s *plan.Script) {
	hw := ""
	if a.MAC != "" {
		hw = " address " + a.MAC
	}
	s.Run("ip link add link %s name %s%s mtu %d netns \"$PID\" type %s mode %s", a.Parent, a.Name, hw, a.MTU, a.Driver, a.Mode)
}

func (a *Vlan) Do(e *plan.Env) error {
	return route(func(h *netlink.Handle) error {
		parent, err := h.LinkByName(a.Parent)
		if err != nil {
			return fmt.Errorf("link %s: %w", a.Parent, err)
		}
		attrs := linkAttrs(a.Name, nil, a.MTU)
		attrs.ParentIndex, attrs.Namespace = parent.Attrs().Index, netlink.NsPid(e.Pid)
		if a.MAC != "" {
			attrs.HardwareAddr, _ = net.ParseMAC(a.MAC)
		}
		if err := h.LinkAdd(a.link(attrs)); err != nil {
			return fmt.Errorf("add %s %s on %s in process %d: %w", a.Driver, a.Name, a.Parent, e.Pid, missing(err, a.Driver+" links", a.Driver))
		}
		return nil
	})
}

func (a *Vlan) link(attrs netlink.LinkAttrs) netlink.Link {
	if a.Driver == DriverIPvlan {
		mode := map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S}[a.Mode]
		return &netlink.IPVlan{LinkAttrs: attrs, Mode: mode}
	}
	mode := map[string]netlink.MacvlanMode{"bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE,
		"vepa": netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU}[a.Mode]
	return &netlink.Macvlan{LinkAttrs: attrs, Mode: mode}
}

// Unplug deletes a link of the child's. One that is not there is no error.
type Unplug struct {
	Link string `json:"link"`
}

func (a *Unplug) Verb() string         { return "unplug" }
func (a *Unplug) Undo() plan.Host      { return nil }
func (a *Unplug) Line() string         { return "delete link " + a.Link + " of the child" }
func (a *Unplug) Shell(s *plan.Script) { s.Run(`nsenter -t "$PID" -n ip link del %s`, a.Link) }
func (a *Unplug) Do(e *plan.Env) error {
	return inside(e.Pid, func() error { return delLink(a.Link) })
}

// Address configures a link of the child's: its addresses, and the way to
// everywhere else, if it is by this link. It vanishes with the network namespace.
type Address struct {
	Link     string       `json:"link"`
	Address  netip.Prefix `json:"address"`
	Address6 netip.Prefix `json:"address6,omitzero"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
}

func (a *Address) Verb() string    { return "address" }
func (a *Address) Undo() plan.Host { return nil }
func (a *Address) Line() string {
	text := fmt.Sprintf("%s has %s", a.Link, a.Address)
	if a.Address6.IsValid() {
		text += fmt.Sprintf(" and %s", a.Address6)
	}
	for _, gw := range gateways(a.Gateway, a.Gateway6) {
		text += fmt.Sprintf(", default route via %s", gw)
	}
	return text
}

func (a *Address) Shell(s *plan.Script) {
	in := "nsenter -t \"$PID\" -n "
	if a.Address6.IsValid() {
		s.Run(in+"sh -c 'echo 0 >%s; echo 0 >%s'", disableIPv6(a.Link), acceptRA(a.Link))
	} else {
		s.Run(in+"sh -c '[ ! -e %[1]s ] || echo 1 >%[1]s'", disableIPv6(a.Link))
	}
	s.Run(in+"ip addr add %s brd + dev %s", a.Address, a.Link)
	if a.Address6.IsValid() {
		s.Run(in+"ip addr add %s dev %s nodad", a.Address6, a.Link)
	}
	s.Run(in+"ip link set %s up", a.Link)
	for _, gw := range gateways(a.Gateway, a.Gateway6) {
		s.Run(in+"ip route add default via %s dev %s", gw, a.Link)
	}
}

func (a *Address) Do(e *plan.Env) error {
	return inside(e.Pid, func() error { return route(a.configure) })
}

func (a *Address) configure(h *netlink.Handle) error {
	l, err := h.LinkByName(a.Link)
	if err != nil {
		return fmt.Errorf("link %s: %w", a.Link, err)
	}
	if err := h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a.Address)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", a.Address, a.Link, err)
	}
	own := newProc()
	defer own.close()
	if err := familySix(h, own, l, a.Address6); err != nil {
		return err
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", a.Link, err)
	}
	return routeBy(h, l, gateways(a.Gateway, a.Gateway6))
}

// Way has the child's packets to everywhere leave by a link.
type Way struct {
	Link     string     `json:"link"`
	Gateway  netip.Addr `json:"gateway,omitzero"`
	Gateway6 netip.Addr `json:"gateway6,omitzero"`
}

func (a *Way) Verb() string    { return "route" }
func (a *Way) Undo() plan.Host { return nil }
func (a *Way) Line() string {
	return fmt.Sprintf("default route by %s, via %s", a.Link, addressList(gateways(a.Gateway, a.Gateway6)))
}

func (a *Way) Shell(s *plan.Script) {
	for _, gw := range gateways(a.Gateway, a.Gateway6) {
		s.Run(`nsenter -t "$PID" -n ip route add default via %s dev %s`, gw, a.Link)
	}
}

func (a *Way) Do(e *plan.Env) error {
	return inside(e.Pid, func() error {
		return route(func(h *netlink.Handle) error {
			l, err := h.LinkByName(a.Link)
			if err != nil {
				return fmt.Errorf("link %s: %w", a.Link, err)
			}
			return routeBy(h, l, gateways(a.Gateway, a.Gateway6))
		})
	})
}

func gateways(all ...netip.Addr) (list []netip.Addr) {
	for _, gw := range all {
		if gw.IsValid() {
			list = append(list, gw)
		}
	}
	return list
}

func routeBy(h *netlink.Handle, l netlink.Link, gateways []netip.Addr) error {
	for _, gw := range gateways {
		if err := h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gw.AsSlice()}); err != nil {
			return fmt.Errorf("add default route via %s: %w", gw, err)
		}
	}
	return nil
}

// inside runs f in the network namespace of a process.
func inside(pid int, f func() error) error {
	return netns.In(fmt.Sprintf("/proc/%d/ns/net", pid), f)
}
