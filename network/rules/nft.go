// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

var families = [...]struct {
	family nftables.TableFamily
	name   string
}{
	{nftables.TableFamilyINet, "inet"}, {nftables.TableFamilyIPv4, "ip"}, {nftables.TableFamilyIPv6, "ip6"},
	{nftables.TableFamilyBridge, "bridge"}, {nftables.TableFamilyARP, "arp"}, {nftables.TableFamilyNetdev, "netdev"},
}

// FamilyName is a family in nft's words.
func FamilyName(f nftables.TableFamily) string {
	for _, row := range families {
		if row.family == f {
			return row.name
		}
	}
	return fmt.Sprint("family ", byte(f))
}

var hooks = [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

func hookName(family string, hook uint32) string {
	if family == "netdev" {
		return "ingress"
	}
	if int(hook) < len(hooks) {
		return hooks[hook]
	}
	return fmt.Sprint("hook ", hook)
}

// Read reads all chains of the thread's network namespace. It needs CAP_NET_ADMIN there.
func Read() ([]Chain, error) {
	list, err := readNft()
	if err != nil {
		return nil, fmt.Errorf("read nftables: %w", err)
	}
	old, err := readLegacy()
	if err != nil {
		return nil, fmt.Errorf("read ip_tables: %w", err)
	}
	return append(list, old...), nil
}

func readNft() ([]Chain, error) {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	chains, err := c.ListChains()
	if err != nil {
		return nil, err
	}
	sets := make(setCache)
	var list []Chain
	for _, ch := range chains {
		k := Chain{Family: FamilyName(ch.Table.Family), Table: ch.Table.Name, Name: ch.Name, Type: string(ch.Type)}
		if ch.Hooknum != nil {
			k.Hook = hookName(k.Family, uint32(*ch.Hooknum))
		}
		if ch.Priority != nil {
			k.Priority = int(*ch.Priority)
		}
		if ch.Policy != nil && k.Hook != "" {
			k.Policy = [...]string{"drop", "accept"}[*ch.Policy&1]
		}
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			k.Rules = append(k.Rules, translate(r, sets.of(c, ch.Table)))
		}
		list = append(list, k)
	}
	return list, nil
}

// A setCache has the sets of each table, and their elements once somebody asks.
type setCache map[string][]*set

type set struct {
	*nftables.Set
	elements func() []Pair
}

func (sc setCache) of(c *nftables.Conn, t *nftables.Table) []*set {
	key := FamilyName(t.Family) + " " + t.Name
	if list, ok := sc[key]; ok {
		return list
	}
	sets, _ := c.GetSets(t) // without them a rule has the set's name only
	list := make([]*set, 0, len(sets))
	for _, s := range sets {
		s.Table = t
		list = append(list, &set{s, func() []Pair { return pairs(c, s) }})
	}
	sc[key] = list
	return list
}

// pairs are the elements of a set; of a plain set the values are empty.
func pairs(c *nftables.Conn, s *nftables.Set) []Pair {
	elements, _ := c.GetSetElements(s) // what can't be read isn't shown
	slices.SortFunc(elements, func(a, b nftables.SetElement) int { return slices.Compare(a.Key, b.Key) })
	var list []Pair
	for _, e := range elements {
		if e.IntervalEnd {
			if n := len(list); n > 0 && list[n-1].Value == "" && !strings.Contains(list[n-1].Key, "-") {
				list[n-1].Key += "-<" + value(s.KeyType, e.Key)
			}
			continue
		}
		p := Pair{Key: value(s.KeyType, e.Key)}
		switch {
		case e.VerdictData != nil:
			p.Value = verdict(e.VerdictData)
		case s.IsMap && s.DataType.Bytes > 0 && len(e.Val) > 0:
			p.Value = value(s.DataType, e.Val)
		}
		list = append(list, p)
	}
	return list
}

func verdict(v *expr.Verdict) string {
	switch v.Kind {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictReturn:
		return "return"
	case expr.VerdictJump:
		return "jump " + v.Chain
	case expr.VerdictGoto:
		return "goto " + v.Chain
	case expr.VerdictContinue:
		return "continue"
	case expr.VerdictQueue:
		return "queue"
	}
	return fmt.Sprint("verdict ", v.Kind)
}

// translate says a rule in words.
func translate(r *nftables.Rule, sets []*set) Rule {
	t := &translator{family: FamilyName(r.Table.Family), sets: sets}
	for _, e := range r.Exprs {
		t.expression(e)
	}
	t.flush()
	out := Rule{Handle: r.Handle, Text: strings.Join(t.words, " "), NAT: t.nat}
	if c, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		out.Comment = strings.TrimRight(c, "\x00")
	} else {
		out.Comment = t.comment
	}
	return out
}
