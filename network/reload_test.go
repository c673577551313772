// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"strings"
	"testing"

	"vitro/network"
)

// Somebody flushes all rules, or some. The next container of the network brings back a table that is gone, a reload all.
func TestRulesComeBack(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	world(t)
	n := create(t, state, network.Definition{Name: "web"})
	if up, err := n.Reload(); up || err != nil {
		t.Errorf("Reload() of a network that is down = %t, %v", up, err)
	}
	pid := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("web"), Ports: ports(t, "8080:80", "9000-9300:9000-9300/udp")})
	do(t, a, pid, -1)
	look := func() string {
		return sh(t, "nft list ruleset; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/"+n.Bridge+"/route_localnet")
	}
	rules := look()
	if !strings.Contains(rules, "udp . 9300") {
		t.Errorf("not all ports are there:\n%s", rules)
	}
	if fault, err := n.Fault(); fault != "" || err != nil {
		t.Errorf("Fault() with all in place = %q, %v", fault, err)
	}
	reload := func() {
		if up, err := n.Reload(); !up || err != nil {
			t.Errorf("Reload() = %t, %v", up, err)
		}
	}
	another := func() {
		b := join(t, network.Request{StateDir: state, ID: id2, Wishes: wishes("web")})
		do(t, b, process(t), -1)
		undo(t, b, -1)
	}
	for _, c := range []struct {
		harm, fault string
		mend        func()
	}{
		{"nft flush ruleset", "table inet vitro0 is not there", reload},
		{"nft flush ruleset", "table inet vitro0 is not there", another},
		{"nft flush table inet vitro0", "chain guard of table inet vitro0 has 0 rules of 2", reload},
		{"nft flush chain inet vitro0 published", "chain published of table inet vitro0 has 0 rules of 2", reload},
		{"nft flush chain inet vitro0 forward; nft delete chain inet vitro0 forward", "chain forward of table inet vitro0 has 0 rules of 3", reload},
		{"echo 0 >/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward is 0", reload},
		{"echo 0 >/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward is 0", another},
		{"nft flush ruleset; echo 0 >/proc/sys/net/ipv4/conf/" + n.Bridge + "/route_localnet", "table inet vitro0 is not there", reload},
		{":", "", reload},
	} {
		sh(t, c.harm)
		if fault, err := n.Fault(); fault != c.fault || err != nil {
			t.Errorf("after %s: Fault() = %q, %v; want %q", c.harm, fault, err, c.fault)
		}
		c.mend()
		if now := look(); now != rules {
			t.Errorf("after %s: now:\n%s\nbefore:\n%s", c.harm, now, rules)
		}
	}
	undo(t, a, -1)
}
