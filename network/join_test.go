// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vitro/network"
	"vitro/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func prefixes(texts ...string) (ps []netip.Prefix) {
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func addrs(texts ...string) (as []netip.Addr) {
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

const dir = "/var/lib/vitro/network"

var there = network.Network{Dir: dir + "/default", Bridge: "vitro0", Subnet: netip.MustParsePrefix("172.29.0.0/16"), MTU: 1500}

func TestPlanGolden(t *testing.T) {
	for _, c := range []struct {
		name  string
		facts network.Facts
		id    string
	}{
		{"first", network.Facts{Dir: dir, Machine: &network.Machine{MTU: 1500, Names: []string{"lo", "eth0"}}}, id1},
		{"second", network.Facts{Dir: dir, Network: &there, Leases: addrs("172.29.0.2")}, id2},
		{"crowded", network.Facts{Dir: "/tmp/it's here/network", Machine: &network.Machine{
			MTU:     9001,
			Used:    prefixes("127.0.0.0/8", "172.17.0.0/16", "172.29.3.0/24", "172.30.255.255/32", "172.16.0.0/12", "10.88.0.0/16"),
			Names:   []string{"lo", "docker0", "vitro0", "vitro1"},
			Filters: []string{"ip filter FORWARD"},
		}}, "a name, not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.facts.Plan(c.id)
			if err != nil {
				t.Fatal(err)
			}
			p := plan.Plan{Title: c.name}
			p.Append(a.Before...)
			p.Append(a.After...)
			got := p.Text(false)
			for _, h := range steps(a) {
				if u := h.Undo(); u != nil {
					got += "undo: " + u.Line() + "\n"
				}
			}
			for _, w := range a.Warnings {
				got += "warning: " + w + "\n"
			}
			golden(t, filepath.Join("testdata", c.name+".txt"), got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant (%s):\n%s", got, path, want)
	}
}

func TestPlanTakesTheLowestFreeAddress(t *testing.T) {
	for _, c := range []struct {
		leases []netip.Addr
		want   string
	}{
		{nil, "172.29.0.2/16"},
		{addrs("172.29.0.3"), "172.29.0.2/16"},
		{addrs("172.29.0.2", "172.29.0.3", "172.29.0.5"), "172.29.0.4/16"},
		{addrs("172.29.0.2", "172.29.0.3"), "172.29.0.4/16"},
	} {
		a, err := network.Facts{Network: &there, Leases: c.leases}.Plan(id1)
		if err != nil || a.Address.String() != c.want {
			t.Errorf("Plan with %v leased = %v, %v; want %s", c.leases, a.Address, err, c.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	var full []netip.Addr
	for a := netip.MustParseAddr("172.29.0.2"); len(full) < 1023; a = a.Next() {
		full = append(full, a)
	}
	for _, c := range []struct {
		name  string
		facts network.Facts
		id    string
		is    error
		want  string
	}{
		{"no ID", network.Facts{Network: &there}, "", nil, "join network: a container without an ID"},
		{"as many as a bridge takes", network.Facts{Network: &there, Leases: full}, id1, network.ErrFull, "1023 containers"},
		{"no range", network.Facts{Machine: &network.Machine{Used: prefixes("172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16")}}, id1, nil, "overlaps with an address, a route or a name server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.facts.Plan(c.id)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("Plan = %v; want %q", err, c.want)
			}
		})
	}
	if _, err := (network.Facts{Network: &there, Leases: full[1:]}).Plan(id1); err != nil {
		t.Errorf("with one place left: %v", err)
	}
}

func TestLinkNames(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{id1, id2, "web", "web2", "0123456789", "0123456789abcdef", "Web", strings.Repeat("x", 200)} {
		a, err := (network.Facts{Network: &there}).Plan(id)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Link) > 15 {
			t.Errorf("link %q of %q: longer than 15 bytes", a.Link, id)
		}
		if other, ok := seen[a.Link]; ok && other[:10] != id[:10] {
			t.Errorf("%q and %q have the same link %q", id, other, a.Link)
		}
		seen[a.Link] = id
	}
}

func TestActionsKnowsTheInverses(t *testing.T) {
	a, err := (network.Facts{Network: &there}).Plan(id1)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range steps(a) {
		if u := h.Undo(); u != nil && (network.Actions(u.Verb()) == nil || network.Actions(u.Verb()).Verb() != u.Verb()) {
			t.Errorf("undo of %s: no action %q", h.Verb(), u.Verb())
		}
	}
	if a := network.Actions("mount"); a != nil {
		t.Errorf("Actions(mount) = %v", a)
	}
}
