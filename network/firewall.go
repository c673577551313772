// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Firewall makes the network's table, in one transaction, unless it is there.
//
// The rules name the bridge and the subnet only, so a container costs no rule:
// its ports are elements of maps, which the kernel looks up once, however many
// there are. A table for each network can be deleted as a whole, and nothing
// outside it is ever changed: what other tables drop stays dropped ([Filter]).
//
// Who turns on forwarding makes the machine a router, for its neighbours too.
// Hence the forward chain: from outside, which other networks of ours are as well,
// only answers reach a container, and what comes by a published port.
type Firewall struct {
	Network Network `json:"network"`
}

func (a *Firewall) Verb() string    { return "firewall" }
func (a *Firewall) Undo() plan.Host { return nil } // Release does it
func (a *Firewall) Line() string {
	if a.Network.Internal {
		return fmt.Sprintf("nft table inet %s: nothing gets in or out of %s", a.Network.Bridge, a.Network.Subnet)
	}
	return fmt.Sprintf("nft table inet %s: %s leaves with the host's address", a.Network.Bridge, a.Network.Subnet)
}

// A chain is a base chain and its rules, or one that others jump to.
type chain struct {
	name, kind string
	hook       *nftables.ChainHook
	priority   *nftables.ChainPriority
	where      string // hook and priority as nft(8) writes them
	rules      []rule
}

// A rule is written twice: for nft(8), and as the expressions that nft makes of
// it. A test lets the kernel compare the two.
type rule struct {
	text    string
	exprs   []expr.Any
	comment string
}

// chains is the whole table but its maps.
func (n Network) chains() []chain {
	if n.Internal {
		return []chain{{"forward", "filter", nftables.ChainHookForward, nftables.ChainPriorityFilter, "hook forward priority filter", n.internalRules()}}
	}
	lookup := []rule{{"fib daddr type local jump published", join(toThisHost(), []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "published"}}),
		"what is sent to the host may be for a container"}}
	return []chain{
		{"guard", "filter", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, "hook prerouting priority raw", n.guardRules()},
		{"published", "", nil, nil, "", n.portRules()},
		{"prerouting", "nat", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, "hook prerouting priority dstnat", lookup},
		{"output", "nat", nftables.ChainHookOutput, nftables.ChainPriorityNATDest, "hook output priority -100", lookup},
		{"postrouting", "nat", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "hook postrouting priority srcnat", n.sourceRules()},
		{"forward", "filter", nftables.ChainHookForward, nftables.ChainPriorityFilter, "hook forward priority filter", n.forwardRules()},
	}
}

func (n Network) internalRules() []rule {
	br := n.Bridge
	return []rule{
		{fmt.Sprintf("iifname %q oifname != %q drop", br, br),
			join(ifname(expr.MetaKeyIIFNAME, expr.CmpOpEq, br), ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, br), verdict(expr.VerdictDrop)), "no way out"},
		{fmt.Sprintf("iifname != %q oifname %q drop", br, br), join(fromOutside(br), verdict(expr.VerdictDrop)), "no way in"},
	}
}

// guardRules keep a container from the host's loopback, which route_localnet on the bridge would
// open to it (CVE-2020-8558). They see a packet before any address is translated back.
func (n Network) guardRules() []rule {
	from := ifname(expr.MetaKeyIIFNAME, expr.CmpOpEq, n.Bridge)
	return []rule{
		{fmt.Sprintf("iifname %q ip daddr 127.0.0.0/8 drop", n.Bridge), join(from, inIPv4(destination4, loopback4), verdict(expr.VerdictDrop)), "the host's loopback is the host's"},
		{fmt.Sprintf("iifname %q ip saddr 127.0.0.0/8 drop", n.Bridge), join(from, inIPv4(source4, loopback4), verdict(expr.VerdictDrop)), "and nobody else speaks from there"},
	}
}

// portRules send what comes to a published port on to the container. The port at
// one address comes before the same at all.
func (n Network) portRules() []rule {
	rules := []rule{
		{"dnat ip to ip daddr . meta l4proto . th dport map @ports_at", toContainer(unix.NFPROTO_IPV4, "ports_at"), "ports at one address"},
		{"meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports", toContainer(unix.NFPROTO_IPV4, "ports"), "ports at each address"},
	}
	if n.Subnet6.IsValid() {
		rules = append(rules,
			// What comes back to ::1 from another link than lo, the kernel doesn't take.
			rule{"ip6 daddr ::1 return", join(isLoopback6(), verdict(expr.VerdictReturn)), "the process beside the container carries it"},
			rule{"dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at", toContainer(unix.NFPROTO_IPV6, "ports6_at"), "ports at one address"},
			rule{"meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @ports6", toContainer(unix.NFPROTO_IPV6, "ports6"), "ports at each address"})
	}
	return rules
}

// sourceRules put the host's address in place of the sender's where answers
// would not find their way otherwise. Clients from outside keep theirs.
func (n Network) sourceRules() []rule {
	br := n.Bridge
	out, back := ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, br), ifname(expr.MetaKeyOIFNAME, expr.CmpOpEq, br)
	masq := []expr.Any{&expr.Masq{}}
	rules := []rule{
		{fmt.Sprintf("ip saddr %s oifname != %q masquerade", n.Subnet, br), join(inIPv4(source4, n.Subnet), out, masq), "containers leave with the host's address"},
		{fmt.Sprintf("ip saddr %s oifname %q ct status dnat masquerade", n.Subnet, br), join(inIPv4(source4, n.Subnet), back, translated(), masq),
			"a container at a neighbour's published port"},
		{fmt.Sprintf("ip saddr 127.0.0.0/8 oifname %q masquerade", br), join(inIPv4(source4, loopback4), back, masq), "the host by its loopback"},
	}
	if !n.Subnet6.IsValid() {
		return rules
	}
	if !n.Routed {
		rules = append(rules, rule{fmt.Sprintf("ip6 saddr %s oifname != %q masquerade", n.Subnet6, br), join(fromIPv6(n.Subnet6), out, masq), "containers leave with the host's address"})
	}
	return append(rules, rule{fmt.Sprintf("ip6 saddr %s oifname %q ct status dnat masquerade", n.Subnet6, br),
		join(fromIPv6(n.Subnet6), back, translated(), masq), "a container at a neighbour's published port"})
}

func (n Network) forwardRules() []rule {
	br := n.Bridge
	rules := []rule{
		{fmt.Sprintf("iifname != %q oifname %q ct state established,related accept", br, br), join(fromOutside(br), answers(), verdict(expr.VerdictAccept)),
			"answers to what containers asked"},
		{fmt.Sprintf("iifname != %q oifname %q ct status dnat accept", br, br), join(fromOutside(br), translated(), verdict(expr.VerdictAccept)),
			"published ports"},
	}
	if n.Routed && n.Subnet6.IsValid() {
		rules = append(rules,
			rule{fmt.Sprintf("iifname != %q oifname %q meta l4proto ipv6-icmp accept", br, br), join(fromOutside(br), isICMP6(), verdict(expr.VerdictAccept)),
				"addresses that are seen outside answer to ping"},
			rule{fmt.Sprintf("iifname != %q oifname %q ip6 daddr . meta l4proto . th dport @%s accept", br, br, reached), join(fromOutside(br), isReached(), verdict(expr.VerdictAccept)),
				"published ports, by the container's address"})
	}
	return append(rules, rule{fmt.Sprintf("iifname != %q oifname %q drop", br, br), join(fromOutside(br), verdict(expr.VerdictDrop)),
		"nobody outside talks to a container first"})
}

func (a *Firewall) Shell(s *plan.Script) {
	var b strings.Builder
	table := "inet " + a.Network.Bridge
	fmt.Fprintf(&b, "create table %s\n", table)
	for _, m := range a.Network.maps() {
		if m.isMap() {
			fmt.Fprintf(&b, "add map %s %s { type %s : %s; }\n", table, m.name, m.key.Name, m.value.Name)
		} else {
			fmt.Fprintf(&b, "add set %s %s { type %s; }\n", table, m.name, m.key.Name)
		}
	}
	for _, c := range a.Network.chains() {
		if c.kind == "" {
			fmt.Fprintf(&b, "add chain %s %s\n", table, c.name)
		} else {
			fmt.Fprintf(&b, "add chain %s %s { type %s %s; policy accept; }\n", table, c.name, c.kind, c.where)
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "add rule %s %s %s comment %q\n", table, c.name, r.text, r.comment)
		}
	}
	s.Run("nft list table %s >/dev/null 2>&1 || nft -f - <<'RULES'\n%sRULES", table, b.String())
}

// Do asks before it writes: a transaction that the kernel refuses costs more.
func (a *Firewall) Do(*plan.Env) error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("open nftables: %w", missingTables(err))
	}
	defer c.CloseLasting()
	if _, err := c.ListTableOfFamily(a.Network.Bridge, nftables.TableFamilyINet); err == nil {
		return nil
	}
	return a.make(c)
}

// make writes the table, with the ports of containers that are there already:
// somebody may have flushed all rules.
func (a *Firewall) make(c *nftables.Conn) error {
	n := a.Network
	t := c.CreateTable(&nftables.Table{Name: n.Bridge, Family: nftables.TableFamilyINet})
	sets := n.sets(t)
	for _, s := range sets {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	accept := nftables.ChainPolicyAccept
	for _, ch := range n.chains() {
		nc := &nftables.Chain{Name: ch.name, Table: t, Type: nftables.ChainType(ch.kind), Hooknum: ch.hook, Priority: ch.priority}
		if ch.kind != "" {
			nc.Policy = &accept
		}
		nc = c.AddChain(nc)
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: nc, Exprs: withIDs(r.exprs, sets), UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment)})
		}
	}
	files, err := filepath.Glob(filepath.Join(n.ports(), "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		pub, err := readPublication(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = pub.add(c, sets)
		}
		if err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, unix.EEXIST) { // another container's start was faster
		return fmt.Errorf("create table inet %s: %w", n.Bridge, missingTables(err))
	}
	return nil
}

func missingTables(err error) error {
	return missing(err, "nftables with NAT", "nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_inet")
}

// delTable deletes a table of the family inet with all that is in it. A table
// that is not there is no error, nor is a kernel that can't have any.
func delTable(name string) error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
		err = c.Flush()
	}
	var none *MissingError
	if err != nil && !errors.As(missingTables(err), &none) {
		return fmt.Errorf("delete table inet %s: %w", name, err)
	}
	return nil
}
