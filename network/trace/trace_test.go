// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/network/topology"
	"vitro/test/island"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// hooksOf are events of our own table, at hooks that are named with a + for late.
func hooksOf(from, to string, names ...string) (list []Event) {
	for _, n := range names {
		hook, late := strings.CutSuffix(n, "+")
		list = append(list, Event{Hook: hook, Late: late, Source: addr(from), Destination: addr(to)})
	}
	return list
}

func direct(link string) Route { return Route{Link: link, Neighbour: "reachable"} }

// All that may be said, from facts alone.
func TestExplainGolden(t *testing.T) {
	const me, web = "10.0.8.2:5000", "10.0.9.11:80"
	out := hooksOf(me, web, "output", "output+", "postrouting", "postrouting+")
	far := Place{Name: "far", Command: "nsenter -t 7 -n ", To: addr(web), Tables: true, There: out, Route: Route{Link: "eth0", Via: netip.MustParseAddr("10.0.8.1"), Next: "host"}}
	through := Place{Name: "host", To: addr(web), Tables: true, From: "far-0", Forward: true, Route: Route{Link: "br0", Next: "web"},
		There: hooksOf(me, web, "prerouting", "prerouting+", "forward", "forward+", "postrouting", "postrouting+")}
	end := Place{Name: "web", Command: "nsenter -t 8 -n ", To: addr(web), Tables: true, From: "eth0", Route: Route{Local: true, Link: "lo"},
		There: hooksOf(me, web, "prerouting", "prerouting+", "input", "input+"), Sockets: []Socket{{netip.MustParseAddr("0.0.0.0"), 9, "nginx"}}}
	edit := func(p Place, f func(*Place)) Place { f(&p); return p }
	stuck := func(f func(*Place)) Place {
		return edit(through, func(p *Place) { p.There = hooksOf(me, web, "prerouting", "prerouting+"); f(p) })
	}
	var b strings.Builder
	for _, c := range []struct {
		name    string
		outcome unix.Errno
		udp     bool
		places  []Place
	}{
		{"connected", 0, false, []Place{far, through, end}},
		{"nobody listens", unix.ECONNREFUSED, false, []Place{far, through, edit(end, func(p *Place) { p.Sockets = nil })}},
		{"listens on loopback only", unix.ECONNREFUSED, false, []Place{far, through, edit(end, func(p *Place) { p.Sockets = []Socket{{netip.MustParseAddr("127.0.0.1"), 9, "nginx"}} })}},
		{"no route", unix.ENETUNREACH, false, []Place{{Name: "far", To: addr(web), Tables: true, Route: Route{Err: unix.ENETUNREACH}}}},
		{"prohibited", unix.EACCES, false, []Place{{Name: "far", To: addr(web), Tables: true, Route: Route{Err: unix.EACCES}}}},
		{"blackhole", unix.EINVAL, false, []Place{{Name: "far", To: addr(web), Tables: true, Route: Route{Err: unix.EINVAL}}}},
		{"forwarding is off", unix.ETIMEDOUT, false, []Place{far, stuck(func(p *Place) { p.Forward = false })}},
		{"rp_filter", unix.ETIMEDOUT, false, []Place{far, stuck(func(p *Place) { p.Filter, p.Reverse = 1, direct("eth7") })}},
		{"martian", unix.ETIMEDOUT, false, []Place{far, stuck(func(*Place) {})}},
		{"rule", unix.ETIMEDOUT, false, []Place{far, edit(through, func(p *Place) {
			p.There = append(hooksOf(me, web, "prerouting", "prerouting+", "forward"), Event{Chain: "inet t f", Rule: "tcp dport 80 drop", Handle: 11, Drop: true, Source: addr(me), Destination: addr(web)})
		})}},
		{"policy", unix.ETIMEDOUT, false, []Place{far, edit(through, func(p *Place) {
			p.There = append(hooksOf(me, web, "prerouting", "prerouting+", "forward"), Event{Chain: "inet t f", Policy: true, Drop: true, Source: addr(me), Destination: addr(web)})
		})}},
		{"iptables", unix.ETIMEDOUT, false, []Place{far, edit(through, func(p *Place) {
			p.There, p.Dropped = hooksOf(me, web, "prerouting", "prerouting+", "forward"), []string{"rule 1 of chain ip filter FORWARD: drop"}
		})}},
		{"unknown filter", unix.ETIMEDOUT, false, []Place{far, edit(through, func(p *Place) { p.There = hooksOf(me, web, "prerouting", "prerouting+", "forward") })}},
		{"forbidden at once", unix.EPERM, false, []Place{edit(far, func(p *Place) {
			p.There = append(hooksOf(me, web, "output"), Event{Chain: "ip filter OUTPUT", Rule: "\x1b[2Jdrop", Handle: 3, Drop: true, Source: addr(me), Destination: addr(web)})
		})}},
		{"nobody answers", unix.EHOSTUNREACH, false, []Place{edit(far, func(p *Place) { p.Route = Route{Link: "eth0", Neighbour: "failed"} })}},
		{"other end is off", unix.EHOSTUNREACH, false, []Place{far, edit(through, func(p *Place) { p.Route.NextOff = "eth0" }), edit(end, func(p *Place) { p.There = nil })}},
		{"lost on a bridge", unix.ETIMEDOUT, false, []Place{far, through, edit(end, func(p *Place) { p.There = nil })}},
		{"link is off", unix.ETIMEDOUT, false, []Place{edit(far, func(p *Place) { p.Route.LinkDown = true })}},
		{"rewritten", 0, false, []Place{far, edit(through, func(p *Place) {
			p.There = append(hooksOf(me, "192.0.2.1:8080", "prerouting"), p.There[1:]...)
			p.There[1].Rule, p.There[1].Chain, p.There[1].Rewrites = "dnat to 10.0.9.11:80", "ip nat pre", true
		}), end}},
		{"answer is dropped", unix.ETIMEDOUT, false, []Place{far, edit(through, func(p *Place) { p.Back = []Event{{Chain: "inet t f", Policy: true, Drop: true}} }), end}},
		{"outside", unix.ETIMEDOUT, false, []Place{edit(far, func(p *Place) { p.Route.Next = "" })}},
		{"refused outside", unix.ECONNREFUSED, false, []Place{edit(far, func(p *Place) { p.Route.Next = "" })}},
		{"UDP arrives", unix.ETIMEDOUT, true, []Place{far, through, end}},
		{"UDP outside", unix.ETIMEDOUT, true, []Place{edit(far, func(p *Place) { p.Route.Next = "" })}},
		{"an ordinary user", unix.ETIMEDOUT, false, []Place{edit(far, func(p *Place) { p.Tables, p.There, p.Route.Next = false, nil, "" })}},
		{"closed", unix.ETIMEDOUT, false, []Place{edit(far, func(p *Place) { p.Closed = "not allowed" })}},
	} {
		r := Explain(&Result{Request: Request{To: addr(web), UDP: c.udp}, Outcome: c.outcome, Sent: c.outcome != unix.ENETUNREACH && c.outcome != unix.EPERM, Places: c.places})
		fmt.Fprintf(&b, "--- %s: reached %t\n%s", c.name, r.Reached, r)
	}
	const file = "testdata/explain.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got:\n%s\nwant (%s):\n%s", b.String(), file, want)
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("an escape sequence gets through")
	}
}

func fresh(t *testing.T) bool {
	t.Helper()
	return island.FreshProcesses(t, "nft", "sysctl")
}

var sh = island.Sh

// listener waits in a namespace by its name.
func listener(t *testing.T, name string, kind int, at string) {
	t.Helper()
	a := addr(at)
	err := netns.In("/run/netns/"+name, func() error {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()})
		if err == nil && kind == unix.SOCK_STREAM {
			err = unix.Listen(fd, 10)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A machine with two containers on a bridge, and one with a cable of its own.
const scene = `
ip link add br0 type bridge; ip link set br0 up; ip addr add 10.0.9.1/24 dev br0
for i in 1 2; do
	ip netns add web$i; ip link add v$i type veth peer name eth0 netns web$i; ip link set v$i master br0 up
	ip -n web$i link set lo up; ip -n web$i addr add 10.0.9.1$i/24 dev eth0; ip -n web$i link set eth0 up; ip -n web$i route add default via 10.0.9.1
done
ip addr add fd00::1/64 dev br0 nodad; ip -n web1 addr add fd00::11/64 dev eth0 nodad
ip netns add far; ip link add vfar type veth peer name eth0 netns far; ip link set vfar up; ip addr add 10.0.8.1/24 dev vfar
ip -n far addr add 10.0.8.2/24 dev eth0; ip -n far link set eth0 up; ip -n far route add default via 10.0.8.1`

const forwardOn = "sysctl -qw net.ipv4.ip_forward=1; "

const published = forwardOn + `nft 'table inet t { map ports { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 8080 : 10.0.9.11 . 80 }; }; chain pre { type nat hook prerouting priority dstnat; fib daddr type local dnat ip to meta l4proto . th dport map @ports; }; }'`

// Real packets, against real rules; and each time nothing is left behind.
func TestRun(t *testing.T) {
	if !fresh(t) {
		return
	}
	sh(t, scene)
	listener(t, "web1", unix.SOCK_STREAM, "0.0.0.0:80")
	listener(t, "web1", unix.SOCK_STREAM, "127.0.0.1:81")
	listener(t, "web1", unix.SOCK_DGRAM, "0.0.0.0:53")
	for _, c := range []struct {
		name, setup, back string
		from, to          string
		udp               bool
		want              string
		reached           bool
	}{
		{"from the host", "", "", "", "10.0.9.11:80", false, "connected", true},
		{"over the bridge", "", "", "web2", "10.0.9.11:80", false, "connected", true},
		{"UDP", "", "", "web2", "10.0.9.11:53", true, "it arrives; no answer came back", true},
		{"IPv6", "", "", "", "[fd00::11]:80", false, "nobody waits for port 80/tcp here", false},
		{"nobody listens", "", "", "web2", "10.0.9.11:82", false, "nobody waits for port 82/tcp", false},
		{"on loopback only", "", "", "web2", "10.0.9.11:81", false, "nobody waits for 81/tcp on 10.0.9.11, but a program on 127.0.0.1", false},
		{"no such host", "", "", "web2", "10.0.9.99:80", false, "nobody answers to the question who has 10.0.9.99 on eth0", false},
		{"no route", "", "", "", "10.77.0.1:80", false, "there is no route to 10.77.0.1", false},
		{"blackhole", "ip route add blackhole 10.5.0.0/16", "ip route del blackhole 10.5.0.0/16", "", "10.5.0.1:80", false, "a route throws away what is for 10.5.0.1", false},
		{"forwarding is off", "sysctl -qw net.ipv4.ip_forward=0", "", "far", "10.0.9.11:80", false, "sysctl -w net.ipv4.ip_forward=1", false},
		{"forwarded", forwardOn, "", "far", "10.0.9.11:80", false, "connected", true},
		{"published", published, "nft flush ruleset", "far", "10.0.8.1:8080", false, "10.0.8.1:8080 becomes 10.0.9.11:80", true},
		{"rule", forwardOn + "nft 'table ip t { chain f { type filter hook forward priority 0; tcp dport 80 drop; }; }'", "nft flush ruleset", "far", "10.0.9.11:80", false, "chain ip t f ends it by rule 2: tcp dport 80 drop", false},
		{"reject", forwardOn + "nft 'table ip t { chain f { type filter hook forward priority 0; tcp dport 80 reject; }; }'", "nft flush ruleset", "far", "10.0.9.11:80", false, "chain ip t f ends it by rule 2: tcp dport 80 reject", false},
		{"policy", forwardOn + "nft 'table ip t { chain f { type filter hook forward priority 0; policy drop; }; }'", "nft flush ruleset", "far", "10.0.9.11:80", false, "the policy of chain ip t f is to drop", false},
		{"a name like a verdict", forwardOn + "nft 'table ip t { chain reject-log { }; chain f { type filter hook forward priority 0; policy drop; jump reject-log; }; }'", "nft flush ruleset", "far", "10.0.9.11:80", false, "the policy of chain ip t f is to drop", false},
		{"answer", forwardOn + "nft 'table ip t { chain f { type filter hook forward priority 0; tcp sport 80 drop; }; }'", "nft flush ruleset", "far", "10.0.9.11:80", false, "chain ip t f ends the answer by rule 2: tcp sport 80 drop", false},
		{"at the container", "ip netns exec web1 nft 'table ip t { chain i { type filter hook input priority 0; policy drop; }; }'", "ip netns exec web1 nft flush ruleset", "", "10.0.9.11:80", false, "the policy of chain ip t i is to drop", false},
		{"at once", "nft 'table ip t { chain o { type filter hook output priority 0; tcp dport 80 drop; }; }'", "nft flush ruleset", "", "10.0.9.11:80", false, "chain ip t o ends it by rule 2", false},
		{"rp_filter", forwardOn + "sysctl -qw net.ipv4.conf.vfar.rp_filter=1; ip route add 10.0.8.2/32 dev br0", "ip route del 10.0.8.2/32 dev br0; sysctl -qw net.ipv4.conf.vfar.rp_filter=0", "far", "10.0.9.11:80", false, "rp_filter throws it away: it came in by vfar, but by br0 is the way back to 10.0.8.2", false},
		{"bridge's filter", "nft 'table bridge t { chain f { type filter hook forward priority 0; policy drop; }; }'", "nft flush ruleset", "web2", "10.0.9.11:80", false, "✗", false},
		{"link is off", "ip -n web1 link set eth0 down", "ip -n web1 link set eth0 up", "", "10.0.9.11:80", false, "link eth0 of web1 is off", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh(t, ":; "+c.setup)
			before := sh(t, "nft list ruleset; ip netns exec web1 nft list ruleset")
			m, err := topology.Read(nil)
			if err != nil {
				t.Fatal(err)
			}
			r := Request{To: addr(c.to), UDP: c.udp}
			if c.from != "" {
				r.From = m.Find(c.from).ID
			}
			res, err := Run(m, r)
			if err != nil {
				t.Fatal(err)
			}
			got := Explain(res)
			if got.Reached != c.reached || !strings.Contains(got.String(), c.want) {
				t.Errorf("reached %t, want %t, and %q in\n%s", got.Reached, c.reached, c.want, got)
			}
			if after := sh(t, "nft list ruleset; ip netns exec web1 nft list ruleset"); after != before {
				t.Errorf("rules after:\n%s\nbefore:\n%s", after, before)
			}
			sh(t, ":; "+c.back)
		})
	}
}

func TestIptablesLegacy(t *testing.T) {
	if !fresh(t) {
		return
	}
	if _, err := exec.LookPath("iptables-legacy"); err != nil {
		t.Skip("needs iptables-legacy")
	}
	sh(t, scene+"; "+forwardOn)
	listener(t, "web1", unix.SOCK_STREAM, "0.0.0.0:80")
	sh(t, "iptables-legacy -A FORWARD -p tcp --dport 80 -j DROP")
	if _, err := os.ReadFile("/proc/thread-self/net/ip_tables_names"); err != nil {
		t.Skipf("needs the names of the tables, which only the machine's root may read: %v", err)
	}
	m, err := topology.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(m, Request{To: addr("10.0.9.11:80"), From: m.Find("far").ID})
	if err != nil {
		t.Fatal(err)
	}
	const want = "iptables ends it at forward: rule 1 of chain ip filter FORWARD: tcp dport 80 drop"
	if got := Explain(res); got.Reached || !strings.Contains(got.String(), want) {
		t.Errorf("reached %t, want %q in\n%s", got.Reached, want, got)
	}
}

// An ordinary user is told what the kernel tells everybody.
func TestRunAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs to be run by an ordinary user")
	}
	m, err := topology.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(m, Request{To: addr("127.0.0.1:9")})
	if err != nil {
		t.Fatal(err)
	}
	got := Explain(res)
	for _, want := range []string{"127.0.0.1 is an address of this namespace", "the firewall does here can't be seen", "nobody waits for port 9/tcp here"} {
		if got.Reached || !strings.Contains(got.String(), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// The table is the kernel's to remove: when we are killed, too.
func TestTableGoesWithUs(t *testing.T) {
	if !fresh(t) {
		return
	}
	w, err := watch(unix.IPPROTO_TCP, 7777)
	if err != nil {
		t.Fatal(err)
	}
	if got := sh(t, "nft list ruleset"); !strings.Contains(got, "vitro-trace-") || !strings.Contains(got, "meta l4proto tcp th sport 7777 meta nftrace set 1") && !strings.Contains(got, "tcp sport 7777 meta nftrace set 1") {
		t.Errorf("as nft sees it: %s", got)
	}
	w.close()
	if got := sh(t, "nft list ruleset"); got != "" {
		t.Errorf("left: %s", got)
	}
}

// Whatever the kernel might say: no panic, no loop.
func FuzzEvent(f *testing.F) {
	f.Add(message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_TRACE, 0, unix.NFPROTO_INET, 0, text(unix.NFTA_TRACE_TABLE, "t"), number(unix.NFTA_TRACE_TYPE, 3)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		w := &watcher{table: "t"}
		for m := range messages(b) {
			if len(m.data) > 4 {
				w.event(attributes(m.data[4:]), m.data[0], make(map[string][2]netip.AddrPort))
			}
		}
	})
}
