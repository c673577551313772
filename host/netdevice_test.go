// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// ownNetwork moves the test's thread into a network namespace of its own, for
// good, and starts a process in another.
func ownNetwork(t *testing.T) (other *plan.Env) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, to make network devices and to ask about them")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN, for network namespaces: %v", err)
	}
	cmd := exec.Command("cat") // until its input ends
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return &plan.Env{Pid: cmd.Process.Pid}
}

func ip(t *testing.T, e *plan.Env, args string) string {
	t.Helper()
	words := append([]string{"ip"}, strings.Fields(args)...)
	if e != nil {
		words = append([]string{"nsenter", "-n", "-t", fmt.Sprint(e.Pid)}, words...)
	}
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

func veth(t *testing.T, name string) *host.Link {
	t.Helper()
	ip(t, nil, "link add "+name+" mtu 1400 type veth peer name p-"+name)
	ip(t, nil, "link set "+name+" up")
	ip(t, nil, "addr add 192.0.2.7/24 dev "+name)
	ip(t, nil, "addr add 2001:db8::7/64 dev "+name+" nodad")
	ip(t, nil, "addr add 192.0.2.8/24 dev "+name+" valid_lft 1000 preferred_lft 1000") // not permanent
	l, err := host.FindLink(name)
	if err != nil || l == nil || l.Kind != "veth" || len(l.Address) != 12 {
		t.Fatalf("FindLink: %+v, %v", l, err)
	}
	return l
}

// TestNetDevice moves a device with its addresses, and sets it up.
func TestNetDevice(t *testing.T) {
	for _, c := range []struct{ to, arrives string }{{"inside", "inside"}, {"port", "port"}, {"e%d", "e0"}} {
		t.Run(c.to, func(t *testing.T) {
			e := ownNetwork(t)
			l := veth(t, "port")
			a := &host.NetDevice{Name: "port", To: c.to, Link: *l}
			do(t, a, e)
			got := ip(t, e, "-o addr show dev "+c.arrives)
			for _, want := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s is not there:\n%s", want, got)
				}
			}
			if strings.Contains(got, "192.0.2.8") {
				t.Errorf("an address that was lent is there:\n%s", got)
			}
			if link := ip(t, e, "-o link show dev "+c.arrives); !strings.Contains(link, "mtu 1400") || !strings.Contains(link, ",UP") {
				t.Errorf("the device is not what it was, and up: %s", link)
			}
			if l, err := host.FindLink("port"); l != nil || err != nil {
				t.Errorf("it is still here: %v, %v", l, err)
			}
		})
	}
}

// TestNetDeviceComesBack: what can't arrive is where it was, as it was.
func TestNetDeviceComesBack(t *testing.T) {
	e := ownNetwork(t)
	l := veth(t, "port")
	ip(t, e, "link add taken type veth peer name other")
	err := (&host.NetDevice{Name: "port", To: "taken", Link: *l}).Do(e)
	if err == nil || err.Error() != `the container's network namespace has a device "taken" already` {
		t.Errorf("a name that is taken: %v", err)
	}
	// The name of the device itself is there as well: it can't even go.
	ip(t, e, "link add port type veth peer name another")
	if err := (&host.NetDevice{Name: "port", To: "port", Link: *l}).Do(e); err == nil {
		t.Error("two devices of a name")
	}
	got := ip(t, nil, "-o addr show dev port")
	for _, want := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is gone:\n%s", want, got)
		}
	}
	if err := (&host.NetDevice{Name: "nowhere", To: "x"}).Do(e); err == nil || err.Error() != "there is no network device of this name" {
		t.Errorf("no such device: %v", err)
	}
}

// TestNameBack: a physical device gets its name back; no other device does.
func TestNameBack(t *testing.T) {
	ownNetwork(t)
	l := veth(t, "inside") // as the kernel would return it
	physical := &host.NetDevice{Name: "eth1", To: "inside", Link: host.Link{Address: l.Address}}
	wrong := &host.NetDevice{Name: "eth2", To: "inside", Link: host.Link{Address: "020202020202"}}
	undo(t, wrong)
	if got, _ := host.FindLink("inside"); got == nil {
		t.Fatal("another device has been renamed")
	}
	undo(t, physical)
	undo(t, physical)
	if got, _ := host.FindLink("eth1"); got == nil || got.Address != l.Address {
		t.Errorf("the device has not got its name back: %v", got)
	}
	for _, a := range []*host.NetDevice{
		{Name: "a", To: "b", Link: host.Link{Kind: "veth"}}, {Name: "a", To: "b", Joined: true}, {Name: "a", To: "a"}, {Name: "a", To: "e%d"},
	} {
		if u := a.Undo(); u != nil {
			t.Errorf("%s has an inverse: %s", a.Line(), u.Line())
		}
	}
}

func TestFindLinkOfNone(t *testing.T) {
	if l, err := host.FindLink("no-such-link"); l != nil || err != nil {
		t.Errorf("%v, %v", l, err)
	}
	if l, err := host.FindLink("lo"); err != nil || l != nil && l.Kind != "" {
		t.Errorf("lo: %+v, %v", l, err)
	}
}
