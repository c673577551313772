// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"slices"
	"strings"

	"vitro/network/rules"
)

// A Filter is a chain of somebody else's that decides about what the machine
// forwards, and does not let all of a network pass. A packet has to pass
// every chain: what vitro's own table accepts, another may still drop. Nothing
// is done about it; a person is told.
type Filter struct {
	Chain  string     `json:"chain"`        // "ip filter FORWARD"
	By     string     `json:"by,omitempty"` // firewalld, ufw; "" isn't known
	Legacy bool       `json:"legacy"`       // of iptables' older kind, which nft doesn't show
	IPv6   bool       `json:"ipv6"`         // it decides about IPv6, too
	IPv4   bool       `json:"ipv4"`
	Ports  rules.Fate `json:"ports"` // of what other machines send to published ports
	Out    rules.Fate `json:"out"`   // of what containers send to other machines
}

// Filters are the chains among the machine's that don't let all packets of the network pass.
func (n Network) Filters(list []rules.Chain) (filters []Filter) {
	if n.Driver != DriverBridge || n.Internal {
		return nil
	}
	for i := range list {
		c := &list[i]
		f := Filter{Chain: c.String(), By: firewall(list, c), Legacy: c.Legacy, IPv4: c.Family != "ip6", IPv6: c.Family != "ip"}
		if !n.asks(c, "forward") || isOurs(c) {
			continue
		}
		six := c.Family == "ip6" || !n.Subnet.IsValid()
		f.Ports = rules.Follow(list, c, rules.Packet{Out: n.Bridge, IPv6: six, Published: true})
		f.Out = rules.Follow(list, c, rules.Packet{In: n.Bridge, IPv6: six})
		if f.Ports != rules.Accept || f.Out != rules.Accept {
			filters = append(filters, f)
		}
	}
	return filters
}

// asks reports whether packets of the network come to the hook of a chain.
func (n Network) asks(c *rules.Chain, hook string) bool {
	switch {
	case c.Hook != hook || c.Type != "filter":
		return false
	case c.Family == "inet":
		return true
	}
	return c.Family == "ip" && n.Subnet.IsValid() || c.Family == "ip6" && n.Subnet6.IsValid()
}

// isOurs reports whether a chain is of a network's own table, whose name is its bridge's.
func isOurs(c *rules.Chain) bool {
	return c.Family == "inet" && slices.ContainsFunc(c.Rules, func(r rules.Rule) bool { return strings.Contains(r.Text, fmt.Sprintf("oifname %q", c.Table)) })
}

// firewall is the program that a chain is of, by the names that it gives to its own.
func firewall(list []rules.Chain, c *rules.Chain) string {
	for _, k := range list {
		if k.Family == c.Family && k.Table == c.Table && k.Legacy == c.Legacy {
			switch {
			case k.Table == "firewalld" || strings.HasSuffix(k.Name, "_ZONES"):
				return "firewalld"
			case k.Name == "ufw-before-forward" || k.Name == "ufw6-before-forward":
				return "ufw"
			}
		}
	}
	return ""
}

// Notes say who decides about the network's packets, vitro or another's chains, and what to do.
func (n Network) Notes(list []rules.Chain) (notes []string) {
	filters := n.Filters(list)
	for _, f := range filters {
		notes = append(notes, f.Warning(n))
	}
	for i := range list {
		c := &list[i]
		if n.Driver != DriverBridge || n.Internal || !n.asks(c, "input") || rules.Follow(list, c, rules.Packet{IPv6: c.Family == "ip6"}) == rules.Accept {
			continue
		}
		closed := func(f Filter) bool {
			return f.Ports != rules.Accept && (c.Family == "inet" || c.Family == "ip" && f.IPv4 || c.Family == "ip6" && f.IPv6)
		}
		if !slices.ContainsFunc(filters, closed) {
			f := Filter{Chain: c.String(), By: firewall(list, c), Legacy: c.Legacy}
			notes = append(notes, "published ports are open to other machines, by vitro's decision: "+f.who()+" is about what is for the host itself, and they are passed on; to close one, publish it on an address of the host's: -p 127.0.0.1:8080:80")
		}
	}
	return notes
}

func (f Filter) who() string {
	who := fmt.Sprintf("chain %q", f.Chain)
	if f.Legacy {
		who += " of iptables-legacy"
	}
	if f.By != "" {
		who = f.By + " (" + who + ")"
	}
	return who
}

// Remedy is the commands that let a network's packets through.
func (f Filter) Remedy(n Network) string {
	switch {
	case f.By == "firewalld" && f.Ports == rules.Accept:
		return fmt.Sprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s; firewall-cmd --reload", n.Bridge)
	case f.By == "ufw":
		return fmt.Sprintf("ufw route allow in on %s; ufw route allow out on %s", n.Bridge, n.Bridge)
	case !f.Legacy:
		return fmt.Sprintf("nft insert rule %s iifname %s accept; nft insert rule %s oifname %s accept", f.Chain, n.Bridge, f.Chain, n.Bridge)
	}
	tool := "iptables-legacy"
	if f.IPv6 {
		tool = "ip6tables-legacy"
	}
	return fmt.Sprintf("%s -I FORWARD -i %s -j ACCEPT; %s -I FORWARD -o %s -j ACCEPT", tool, n.Bridge, tool, n.Bridge)
}

// Warning says what the filter means for a network, and what to do.
func (f Filter) Warning(n Network) string {
	var does []string
	for _, fate := range [...]struct {
		rules.Fate
		words string
	}{{rules.Drop, "drops "}, {rules.Depends, "lets pass by rules of its own "}, {rules.Accept, "lets pass "}} {
		var what []string
		if f.Out == fate.Fate {
			what = append(what, "what containers send to other machines")
		}
		if f.Ports == fate.Fate {
			what = append(what, "what those send to published ports")
		}
		if what != nil {
			does = append(does, fate.words+strings.Join(what, " and "))
		}
	}
	return fmt.Sprintf("%s decides: it %s; to let all pass: %s", f.who(), strings.Join(does, ", and "), f.Remedy(n))
}
