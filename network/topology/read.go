// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/network/rules"
)

// Read looks at the machine. What it may not see is in the result's Unseen, and is no error. Containers are known by
// their cgroups, and those that have none of their own, or names elsewhere than is usual, by the processes that are known.
func Read(known map[int]Container) (*Machine, error) {
	m := &Machine{}
	places, err := find(m, known)
	if err != nil {
		return nil, fmt.Errorf("find network namespaces: %w", err)
	}
	files := make(map[uint64]*os.File)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, p := range places {
		f, err := os.Open(p.path)
		if err == nil {
			if id, e := inode(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); e != nil || id != p.ID {
				err = errors.Join(fs.ErrNotExist, f.Close()) // the process has ended, and its number is another's
			}
		}
		if err != nil {
			p.close(err)
			continue
		}
		files[p.ID] = f
		if p.Own {
			p.close(p.look())
		} else {
			p.close(netns.Do(f, p.look))
		}
	}
	m.join(files)
	if slices.ContainsFunc(m.Namespaces, func(n *Namespace) bool { return n.ruleless }) {
		m.Unseen = append(m.Unseen, "the firewall's rules here: look as root")
	}
	m.sayClosed()
	return m, nil
}

// Learn takes from another's look at the same machine, which may see more, what is closed to us.
func (m *Machine) Learn(other *Machine) {
	for _, o := range other.Namespaces {
		n := m.namespace(o.ID)
		if n == nil {
			o.Own = false
			m.Namespaces = append(m.Namespaces, o)
		} else if n.Closed != "" {
			n.Closed, n.Links, n.Routes, n.Rules = o.Closed, o.Links, o.Routes, o.Rules
		}
	}
	m.sayClosed()
}

// sayClosed says how many namespaces are closed to us, in place of what was said before.
func (m *Machine) sayClosed() {
	const inside = "the inside of "
	m.Unseen = slices.DeleteFunc(m.Unseen, func(s string) bool { return strings.HasPrefix(s, inside) })
	closed := 0
	for _, n := range m.Namespaces {
		if n.Closed == denied {
			closed++
		}
	}
	if closed > 0 {
		m.Unseen = append(m.Unseen, fmt.Sprintf("%s%d network namespaces: look as root, or as the root of their user namespace", inside, closed))
	}
}

const denied = "not allowed"

// close notes why nothing can be seen inside.
func (n *Namespace) close(err error) {
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		n.Closed = denied
	case errors.Is(err, fs.ErrNotExist):
		n.Closed = "it has just gone"
	default:
		n.Closed = err.Error()
	}
}

// look reads the namespace that the thread is in.
func (n *Namespace) look() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := again(func() error { return n.readLinks(h) }); err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	if err := again(func() error { return n.readRoutes(h) }); err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	n.Rules, err = rules.Read()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EPROTONOSUPPORT) {
		n.ruleless = true // an ordinary user sees links, but no rules
		return nil
	}
	return err
}

// again lists while the kernel says that what is listed has changed meanwhile.
func again(f func() error) (err error) {
	for range 20 {
		if err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

func (n *Namespace) readLinks(h *netlink.Handle) error {
	links, err := h.LinkList()
	if err != nil {
		return err
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	n.Links = nil
	for _, l := range links {
		a := l.Attrs()
		k := Link{Index: a.Index, Name: a.Name, Kind: kindOf(l), Up: a.RawFlags&unix.IFF_UP != 0, MAC: a.HardwareAddr.String(), MTU: a.MTU,
			Master: a.MasterIndex, Detail: detail(l), parent: a.ParentIndex, netnsID: a.NetNsID}
		for _, ad := range addrs {
			if ad.LinkIndex == a.Index && ad.IPNet != nil {
				k.Addresses = append(k.Addresses, ad.IPNet.String())
			}
		}
		n.Links = append(n.Links, k)
	}
	return nil
}

// kindOf is the link's type, "" for hardware.
func kindOf(l netlink.Link) string {
	switch t := l.Type(); {
	case l.Attrs().RawFlags&unix.IFF_LOOPBACK != 0:
		return "loopback"
	case t == "device":
		return ""
	default:
		return t
	}
}

func detail(l netlink.Link) string {
	switch l := l.(type) {
	case *netlink.Vlan:
		return fmt.Sprint(l.VlanId)
	case *netlink.Vxlan:
		return fmt.Sprint(l.VxlanId)
	case *netlink.Macvlan:
		for mode, name := range map[netlink.MacvlanMode]string{netlink.MACVLAN_MODE_BRIDGE: "bridge", netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_PASSTHRU: "passthru"} {
			if l.Mode == mode {
				return "mode " + name
			}
		}
	case *netlink.Tuntap:
		if l.Mode == netlink.TUNTAP_MODE_TAP {
			return "tap"
		}
		return "tun"
	}
	return ""
}

func (n *Namespace) readRoutes(h *netlink.Handle) error {
	list, err := h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	n.Routes = nil
	for _, r := range list {
		if r.Protocol == unix.RTPROT_KERNEL {
			continue // it comes with an address
		}
		k := Route{To: "default", Metric: r.Priority}
		if r.Dst != nil && r.Dst.String() != "0.0.0.0/0" && r.Dst.String() != "::/0" {
			k.To = r.Dst.String()
		} else if r.Family == unix.AF_INET6 {
			k.To = "default (IPv6)"
		}
		if r.Gw != nil {
			k.Via = r.Gw.String()
		}
		if l := n.link(r.LinkIndex); l != nil {
			k.Link = l.Name
		}
		switch r.Type {
		case unix.RTN_BLACKHOLE:
			k.Special = "blackhole"
		case unix.RTN_UNREACHABLE:
			k.Special = "unreachable"
		case unix.RTN_PROHIBIT:
			k.Special = "prohibit"
		}
		n.Routes = append(n.Routes, k)
	}
	return nil
}

// join matches the ends. What one end says of the other is a number of a link, and if that is in
// another namespace, the number that it has in this one. Two that know each other know it of both.
func (m *Machine) join(files map[uint64]*os.File) {
	for _, n := range m.Namespaces {
		if n.Closed != "" {
			continue
		}
		var ids map[int]uint64
		for i := range n.Links {
			l := &n.Links[i]
			if l.parent == 0 || l.Peer != nil {
				continue
			}
			if l.netnsID < 0 {
				l.Peer = &End{n.ID, l.parent}
				continue
			}
			if ids == nil {
				ids = n.neighbours(m, files)
			}
			if id, ok := ids[l.netnsID]; ok {
				m.pair(n, l, id)
			}
		}
	}
}

func (m *Machine) pair(n *Namespace, l *Link, id uint64) {
	l.Peer = &End{id, l.parent}
	if other := m.namespace(id).link(l.parent); other != nil && l.Kind == "veth" && other.Kind == "veth" && other.parent == l.Index {
		other.Peer = &End{n.ID, l.Index}
	}
}

// neighbours are the numbers that other namespaces have in this one.
func (n *Namespace) neighbours(m *Machine, files map[uint64]*os.File) map[int]uint64 {
	ids := make(map[int]uint64)
	_ = netns.Do(files[n.ID], func() error { // without it, cables end somewhere
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		for _, other := range m.Namespaces {
			if f := files[other.ID]; f != nil {
				if id, err := h.GetNetNsIdByFd(int(f.Fd())); err == nil && id >= 0 {
					ids[id] = other.ID
				}
			}
		}
		return nil
	})
	return ids
}
