// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A Filter is a chain of somebody else's that decides about what the machine
// forwards, and lets nothing pass that it doesn't know. A packet has to pass
// every chain: what vitro's own table accepts, another may still drop. Nothing
// is done about it; a person is told.
type Filter struct {
	Chain  string `json:"chain"`  // "ip filter FORWARD"
	Legacy bool   `json:"legacy"` // of iptables' older kind, which nft doesn't show
	IPv6   bool   `json:"ipv6"`   // it decides about IPv6, too
	IPv4   bool   `json:"ipv4"`
}

// Remedy is the commands that let a network's packets through.
func (f Filter) Remedy(n Network) string {
	if !f.Legacy {
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
	what := fmt.Sprintf("chain %q", f.Chain)
	if f.Legacy {
		what += " of iptables-legacy"
	}
	return fmt.Sprintf("%s drops what it doesn't know, so containers may not reach the world, nor the world their ports; to let them: %s", what, f.Remedy(n))
}

// concerns reports whether the filter decides about packets of the network.
func (f Filter) concerns(n Network) bool {
	return n.Driver == DriverBridge && !n.Internal && (f.IPv4 || f.IPv6 && n.Subnet6.IsValid())
}

// ReadFilters asks who else decides about what the machine forwards.
func ReadFilters(n Network) ([]Filter, error) {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", missingTables(err))
	}
	defer c.CloseLasting()
	all, err := readFilters(c)
	var list []Filter
	for _, f := range all {
		if f.concerns(n) {
			list = append(list, f)
		}
	}
	return list, err
}

func readFilters(c *nftables.Conn) (list []Filter, err error) {
	chains, err := c.ListChains()
	if err != nil {
		return nil, err
	}
	for _, ch := range chains {
		f := Filter{Chain: fmt.Sprintf("%s %s %s", family(ch.Table.Family), ch.Table.Name, ch.Name)}
		f.IPv4 = ch.Table.Family == nftables.TableFamilyIPv4 || ch.Table.Family == nftables.TableFamilyINet
		f.IPv6 = ch.Table.Family == nftables.TableFamilyIPv6 || ch.Table.Family == nftables.TableFamilyINet
		if !f.IPv4 && !f.IPv6 || ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward {
			continue
		}
		drops := ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop
		if !drops {
			rules, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return nil, err
			}
			drops = len(rules) > 0 && refusesAll(rules[len(rules)-1])
		}
		if drops {
			list = append(list, f)
		}
	}
	return append(list, legacyFilters()...), nil
}

// refusesAll reports whether a rule drops or rejects every packet: firewalld's
// chains accept by policy, and end with such a rule.
func refusesAll(r *nftables.Rule) bool {
	refuses := false
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log:
		case *expr.Reject:
			refuses = true
		case *expr.Verdict:
			refuses = e.Kind == expr.VerdictDrop
		default:
			return false
		}
	}
	return refuses
}

func family(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "ip"
}

// legacyFilters looks at the older kernel interface of iptables. Its tables are there only
// once somebody has used them; asking for one that isn't would make it.
func legacyFilters() (list []Filter) {
	for _, l := range [...]struct {
		names string
		ipv6  bool
	}{{"/proc/net/ip_tables_names", false}, {"/proc/net/ip6_tables_names", true}} {
		names, err := os.ReadFile(l.names)
		if err != nil || !hasLine(string(names), "filter") {
			continue
		}
		if drops, err := legacyForwardDrops(l.ipv6); err == nil && drops {
			f := Filter{Chain: "ip filter FORWARD", Legacy: true, IPv4: !l.ipv6, IPv6: l.ipv6}
			if l.ipv6 {
				f.Chain = "ip6 filter FORWARD"
			}
			list = append(list, f)
		}
	}
	return list
}

func hasLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == want {
			return true
		}
	}
	return false
}
