// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/inspect"
)

// A Link is a network interface in the process's network namespace.
type Link struct {
	Name      string   `json:"name"`
	Index     int      `json:"index,omitempty"`
	Type      string   `json:"type,omitempty"`
	State     string   `json:"state,omitempty"`
	MTU       int      `json:"mtu,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Master    string   `json:"master,omitempty"` // the bridge that it is plugged into
	Peer      *Peer    `json:"peer,omitempty"`   // the other end of a cable
}

// A Peer is the other end of a veth.
type Peer struct {
	Index     int    `json:"index"`
	Name      string `json:"name,omitempty"` // "" if that namespace can't be looked at
	Master    string `json:"master,omitempty"`
	Namespace uint64 `json:"namespace,omitempty"`
	Whose     string `json:"whose,omitempty"` // the container or process there, "the machine's first"
}

// readNetwork lists the links, and finds out whose the other ends are: by the
// number that the process's namespace has for the other one (RTM_GETNSID).
func (p *Process) readNetwork(dir string) {
	var ends []end
	var local netns
	err := enter(dir, []inspect.Kind{inspect.Network}, func() (err error) {
		if local, err = readLinksHere(); err != nil {
			return err
		}
		p.Links, ends = local.links, local.ends
		return nil
	})
	if err != nil {
		p.miss("the ends of its network", err)
		p.linkNames(dir)
		return
	}
	if len(ends) > 0 {
		p.findPeers(dir, local)
	}
}

// linkNames reads what every user may see of any process's network.
func (p *Process) linkNames(dir string) {
	data, err := os.ReadFile(dir + "/net/dev")
	p.miss("its network", err)
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			p.Links = append(p.Links, Link{Name: strings.TrimSpace(name)})
		}
	}
}

// netns is what a look into one network namespace shows.
type netns struct {
	links []Link
	ends  []end
}

// end is a cable whose other end is to be found.
type end struct {
	link, index, space int
}

// readLinksHere lists the links of this thread's network namespace.
func readLinksHere() (ns netns, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return ns, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	list, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return ns, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int]string)
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range list {
		a := l.Attrs()
		link := Link{Name: a.Name, Index: a.Index, Type: l.Type(), State: a.OperState.String(), MTU: a.MTU,
			MAC: a.HardwareAddr.String(), Master: names[a.MasterIndex]}
		if a.Flags&net.FlagLoopback != 0 {
			link.Type = "loopback"
		}
		addrs, _ := h.AddrList(l, unix.AF_UNSPEC)
		for _, addr := range addrs {
			link.Addresses = append(link.Addresses, addr.IPNet.String())
		}
		if l.Type() == "veth" && a.ParentIndex != 0 {
			link.Peer = &Peer{Index: a.ParentIndex}
			if a.NetNsID < 0 {
				link.Peer.Name = names[a.ParentIndex] // both ends are here
			} else {
				ns.ends = append(ns.ends, end{len(ns.links), a.ParentIndex, a.NetNsID})
			}
		}
		ns.links = append(ns.links, link)
	}
	return ns, nil
}

// findPeers looks through the machine's network namespaces for those that the
// process's own has a number for.
func (p *Process) findPeers(dir string, local netns) {
	s, err := inspect.Read(inspect.Options{})
	if err != nil {
		p.miss("whose the ends of its cables are", err)
		return
	}
	for _, n := range s.Namespaces {
		if n.Kind != inspect.Network {
			continue
		}
		fd, err := s.Open(n)
		if err != nil {
			continue
		}
		p.matchPeers(dir, local, s, n, fd)
		unix.Close(fd)
	}
}

func (p *Process) matchPeers(dir string, local netns, s *inspect.Snapshot, n *inspect.Namespace, fd int) {
	id := -1
	_ = enter(dir, []inspect.Kind{inspect.Network}, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		id, err = h.GetNetNsIdByFd(fd)
		return err
	})
	if id < 0 {
		return
	}
	for _, e := range local.ends {
		if e.space != id {
			continue
		}
		peer := p.Links[e.link].Peer
		peer.Namespace, peer.Whose = n.ID, whose(s, n)
		var there netns
		_ = inFDs([]int{fd}, func() (err error) {
			there, err = readLinksHere()
			return err
		})
		for _, l := range there.links {
			if l.Index == e.index {
				peer.Name, peer.Master = l.Name, l.Master
			}
		}
	}
}

// whose names a network namespace's owner for people.
func whose(s *inspect.Snapshot, n *inspect.Namespace) string {
	if n.Initial {
		return "the machine's first"
	}
	for _, pid := range n.Processes {
		if q := s.Process(pid); q != nil {
			if q.Container != nil {
				return q.Container.String()
			}
			return fmt.Sprintf("process %d, %s", q.PID, q.Name)
		}
	}
	if len(n.Mounts) > 0 {
		return "mounted on " + n.Mounts[0].Path
	}
	return ""
}
