// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"vitro/network"
)

// Who else decides about what is forwarded, in nftables and in the older tables, is named.
func TestFilters(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	world(t)
	n := create(t, state, network.Definition{Name: "web"})
	look := func() (names []string) {
		t.Helper()
		list, err := network.ReadFilters(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			names = append(names, f.Chain)
			if f.Legacy {
				names[len(names)-1] += " legacy"
			}
		}
		return names
	}
	for _, c := range []struct{ name, script, want string }{
		{"nobody", "", "[]"},
		{"accepts", "nft 'create table ip filter; create chain ip filter FORWARD { type filter hook forward priority filter; policy accept; }'", "[]"},
		{"policy", "nft 'chain ip filter FORWARD { policy drop; }'", "[ip filter FORWARD]"},
		{"policy of what comes in", "nft 'chain ip filter FORWARD { policy accept; }; create chain ip filter INPUT { type filter hook input priority filter; policy drop; }'", "[]"},
		{"as firewalld", "nft 'create table inet firewalld; create chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }; add rule inet firewalld filter_FORWARD ct state established accept; add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited'",
			"[inet firewalld filter_FORWARD]"},
		{"only some", "nft 'flush chain inet firewalld filter_FORWARD; add rule inet firewalld filter_FORWARD ip saddr 10.0.0.0/8 drop'", "[]"},
		{"IPv6 only", "nft 'create table ip6 filter; create chain ip6 filter FORWARD { type filter hook forward priority filter; policy drop; }'", "[]"},
	} {
		sh(t, c.script)
		if got := fmt.Sprint(look()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if out, err := exec.Command("iptables-legacy", "-P", "FORWARD", "DROP").CombinedOutput(); err != nil {
		t.Skipf("needs iptables-legacy, and its tables in the kernel: %v: %s", err, out)
	}
	if got := fmt.Sprint(look()); got != "[ip filter FORWARD legacy]" {
		t.Errorf("iptables-legacy: %s", got)
	}
	pid := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("web")})
	do(t, a, pid, -1)
	if ping(pid, "192.0.2.2", 1) {
		t.Error("a chain of somebody else that drops was overridden")
	}
	list, err := network.ReadFilters(n)
	if err != nil {
		t.Fatal(err)
	}
	_, remedy, _ := strings.Cut(list[0].Warning(n), "to let them: ")
	sh(t, remedy)
	if !ping(pid, "192.0.2.2", long) {
		t.Errorf("no answer after %q", remedy)
	}
	sh(t, "iptables-legacy -P FORWARD ACCEPT")
	if got := fmt.Sprint(look()); got != "[]" {
		t.Errorf("iptables-legacy that accepts: %s", got)
	}
	undo(t, a, -1)
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
