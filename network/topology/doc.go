// SPDX-License-Identifier: Apache-2.0

// Package topology finds out how a machine's network namespaces are joined, whoever made
// them, and draws it.
//
// [Read] collects the facts: namespaces by processes, bind mounts and open descriptors; in
// each, links, addresses, routes and rules. Cables are matched by what the kernel says of both
// ends: an end's peer is a number of a link, in a namespace that has a number of its own there. [Arrange] decides,
// without touching anything, what stands beside what: a [Picture], which is printed as text,
// as SVG or, as the facts are, as JSON.
//
// What can't be looked at is said, not left out. Names may be anybody's, so
// none gets into a picture but as printable characters.
package topology

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vitro/network/rules"
)

// A Machine is all that was found.
type Machine struct {
	Namespaces []*Namespace `json:"namespaces"` // ours first
	Unseen     []string     `json:"unseen,omitempty"`
}

// A Namespace is a network namespace.
type Namespace struct {
	ID         uint64        `json:"id"` // its inode, as lsns(8) shows it
	Own        bool          `json:"own,omitempty"`
	Names      []string      `json:"names,omitempty"` // where it is bound
	Processes  []Process     `json:"processes,omitempty"`
	Held       []int         `json:"held,omitempty"` // processes that have it open, if none lives there
	Containers []Container   `json:"containers,omitempty"`
	Closed     string        `json:"closed,omitempty"` // why we couldn't look inside
	Links      []Link        `json:"links,omitempty"`
	Routes     []Route       `json:"routes,omitempty"`
	Rules      []rules.Chain `json:"rules,omitempty"`

	ruleless bool // its rules are not for us to see
}

// A Process is one that lives in a namespace.
type Process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// A Container is one whose processes live in a namespace.
type Container struct {
	Engine string `json:"engine"`
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
}

// A Link is a network device.
type Link struct {
	Index     int      `json:"index"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind,omitempty"` // "" is hardware
	Up        bool     `json:"up"`
	MAC       string   `json:"mac,omitempty"`
	MTU       int      `json:"mtu"`
	Master    int      `json:"master,omitempty"` // the bridge that it is a port of
	Detail    string   `json:"detail,omitempty"` // a number, "mode bridge"
	Addresses []string `json:"addresses,omitempty"`
	Peer      *End     `json:"peer,omitempty"` // a veth's other end; what a macvlan or vlan is on

	parent, netnsID int // as the kernel says it
}

// An End is a link of a namespace.
type End struct {
	Namespace uint64 `json:"namespace"`
	Link      int    `json:"link"`
}

// A Route is an entry of the main table that isn't there by an address alone.
type Route struct {
	To      string `json:"to"`
	Via     string `json:"via,omitempty"`
	Link    string `json:"link,omitempty"`
	Metric  int    `json:"metric,omitempty"`
	Special string `json:"special,omitempty"` // blackhole, unreachable, prohibit
}

// link finds a link by its number.
func (n *Namespace) link(index int) *Link {
	for i := range n.Links {
		if n.Links[i].Index == index {
			return &n.Links[i]
		}
	}
	return nil
}

// Link is the link of the namespace that has the address, its loopback apart; nil if there is none.
func (n *Namespace) Link(address string) *Link {
	for i := range n.Links {
		l := &n.Links[i]
		for _, a := range l.Addresses {
			if host, _, _ := strings.Cut(a, "/"); host == address && l.Kind != "loopback" {
				return l
			}
		}
	}
	return nil
}

// Has reports whether it has one.
func (n *Namespace) Has(address string) bool { return n.Link(address) != nil }

// Near reports whether a cable leads from one namespace to the other, or from
// both to one that has bridges.
func (n *Namespace) Near(other *Namespace, m *Machine) bool {
	leads := func(a, b *Namespace) bool {
		return slices.ContainsFunc(a.Links, func(l Link) bool { return l.Peer != nil && l.Peer.Namespace == b.ID })
	}
	if leads(n, other) || leads(other, n) {
		return true
	}
	return slices.ContainsFunc(m.Namespaces, func(k *Namespace) bool {
		return k.switches() && leads(n, k) && leads(other, k)
	})
}

// Open opens a file that stands for the namespace.
func (n *Namespace) Open() (*os.File, error) {
	var paths []string
	if n.Own {
		paths = append(paths, "/proc/thread-self/ns/net")
	}
	for _, p := range n.Processes {
		paths = append(paths, fmt.Sprintf("/proc/%d/ns/net", p.PID))
	}
	err := fs.ErrNotExist
	for _, path := range append(paths, n.Names...) {
		var f *os.File
		if f, err = os.Open(path); err != nil {
			continue
		}
		if id, e := inode(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); e == nil && id == n.ID {
			return f, nil
		}
		f.Close()
	}
	return nil, err
}

// Find is the namespace that a person means: a process's number, a container's name or the start of
// its ID, a name of ip netns.
func (m *Machine) Find(word string) *Namespace {
	if pid, err := strconv.Atoi(word); err == nil {
		if id, err := inode(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			return m.namespace(id)
		}
	}
	for _, exact := range [...]bool{true, false} {
		for _, n := range m.Namespaces {
			for _, c := range n.Containers {
				if exact && c.Name == word || !exact && len(word) >= 3 && strings.HasPrefix(c.ID, word) {
					return n
				}
			}
			if exact && slices.ContainsFunc(n.Names, func(p string) bool { return filepath.Base(p) == word }) {
				return n
			}
		}
	}
	return nil
}

// namespace finds one by its ID.
func (m *Machine) namespace(id uint64) *Namespace {
	for _, n := range m.Namespaces {
		if n.ID == id {
			return n
		}
	}
	return nil
}
