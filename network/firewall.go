// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Firewall makes the network's table, in one transaction, unless it is there.
//
// The rules name the bridge and the subnet only, so a container costs no rule.
// A table for each network can be deleted as a whole, and nothing outside it
// is ever changed: what other tables drop stays dropped ([Attachment].Warnings).
//
// Who turns on ip_forward makes the machine a router, for its neighbours too.
// Hence the forward chain: from outside, only answers reach a container.
type Firewall struct {
	Network Network `json:"network"`
}

func (a *Firewall) Verb() string    { return "firewall" }
func (a *Firewall) Undo() plan.Host { return nil } // Release does it
func (a *Firewall) Line() string {
	return fmt.Sprintf("nft table inet %s: %s leaves with the host's address", a.Network.Bridge, a.Network.Subnet)
}

// A chain is a base chain and its rules.
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

// chains is the whole table.
func (n Network) chains() []chain {
	bridge := n.Bridge
	return []chain{
		{"postrouting", "nat", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "hook postrouting priority srcnat", []rule{
			{fmt.Sprintf("ip saddr %s oifname != %q masquerade", n.Subnet, bridge),
				join(n.fromSubnet(), ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge), []expr.Any{&expr.Masq{}}),
				"containers leave with the host's address"},
		}},
		{"forward", "filter", nftables.ChainHookForward, nftables.ChainPriorityFilter, "hook forward priority filter", []rule{
			{fmt.Sprintf("iifname != %q oifname %q ct state established,related accept", bridge, bridge),
				join(fromOutside(bridge), answers(), verdict(expr.VerdictAccept)),
				"answers to what containers asked"},
			{fmt.Sprintf("iifname != %q oifname %q drop", bridge, bridge),
				join(fromOutside(bridge), verdict(expr.VerdictDrop)),
				"nobody outside talks to a container first"},
		}},
	}
}

func (a *Firewall) Shell(s *plan.Script) {
	var b strings.Builder
	table := "inet " + a.Network.Bridge
	fmt.Fprintf(&b, "create table %s\n", table)
	for _, c := range a.Network.chains() {
		fmt.Fprintf(&b, "add chain %s %s { type %s %s; policy accept; }\n", table, c.name, c.kind, c.where)
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
	t := c.CreateTable(&nftables.Table{Name: a.Network.Bridge, Family: nftables.TableFamilyINet})
	accept := nftables.ChainPolicyAccept
	for _, ch := range a.Network.chains() {
		nc := c.AddChain(&nftables.Chain{Name: ch.name, Table: t, Type: nftables.ChainType(ch.kind), Hooknum: ch.hook, Priority: ch.priority, Policy: &accept})
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: nc, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment)})
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, unix.EEXIST) { // another container's start was faster
		return fmt.Errorf("create table inet %s: %w", a.Network.Bridge, missingTables(err))
	}
	return nil
}

func missingTables(err error) error {
	return missing(err, "nftables with NAT", "nf_tables nft_chain_nat nft_masq nft_ct")
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

// fromSubnet matches packets with a source address in the subnet.
func (n Network) fromSubnet() []expr.Any {
	const sourceOffset = 12 // RFC 791, section 3.1
	addr := n.Subnet.Addr().As4()
	mask := ipNet(n.Subnet).Mask
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr[:]},
	}
}

// ifname compares a name of a link, padded to its full length.
func ifname(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

// fromOutside matches packets that come to the bridge from another link.
func fromOutside(bridge string) []expr.Any {
	return join(ifname(expr.MetaKeyIIFNAME, expr.CmpOpNeq, bridge), ifname(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge))
}

// answers matches packets of a connection that was let through before.
func answers() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
