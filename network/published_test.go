// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network"
	"vitro/network/relay"
)

func create(t *testing.T, state string, d network.Definition) network.Network {
	t.Helper()
	n, _, err := network.Create(state, d, [5]byte([]byte(d.Name+"12345")), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ports(t *testing.T, texts ...string) (list []network.PortWish) {
	t.Helper()
	for _, s := range texts {
		ws, err := network.ParsePorts(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, ws...)
	}
	return list
}

// Two networks, three containers, the host, and another host: who reaches whom, and as whom.
func TestPublishedPorts(t *testing.T) {
	if !fresh(t) {
		return
	}
	if !hasIPv6() {
		t.Skip("needs IPv6 in the kernel")
	}
	state := t.TempDir()
	other := world(t)
	sh(t, fmt.Sprintf("ip addr add 2001:db8::1/64 dev uplink nodad; nsenter -t %d -n ip addr add 2001:db8::2/64 dev eth0 nodad", other))
	n := create(t, state, network.Definition{Name: "web", IPv6: true})
	create(t, state, network.Definition{Name: "red", IPv6: true})
	before := machine(t, state)

	web, neighbour, stranger := process(t), process(t), process(t)
	wish := []network.Wish{{Network: "web"}}
	a := join(t, network.Request{StateDir: state, ID: id1, Name: "web", Wishes: wish, Ports: ports(t, "8080:80", "8080:80/udp", "127.0.0.1:8081:80", "192.0.2.1:8082:80", "[2001:db8::1]:8083:80", "[::1]:8084:80")})
	do(t, a, web, -1)
	carry(t, a)
	b := join(t, network.Request{StateDir: state, ID: id2, Wishes: wish})
	do(t, b, neighbour, -1)
	c := join(t, network.Request{StateDir: state, ID: "stranger", Wishes: []network.Wish{{Network: "red"}}})
	do(t, c, stranger, -1)
	server(t, web, "80")

	gw, gw6 := n.Gateway.String(), n.Gateway6.String()
	own, six := a.Address().String(), a.Endpoints[0].Address6.Addr().String()
	me, here := os.Getpid(), netip.AddrPort.String
	at := func(addr string, port uint16) string {
		return here(netip.AddrPortFrom(netip.MustParseAddr(addr), port))
	}
	for _, c := range []struct {
		name, proto string
		from        int
		to, want    string // want: whom the server sees; "": not reached
	}{
		{"outside", "tcp", other, at("192.0.2.1", 8080), "192.0.2.2"},
		{"outside, UDP", "udp", other, at("192.0.2.1", 8080), "192.0.2.2"},
		{"outside, IPv6", "tcp", other, at("2001:db8::1", 8080), "2001:db8::2"},
		{"outside, IPv6, UDP", "udp", other, at("2001:db8::1", 8080), "2001:db8::2"},
		{"outside, a port of that address", "tcp", other, at("192.0.2.1", 8082), "192.0.2.2"},
		{"outside, a port of that address, IPv6", "tcp", other, at("2001:db8::1", 8083), "2001:db8::2"},
		{"outside, a port of the loopback's", "tcp", other, at("192.0.2.1", 8081), ""},
		{"outside, a port that is not published", "tcp", other, at("192.0.2.1", 80), ""},
		{"host, loopback", "tcp", me, at("127.0.0.1", 8080), gw},
		{"host, loopback, UDP", "udp", me, at("127.0.0.1", 8080), gw},
		{"host, a port of the loopback's", "tcp", me, at("127.0.0.1", 8081), gw},
		{"host, another address of the loopback", "tcp", me, at("127.0.0.7", 8080), gw},
		{"host, own address", "tcp", me, at("192.0.2.1", 8080), "192.0.2.1"},
		{"host, own address, IPv6", "tcp", me, at("2001:db8::1", 8080), "2001:db8::1"},
		{"host, bridge's address", "tcp", me, at(gw, 8080), gw},
		{"host, IPv6's loopback", "tcp", me, at("::1", 8080), gw6},
		{"host, IPv6's loopback, UDP", "udp", me, at("::1", 8080), gw6},
		{"host, a port of IPv6's loopback", "tcp", me, at("::1", 8084), gw6},
		{"host, a port of IPv4's loopback, by IPv6", "tcp", me, at("::1", 8081), ""},
		{"outside, a port of IPv6's loopback", "tcp", other, at("2001:db8::1", 8084), ""},
		{"host, directly", "tcp", me, at(own, 80), gw},
		{"neighbour by the host", "tcp", neighbour, at("192.0.2.1", 8080), gw},
		{"neighbour by the host, UDP", "udp", neighbour, at("192.0.2.1", 8080), gw},
		{"neighbour by the host, IPv6", "tcp", neighbour, at("2001:db8::1", 8080), gw6},
		{"neighbour by the gateway", "tcp", neighbour, at(gw, 8080), gw},
		{"neighbour directly", "tcp", neighbour, at(own, 80), b.Address().String()},
		{"neighbour directly, IPv6", "tcp", neighbour, at(six, 80), b.Endpoints[0].Address6.Addr().String()},
		{"itself by the host", "tcp", web, at("192.0.2.1", 8080), gw},
		{"another network by the host", "tcp", stranger, at("192.0.2.1", 8080), gw},
		{"another network directly", "tcp", stranger, at(own, 80), ""},
		{"another network directly, IPv6", "tcp", stranger, at(six, 80), ""},
	} {
		if got := eventually(c.from, c.proto, c.to, c.want); got != c.want {
			t.Errorf("%s: %s %s is %q to the server, want %q", c.name, c.proto, c.to, got, c.want)
		}
	}
	const size = "100000000"
	if got := ask(other, "tcp", at("192.0.2.1", 8080), size); got != size {
		t.Errorf("100 MB from outside: %s bytes have come", got)
	}
	sh(t, fmt.Sprintf("nsenter -t %d -n ip route add %s via 192.0.2.1; nsenter -t %[1]d -n ip -6 route add %[3]s via 2001:db8::1", other, n.Subnet, n.Subnet6))
	for _, to := range []string{at(own, 80), at(six, 80)} {
		if got := ask(other, "tcp", to, "who"); got != "" {
			t.Errorf("a neighbour of the host's has reached %s, as %s", to, got)
		}
	}
	for _, x := range []network.Attachment{a, b, c} {
		undo(t, x, -1)
		undo(t, x, -1)
	}
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// carry does what the process beside the container does: it carries ports that the kernel can't translate.
func carry(t *testing.T, a network.Attachment) {
	t.Helper()
	file := filepath.Join(t.TempDir(), relay.File)
	if err := os.WriteFile(file, []byte(relay.Text(a.Relays())), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := relay.New(file, nil)
	if err != nil || s == nil {
		t.Fatalf("carry ports: %v, %v", s, err)
	}
	go func() {
		for {
			if _, err := s.Work(); err != nil {
				t.Error(err)
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.Fd()), Events: unix.POLLIN}}, -1)
		}
	}()
}

// A container that has IPv4 only is to be had by IPv6 all the same: from ::1, from the host, from outside, and
// from a container that has IPv6.
func TestPublishedByIPv6(t *testing.T) {
	if !fresh(t) {
		return
	}
	if !hasIPv6() {
		t.Skip("needs IPv6 in the kernel")
	}
	state := t.TempDir()
	other := world(t)
	sh(t, fmt.Sprintf("ip addr add 2001:db8::1/64 dev uplink nodad; nsenter -t %d -n ip addr add 2001:db8::2/64 dev eth0 nodad", other))
	six := create(t, state, network.Definition{Name: "six", IPv6: true})
	before := machine(t, state)
	web, stranger := process(t), process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Name: "web", Wishes: wishes(network.Default),
		Ports: ports(t, "8080:80", "8080:80/udp", "[::1]:8081:80", "[2001:db8::1]:8082:80", "[::]:8083:80", "127.0.0.1:8084:80")})
	do(t, a, web, -1)
	carry(t, a)
	b := join(t, network.Request{StateDir: state, ID: id2, Wishes: wishes("six")})
	do(t, b, stranger, -1)
	server(t, web, "80")
	gw, me := a.Gateway().String(), os.Getpid()
	for _, c := range []struct {
		from     int
		proto    string
		to, want string // want: whom the server sees
	}{
		{me, "tcp", "127.0.0.1:8080", gw},
		{me, "tcp", "[::1]:8080", gw},
		{me, "udp", "[::1]:8080", gw},
		{me, "tcp", "[2001:db8::1]:8080", gw},
		{me, "udp", "[2001:db8::1]:8080", gw},
		{other, "tcp", "[2001:db8::1]:8080", gw},
		{other, "udp", "[2001:db8::1]:8080", gw},
		{stranger, "tcp", "[" + six.Gateway6.String() + "]:8080", gw},
		{me, "tcp", "[::1]:8081", gw},
		{me, "tcp", "127.0.0.1:8081", ""},
		{other, "tcp", "[2001:db8::1]:8081", ""},
		{other, "tcp", "[2001:db8::1]:8082", gw},
		{me, "tcp", "[::1]:8082", ""},
		{other, "tcp", "[2001:db8::1]:8083", gw},
		{other, "tcp", "192.0.2.1:8083", ""},
		{me, "tcp", "[::1]:8084", ""},
	} {
		if got := eventually(c.from, c.proto, c.to, c.want); got != c.want {
			t.Errorf("%s %s is %q to the server, want %q", c.proto, c.to, got, c.want)
		}
	}
	const size = "100000000"
	if got := ask(other, "tcp", "[2001:db8::1]:8080", size); got != size {
		t.Errorf("100 MB from outside: %s bytes have come", got)
	}
	undo(t, a, -1)
	undo(t, b, -1)
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// A host that has turned IPv6 off publishes by IPv4 alone, and says so to who asks for more.
func TestHostWithoutIPv6(t *testing.T) {
	if !fresh(t) {
		return
	}
	if hasIPv6() {
		sh(t, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
	}
	state := t.TempDir()
	other := world(t)
	before := machine(t, state)
	web := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Name: "web", Wishes: wishes(network.Default), Ports: ports(t, "8080:80", "8080:80/udp")})
	do(t, a, web, -1)
	server(t, web, "80")
	for _, proto := range []string{"tcp", "udp"} {
		if got := eventually(other, proto, "192.0.2.1:8080", "192.0.2.2"); got != "192.0.2.2" {
			t.Errorf("%s from another host is %q to the server", proto, got)
		}
		if got := eventually(os.Getpid(), proto, "127.0.0.1:8080", a.Gateway().String()); got != a.Gateway().String() {
			t.Errorf("%s from the host is %q to the server", proto, got)
		}
	}
	r := network.Request{StateDir: state, ID: id2, Wishes: wishes(network.Default), Ports: ports(t, "[::1]:8081:80")}
	facts, err := network.Read(r)
	if err == nil {
		_, err = facts.Plan(r)
	}
	if err == nil || !strings.Contains(err.Error(), "this machine has no IPv6") && !strings.Contains(err.Error(), "cannot assign requested address") {
		t.Errorf("a port at ::1: %v", err)
	}
	undo(t, a, -1)
	if _, _, err := network.Create(state, network.Definition{Name: "six", IPv6: true}, [5]byte{}, time.Time{}); err == nil || !strings.Contains(err.Error(), "this machine has no IPv6") {
		t.Errorf("create a network of IPv6: %v", err)
	}
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// Every fifth packet between the host and the container is lost. TCP comes through, by rules and carried.
func TestLoss(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	web := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes(network.Default), Ports: ports(t, "8080:80")})
	do(t, a, web, -1)
	list := []struct {
		from int
		to   string
	}{{other, "192.0.2.1:8080"}, {os.Getpid(), "127.0.0.1:8080"}}
	if hasIPv6() {
		carry(t, a)
		list = append(list, struct {
			from int
			to   string
		}{os.Getpid(), "[::1]:8080"})
	}
	server(t, web, "80")
	sh(t, fmt.Sprintf("nsenter -t %d -n nft 'create table inet loss; create chain inet loss in { type filter hook input priority 0; }; add rule inet loss in iifname eth0 tcp flags & (syn | rst) == 0 numgen inc mod 5 < 1 counter drop; create chain inet loss out { type filter hook output priority 0; }; add rule inet loss out oifname eth0 tcp flags & (syn | rst) == 0 numgen inc mod 5 < 1 counter drop'", web))
	for _, c := range list {
		const size = "10000000"
		if got := ask(c.from, "tcp", c.to, size); got != size {
			t.Errorf("%s: %q bytes of %s have come", c.to, got, size)
		}
	}
	if out := sh(t, fmt.Sprintf("nsenter -t %d -n nft list ruleset", web)); strings.Contains(out, "packets 0 ") {
		t.Errorf("no packet was lost: %s", out)
	}
	undo(t, a, -1)
}

// SCTP goes through the same maps. A kernel that has it is asked for an association; of one that has not, only
// what nft(8) reads in the table.
func TestSCTP(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	create(t, state, network.Definition{Name: "web", IPv6: hasIPv6()})
	pid := process(t)
	a := join(t, network.Request{StateDir: state, ID: id1, Name: "web", Wishes: wishes("web"), Ports: ports(t, "8080:80/sctp", "192.0.2.1:8081:80/sctp")})
	do(t, a, pid, -1)
	rules := sh(t, "nft list ruleset")
	own := a.Address().String()
	for _, want := range []string{"sctp . 8080 comment \"web\" : " + own + " . 80", "192.0.2.1 . sctp . 8081 comment \"web\" : " + own + " . 80"} {
		if !strings.Contains(rules, want) {
			t.Errorf("no %q in:\n%s", want, rules)
		}
	}
	if len(a.Relays()) > 0 {
		t.Errorf("SCTP is carried: %v", a.Relays())
	}
	defer undo(t, a, -1)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if err != nil {
		t.Skipf("needs SCTP in the kernel, to send some: %v", err)
	}
	unix.Close(fd)
	serve := in(pid, "sctp-serve 80")
	out, err := serve.StdoutPipe()
	if err == nil {
		err = serve.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serve.Process.Kill(); _ = serve.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("SCTP server: %q", line)
	}
	for _, c := range []struct {
		from     int
		to, want string
	}{{other, "192.0.2.1:8080", "192.0.2.2"}, {other, "192.0.2.1:8081", "192.0.2.2"}, {os.Getpid(), "192.0.2.1:8080", "192.0.2.1"}} {
		if got := eventually(c.from, "sctp", c.to, c.want); got != c.want {
			t.Errorf("%s is %q to the server, want %q", c.to, got, c.want)
		}
	}
}

// A port that is taken is refused before anything is made, with its owner's name; and one that
// is published can't be taken.
func TestTakenPorts(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	world(t)
	l, err := net.Listen("tcp4", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := join(t, network.Request{StateDir: state, ID: id1, Name: "web", Wishes: wishes(network.Default), Ports: ports(t, "8080:80", "127.0.0.1:8081:80", "8082:80/udp")})
	do(t, a, process(t), -1)
	before := machine(t, state)
	for _, c := range []struct{ port, want string }{
		{"7777:80", fmt.Sprintf("publish port 7777/tcp: it is taken by process %d (", os.Getpid())},
		{"7770-7776:80", ""},
		{"192.0.2.1:7777:80", ""},
		{"127.0.0.1:7777:80", fmt.Sprintf("it is taken by process %d (", os.Getpid())},
		{"8080:80", `publish port 8080/tcp: it is taken by container "web"`},
		{"127.0.0.1:8080:80", `publish port 8080/tcp of 127.0.0.1: it is taken by container "web"`},
		{"8081:80", `it is taken by container "web"`},
		{"192.0.2.1:8081:80", ""},
		{"8082:80/udp", `it is taken by container "web"`},
		{"8082:80", ""},
		{"9999-10001:80", ""},
		{"80", ""},
		{"192.0.2.77:80:80", "publish port 80/tcp of 192.0.2.77: cannot assign requested address"},
	} {
		f, err := network.Read(network.Request{StateDir: state, ID: id2, Wishes: wishes(network.Default), Ports: ports(t, c.port)})
		switch {
		case c.want == "" && (err != nil || len(f.Ports) != 1 || f.Ports[0].HostPort == 0):
			t.Errorf("%s: %v, %v", c.port, f.Ports, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v; want %q", c.port, err, c.want)
		}
	}
	for _, address := range []string{":8080", "127.0.0.1:8080", "192.0.2.1:8080"} {
		if l, err := net.Listen("tcp4", address); err == nil {
			l.Close()
			t.Errorf("a process gets %s, which is published", address)
		}
	}
	if after := machine(t, state); after != before {
		t.Errorf("a refusal has changed:\n%s\nbefore:\n%s", after, before)
	}
	undo(t, a, -1)
	l2, err := net.Listen("tcp4", ":8080")
	if err != nil {
		t.Fatalf("the port isn't given back: %v", err)
	}
	l2.Close()
}
