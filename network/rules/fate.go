// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"path"
	"slices"
	"strings"
)

// A Fate is what becomes of packets in a chain.
type Fate string

// Depends is for those whose fate hangs on what isn't known of them: a port, a link, an address.
const (
	Accept  Fate = "accept"
	Drop    Fate = "drop"
	Depends Fate = "depends"
)

// A Packet is the first of a connection by TCP, as far as it is known.
type Packet struct {
	In, Out   string // links; "" is any but lo, and but the other one
	IPv6      bool
	Published bool // a rule has translated where it goes to
}

// Follow says what becomes of a packet that comes into a chain: list are all chains, as Read gives them. It
// reads their words; of a condition that it doesn't know, it takes both ways.
func Follow(list []Chain, c *Chain, p Packet) Fate {
	f := &follower{list: list, packet: p, seen: make(map[string]bool)}
	if f.chain(c) {
		f.end(c.Policy)
	}
	switch {
	case f.drops && f.accepts:
		return Depends
	case f.drops:
		return Drop
	}
	return Accept
}

type follower struct {
	list           []Chain
	packet         Packet
	seen           map[string]bool // chains, and whether a packet comes out at their end
	accepts, drops bool
}

// chain reports whether the packet may come out at the chain's end.
func (f *follower) chain(c *Chain) (out bool) {
	if out, ok := f.seen[c.String()]; ok {
		return out // what may happen in there is noted already
	}
	f.seen[c.String()] = true
	defer func() { f.seen[c.String()] = out }()
	back := false
	for _, r := range c.Rules {
		words := strings.Fields(r.Text)
		meets := f.meets(words)
		if meets == never {
			continue
		}
		on, returns := f.verdict(c, words)
		back = back || returns
		if meets == always && !on {
			return back
		}
	}
	return true
}

// verdict does what a rule says in the end. It reports whether the packet may go on to the next
// rule, and whether it may leave the chain for the one that it came from.
func (f *follower) verdict(c *Chain, words []string) (on, returns bool) {
	if i := slices.Index(words, "vmap"); i >= 0 {
		for _, w := range f.targets(words[i:]) {
			_, back := f.verdict(c, w)
			returns = returns || back
		}
		return true, returns
	}
	n := len(words)
	if n == 0 {
		return true, false
	}
	if last := words[n-1]; n < 2 || words[n-2] != "jump" && words[n-2] != "goto" {
		if last == "return" {
			return false, true
		}
		return !f.end(strings.ToLower(last)), false
	}
	to := slices.IndexFunc(f.list, func(k Chain) bool {
		return k.Name == words[n-1] && k.Family == c.Family && k.Table == c.Table && k.Legacy == c.Legacy
	})
	if to < 0 { // it has gone meanwhile
		f.accepts, f.drops = true, true
		return true, false
	}
	out := f.chain(&f.list[to])
	if words[n-2] == "goto" {
		return false, out
	}
	return out, false
}

// targets are the verdicts of a map.
func (f *follower) targets(words []string) (list [][]string) {
	for _, part := range strings.Split(strings.Trim(strings.Join(words, " "), "vmap{} "), ", ") {
		if _, v, ok := strings.Cut(part, " : "); ok {
			list = append(list, strings.Fields(v))
		}
	}
	if list == nil { // a map with a name, whose elements aren't read
		f.accepts, f.drops = true, true
	}
	return list
}

// end notes a verdict that ends the matter, and reports whether it is one.
func (f *follower) end(verdict string) bool {
	switch verdict {
	case "accept":
		f.accepts = true
	case "drop", "reject":
		f.drops = true
	case "queue", "nfqueue":
		f.accepts, f.drops = true, true
	default:
		return false
	}
	return true
}

// An answer is whether a packet meets a condition.
type answer int

const (
	never answer = iota
	perhaps
	always
)

// meets goes through a rule's conditions: all have to be met.
func (f *follower) meets(words []string) answer {
	all := always
	for len(words) > 0 {
		one, used := f.condition(words)
		all = min(all, one)
		words = words[used:]
	}
	return all
}

// condition is about the one that the words begin with, and says how many of them it takes.
func (f *follower) condition(words []string) (a answer, used int) {
	word := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	p := f.packet
	switch words[0] {
	case "accept", "drop", "reject", "REJECT", "return", "queue", "NFQUEUE", "log", "LOG":
		return always, 1
	case "jump", "goto":
		return always, 2
	case "vmap":
		return perhaps, len(words)
	case "ip", "ip6":
		if (words[0] == "ip6") != p.IPv6 {
			return never, 1
		}
		return perhaps, 1
	case "tcp":
		return always, 1
	case "udp", "sctp":
		return never, 1
	}
	not, n := 0, 2
	if word(n) == "!=" {
		not, n = 1, 3
	}
	switch words[0] + " " + word(1) {
	case "meta l4proto":
		a = when(word(n) == "tcp")
	case "meta nfproto":
		a = when((word(n) == "ipv6") == p.IPv6)
	case "ct state", "ct status":
		list := strings.Split(word(n), ",")
		if word(n) == "{" {
			end := slices.Index(words, "}")
			if end < 0 {
				return perhaps, len(words)
			}
			list = strings.FieldsFunc(strings.Join(words[n+1:end], " "), func(r rune) bool { return r == ',' || r == ' ' })
			n = end
		}
		if word(n) == "vmap" {
			return perhaps, len(words)
		}
		a = when(slices.Contains(list, "new") || p.Published && slices.Contains(list, "dnat"))
	default:
		if words[0] != "iifname" && words[0] != "oifname" && words[0] != "iif" && words[0] != "oif" {
			return perhaps, 1
		}
		not, n = 0, 1
		if word(n) == "!=" {
			not, n = 1, 2
		}
		a = p.link(words[0], word(n))
	}
	if not == 1 {
		a = always - a
	}
	return a, n + 1
}

func when(is bool) answer {
	if is {
		return always
	}
	return never
}

// link compares the link that a packet comes in by, or goes out by.
func (p Packet) link(word, name string) answer {
	link, other := p.In, p.Out
	if word[0] == 'o' {
		link, other = p.Out, p.In
	}
	pattern := strings.Trim(name, `"`)
	switch {
	case name == "1" || pattern == "lo": // the number that lo has everywhere
		return never
	case !strings.HasPrefix(name, `"`):
		return perhaps
	case link == "" && pattern == other:
		return never
	case link == "":
		return perhaps
	}
	ok, err := path.Match(pattern, link)
	return when(ok && err == nil)
}
