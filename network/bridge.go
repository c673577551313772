// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Bridge makes the network's bridge and gives it the gateway's address, unless
// it is there and up.
type Bridge struct {
	Network Network `json:"network"`
}

func (a *Bridge) Verb() string    { return "bridge" }
func (a *Bridge) Undo() plan.Host { return nil } // Release does it
func (a *Bridge) Line() string {
	return fmt.Sprintf("bridge %s with %s", a.Network.Bridge, a.Network.Gateway())
}

func (a *Bridge) Shell(s *plan.Script) {
	n := a.Network
	s.Run("ip link show %s >/dev/null 2>&1 || {", n.Bridge)
	s.Run("ip link add %s address %s mtu %d type bridge", n.Bridge, mac(n.Gateway().Addr(), true), n.MTU)
	s.Run("ip addr add %s brd + dev %s", n.Gateway(), n.Bridge)
	s.Run("[ ! -e %[1]s ] || echo 1 >%[1]s", disableIPv6(n.Bridge))
	s.Run("ip link set %s up; }", n.Bridge)
}

// Do may run at the same time in several processes: each of its parts is right
// when another has done it already, and up comes last.
func (a *Bridge) Do(*plan.Env) error {
	return route(func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Network.Bridge)
		if err == nil && l.Type() == "bridge" && l.Attrs().Flags&net.FlagUp != 0 {
			return nil
		}
		return a.make(h)
	})
}

func (a *Bridge) make(h *netlink.Handle) error {
	n := a.Network
	// Without an address of its own, a bridge takes the lowest of its ports',
	// and the containers' gateway would change under them.
	l := &netlink.Bridge{LinkAttrs: linkAttrs(n.Bridge, mac(n.Gateway().Addr(), true), n.MTU)}
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
	if err := h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(n.Gateway())}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", n.Gateway(), n.Bridge, err)
	}
	if err := noIPv6(n.Bridge); err != nil {
		return err
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", n.Bridge, err)
	}
	return nil
}

// noIPv6 keeps IPv6 off a link of the thread's network namespace. The network
// is IPv4 only, and an end that nobody configures would believe any container
// that says to be a router (CVE-2020-13401).
func noIPv6(link string) error {
	err := sysctl(disableIPv6(link), "1")
	if errors.Is(err, unix.ENOENT) {
		return nil // the kernel has no IPv6
	}
	return err
}

func disableIPv6(link string) string { return "/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6" }

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
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
