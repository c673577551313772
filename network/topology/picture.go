// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vitro/network/rules"
)

// A Picture is what stands beside what.
type Picture struct {
	Host   *Card
	Bands  []Band
	Lone   []*Card // no cable leads there
	Unseen []string
}

// A Card is a namespace.
type Card struct {
	Title  string
	Sub    string
	Engine string
	Lines  []string
}

// A Band is a bridge, or another way in which links of one namespace lead to others.
type Band struct {
	Name   string
	Detail string
	Ports  []Port
}

// A Port is a cable of a band.
type Port struct {
	Outer, Inner string // the names of both ends
	Addresses    []string
	Down         bool  // one of the ends is off
	Card         *Card // nil: it leads nowhere that we could see
	Again        bool  // the card stands in an earlier band, too
}

// Most of a kind that are named one by one.
const (
	maxProcesses = 3
	maxLines     = 16
)

// Arrange decides what stands where. It is pure. All text in it is clean.
func Arrange(m *Machine) *Picture {
	a := &arranger{machine: m, cards: make(map[uint64]*Card), placed: make(map[uint64]bool), published: make(map[string][]string)}
	for _, n := range m.Namespaces {
		a.publish(n)
	}
	p := &Picture{}
	for _, n := range m.Namespaces {
		c := a.card(n)
		a.cards[n.ID] = c
		if n.Own {
			p.Host = c
			a.placed[n.ID] = true
		}
	}
	for _, n := range m.Namespaces {
		p.Bands = append(p.Bands, a.bridges(n)...)
		p.Bands = append(p.Bands, a.cables(n)...)
	}
	for _, n := range m.Namespaces {
		if !a.placed[n.ID] {
			p.Lone = append(p.Lone, a.cards[n.ID])
		}
	}
	for _, u := range m.Unseen {
		p.Unseen = append(p.Unseen, Clean(u))
	}
	return p
}

type arranger struct {
	machine   *Machine
	cards     map[uint64]*Card
	placed    map[uint64]bool
	published map[string][]string // an address to what leads there
}

// Title is what a namespace is called, as it is: see Clean.
func (n *Namespace) Title() string {
	switch {
	case n.Own:
		return "this network namespace"
	case len(n.Containers) > 0 && n.Containers[0].Name != "":
		return n.Containers[0].Name
	}
	for _, path := range n.Names {
		if filepath.Dir(path) == "/run/netns" || filepath.Dir(path) == "/var/run/netns" {
			return filepath.Base(path)
		}
	}
	switch {
	case len(n.Containers) > 0:
		return short(n.Containers[0].ID, 13)
	case len(n.Processes) > 0:
		return fmt.Sprintf("%s[%d]", n.Processes[0].Command, n.Processes[0].PID)
	case len(n.Names) > 0:
		return filepath.Base(n.Names[0])
	}
	return fmt.Sprintf("net:[%d]", n.ID)
}

func (a *arranger) card(n *Namespace) *Card {
	c := &Card{Title: Clean(n.Title()), Sub: fmt.Sprintf("net:[%d]", n.ID)}
	if n.Own {
		c.Engine = "host"
	} else if len(n.Containers) > 0 {
		k := n.Containers[0]
		c.Engine = k.Engine
		c.Sub = Clean(fmt.Sprintf("%s %.12s", k.Engine, k.ID)) + " · " + c.Sub
	}
	line := func(format string, args ...any) { c.Lines = append(c.Lines, Clean(fmt.Sprintf(format, args...))) }
	if s := n.inhabitants(); s != "" {
		line("%s", s)
	}
	if n.Closed != "" {
		line("couldn't look inside: %s", n.Closed)
		return c
	}
	for _, l := range n.Links {
		a.ownLink(n, &l, line)
	}
	for _, r := range n.Routes {
		if n.Own || n.switches() || !strings.HasPrefix(r.To, "default") || r.Special != "" {
			line("%s", r)
		}
	}
	for _, s := range natLines(n) {
		line("%s", s)
	}
	if len(c.Lines) > maxLines {
		more := len(c.Lines) - maxLines
		c.Lines = append(c.Lines[:maxLines], fmt.Sprintf("and %d lines more: --format json has all", more))
	}
	return c
}

// switches reports whether it has bridges: others' ways out lead through it.
func (n *Namespace) switches() bool {
	return slices.ContainsFunc(n.Links, func(l Link) bool { return l.Kind == "bridge" })
}

func (n *Namespace) inhabitants() string {
	var words []string
	for _, p := range n.Processes[:min(len(n.Processes), maxProcesses)] {
		words = append(words, fmt.Sprintf("%s[%d]", p.Command, p.PID))
	}
	switch more := len(n.Processes) - maxProcesses; {
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(words, ", "), more)
	case len(n.Processes) > 0:
		return strings.Join(words, ", ")
	case len(n.Held) > 0:
		return fmt.Sprintf("nobody lives here; process %d has it open", n.Held[0])
	}
	return "nobody lives here; bound at " + strings.Join(n.Names, ", ")
}

// ownLink is a link that no band shows.
func (a *arranger) ownLink(n *Namespace, l *Link, line func(string, ...any)) {
	switch {
	case l.Kind == "bridge" || l.Kind == "loopback" || l.Peer != nil && l.Peer.Namespace != n.ID || l.Kind == "veth" && l.Master != 0:
		return
	case l.idle():
		return // the kernel puts some into each namespace
	}
	words := []string{l.Name}
	if k := strings.TrimSpace(l.Kind + " " + l.Detail); k != "" {
		words = append(words, "("+k+")")
	}
	words = append(words, global(l.Addresses)...)
	if l.Peer != nil {
		if p := n.link(l.Peer.Link); p != nil {
			words = append(words, map[bool]string{true: "↔", false: "on"}[l.Kind == "veth"], p.Name)
		}
	}
	if b := n.link(l.Master); b != nil {
		words = append(words, "port of", b.Name)
	}
	if !l.Up {
		words = append(words, "down")
	}
	line("%s", strings.Join(words, " "))
}

// global are the addresses without those that each link gives itself.
func global(list []string) (out []string) {
	for _, a := range list {
		if !strings.HasPrefix(a, "fe80:") {
			out = append(out, a)
		}
	}
	return out
}

// idle is a tunnel's fallback device that nobody uses.
func (l *Link) idle() bool {
	return !l.Up && len(l.Addresses) == 0 && slices.Contains([]string{"ipip", "sit", "gre", "gretap", "ip6gre", "ip6tnl", "vti", "vti6", "erspan"}, l.Kind) ||
		!l.Up && len(l.Addresses) == 0 && strings.HasSuffix(l.Name, "0") && strings.Contains("tunl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 sit0 ip6tnl0 ip6gre0", l.Name)
}

// String is the route as ip(8) has it.
func (r Route) String() string {
	s := r.To
	if r.Special != "" {
		s = r.Special + " " + s
	}
	if r.Via != "" {
		s += " via " + r.Via
	}
	if r.Link != "" {
		s += " dev " + r.Link
	}
	return s
}

// natLines say what becomes of addresses.
func natLines(n *Namespace) []string {
	var list []string
	for _, c := range n.Rules {
		for _, r := range c.Rules {
			if r.NAT == nil {
				continue
			}
			for _, s := range natLine(r.NAT) {
				if !slices.Contains(list, s) {
					list = append(list, s)
				}
			}
		}
	}
	return list
}

func natLine(n *rules.NAT) []string {
	switch n.Kind {
	case "masquerade":
		return []string{cmp.Or(n.Source, "all") + " leaves with this machine's address"}
	case "snat":
		return []string{cmp.Or(n.Source, "all") + " leaves as " + n.To}
	}
	var list []string
	for _, f := range forwards(n) {
		list = append(list, f.From+" → "+f.To)
	}
	return list
}

// A Forward is a port, published by a rule, and where it leads.
type Forward struct{ From, To string }

// Host is the address that it leads to; "" if it is the machine itself.
func (f Forward) Host() string {
	i := strings.LastIndexByte(f.To, ':')
	if i < 0 || strings.Count(f.To, ":") > 1 && f.To[max(i-1, 0)] != ']' {
		return f.To
	}
	return strings.Trim(f.To[:i], "[]")
}

// Forwards are those that the namespace's rules make.
func (n *Namespace) Forwards() (list []Forward) {
	for _, c := range n.Rules {
		for _, r := range c.Rules {
			if r.NAT != nil {
				list = append(list, forwards(r.NAT)...)
			}
		}
	}
	return list
}

func forwards(n *rules.NAT) []Forward {
	if n.Kind != "dnat" && n.Kind != "redirect" {
		return nil
	}
	if len(n.Map) == 0 {
		from := cmp.Or(n.Destination, "*") + ":" + cmp.Or(n.Port, "*") + "/" + cmp.Or(n.Protocol, "any")
		return []Forward{{from, n.To}}
	}
	list := make([]Forward, 0, len(n.Map))
	for _, p := range n.Map {
		list = append(list, Forward{mapKey(p.Key), strings.ReplaceAll(p.Value, " . ", ":")})
	}
	return list
}

// mapKey says the parts of a map's key in the order in which people have them: address, port, protocol.
func mapKey(key string) string {
	address, port, protocol := "*", "*", ""
	for part := range strings.SplitSeq(key, " . ") {
		switch {
		case strings.Trim(part, "0123456789") == "":
			port = part
		case strings.ContainsAny(part, ".:"):
			address = part
		default:
			protocol = "/" + part
		}
	}
	return address + ":" + port + protocol
}

// publish notes which address is reached by which port.
func (a *arranger) publish(n *Namespace) {
	for _, f := range n.Forwards() {
		if host := f.Host(); host != "" && !slices.Contains(a.published[host], f.From) {
			a.published[host] = append(a.published[host], f.From)
		}
	}
}

// bridges are the bands of a namespace's switches.
func (a *arranger) bridges(n *Namespace) (bands []Band) {
	for _, b := range n.Links {
		if b.Kind != "bridge" {
			continue
		}
		band := Band{Name: Clean(b.Name), Detail: a.detail(n, "bridge", b.Addresses, b.Up)}
		for i := range n.Links {
			if l := &n.Links[i]; l.Master == b.Index {
				band.Ports = append(band.Ports, a.port(n, l))
			}
		}
		bands = append(bands, band)
	}
	return bands
}

func (a *arranger) detail(n *Namespace, kind string, addresses []string, up bool) string {
	words := append([]string{kind}, global(addresses)...)
	if !up {
		words = append(words, "down")
	}
	if !n.Own {
		words = append(words, "in "+n.Title())
	}
	return Clean(strings.Join(words, " · "))
}

// cables are the bands of links that lead to other namespaces without a bridge.
func (a *arranger) cables(n *Namespace) (bands []Band) {
	direct := Band{Name: "cables", Detail: a.detail(n, "from one namespace to another", nil, true)}
	on := make(map[int]*Band) // macvlan and its kin, by the link that they are on
	var order []int
	for i := range n.Links {
		l := &n.Links[i]
		if l.Kind == "veth" && l.Master == 0 && l.Peer != nil && a.mine(n, l) {
			p := a.port(n, l)
			if list := global(l.Addresses); len(list) > 0 {
				p.Outer += " " + Clean(strings.Join(list, " "))
			}
			direct.Ports = append(direct.Ports, p)
		}
	}
	for _, other := range a.machine.Namespaces {
		for i := range other.Links {
			l := &other.Links[i]
			if l.Kind == "veth" || l.Peer == nil || l.Peer.Namespace != n.ID || other == n {
				continue
			}
			parent := n.link(l.Peer.Link)
			if parent == nil {
				continue
			}
			if on[parent.Index] == nil {
				on[parent.Index] = &Band{Name: Clean(parent.Name), Detail: a.detail(n, l.Kind+" on "+parent.Name, parent.Addresses, parent.Up)}
				order = append(order, parent.Index)
			}
			band := on[parent.Index]
			band.Ports = append(band.Ports, a.end(other, l, Clean(strings.TrimSpace(l.Kind+" "+l.Detail))))
		}
	}
	if len(direct.Ports) > 0 {
		bands = append(bands, direct)
	}
	for _, i := range order {
		bands = append(bands, *on[i])
	}
	return bands
}

// mine reports whether a cable is shown with this namespace: it leads to one that comes
// later, and isn't a bridge's there.
func (a *arranger) mine(n *Namespace, l *Link) bool {
	if l.Peer.Namespace == n.ID {
		return false
	}
	other := a.machine.namespace(l.Peer.Namespace)
	if p := other.link(l.Peer.Link); p != nil && p.Master != 0 {
		return false
	}
	return slices.Index(a.machine.Namespaces, n) < slices.Index(a.machine.Namespaces, other)
}

// port is a link of n that leads somewhere.
func (a *arranger) port(n *Namespace, l *Link) Port {
	if l.Peer == nil || l.Peer.Namespace == n.ID {
		p := Port{Outer: Clean(l.Name), Down: !l.Up, Inner: "?"}
		if l.Kind != "veth" {
			p.Inner = Clean(cmp.Or(l.Kind, "hardware"))
		} else if l.Peer != nil && n.link(l.Peer.Link) != nil {
			p.Inner = Clean(n.link(l.Peer.Link).Name)
		}
		return p
	}
	other := a.machine.namespace(l.Peer.Namespace)
	peer := other.link(l.Peer.Link)
	if peer == nil {
		peer = &Link{Name: "?"}
	}
	p := a.end(other, peer, Clean(l.Name))
	p.Down = !l.Up || !peer.Up
	return p
}

// end is a cable's end in a namespace.
func (a *arranger) end(n *Namespace, l *Link, outer string) Port {
	p := Port{Outer: outer, Inner: Clean(l.Name), Down: !l.Up, Card: a.cards[n.ID], Again: a.placed[n.ID] && !n.Own}
	a.placed[n.ID] = true
	for _, addr := range global(l.Addresses) {
		host, _, _ := strings.Cut(addr, "/")
		if from := a.published[host]; len(from) > 0 {
			addr += " ← " + strings.Join(from[:min(len(from), 3)], ", ")
		}
		p.Addresses = append(p.Addresses, Clean(addr))
	}
	return p
}
