// SPDX-License-Identifier: Apache-2.0

package cable

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/plan"
)

// netnsDir is where ip-netns(8) looks.
const netnsDir = "/run/netns"

// Actions makes an empty value of each action that can stand in an undo list, by its verb.
func Actions(verb string) plan.Host {
	switch verb {
	case "unbind-netns":
		return new(Unbind)
	case "cut-veth":
		return new(Cut)
	case "drop-bridge":
		return new(Drop)
	case "drop-address":
		return new(NoAddress)
	case "down":
		return new(Down)
	}
	return nil
}

// Bind gives a process's network namespace a name.
type Bind struct {
	Name string   `json:"name"`
	PID  int      `json:"pid"`
	ID   netns.ID `json:"id"`
}

func (a *Bind) Verb() string    { return "bind-netns" }
func (a *Bind) Line() string    { return fmt.Sprintf("bind %s at %s/%s", a.source(), netnsDir, a.Name) }
func (a *Bind) Undo() plan.Host { return &Unbind{a.Name, a.ID} }
func (a *Bind) source() string  { return fmt.Sprintf("/proc/%d/ns/net", a.PID) }

func (a *Bind) Shell(s *plan.Script) {
	at := netnsDir + "/" + a.Name
	s.Run("mkdir -p %s", netnsDir)
	s.Run("touch %s", at)
	s.Run("mount --bind %s %s", a.source(), at)
}

// Do opens the namespace first: a number may have another process by now.
func (a *Bind) Do(*plan.Env) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	ns, err := os.Open(a.source())
	if err != nil {
		return fmt.Errorf("%w (%w)", errGone, err)
	}
	defer ns.Close()
	source := fmt.Sprintf("/proc/self/fd/%d", ns.Fd())
	if id, err := netns.IDOf(source); err != nil || id != a.ID {
		return errors.Join(errGone, err)
	}
	at := filepath.Join(netnsDir, a.Name)
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	return unix.Mount(source, at, "", unix.MS_BIND, "")
}

// Unbind takes a namespace's name away. Its links are gone with it, if nobody lives there any more.
type Unbind struct {
	Name string   `json:"name"`
	ID   netns.ID `json:"id"`
}

func (a *Unbind) Verb() string    { return "unbind-netns" }
func (a *Unbind) Line() string    { return "umount " + netnsDir + "/" + a.Name }
func (a *Unbind) Undo() plan.Host { return nil }
func (a *Unbind) Shell(s *plan.Script) {
	s.Run("umount %s/%s", netnsDir, a.Name)
	s.Run("rm %s/%s", netnsDir, a.Name)
}

// Do leaves alone what is not ours: another namespace, or a file with something in it.
func (a *Unbind) Do(*plan.Env) error {
	at := filepath.Join(netnsDir, a.Name)
	if id, err := netns.IDOf(at); err == nil && id == a.ID {
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("umount %s: %w", at, err)
		}
	}
	if id, err := netns.IDOf(at); err == nil && id.Dev == a.ID.Dev {
		return nil // still a namespace, so another one's
	}
	st, err := os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() > 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(at); err != nil {
		return err
	}
	_ = unix.Rmdir(netnsDir) // if it was the last
	return nil
}

// mark is the hardware address of a link of ours, by which the way back knows it from
// another one of the same name: 76 for v, then a digest.
func mark(what, name string) net.HardwareAddr {
	h := fnv.New32a()
	h.Write([]byte(what + "/" + name))
	return h.Sum([]byte{0x02, 0x76})
}

// handle runs f with a netlink socket in a namespace by its name; "" is ours.
func handle(name string, f func(*netlink.Handle) error) error {
	run := func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return f(h)
	}
	if name == "" {
		return run()
	}
	return netns.In(filepath.Join(netnsDir, name), run)
}

// Bridge makes a switch, unless it is there.
type Bridge struct {
	Name string `json:"name"`
}

func (a *Bridge) Verb() string    { return "make-bridge" }
func (a *Bridge) Line() string    { return "bridge " + a.Name }
func (a *Bridge) Undo() plan.Host { return &Drop{a.Name} }
func (a *Bridge) Shell(s *plan.Script) {
	s.Run("ip link show %[1]s >/dev/null 2>&1 || ip link add %[1]s address %[2]s up type bridge", plan.Quote(a.Name), mark("bridge", a.Name))
}

func (a *Bridge) Do(*plan.Env) error {
	return handle("", func(h *netlink.Handle) error {
		l := netlink.NewLinkAttrs()
		l.Name, l.HardwareAddr = a.Name, mark("bridge", a.Name)
		b := &netlink.Bridge{LinkAttrs: l}
		if err := h.LinkAdd(b); err != nil {
			if errors.Is(err, unix.EEXIST) {
				return nil
			}
			return err
		}
		return h.LinkSetUp(b)
	})
}

// Drop removes a bridge that Bridge has made, with its last port.
type Drop struct {
	Name string `json:"name"`
}

func (a *Drop) Verb() string         { return "drop-bridge" }
func (a *Drop) Line() string         { return "delete bridge " + a.Name + ", if it is ours and has no ports" }
func (a *Drop) Undo() plan.Host      { return nil }
func (a *Drop) Shell(s *plan.Script) { s.Run("ip link del %s", plan.Quote(a.Name)) }

func (a *Drop) Do(*plan.Env) error {
	return handle("", func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if err != nil {
			return err
		}
		var bridge netlink.Link
		for _, l := range links {
			if l.Attrs().Name == a.Name && l.Type() == "bridge" && bytes.Equal(l.Attrs().HardwareAddr, mark("bridge", a.Name)) {
				bridge = l
			}
		}
		for _, l := range links {
			if bridge == nil || l.Attrs().MasterIndex == bridge.Attrs().Index {
				return nil
			}
		}
		return gone(h.LinkDel(bridge))
	})
}

// gone takes the error that there is nothing any more for none.
func gone(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// Veth makes a pair of links, one of them in the namespace of the name.
type Veth struct {
	Outer  string `json:"outer"`
	Inner  string `json:"inner"`
	Netns  string `json:"netns"`
	Bridge string `json:"bridge,omitempty"`
}

func (a *Veth) Verb() string { return "veth-pair" }
func (a *Veth) Line() string {
	to := ""
	if a.Bridge != "" {
		to = ", a port of " + a.Bridge
	}
	return fmt.Sprintf("veth %s%s, its peer %s in %s", a.Outer, to, a.Inner, a.Netns)
}
func (a *Veth) Undo() plan.Host { return &Cut{a.Outer} }
func (a *Veth) Shell(s *plan.Script) {
	s.Run("ip link add %s address %s type veth peer name %s netns %s", a.Outer, mark("veth", a.Outer), a.Inner, a.Netns)
	if a.Bridge != "" {
		s.Run("ip link set %s master %s", a.Outer, plan.Quote(a.Bridge))
	}
}

func (a *Veth) Do(*plan.Env) error {
	ns, err := os.Open(filepath.Join(netnsDir, a.Netns))
	if err != nil {
		return err
	}
	defer ns.Close()
	return handle("", func(h *netlink.Handle) error {
		l := netlink.NewLinkAttrs()
		l.Name, l.HardwareAddr = a.Outer, mark("veth", a.Outer)
		if a.Bridge != "" {
			b, err := h.LinkByName(a.Bridge)
			if err != nil {
				return fmt.Errorf("bridge %s: %w", a.Bridge, err)
			}
			l.MasterIndex = b.Attrs().Index
		}
		return h.LinkAdd(&netlink.Veth{LinkAttrs: l, PeerName: a.Inner, PeerTxQLen: -1, PeerNamespace: netlink.NsFd(int(ns.Fd()))})
	})
}

// Cut removes a pair of links.
type Cut struct {
	Outer string `json:"outer"`
}

func (a *Cut) Verb() string         { return "cut-veth" }
func (a *Cut) Line() string         { return "delete veth " + a.Outer }
func (a *Cut) Undo() plan.Host      { return nil }
func (a *Cut) Shell(s *plan.Script) { s.Run("ip link del %s", a.Outer) }

func (a *Cut) Do(*plan.Env) error {
	return handle("", func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Outer)
		if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
			return nil
		}
		if err != nil {
			return err
		}
		if l.Type() != "veth" || !bytes.Equal(l.Attrs().HardwareAddr, mark("veth", a.Outer)) {
			return nil // somebody else's by now
		}
		return gone(h.LinkDel(l))
	})
}

// Address gives a link an address.
type Address struct {
	Netns   string       `json:"netns,omitempty"`
	Link    string       `json:"link"`
	Address netip.Prefix `json:"address"`
	Port    string       `json:"port,omitempty"` // of the bridge that Link is
}

func (a *Address) Verb() string { return "add-address" }
func (a *Address) Line() string { return a.Link + " has " + a.Address.String() }

// Undo is for a bridge, which may stay: a cable takes its addresses along.
func (a *Address) Undo() plan.Host {
	if a.Port == "" {
		return nil
	}
	return &NoAddress{a.Link, a.Address, a.Port}
}

func (a *Address) Shell(s *plan.Script) {
	extra := " brd +"
	if a.Address.Addr().Is6() {
		extra = " nodad" // of two ends nobody else can have it
	} else if a.Address.Bits() > 30 {
		extra = ""
	}
	s.Run("%s addr add %s%s dev %s", ip(a.Netns), a.Address, extra, plan.Quote(a.Link))
}

// ip is the command for a namespace by its name.
func ip(name string) string {
	if name == "" {
		return "ip"
	}
	return "ip -n " + name
}

func (a *Address) Do(*plan.Env) error {
	return handle(a.Netns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Link)
		if err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: ipNet(a.Address)}
		if a.Address.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		return h.AddrAdd(l, addr)
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// NoAddress takes an address from a bridge, unless that is one of ours, which
// takes it along, or another cable of ours needs it; then it stays.
type NoAddress struct {
	Link    string       `json:"link"`
	Address netip.Prefix `json:"address"`
	Port    string       `json:"port"`
}

func (a *NoAddress) Verb() string    { return "drop-address" }
func (a *NoAddress) Line() string    { return fmt.Sprintf("take %s from %s", a.Address, a.Link) }
func (a *NoAddress) Undo() plan.Host { return nil }
func (a *NoAddress) Shell(s *plan.Script) {
	s.Run("ip addr del %s dev %s", a.Address, plan.Quote(a.Link))
}

func (a *NoAddress) Do(*plan.Env) error {
	return handle("", func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if err != nil {
			return err
		}
		var bridge netlink.Link
		for _, l := range links {
			if l.Attrs().Name == a.Link && !bytes.Equal(l.Attrs().HardwareAddr, mark("bridge", a.Link)) {
				bridge = l
			}
		}
		for _, l := range links {
			n := l.Attrs().Name
			if bridge == nil || l.Attrs().MasterIndex == bridge.Attrs().Index && n != a.Port && bytes.Equal(l.Attrs().HardwareAddr, mark("veth", n)) {
				return nil
			}
		}
		return gone(h.AddrDel(bridge, &netlink.Addr{IPNet: ipNet(a.Address)}))
	})
}

// Up switches a link on. Was says that it was off before, and is to be again.
type Up struct {
	Netns string `json:"netns,omitempty"`
	Link  string `json:"link"`
	Was   bool   `json:"was,omitempty"`
}

func (a *Up) Verb() string         { return "link-on" }
func (a *Up) Line() string         { return a.Link + " is up" }
func (a *Up) Shell(s *plan.Script) { s.Run("%s link set %s up", ip(a.Netns), a.Link) }
func (a *Up) Undo() plan.Host {
	if a.Was {
		return &Down{a.Netns, a.Link}
	}
	return nil // it goes with the cable
}
func (a *Up) Do(*plan.Env) error {
	return handle(a.Netns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Link)
		if err != nil {
			return err
		}
		return h.LinkSetUp(l)
	})
}

// Down switches a link off.
type Down struct {
	Netns string `json:"netns,omitempty"`
	Link  string `json:"link"`
}

func (a *Down) Verb() string         { return "down" }
func (a *Down) Line() string         { return a.Link + " is down" }
func (a *Down) Undo() plan.Host      { return nil }
func (a *Down) Shell(s *plan.Script) { s.Run("%s link set %s down", ip(a.Netns), a.Link) }
func (a *Down) Do(*plan.Env) error {
	return gone(handle(a.Netns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(a.Link)
		if err != nil {
			return err
		}
		return h.LinkSetDown(l)
	}))
}

// Route is the default route of a namespace.
type Route struct {
	Netns   string     `json:"netns"`
	Gateway netip.Addr `json:"gateway"`
}

func (a *Route) Verb() string    { return "default-route" }
func (a *Route) Line() string    { return "default route via " + a.Gateway.String() }
func (a *Route) Undo() plan.Host { return nil } // it goes with the cable
func (a *Route) Shell(s *plan.Script) {
	s.Run("%s route add default via %s", ip(a.Netns), a.Gateway)
}
func (a *Route) Do(*plan.Env) error {
	return handle(a.Netns, func(h *netlink.Handle) error {
		return h.RouteAdd(&netlink.Route{Gw: a.Gateway.AsSlice()})
	})
}
