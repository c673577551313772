// SPDX-License-Identifier: Apache-2.0

// Package rules reads the firewall's rules of a network namespace, whoever set them, and says
// them in words: those of nftables, those that iptables has put there (iptables-nft), and
// those of the older ip_tables (iptables-legacy), which nft(8) doesn't show.
//
// The words are near to those of nft(8), for a person; what an expression of a
// kind that isn't known here does stands as its name. [Follow] says what becomes of a packet in a
// chain. To change rules, use package network.
package rules

// A Chain is a list of rules.
type Chain struct {
	Family   string `json:"family"` // ip, ip6, inet, bridge, arp, netdev
	Table    string `json:"table"`
	Name     string `json:"name"`
	Hook     string `json:"hook,omitempty"` // where packets come in; "" if by a jump only
	Priority int    `json:"priority"`
	Type     string `json:"type,omitempty"`    // filter, nat, route
	Policy   string `json:"policy,omitempty"`  // what becomes of packets that no rule decides on
	Legacy   bool   `json:"legacy,omitempty"`  // of ip_tables
	Packets  uint64 `json:"packets,omitempty"` // that the policy was for, of ip_tables
	Rules    []Rule `json:"rules,omitempty"`
}

// String names the chain as nft(8) does.
func (c *Chain) String() string { return c.Family + " " + c.Table + " " + c.Name }

// A Rule is one of a chain.
type Rule struct {
	Handle  uint64 `json:"handle,omitempty"`
	Text    string `json:"text"`
	Comment string `json:"comment,omitempty"`
	NAT     *NAT   `json:"nat,omitempty"`
	Packets uint64 `json:"packets,omitempty"` // counted, of ip_tables
	Ends    string `json:"ends,omitempty"`    // what it does with them: drop, accept …, of ip_tables
}

// A NAT is what a rule does to addresses, as far as it is to be seen in it.
type NAT struct {
	Kind        string `json:"kind"` // dnat, snat, masquerade, redirect
	Protocol    string `json:"protocol,omitempty"`
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination,omitempty"`
	Port        string `json:"port,omitempty"`
	To          string `json:"to,omitempty"`
	Map         []Pair `json:"map,omitempty"` // instead of To
}

// A Pair is an entry of a map.
type Pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Show is the command that shows the chain.
func (c *Chain) Show() string {
	if !c.Legacy {
		return "nft -a list chain " + c.String()
	}
	command := "iptables-legacy"
	if c.Family == "ip6" {
		command = "ip6tables-legacy"
	}
	return command + " -t " + c.Table + " -vnL " + c.Name
}
