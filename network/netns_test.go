// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"vitro/network"
	"vitro/plan"
	"vitro/test/island"
)

// fresh runs the rest of the test in namespaces of its own. The caller returns if it says false.
func fresh(t *testing.T, programs ...string) bool {
	t.Helper()
	t.Parallel() // each has a machine of its own, and waits for the kernel most of the time
	return island.Fresh(t, append([]string{"nft", "ping", "nsenter", "flock"}, programs...)...)
}

// freshRoot is fresh for what belongs to the machine's root.
func freshRoot(t *testing.T, programs ...string) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	return fresh(t, programs...)
}

var sh = island.Sh

// process starts a process in a network namespace of its own, with its loopback up.
func process(t *testing.T) int {
	t.Helper()
	pid, _ := start(t)
	return pid
}

func start(t *testing.T) (int, func()) {
	t.Helper()
	pid, end := island.Process(t)
	sh(t, fmt.Sprintf("nsenter -t %d -n ip link set lo up", pid))
	return pid, end
}

// world makes a process that stands for another host, behind an uplink.
func world(t *testing.T) (pid int) {
	t.Helper()
	pid = process(t)
	sh(t, fmt.Sprintf(`
ip link add uplink mtu 1400 type veth peer name eth0 mtu 1400 netns %[1]d
ip addr add 192.0.2.1/24 dev uplink
ip link set uplink up
nsenter -t %[1]d -n ip addr add 192.0.2.2/24 dev eth0
nsenter -t %[1]d -n ip link set eth0 up
ip route add default via 192.0.2.2
`, pid))
	return pid
}

// ping reports whether the process gets an answer from the address within some
// seconds: how soon a port of a bridge comes up depends on the kernel's queue.
func ping(pid int, addr string, seconds int) bool {
	return exec.Command("nsenter", "-t", fmt.Sprint(pid), "-n", "ping", "-n", "-q", "-c1", "-i0.2", fmt.Sprintf("-w%d", seconds), addr).Run() == nil
}

const long = 10

// machine is all that could be left behind, as the system's own tools show it:
// what is configured, not whether a carrier has been noticed yet.
func machine(t *testing.T, state string) string {
	t.Helper()
	var links []struct {
		Ifname, Master, Address string
		Flags                   []string
		MTU                     int
	}
	if err := json.Unmarshal([]byte(sh(t, "ip -j link")), &links); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range links {
		fmt.Fprintf(&b, "%s %s mtu %d master %q up %t\n", l.Ifname, l.Address, l.MTU, l.Master, slices.Contains(l.Flags, "UP"))
	}
	return b.String() + sh(t, "ip -4 addr | sed '/^[0-9]/d'; ip -4 route show table all | sed 's/ linkdown//'; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward; test ! -e /proc/sys/net/ipv6 || cat /proc/sys/net/ipv6/conf/all/forwarding; find "+plan.Quote(state)+" -printf '%p %l\n' | sort")
}

// shared is the part of it that containers share.
func shared(t *testing.T, bridge string) string {
	t.Helper()
	return sh(t, "ip -d link show "+bridge+" | sed 's/^[0-9]*//; s/ state [A-Z]*//; s/,LOWER_UP//; s/NO-CARRIER,//; s/gc_timer.*//; s/designated_root.*//; s/_timer *[0-9.]*//g'; ip -4 addr show "+bridge+" | tail -n +2; ip -6 addr show "+bridge+" scope global | tail -n +2; test ! -e /proc/sys/net/ipv6 || cat /proc/sys/net/ipv6/conf/"+bridge+"/disable_ipv6; cat /proc/sys/net/ipv4/conf/"+bridge+"/route_localnet; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward")
}

// request is for one container on the default network.
func request(state, id string) network.Request {
	return network.Request{StateDir: state, ID: id, Wishes: []network.Wish{{Network: network.Default}}}
}

func attach(t *testing.T, state, id string) network.Attachment {
	t.Helper()
	return join(t, request(state, id))
}

func join(t *testing.T, r network.Request) network.Attachment {
	t.Helper()
	f, err := network.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Plan(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func steps(a network.Attachment) []plan.Host {
	var hosts []plan.Host
	for _, s := range slices.Concat(a.Before, a.After) {
		hosts = append(hosts, s.Action.(plan.Host))
	}
	return hosts
}

// do runs the first n of the steps, all for -1.
func do(t *testing.T, a network.Attachment, pid, n int) {
	t.Helper()
	env := &plan.Env{Pid: pid, Handles: map[string]int{}}
	for i, s := range steps(a) {
		if i == n {
			return
		}
		if err := s.Do(env); err != nil {
			t.Fatalf("%s: %v", s.Line(), err)
		}
	}
}

// try runs the steps until one fails.
func try(list []plan.Host, pid int) error {
	env := &plan.Env{Pid: pid, Handles: map[string]int{}}
	for _, s := range list {
		if err := s.Do(env); err != nil {
			return fmt.Errorf("%s: %w", s.Line(), err)
		}
	}
	return nil
}

// undo does what a later process does with the undo list that it finds.
func undo(t *testing.T, a network.Attachment, n int) {
	t.Helper()
	list := steps(a)
	if n >= 0 {
		list = list[:n]
	}
	for _, s := range slices.Backward(list) {
		u := s.Undo()
		if u == nil {
			continue
		}
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		back := network.Actions(u.Verb())
		if err := json.Unmarshal(text, back); err != nil {
			t.Fatal(err)
		}
		if err := back.Do(&plan.Env{}); err != nil {
			t.Fatalf("%s: %v", back.Line(), err)
		}
	}
}

const (
	id1 = "0e9d76e79b912e8f5c099bac4ae5ab03cde1ae3cc91f9cec3d02cf50fef2032f"
	id2 = "d7f204dbd9ba0f505c099bac4ae5ab03cde1ae3cc91f9cec3d02cf50fef2032f"
)
