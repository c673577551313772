// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vitro/network"
	"vitro/plan"
)

func TestTwoContainersAndTheWorld(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	other := world(t)
	before := machine(t, state)

	pid1, pid2 := process(t), process(t)
	a1 := attach(t, state, id1)
	do(t, a1, pid1, -1)
	a2 := attach(t, state, id2)
	do(t, a2, pid2, -1)
	if n, err := network.Lookup(state, network.Default); err != nil || n.MTU != 1400 {
		t.Errorf("MTU is %d, the uplink's is 1400; %v", n.MTU, err)
	}
	ip2 := a2.Address().String()
	for _, c := range []struct {
		name string
		pid  int
		addr string
		want bool
	}{
		{"container to gateway", pid1, a1.Gateway().String(), true},
		{"container to container", pid1, ip2, true},
		{"container to the host's other address", pid2, "192.0.2.1", true},
		{"container to the world, which has no route back", pid2, "192.0.2.2", true},
		{"host to container", os.Getpid(), ip2, true},
	} {
		if got := ping(c.pid, c.addr, long); got != c.want {
			t.Errorf("%s: answer is %t, want %t", c.name, got, c.want)
		}
	}
	// A neighbour that uses the host as its router must not get through.
	sh(t, fmt.Sprintf("nsenter -t %d -n ip route add %s via 192.0.2.1", other, a1.Endpoints[0].Address.Masked()))
	if ping(other, ip2, 1) {
		t.Error("a neighbour on the uplink reached a container")
	}

	undo(t, a1, -1)
	if !ping(pid2, "192.0.2.2", long) {
		t.Error("with the first container gone, the second lost its network")
	}
	undo(t, a1, -1)
	undo(t, a2, -1)
	undo(t, a2, -1)
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// A crash may come after any step, or in the last one before it has done a
// thing; another container may have the network, or not.
func TestUndoAfterCrash(t *testing.T) {
	if !fresh(t) {
		return
	}
	for _, shared := range []bool{false, true} {
		state := t.TempDir()
		if shared {
			do(t, attach(t, state, id2), process(t), -1)
		}
		before := machine(t, state)
		for done := range len(steps(attach(t, state, id1))) + 1 {
			for _, written := range []int{done, done + 1} { // the undo list is written first
				a := attach(t, state, id1)
				pid, end := start(t)
				do(t, a, pid, done)
				n := min(written, len(steps(a)))
				if written > done { // the container's end may come first, or last
					end()
				}
				undo(t, a, n)
				undo(t, a, n)
				end()
				if after := machine(t, state); after != before {
					t.Errorf("shared %t, %d steps done, %d written down: left behind:\n%s\nbefore:\n%s", shared, done, n, after, before)
				}
			}
		}
	}
}

func TestNoDescriptorLeaks(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	pid := process(t)
	open := func() int {
		a := attach(t, state, id1)
		do(t, a, pid, -1)
		undo(t, a, -1)
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	first := open() // with those that the Go runtime keeps
	if again := open(); again != first {
		t.Errorf("%d descriptors are open after a container, %d after the next", first, again)
	}
}

// Whoever finds a release in an undo list may find the work half done.
func TestReleaseFinishesWhatACrashLeft(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	before := machine(t, state)
	a := attach(t, state, id1)
	do(t, a, process(t), 1)
	const file = "network/bridge/network.json"
	record, err := os.ReadFile(filepath.Join(state, file))
	if err != nil {
		t.Fatal(err)
	}
	undo(t, a, 1)
	made := "mkdir -p network/bridge; printf %s " + plan.Quote(string(record)) + " >" + file + "; "
	for _, c := range []struct{ name, after string }{
		{"nothing done", ""},
		{"folder of all networks", "mkdir network"},
		{"folder of the network", "mkdir -p network/bridge"},
		{"folder of leases", "mkdir -p network/bridge/leases"},
		{"no lease yet", made + "mkdir network/bridge/leases"},
		{"on the way down", made + "mkdir network/bridge/closing"},
		{"on the way down, with the lease", made + "mkdir network/bridge/closing; ln -s " + id1 + " network/bridge/closing/172.29.0.2"},
		{"bridge left", made + "ip link add vitro0 address fe:76:ac:1d:00:01 type bridge"},
		{"table left", made + "nft create table inet vitro0"},
		{"names and ports left", made + "mkdir network/bridge/names network/bridge/ports; touch network/bridge/names/.x network/bridge/ports/x"},
		{"record left", made},
		{"forwarding on", "mkdir network; ln -s \"0 $(cat /proc/sys/kernel/random/boot_id)\" network/forward; echo 1 >/proc/sys/net/ipv4/ip_forward"},
		{"forwarding of IPv6 on", "mkdir network; ln -s \"0 $(cat /proc/sys/kernel/random/boot_id)\" network/forward6; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"},
		{"forwarding off again", "mkdir network; ln -s \"0 $(cat /proc/sys/kernel/random/boot_id)\" network/forward"},
	} {
		sh(t, "cd "+plan.Quote(state)+"; "+c.after)
		undo(t, a, 1)
		if after := machine(t, state); after != before {
			t.Fatalf("%s: left behind:\n%s\nbefore:\n%s", c.name, after, before)
		}
	}
}

func TestReleaseLeavesOthersAlone(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	pid := process(t)
	a := attach(t, state, id1)
	late := attach(t, state, id2) // with the same facts, so with the same address
	if a.Address() != late.Address() {
		t.Fatalf("addresses %s and %s of the same facts", a.Address(), late.Address())
	}
	do(t, a, pid, -1)
	before := machine(t, state)
	if err := late.Before[0].Action.(plan.Host).Do(nil); !errors.Is(err, network.ErrTaken) {
		t.Errorf("lease of a leased address: %v; want ErrTaken", err)
	}
	undo(t, late, 1)
	other := *late.Before[0].Action.(*network.Lease)
	other.Addresses, other.Network.Bridge = addrs("172.29.0.9"), "vitro1"
	if err := other.Do(nil); !errors.Is(err, network.ErrTaken) {
		t.Errorf("lease in a network that was made differently: %v; want ErrTaken", err)
	}
	if err := other.Undo().Do(nil); err != nil {
		t.Error(err)
	}
	undo(t, attach(t, state, id2), 1)
	if after := machine(t, state); after != before {
		t.Errorf("undo of a lease that failed: now:\n%s\nbefore:\n%s", after, before)
	}
}

// Forwarding was off, vitro turned it on, and another engine has come since.
func TestForwardingStaysForOthers(t *testing.T) {
	if !fresh(t) {
		return
	}
	forwarding := func() string { return strings.TrimSpace(sh(t, "cat /proc/sys/net/ipv4/ip_forward")) }
	state := t.TempDir()
	for _, c := range []struct{ name, meanwhile, want string }{
		{"nobody else", "", "0"},
		{"another bridge", "ip link add docker0 type bridge", "1"},
		{"it was on before", "", "1"},
		{"recorded before the last boot", "ip link del docker0; ln -sfT '0 another-boot' " + plan.Quote(state) + "/network/forward", "1"},
		{"another network of ours", "mkdir -p " + plan.Quote(state) + "/network/red/leases; ln -sfT \"0 $(cat /proc/sys/kernel/random/boot_id)\" " + plan.Quote(state) + "/network/forward", "1"},
		{"the last of our networks", "rm -r " + plan.Quote(state) + "/network/red", "0"},
	} {
		a := attach(t, state, id1)
		do(t, a, process(t), -1)
		if got := forwarding(); got != "1" {
			t.Errorf("%s: ip_forward is %s with a container", c.name, got)
		}
		sh(t, c.meanwhile)
		undo(t, a, -1)
		if got := forwarding(); got != c.want {
			t.Errorf("%s: ip_forward is %s, want %s", c.name, got, c.want)
		}
	}
}

// All kernel parameters of the namespace are what they were before, once the last network is down: those that
// forwarding changes besides are links' own forwarding, accept_ra and accept_redirects.
func TestKernelParametersAsBefore(t *testing.T) {
	if !fresh(t) {
		return
	}
	if !hasIPv6() {
		t.Skip("needs IPv6 in the kernel")
	}
	state := t.TempDir()
	world(t)
	sh(t, `
ip link add strict type veth peer name router
for v in 4 6; do echo 1 >/proc/sys/net/ipv$v/conf/router/forwarding; done
echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects
echo 0 >/proc/sys/net/ipv6/conf/strict/accept_ra; echo 1 >/proc/sys/net/ipv6/conf/router/accept_ra; echo 2 >/proc/sys/net/ipv6/conf/uplink/accept_ra`)
	create(t, state, network.Definition{Name: "six", IPv6: true})
	parameters := func() string {
		var all strings.Builder
		err := filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "/nf_conntrack_count") {
				return err
			}
			if text, err := os.ReadFile(path); err == nil { // some can only be written
				fmt.Fprintf(&all, "%s: %s\n", path, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " "))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all.String()
	}
	before := parameters()
	for _, c := range []struct{ meanwhile, look, want, back string }{
		{":", ":", "", ":"},
		{"echo 0 >/proc/sys/net/ipv6/conf/lo/accept_ra", "cat /proc/sys/net/ipv6/conf/lo/accept_ra", "0\n", "echo 1 >/proc/sys/net/ipv6/conf/lo/accept_ra"},
		{"ip link add other type bridge", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/router/accept_ra", "1\n2\n", ""}, // another engine may rely on it
	} {
		a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("six", network.Default), Ports: ports(t, "8080:80")})
		do(t, a, process(t), -1)
		if out := sh(t, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/router/accept_ra"); out != "1\n2\n" {
			t.Errorf("with a container, ip_forward and accept_ra are %q", out)
		}
		sh(t, c.meanwhile)
		undo(t, a, -1)
		if out := sh(t, c.look); out != c.want {
			t.Errorf("%s: then %s prints %q, want %q", c.meanwhile, c.look, out, c.want)
		}
		if c.back == "" {
			return
		}
		sh(t, c.back)
		if after := parameters(); after != before {
			t.Errorf("%s: parameters differ:\n%s", c.meanwhile, difference(before, after))
		}
	}
}

// difference are the lines that only one of two texts has.
func difference(a, b string) string {
	var lines []string
	for _, p := range [...]struct{ sign, in, not string }{{"- ", a, b}, {"+ ", b, a}} {
		for line := range strings.Lines(p.in) {
			if !strings.Contains(p.not, line) {
				lines = append(lines, p.sign+line)
			}
		}
	}
	return strings.Join(lines, "")
}

// The machine has bridges, routes and rules of others, and name servers.
func TestReadFindsWhatOthersHave(t *testing.T) {
	if !fresh(t) {
		return
	}
	world(t)
	sh(t, `
ip link add vitro0 type bridge
ip route add 172.29.7.0/24 via 192.0.2.2
ip route add 0.0.0.0/1 via 192.0.2.2
ip route add 128.0.0.0/1 via 192.0.2.2
ip addr add 172.30.255.1/32 dev lo
ip route add blackhole 172.31.0.0/24 table 77
nft create table inet vitro1
nft 'create table ip filter; create chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }'
nft 'create chain ip filter INPUT { type filter hook input priority filter; policy drop; }'
`)
	state := t.TempDir()
	a := attach(t, state, id1)
	n := a.Before[0].Action.(*network.Lease).Network
	if got := n.Subnet.String(); got != "172.28.0.0/16" {
		t.Errorf("subnet %s, want 172.28.0.0/16", got)
	}
	if n.Bridge != "vitro2" || n.MTU != 1400 {
		t.Errorf("network %+v, want bridge vitro2 with MTU 1400", n)
	}
	if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], `"ip filter FORWARD"`) {
		t.Fatalf("warnings %q, want one of chain FORWARD", a.Warnings)
	}
	pid := process(t)
	do(t, a, pid, -1)
	if ping(pid, "192.0.2.2", 1) {
		t.Error("a chain of somebody else that drops was overridden")
	}
	_, remedy, _ := strings.Cut(a.Warnings[0], "to let all pass: ")
	sh(t, remedy)
	if !ping(pid, "192.0.2.2", long) {
		t.Errorf("no answer after %q", remedy)
	}
	undo(t, a, -1)
}

// What the printed commands make is what the actions make.
func TestShellDoesTheSame(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	world(t)
	view := func(pid int, a network.Attachment, bridge string) string {
		return fmt.Sprintf("%s%s\n%s", shared(t, bridge), sh(t, "ip -d link show "+a.Endpoints[0].Link+" | sed 's/^[0-9]*//; s/if[0-9]*//; s/link-netnsid [0-9]*//; s/_timer *[0-9.]*//g; s/ state [A-Z]*//; s/,LOWER_UP//; s/NO-CARRIER,//; s/port_id.*//; s/state [a-z]* priority/priority/'; find "+plan.Quote(state)+" -printf '%p %l\n' | sort"),
			sh(t, fmt.Sprintf("nsenter -t %d -n sh -c \"ip -4 addr; ip -6 addr show eth0 scope global; cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip route; ip -6 route show default; ip link show eth0\" | sed 's/^[0-9]*//; s/if[0-9]*//g; s/link-netnsid [0-9]*//; s/ state [A-Z]*//; s/,LOWER_UP//; s/NO-CARRIER,//; s/ linkdown//'", pid)))
	}
	create(t, state, network.Definition{Name: "web", IPv6: hasIPv6()})
	create(t, state, network.Definition{Name: "in", Internal: true})
	create(t, state, network.Definition{Name: "routed", IPv6: hasIPv6(), Options: map[string]string{"gateway_mode_ipv6": "routed"}})
	for _, c := range []struct {
		network string
		next    string // another container that comes before the second round
	}{{"web", ""}, {"routed", ""}, {"in", ""}, {network.Default, id2}, {network.Default, ""}} {
		r := network.Request{StateDir: state, ID: id1, Name: "box", Wishes: wishes(c.network)}
		if c.network != "in" {
			r.Ports = ports(t, "8080:80", "8080-8081:80-81/udp", "127.0.0.1:8082:82")
		}
		before := machine(t, state)
		a := join(t, r)
		pid, end := start(t)
		do(t, a, pid, -1)
		bridge := a.Before[0].Action.(*network.Lease).Network.Bridge
		want := view(pid, a, bridge)
		undo(t, a, -1)
		end()

		pid, end = start(t)
		script, back := shell(a, pid)
		sh(t, script)
		if got := view(pid, a, bridge); got != want {
			t.Errorf("%s: the shell made:\n%s\nthe actions made:\n%s", c.network, got, want)
		}
		if err := exec.Command("sh", "-c", back).Run(); err != nil {
			t.Errorf("%s: undo script: %v\n%s", c.network, err, back)
		}
		end()
		if got := machine(t, state); got != before {
			t.Errorf("%s: the script left behind:\n%s\nbefore:\n%s", c.network, got, before)
		}
		if c.next != "" {
			do(t, attach(t, state, c.next), process(t), -1)
		}
	}
}

// shell is the commands of the steps, and those of their inverses.
func shell(a network.Attachment, pid int) (forth, back string) {
	forth = fmt.Sprintf("PID=%d\n", pid)
	for _, s := range slices.Concat(a.Before, a.After) {
		forth += strings.Join(s.Shell(), "\n") + "\n"
		if u := s.Action.(plan.Host).Undo(); u != nil {
			back = strings.Join(plan.Step{Action: u}.Shell(), "\n") + "\n" + back
		}
	}
	return forth, back
}
