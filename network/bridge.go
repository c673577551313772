// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Bridge makes the network's bridge and gives it the gateway's addresses, unless
// it is there and up.
type Bridge struct {
	Network Network `json:"network"`
}

func (a *Bridge) Verb() string    { return "bridge" }
func (a *Bridge) Undo() plan.Host { return nil } // Release does it
func (a *Bridge) Line() string {
	text := fmt.Sprintf("bridge %s with %s", a.Network.Bridge, a.Network.gateway())
	if a.Network.Subnet6.IsValid() {
		text += fmt.Sprintf(" and %s", a.Network.gateway6())
	}
	return text
}

func (a *Bridge) Shell(s *plan.Script) {
	n := a.Network
	s.Run("ip link show %s >/dev/null 2>&1 || {", n.Bridge)
	s.Run("ip link add %s address %s mtu %d type bridge", n.Bridge, n.mac(), n.MTU)
	s.Run("ip addr add %s brd + dev %s", n.gateway(), n.Bridge)
	if n.Subnet6.IsValid() {
		s.Run("echo 0 >%s", acceptRA(n.Bridge))
		s.Run("ip addr add %s dev %s nodad", n.gateway6(), n.Bridge)
	} else {
		s.Run("[ ! -e %[1]s ] || echo 1 >%[1]s", disableIPv6(n.Bridge))
	}
	s.Run("ip link set %s up; }", n.Bridge)
}

// mac is the bridge's own hardware address. Without one, it would take the
// lowest of its ports', and the containers' gateway would change under them. It
// also tells our bridge from another's of the same name.
func (n Network) mac() net.HardwareAddr { return mac(n.Gateway, true) }

// Do may run at the same time in several processes: each of its parts is right
// when another has done it already, and up comes last.
func (a *Bridge) Do(*plan.Env) error {
	return route(func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Network.Bridge)
		switch {
		case err != nil:
			return a.make(h)
		case !a.Network.owns(l):
			return &StrangerError{Network: a.Network.Name, Link: a.Network.Bridge}
		case l.Attrs().Flags&net.FlagUp == 0:
			return a.make(h)
		}
		return nil
	})
}

func (n Network) owns(l netlink.Link) bool {
	return l.Type() == "bridge" && bytes.Equal(l.Attrs().HardwareAddr, n.mac())
}

func (a *Bridge) make(h *netlink.Handle) error {
	n := a.Network
	l := &netlink.Bridge{LinkAttrs: linkAttrs(n.Bridge, n.mac(), n.MTU)}
	if err := h.LinkAdd(l); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add bridge %s: %w", n.Bridge, missing(err, "bridges", "bridge"))
	}
	if l.Index == 0 {
		found, err := h.LinkByName(n.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", n.Bridge, err)
		}
		l.Index = found.Attrs().Index
	}
	if err := h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(n.gateway())}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", n.gateway(), n.Bridge, err)
	}
	if err := familySix(h, mountedProc, l, n.gateway6()); err != nil {
		return err
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", n.Bridge, err)
	}
	return nil
}

// delBridge deletes the network's bridge, but not another's of the same name.
func (n Network) delBridge() error {
	strange := false
	err := route(func(h *netlink.Handle) error {
		l, err := h.LinkByName(n.Bridge)
		strange = err == nil && !n.owns(l)
		return nil
	})
	if err != nil || strange {
		return err
	}
	return delLink(n.Bridge)
}

// familySix gives a link its IPv6 address, if it has one, without asking the
// others for it first, which takes a second: the lease says that it is free. Nor
// does the link believe anybody who says to be a router (CVE-2020-13401).
func familySix(h *netlink.Handle, in proc, l netlink.Link, address netip.Prefix) error {
	name := l.Attrs().Name
	if !address.IsValid() {
		return noIPv6(in, name)
	}
	// A parent namespace may have turned IPv6 off for all new links.
	if err := errors.Join(in.sysctl(disableIPv6(name), "0"), in.sysctl(acceptRA(name), "0")); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(address), Flags: unix.IFA_F_NODAD}
	if err := h.AddrAdd(l, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", address, name, err)
	}
	return nil
}

// noIPv6 keeps IPv6 off a link of the thread's network namespace.
func noIPv6(in proc, link string) error {
	err := in.sysctl(disableIPv6(link), "1")
	if errors.Is(err, unix.ENOENT) {
		return nil // the kernel has no IPv6
	}
	return err
}

func disableIPv6(link string) string { return "/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6" }

func acceptRA(link string) string { return "/proc/sys/net/ipv6/conf/" + link + "/accept_ra" }

// mac is the hardware address that goes with an IPv4 address, so that an
// address that is given out again doesn't meet a stale ARP entry: locally
// administered, 76 for v, then the address. The host's ends differ from the
// containers' in the first byte.
func mac(a netip.Addr, host bool) net.HardwareAddr {
	b := a.As4()
	first := byte(0x02)
	if host {
		first = 0xfe
	}
	return net.HardwareAddr{first, 0x76, b[0], b[1], b[2], b[3]}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
