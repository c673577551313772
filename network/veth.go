// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// inner is what a container calls its end of the cable.
const inner = "eth0"

// Veth makes a pair of links that are two ends of one cable: one is a port of
// the bridge, the other is born as eth0 in the child's network namespace.
type Veth struct {
	Name   string     `json:"name"` // of the host's end
	Bridge string     `json:"bridge"`
	Peer   netip.Addr `json:"peer"` // the container's address, for the hardware addresses
	MTU    int        `json:"mtu"`
}

func (a *Veth) Verb() string    { return "veth" }
func (a *Veth) Undo() plan.Host { return nil } // Release does it
func (a *Veth) Line() string {
	return fmt.Sprintf("veth %s on %s, its peer %s in the child", a.Name, a.Bridge, inner)
}

func (a *Veth) Shell(s *plan.Script) {
	s.Run("ip link add %s address %s mtu %d master %s up type veth peer name %s address %s mtu %d netns \"$PID\"",
		a.Name, mac(a.Peer, true), a.MTU, a.Bridge, inner, mac(a.Peer, false), a.MTU)
}

// Do is one message: the kernel makes both ends, moves the peer, plugs the
// other into the bridge, and sets it up.
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
		for _, attr := range linkData(a.Name, mac(a.Peer, true), a.MTU) {
			req.AddData(attr)
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge.Attrs().Index))))
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
		peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
		nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
		for _, attr := range linkData(inner, mac(a.Peer, false), a.MTU) {
			peer.AddChild(attr)
		}
		peer.AddRtAttr(unix.IFLA_NET_NS_PID, nl.Uint32Attr(uint32(e.Pid)))
		req.AddData(info)
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			return fmt.Errorf("add veth %s with peer in process %d: %w", a.Name, e.Pid, missing(err, "pairs of links", "veth"))
		}
		return nil
	})
}

func linkData(name string, mac net.HardwareAddr, mtu int) []*nl.RtAttr {
	return []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, mac),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))),
	}
}

// Address configures the child's end of the cable: its address, and the way
// to everywhere else. It vanishes with the network namespace.
type Address struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
}

func (a *Address) Verb() string    { return "address" }
func (a *Address) Undo() plan.Host { return nil }
func (a *Address) Line() string {
	return fmt.Sprintf("%s has %s, default route via %s", inner, a.Address, a.Gateway)
}

func (a *Address) Shell(s *plan.Script) {
	s.Run("nsenter -t \"$PID\" -n sh -c '[ ! -e %[1]s ] || echo 1 >%[1]s'", disableIPv6(inner))
	s.Run("nsenter -t \"$PID\" -n ip addr add %s brd + dev %s", a.Address, inner)
	s.Run("nsenter -t \"$PID\" -n ip link set %s up", inner)
	s.Run("nsenter -t \"$PID\" -n ip route add default via %s", a.Gateway)
}

func (a *Address) Do(e *plan.Env) error {
	return inside(e.Pid, func() error { return route(a.configure) })
}

func (a *Address) configure(h *netlink.Handle) error {
	if err := noIPv6(inner); err != nil {
		return err
	}
	l, err := h.LinkByName(inner)
	if err != nil {
		return fmt.Errorf("link %s: %w", inner, err)
	}
	if err := h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a.Address)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", a.Address, inner, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", inner, err)
	}
	err = h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: a.Gateway.AsSlice()})
	if err != nil {
		return fmt.Errorf("add default route via %s: %w", a.Gateway, err)
	}
	return nil
}

// inside runs f on a thread that is in the network namespace of a process. The
// rest of the program stays where it is; so does everything else of the thread,
// so f may use nothing of the child's but its network.
func inside(pid int, f func() error) error {
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer there.Close()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace of process %d: %w", pid, err)
			return
		}
		err := f()
		// A thread that can't go back stays locked, and ends with the goroutine.
		back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, back)
	}()
	return <-done
}
