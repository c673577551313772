// SPDX-License-Identifier: Apache-2.0

package cable

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vitro/internal/netns"
	"vitro/plan"
)

// maxName leaves room for the two characters that tell the ends apart, in the
// 15 of a link's name (IFNAMSIZ).
const maxName = 13

// A Request is what a person asks for.
type Request struct {
	PID       int
	Name      string
	Host      netip.Prefix // of the host's end, or of the bridge; may be none
	Container netip.Prefix // of the container's end; may be none
	Bridge    string       // the host's end becomes its port; it is made if it isn't there
	Gateway   bool         // the container's way out is the host's address
}

// Facts are what there is on the machine.
type Facts struct {
	Own, Target netns.ID // our network namespace, and the process's
	Loopback    bool     // the process's is up
	Links       []Link   // ours
	Inner       []string // names of the process's links
	Taken       bool     // the name stands for something already
	NoIPv6      bool     // the kernel has none
}

// A Link is one of ours.
type Link struct {
	Name      string
	Kind      string
	Master    string
	Addresses []netip.Prefix
}

// An Error is a request that can't be met, and what to ask for instead.
type Error struct {
	Err    error
	Remedy string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Remedy }

func refuse(remedy, format string, args ...any) error {
	return &Error{fmt.Errorf("attach: "+format, args...), remedy}
}

// Plan decides. It is pure.
func Plan(r Request, f Facts) (*plan.Plan, error) {
	if err := r.check(f); err != nil {
		return nil, err
	}
	p := &plan.Plan{Title: fmt.Sprintf("attach process %d as %s", r.PID, r.Name)}
	p.Add("ip netns knows namespaces by the files in "+netnsDir+"; this one keeps it alive, too", &Bind{r.Name, r.PID, f.Target})
	outer, inner := r.Name+"-0", r.Name+"-1"
	gateway, port := outer, ""
	if r.Bridge != "" {
		gateway, port = r.Bridge, outer
		p.Add("the switch that the cable is plugged into", &Bridge{r.Bridge})
	}
	p.Add("a cable: what goes in at one end comes out at the other, in the other namespace", &Veth{outer, inner, r.Name, r.Bridge})
	if r.Host.IsValid() && !f.has(gateway, r.Host) {
		p.Add("the host's own address on this network", &Address{Link: gateway, Address: r.Host, Port: port})
	}
	p.Add("the host's end is switched on", &Up{Link: outer})
	if !f.Loopback {
		p.Add("a new namespace's loopback is down, and programs that talk to themselves fail", &Up{Netns: r.Name, Link: "lo", Was: true})
	}
	if r.Container.IsValid() {
		p.Add("the container's address", &Address{Netns: r.Name, Link: inner, Address: r.Container})
	}
	p.Add("the container's end is switched on", &Up{Netns: r.Name, Link: inner})
	if r.Gateway {
		p.Add("all other addresses are reached by way of the host", &Route{r.Name, r.Host.Addr()})
	}
	return p, nil
}

func (f Facts) link(name string) *Link {
	i := slices.IndexFunc(f.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Links[i]
}

func (f Facts) has(link string, a netip.Prefix) bool {
	l := f.link(link)
	return l != nil && slices.Contains(l.Addresses, a)
}

func (r Request) check(f Facts) error {
	for _, c := range [...]func(Facts) error{r.checkName, r.checkAddresses, r.checkLinks} {
		if err := c(f); err != nil {
			return err
		}
	}
	return nil
}

func (r Request) checkName(f Facts) error {
	ok := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
	}
	switch {
	case r.Name == "" || len(r.Name) > maxName || strings.IndexFunc(r.Name, func(c rune) bool { return !ok(c) }) >= 0 || r.Name[0] == '.' || r.Name[0] == '-':
		return refuse(fmt.Sprintf("at most %d letters, digits, _, - and . inside", maxName), "name %q: not one for a link and a file", r.Name)
	case f.Taken:
		return refuse("take another name, or: vitro network detach "+r.Name, "name %q: it is taken in %s", r.Name, netnsDir)
	case f.Own == f.Target:
		return refuse("give it one with: unshare --net", "process %d: it has no network namespace of its own, but this one", r.PID)
	}
	return nil
}

func (r Request) checkAddresses(f Facts) error {
	h, c := r.Host, r.Container
	switch {
	case r.Gateway && !h.IsValid():
		return refuse("add --host ADDRESS/BITS", "a gateway without an address of the host")
	case r.Gateway && !c.IsValid():
		return refuse("add --container ADDRESS/BITS", "a gateway, but no address for the container")
	case h.IsValid() && c.IsValid() && h.Addr().Is4() != c.Addr().Is4():
		return refuse("take both of IPv4, or both of IPv6", "addresses %s and %s: of two families", h, c)
	case f.NoIPv6 && (h.Addr().Is6() || c.Addr().Is6()):
		return refuse("take addresses of IPv4", "an address of IPv6: this kernel has none")
	case h.IsValid() && h.Addr() == c.Addr():
		return refuse("each end has its own", "address %s: given twice", h.Addr())
	case h.IsValid() && c.IsValid() && (!h.Contains(c.Addr()) || !c.Contains(h.Addr())):
		return refuse("take addresses of one range, such as 10.0.0.1/24 and 10.0.0.2/24", "addresses %s and %s: each is out of the other's range", h, c)
	}
	for _, p := range [...]netip.Prefix{h, c} {
		if p.IsValid() && p.Addr().Is4() && p.Bits() < 31 && (p.Addr() == p.Masked().Addr() || p.Addr() == last(p)) {
			return refuse("take one between them", "address %s: the first and the last of a range are nobody's", p)
		}
	}
	for _, l := range f.Links {
		for _, a := range l.Addresses {
			if h.IsValid() && a.Addr() == h.Addr() && l.Name != r.Bridge {
				return refuse("take another, or plug into it with --bridge, if it is a bridge", "address %s: link %s has it", h.Addr(), l.Name)
			}
			if c.IsValid() && a.Addr() == c.Addr() {
				return refuse("take another", "address %s: the host's link %s has it", c.Addr(), l.Name)
			}
		}
	}
	return nil
}

// last is the broadcast address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func (r Request) checkLinks(f Facts) error {
	if l := f.link(r.Name + "-0"); l != nil {
		return refuse("take another name", "link %s: it is there already", l.Name)
	}
	if slices.Contains(f.Inner, r.Name+"-1") {
		return refuse("take another name", "link %s-1: process %d has one already", r.Name, r.PID)
	}
	if r.Bridge == "" {
		return nil
	}
	if len(r.Bridge) > 15 || strings.ContainsAny(r.Bridge, "/: \t\n") || r.Bridge == "." || r.Bridge == ".." {
		return refuse("at most 15 characters, no / or :", "bridge %q: not a name for a link", r.Bridge)
	}
	if l := f.link(r.Bridge); l != nil && l.Kind != "bridge" {
		return refuse("ip link show type bridge names those that there are", "link %s: it is no bridge", r.Bridge)
	}
	return nil
}

// errGone is a process that isn't the one any more that the plan was made for.
var errGone = errors.New("the process has ended, or its network namespace is another one now")
