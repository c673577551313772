// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"vitro/network"
	"vitro/network/rules"
)

// Who else decides about what is forwarded, in nftables and in the older tables, is named, with what it does.
func TestFilters(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	n := create(t, state, network.Definition{Name: "web"})
	pid := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("web"), Ports: ports(t, "8080:80")})
	do(t, a, pid, -1)
	for i, name := range []string{"red", "inside"} {
		create(t, state, network.Definition{Name: name, Internal: name == "inside"})
		do(t, join(t, network.Request{StateDir: state, ID: fmt.Sprint("stranger", i), Wishes: wishes(name)}), process(t), -1)
	}
	server(t, pid, "80")
	server(t, other, "70")
	const forward = "hook forward priority filter; policy accept;"
	for _, c := range []struct{ name, script, want string }{
		{"nobody but another network of ours", ":", ""},
		{"accepts", "nft 'create table ip filter; create chain ip filter FORWARD { type filter " + forward + " }'", ""},
		{"policy", "nft 'chain ip filter FORWARD { policy drop; }'", "ip filter FORWARD ports drop out drop"},
		{"policy of what comes in", "nft 'chain ip filter FORWARD { policy accept; }; create chain ip filter INPUT { type filter hook input priority filter; policy drop; }'", "open"},
		{"as firewalld", "nft 'create table inet firewalld; create chain inet firewalld f { type filter " + forward + " }; add rule inet firewalld f ct state { established, related } accept; add rule inet firewalld f ct status dnat accept; add rule inet firewalld f reject with icmpx admin-prohibited'",
			"inet firewalld f ports accept out drop; open"},
		{"only some", "nft 'delete table inet firewalld; add rule ip filter FORWARD ip saddr 10.77.0.0/16 drop'", "ip filter FORWARD ports depends out depends"},
		{"the bridge goes free", "nft 'insert rule ip filter FORWARD oifname " + n.Bridge + " accept; insert rule ip filter FORWARD iifname " + n.Bridge + " accept'", "open"},
		{"IPv6 only", "nft 'delete table ip filter; create table ip6 filter; create chain ip6 filter FORWARD { type filter hook forward priority filter; policy drop; }'", ""},
	} {
		sh(t, c.script)
		if got := decision(t, n); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if strings.Contains(c.want, "depends") {
			continue
		}
		compare(t, n, pid, other)
	}
	if out, err := exec.Command("iptables-legacy", "-P", "FORWARD", "DROP").CombinedOutput(); err != nil {
		t.Skipf("needs iptables-legacy, and its tables in the kernel: %v: %s", err, out)
	}
	if _, err := os.ReadFile("/proc/thread-self/net/ip_tables_names"); err != nil {
		t.Skipf("needs the names of the tables, which only the machine's root may read: %v", err)
	}
	if got := decision(t, n); got != "ip filter FORWARD legacy ports drop out drop" {
		t.Fatalf("iptables-legacy: %s", got)
	}
	compare(t, n, pid, other)
	sh(t, n.Filters(chains(t))[0].Remedy(n))
	if got := decision(t, n); got != "" {
		t.Errorf("iptables-legacy, after the remedy: %s", got)
	}
	compare(t, n, pid, other)
	undo(t, a, -1)
}

func chains(t *testing.T) []rules.Chain {
	t.Helper()
	list, err := rules.Read()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// decision is who decides about the network's packets, in short.
func decision(t *testing.T, n network.Network) string {
	t.Helper()
	var list []string
	all := chains(t)
	for _, f := range n.Filters(all) {
		s := f.Chain
		if f.Legacy {
			s += " legacy"
		}
		list = append(list, fmt.Sprintf("%s ports %s out %s", s, f.Ports, f.Out))
	}
	for _, note := range n.Notes(all) {
		if strings.HasPrefix(note, "published ports are open to other machines") {
			list = append(list, "open")
		}
	}
	return strings.Join(list, "; ")
}

// compare holds what is said of the network against traffic: its port 8080, and the other host's 70.
func compare(t *testing.T, n network.Network, pid, other int) {
	t.Helper()
	ports, out := true, true
	for _, f := range n.Filters(chains(t)) {
		if f.IPv4 {
			ports, out = ports && f.Ports == rules.Accept, out && f.Out == rules.Accept
		}
	}
	for _, c := range []struct {
		what     string
		from     int
		to, want string
		open     bool
	}{{"a published port", other, "192.0.2.1:8080", "192.0.2.2", ports}, {"the world", pid, "192.0.2.2:70", "192.0.2.1", out}} {
		want := c.want
		if !c.open {
			want = ""
		}
		if got := eventually(c.from, "tcp", c.to, want); got != want {
			t.Errorf("%s: %q answers, want %q, as it is said: %q", c.what, got, want, decision(t, n))
		}
	}
}

// A container on the wire that one of the host's links is on: who is at the other end sees it there.
func TestMacvlan(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	create(t, state, network.Definition{Name: "lan", Driver: network.DriverMacvlan, Subnets: []string{"192.0.2.0/24"}, Gateways: []string{"192.0.2.2"},
		Ranges: []string{"192.0.2.128/25"}, Options: map[string]string{"parent": "uplink"}})
	before := machine(t, state)
	pid := process(t)
	r := network.Request{StateDir: state, ID: id1, Wishes: []network.Wish{{Network: "lan", MAC: "02:00:00:00:00:07"}}}
	a := join(t, r)
	if a.Address().String() != "192.0.2.128" {
		t.Errorf("address %s", a.Address())
	}
	if err := try(steps(a), pid); err != nil {
		t.Skipf("needs macvlan in the kernel: %v", err)
	}
	server(t, other, "80")
	if got := eventually(pid, "tcp", "192.0.2.2:80", "192.0.2.128"); got != "192.0.2.128" {
		t.Errorf("the other host sees %q", got)
	}
	if got := sh(t, fmt.Sprintf("nsenter -t %d -n ip neigh show 192.0.2.128", other)); !strings.Contains(got, "02:00:00:00:00:07") {
		t.Errorf("the other host knows it as %q", got)
	}
	undo(t, a, -1)
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}
