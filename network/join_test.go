// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vitro/network"
	"vitro/network/rules"
	"vitro/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addrs(texts ...string) (as []netip.Addr) {
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

const dir = "/var/lib/vitro/network"

var there = network.Network{Dir: dir + "/bridge", Name: network.Default, Driver: network.DriverBridge, Bridge: "vitro0",
	Subnet: netip.MustParsePrefix("172.29.0.0/16"), Gateway: netip.MustParseAddr("172.29.0.1"), MTU: 1500}

var web = network.Network{Dir: dir + "/web", Name: "web", Driver: network.DriverBridge, Bridge: "vitro1", MTU: 1500,
	Subnet: netip.MustParsePrefix("10.129.0.0/22"), Gateway: netip.MustParseAddr("10.129.0.1"),
	Subnet6: netip.MustParsePrefix("fd01:203:405::/64"), Gateway6: netip.MustParseAddr("fd01:203:405::1")}

func place(n network.Network, texts ...string) network.Place {
	p := network.Place{Network: n}
	for i, a := range addrs(texts...) {
		if i == 0 {
			p.Address = a
		} else {
			p.Address6 = a
		}
	}
	return p
}

// changed is a network that differs from another.
func changed(n network.Network, f func(*network.Network)) network.Network {
	f(&n)
	return n
}

func wishes(names ...string) (list []network.Wish) {
	for _, n := range names {
		list = append(list, network.Wish{Network: n})
	}
	return list
}

func TestPlanGolden(t *testing.T) {
	denies := rules.Chain{Family: "ip", Table: "filter", Name: "FORWARD", Hook: "forward", Type: "filter", Policy: "drop"}
	six, old := denies, denies
	six.Family, old.Legacy = "ip6", true
	crowded := &network.Machine{Rules: []rules.Chain{denies, six, old}}
	ports := []network.Port{{HostPort: 8080, Container: 80, Proto: "tcp"}, {Host: addrs("127.0.0.1")[0], HostPort: 5353, Container: 53, Proto: "udp"}, {Host: addrs("2001:db8::1")[0], HostPort: 5353, Container: 53, Proto: "udp"}}
	internal := changed(web, func(n *network.Network) { n.Name, n.Internal = "inside", true })
	lan := changed(web, func(n *network.Network) {
		n.Name, n.Driver, n.Bridge, n.Parent, n.Mode = "lan", network.DriverMacvlan, "", "up0", "bridge"
	})
	for _, c := range []struct {
		name    string
		facts   network.Facts
		request network.Request
	}{
		{"first", network.Facts{Dir: dir, Machine: crowded, Networks: []network.Place{place(there, "172.29.0.2")}}, network.Request{ID: id1, Name: "box", Wishes: wishes(network.Default)}},
		{"ports", network.Facts{Dir: dir, IPv6: true, Networks: []network.Place{place(web, "10.129.0.2", "fd01:203:405::2")}, Ports: ports},
			network.Request{ID: id2, Name: "web1", Wishes: []network.Wish{{Network: "web", Aliases: []string{"www", "api"}, MAC: "02:00:00:00:00:07", Interface: "up"}}, Ports: []network.PortWish{{Low: 8080, High: 8080, Container: 80, Proto: "tcp"}}}},
		{"several", network.Facts{Dir: dir, Networks: []network.Place{place(internal, "10.129.0.2", "fd01:203:405::2"), place(lan, "10.129.0.9", "fd01:203:405::9"), place(there, "172.29.0.2")}},
			network.Request{ID: "a name, not a number", Wishes: wishes("inside", "lan", network.Default)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.facts.Plan(c.request)
			if err != nil {
				t.Fatal(err)
			}
			p := plan.Plan{Title: c.name}
			p.Append(a.Before...)
			p.Append(a.After...)
			record, err := a.Record("/c")
			if err != nil {
				t.Fatal(err)
			}
			p.Append(record...)
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

func TestPlanRefuses(t *testing.T) {
	one := []network.Place{place(there, "172.29.0.2")}
	six := []network.Place{place(web, "10.129.0.2", "fd01:203:405::2")}
	port := func(host string) []network.Port {
		p := network.Port{HostPort: 80, Container: 80, Proto: "tcp"}
		if host != "" {
			p.Host = addrs(host)[0]
		}
		return []network.Port{p}
	}
	for _, c := range []struct {
		name  string
		facts network.Facts
		r     network.Request
		want  string
	}{
		{"no ID", network.Facts{Networks: one}, network.Request{Wishes: wishes("bridge")}, "join network: a container without an ID"},
		{"the gateway's address", network.Facts{Networks: []network.Place{place(there, "172.29.0.1")}}, network.Request{ID: id1, Wishes: wishes("bridge")}, `join network "bridge": use address 172.29.0.1: it is no container's address in 172.29.0.0/16`},
		{"an address outside", network.Facts{Networks: []network.Place{place(there, "10.0.0.1")}}, network.Request{ID: id1, Wishes: wishes("bridge")}, `it is no container's address in 172.29.0.0/16`},
		{"IPv6 without", network.Facts{Networks: []network.Place{place(there, "172.29.0.2", "fd00::2")}}, network.Request{ID: id1, Wishes: wishes("bridge")}, `use address fd00::2: it is no container's address in a network without IPv6`},
		{"twice", network.Facts{Networks: append(one, one...)}, network.Request{ID: id1, Wishes: wishes("bridge", "bridge")}, "it is named twice"},
		{"two links of a name", network.Facts{Networks: append(one, six...)}, network.Request{ID: id1, Wishes: []network.Wish{{Network: "bridge"}, {Network: "web", Interface: "eth0"}}}, "there is a link eth0 already"},
		{"loopback's name", network.Facts{Networks: one}, network.Request{ID: id1, Wishes: []network.Wish{{Network: "bridge", Interface: "lo"}}}, `use "lo" as the name of a link`},
		{"a group's address", network.Facts{Networks: one}, network.Request{ID: id1, Wishes: []network.Wish{{Network: "bridge", MAC: "01:00:00:00:00:01"}}}, `use "01:00:00:00:00:01" as a hardware address`},
		{"an alias of two words", network.Facts{Networks: one}, network.Request{ID: id1, Wishes: []network.Wish{{Network: "bridge", Aliases: []string{"a b"}}}}, `use "a b" as an alias`},
		{"ports without a way in", network.Facts{Networks: []network.Place{place(changed(web, func(n *network.Network) { n.Internal = true }), "10.129.0.2")}, Ports: port("")}, network.Request{ID: id1, Wishes: wishes("web")},
			"publish 80/tcp: the container is on no network that can be reached from outside"},
		{"a port of IPv6 without", network.Facts{Networks: one, Ports: port("::")}, network.Request{ID: id1, Wishes: wishes("bridge")}, "publish :: 80/tcp: this machine has no IPv6"},
		{"a port of IPv6, SCTP", network.Facts{IPv6: true, Networks: one, Ports: []network.Port{{Host: addrs("::")[0], HostPort: 80, Container: 80, Proto: "sctp"}}}, network.Request{ID: id1, Wishes: wishes(network.Default)}, "publish :: 80/sctp: the kernel can't translate it, and SCTP is not carried otherwise"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.facts.Plan(c.r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Plan = %v; want %q", err, c.want)
			}
		})
	}
}

func TestLinkNames(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{id1, id2, "web", "web2", "0123456789", "0123456789abcdef", "Web", strings.Repeat("x", 200)} {
		a, err := network.Facts{Networks: []network.Place{place(there, "172.29.0.2"), place(web, "10.129.0.2")}}.Plan(network.Request{ID: id, Wishes: wishes("bridge", "web")})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range a.Endpoints {
			if len(e.Link) > 15 {
				t.Errorf("link %q of %q: longer than 15 bytes", e.Link, id)
			}
			if other, ok := seen[e.Link]; ok && other != id[:10]+fmt.Sprint(i) {
				t.Errorf("%q and %q have the same link %q", id, other, e.Link)
			}
			seen[e.Link] = (id + "          ")[:10] + fmt.Sprint(i)
		}
	}
}

func TestActionsKnowsTheInverses(t *testing.T) {
	a, err := network.Facts{Networks: []network.Place{place(there, "172.29.0.2")}, Ports: []network.Port{{HostPort: 80, Container: 80, Proto: "tcp"}}}.Plan(network.Request{ID: id1, Wishes: wishes("bridge")})
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
