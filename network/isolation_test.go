// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"vitro/network"
	"vitro/plan"
)

// With routed addresses, an outside host that knows the way to the subnet is answered, and sees the containers' own addresses; a
// published port is reached by the container's address, and nothing else is. Without, they leave with the host's.
func TestRouted(t *testing.T) {
	if !fresh(t) {
		return
	}
	if !hasIPv6() {
		t.Skip("needs IPv6 in the kernel")
	}
	state := t.TempDir()
	other := world(t)
	in := func(pid int, script string) string {
		t.Helper()
		return sh(t, fmt.Sprintf("nsenter -t %d -n sh -ec %s", pid, plan.Quote(script)))
	}
	sh(t, "ip addr add 2001:db8::1/64 dev uplink nodad; ip -6 route add default via 2001:db8::2")
	routed := create(t, state, network.Definition{Name: "routed", Subnets: []string{"2001:db8:1::/64"}, Options: map[string]string{"gateway_mode_ipv6": "routed"}})
	nat := create(t, state, network.Definition{Name: "nat", Subnets: []string{"2001:db8:2::/64"}})
	in(other, fmt.Sprintf("ip addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add %s via 2001:db8::1; ip -6 route add %s via 2001:db8::1", routed.Subnet6, nat.Subnet6))
	before := machine(t, state)
	server(t, other, "70")
	var all []network.Attachment
	for i, c := range []struct {
		network, seen, reached string // as whom the outside host sees it; whom the container sees by its own address
	}{{"routed", "2001:db8:1::2", "2001:db8::2"}, {"nat", "2001:db8::1", ""}} {
		pid := process(t)
		a := join(t, network.Request{StateDir: state, ID: []string{id1, id2}[i], Wishes: wishes(c.network), Ports: ports(t, fmt.Sprintf("808%d:80", i))})
		all = append(all, a)
		do(t, a, pid, -1)
		server(t, pid, "80")
		server(t, pid, "81")
		own := a.Endpoints[0].Address6.Addr().String()
		for _, q := range []struct {
			from          int
			address, sees string
		}{
			{pid, "[2001:db8::2]:70", c.seen},
			{other, "[2001:db8::1]:808" + fmt.Sprint(i), "2001:db8::2"},
			{other, "[" + own + "]:80", c.reached},
			{other, "[" + own + "]:81", ""},
		} {
			for _, proto := range []string{"tcp", "udp"} {
				want := q.sees
				if proto == "udp" && strings.HasSuffix(q.address, "]:80") {
					want = "" // published for TCP only
				}
				if proto == "udp" && strings.Contains(q.address, "::1]") {
					continue
				}
				if got := eventually(q.from, proto, q.address, want); got != want {
					t.Errorf("%s: %s %s is %q to the server, want %q", c.network, proto, q.address, got, want)
				}
			}
		}
		if got, want := ping(other, own, 2), c.reached != ""; got != want {
			t.Errorf("%s: ping from outside is answered: %t", c.network, got)
		}
	}
	for _, a := range all {
		undo(t, a, -1)
	}
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// A bridge that passes the loopback's packets on must not open the loopback to containers (CVE-2020-8558).
func TestContainersDontReachTheLoopback(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	world(t)
	server(t, os.Getpid(), "90") // listens on all addresses, 127.0.0.1 too
	pid := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes(network.Default), Ports: ports(t, "8080:80")})
	do(t, a, pid, -1)
	gw := a.Gateway().String()
	if got := eventually(pid, "tcp", gw+":90", a.Address().String()); got == "" {
		t.Fatal("the container doesn't even reach the host")
	}
	if got := strings.TrimSpace(sh(t, "cat /proc/sys/net/ipv4/conf/vitro0/route_localnet")); got != "1" {
		t.Errorf("route_localnet is %s: nothing is tested here", got)
	}
	// As root in its namespace, it sends packets for 127.0.0.1 to the gateway.
	sh(t, fmt.Sprintf("nsenter -t %d -n sh -ec 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via %s dev eth0 src %s'", pid, gw, a.Address()))
	for _, proto := range []string{"tcp", "udp"} {
		if got := ask(pid, proto, "127.0.0.1:90", "who"); got != "" {
			t.Errorf("a container has reached the host's 127.0.0.1 by %s, as %s", proto, got)
		}
	}
	undo(t, a, -1)
}

// A network that is internal has neither a way out nor a way in, whatever its containers try.
func TestInternal(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	create(t, state, network.Definition{Name: "in", Internal: true})
	before := machine(t, state)
	one, two := process(t), process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("in")})
	do(t, a, one, -1)
	b := join(t, network.Request{StateDir: state, ID: id2, Wishes: wishes("in")})
	do(t, b, two, -1)
	if !ping(one, b.Address().String(), long) {
		t.Error("its containers don't reach each other")
	}
	if out := sh(t, fmt.Sprintf("nsenter -t %d -n ip route show default; cat /proc/sys/net/ipv4/ip_forward", one)); strings.TrimSpace(out) != "0" {
		t.Errorf("there is a way out, or forwarding is on: %s", out)
	}
	n := a.Before[0].Action.(*network.Lease).Network
	sh(t, fmt.Sprintf("echo 1 >/proc/sys/net/ipv4/ip_forward; nsenter -t %d -n ip route add default via %s; nsenter -t %d -n ip route add %s via 192.0.2.1", one, n.Gateway, other, n.Subnet))
	if ping(one, "192.0.2.2", 1) || ping(other, a.Address().String(), 1) {
		t.Error("packets get in or out")
	}
	sh(t, "echo 0 >/proc/sys/net/ipv4/ip_forward")
	undo(t, a, -1)
	undo(t, b, -1)
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}
