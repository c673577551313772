// SPDX-License-Identifier: Apache-2.0

package cable

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/test/island"
)

var update = flag.Bool("update", false, "write the golden files anew")

func prefix(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

var facts = Facts{
	Own: netns.ID{Dev: 4, Ino: 1}, Target: netns.ID{Dev: 4, Ino: 2},
	Inner: []string{"lo"},
	Links: []Link{
		{Name: "lo", Addresses: []netip.Prefix{prefix("127.0.0.1/8")}},
		{Name: "eth0", Addresses: []netip.Prefix{prefix("192.0.2.5/24")}},
		{Name: "br0", Kind: "bridge", Addresses: []netip.Prefix{prefix("10.0.0.1/24")}},
	},
}

func TestPlanGolden(t *testing.T) {
	var b strings.Builder
	for _, r := range []Request{
		{PID: 26926, Name: "consh", Host: prefix("10.1.0.1/24"), Container: prefix("10.1.0.2/24")},
		{PID: 26926, Name: "lab", Host: prefix("10.0.0.1/24"), Container: prefix("10.0.0.9/24"), Bridge: "br0", Gateway: true},
		{PID: 26926, Name: "new", Host: prefix("fd00::1/64"), Container: prefix("fd00::2/64"), Bridge: "br1", Gateway: true},
		{PID: 26926, Name: "bare"},
	} {
		p, err := Plan(r, facts)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(p.Text(false))
		for i := len(p.Steps) - 1; i >= 0; i-- {
			if u := p.Steps[i].Action.(plan.Host).Undo(); u != nil {
				b.WriteString("undo: " + u.Line() + "\n")
				if back := Actions(u.Verb()); back == nil || back.Verb() != u.Verb() {
					t.Errorf("undo of %s: no action %q", p.Steps[i].Action.Verb(), u.Verb())
				}
			}
		}
		b.WriteString("\n")
	}
	const file = "testdata/plans.txt"
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
}

func TestPlanRefuses(t *testing.T) {
	taken, own, four := facts, facts, facts
	taken.Taken, own.Target, four.NoIPv6 = true, own.Own, true
	for _, c := range []struct {
		name string
		r    Request
		f    Facts
		want string
	}{
		{"no name", Request{}, facts, `name ""`},
		{"a path", Request{Name: "../x"}, facts, "not one for a link"},
		{"an option", Request{Name: "-x"}, facts, "not one for a link"},
		{"an escape", Request{Name: "a\x1b[2J"}, facts, `name "a\x1b[2J"`},
		{"too long", Request{Name: "abcdefghijklmn"}, facts, "not one for a link"},
		{"taken", Request{Name: "x"}, taken, "it is taken"},
		{"ours", Request{Name: "x", PID: 7}, own, "process 7: it has no network namespace of its own"},
		{"same", Request{Name: "x", Host: prefix("10.0.9.1/24"), Container: prefix("10.0.9.1/24")}, facts, "given twice"},
		{"far", Request{Name: "x", Host: prefix("10.0.9.1/24"), Container: prefix("10.0.8.2/24")}, facts, "out of the other's range"},
		{"families", Request{Name: "x", Host: prefix("10.0.9.1/24"), Container: prefix("fd00::1/64")}, facts, "two families"},
		{"no IPv6", Request{Name: "x", Host: prefix("fd00::1/64")}, four, "this kernel has none"},
		{"network", Request{Name: "x", Host: prefix("10.0.9.0/24")}, facts, "are nobody's"},
		{"broadcast", Request{Name: "x", Container: prefix("10.0.9.255/24")}, facts, "are nobody's"},
		{"the host's", Request{Name: "x", Host: prefix("192.0.2.5/24")}, facts, "link eth0 has it"},
		{"the host's, inside", Request{Name: "x", Container: prefix("192.0.2.5/24")}, facts, "link eth0 has it"},
		{"gateway", Request{Name: "x", Gateway: true, Container: prefix("10.0.9.2/24")}, facts, "without an address of the host"},
		{"no bridge", Request{Name: "x", Bridge: "eth0"}, facts, "it is no bridge"},
		{"bad bridge", Request{Name: "x", Bridge: "a/b"}, facts, "not a name for a link"},
	} {
		_, err := Plan(c.r, c.f)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Hint() == "" {
			t.Errorf("%s: %v; want %q, and a hint", c.name, err, c.want)
		}
	}
}

func fresh(t *testing.T) bool {
	t.Helper()
	if !island.Fresh(t, "nsenter") {
		return false
	}
	sh(t, "mount -t tmpfs tmpfs /run")
	return true
}

var sh = island.Sh

// machine is all that could be left behind.
func machine(t *testing.T, pid int) string {
	t.Helper()
	// Not the loopback's addresses, which come with its first time up and stay, and not what a mount(8) leaves in /run.
	show := "ip -o link | sed 's/ state [A-Z]*//; s/,LOWER_UP//; s/NO-CARRIER,//; s/^[0-9]*//; s/@if[0-9]*//; s/link-netns.*//; s/qdisc [a-z]*//; /-1/s/ether [^ ]*//'; " +
		"ip -o addr | grep -v -e fe80: -e ' lo ' | sed 's/^[0-9]*//'; ip route; ls -d /run/* /run/*/* 2>/dev/null | grep -v /run/mount || :; "
	return sh(t, show+fmt.Sprintf("nsenter -t %d -n sh -euc %s", pid, plan.Quote(show)))
}

func planFor(t *testing.T, r Request) *plan.Plan {
	t.Helper()
	f, err := Read(r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(r, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Packets pass, ip-netns(8) knows the namespace, the commands that are printed make the same, and
// detach leaves nothing.
func TestAttach(t *testing.T) {
	if !fresh(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "attached")
	for _, r := range []Request{
		{Name: "consh", Host: prefix("10.0.0.1/24"), Container: prefix("10.0.0.2/24")},
		{Name: "b", Host: prefix("10.0.0.1/24"), Container: prefix("10.0.0.2/24"), Bridge: "br9", Gateway: true},
		{Name: "six", Host: prefix("fd00::1/64"), Container: prefix("fd00::2/64"), Gateway: true},
	} {
		r.PID, _ = island.Process(t)
		before := machine(t, r.PID)
		p := planFor(t, r)
		if err := Attach(dir, r.Name, p); err != nil {
			t.Fatal(err)
		}
		after := machine(t, r.PID)
		if got := strings.Fields(sh(t, "ip netns list")); len(got) == 0 || got[0] != r.Name {
			t.Errorf("ip netns list: %q", got)
		}
		if err := reach(r); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if err := Detach(dir, r.Name); err != nil {
			t.Fatal(err)
		}
		if now := machine(t, r.PID); now != before {
			t.Errorf("after detach:\n%s\nbefore:\n%s", now, before)
		}
		var script, back []string
		for _, s := range p.Steps {
			script = append(script, s.Shell()...)
			if u := s.Action.(plan.Host).Undo(); u != nil && u.Verb() != "drop-address" {
				back = append(plan.Step{Action: u}.Shell(), back...)
			}
		}
		sh(t, strings.Join(script, "\n"))
		if now := machine(t, r.PID); now != after {
			t.Errorf("made by a shell:\n%s\nby us:\n%s", now, after)
		}
		sh(t, strings.Join(back, "\n")+"\nrmdir /run/netns")
		if now := machine(t, r.PID); now != before {
			t.Errorf("taken back by a shell:\n%s\nbefore:\n%s", now, before)
		}
	}
}

// reach says whether the host's end can be talked to from the other.
func reach(r Request) error {
	server, err := unix.Socket(family(r), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	var addr unix.Sockaddr = &unix.SockaddrInet4{Port: 7777}
	if r.Host.Addr().Is6() {
		addr = &unix.SockaddrInet6{Port: 7777, Addr: r.Host.Addr().As16()}
	} else {
		addr.(*unix.SockaddrInet4).Addr = r.Host.Addr().As4()
	}
	if err := errors.Join(unix.Bind(server, addr), unix.Listen(server, 1)); err != nil {
		return err
	}
	return netns.In("/run/netns/"+r.Name, func() error {
		client, err := unix.Socket(family(r), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(client)
		tv := unix.Timeval{Sec: 10}
		return errors.Join(unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv), unix.Connect(client, addr))
	})
}

func family(r Request) int {
	if r.Host.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Whatever step the attaching process was killed after, before the next or in
// it, the way back is in the file.
func TestKilledAnywhere(t *testing.T) {
	if !fresh(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "attached")
	sh(t, "ip link add br0 address 02:00:00:00:00:01 type bridge")
	for _, bridge := range []string{"", "br9", "br0"} {
		r := Request{Name: "consh", Host: prefix("10.0.0.1/24"), Container: prefix("10.0.0.2/24"), Bridge: bridge, Gateway: true}
		r.PID, _ = island.Process(t)
		before := machine(t, r.PID)
		for k := range planFor(t, r).Steps {
			p := planFor(t, r)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			u, err := run.CreateUndo(filepath.Join(dir, r.Name))
			if err != nil {
				t.Fatal(err)
			}
			last := p.Steps[k].Action.(plan.Host)
			p.Steps = append(p.Steps[:k:k], plan.Step{Action: dead{last}})
			if err := run.HostNoting(p, u); !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			u.Close()
			if err := Detach(dir, r.Name); err != nil {
				t.Fatal(err)
			}
			if now := machine(t, r.PID); now != before {
				t.Errorf("killed at step %d, %s:\n%s\nbefore:\n%s", k, last.Line(), now, before)
			}
		}
		// A step that fails takes back those before it.
		p := planFor(t, r)
		p.Steps = append(p.Steps, plan.Step{Action: &Up{Netns: "nowhere", Link: "lo"}})
		if err := Attach(dir, r.Name, p); err == nil {
			t.Error("no error from a step that fails")
		}
		if now := machine(t, r.PID); now != before {
			t.Errorf("after an error:\n%s\nbefore:\n%s", now, before)
		}
	}
}

var errDead = errors.New("killed")

// dead is an action after which nothing more is done.
type dead struct{ plan.Host }

func (d dead) Do(e *plan.Env) error { return errors.Join(d.Host.Do(e), errDead) }

// The process ends first; its number is another's; a name was taken by somebody else meanwhile.
func TestOthersInBetween(t *testing.T) {
	if !fresh(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "attached")
	r := Request{Name: "consh", Host: prefix("10.0.0.1/24"), Container: prefix("10.0.0.2/24")}
	pid, end := island.Process(t)
	r.PID = pid
	if err := Attach(dir, r.Name, planFor(t, r)); err != nil {
		t.Fatal(err)
	}
	end()
	if err := Detach(dir, r.Name); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, "ip -o link | wc -l; ls /run"); strings.Join(strings.Fields(got), " ") != "1" {
		t.Errorf("after detach: %s", got)
	}

	r.PID, _ = island.Process(t)
	p := planFor(t, r)
	p.Steps[0].Action.(*Bind).ID.Ino++
	if err := Attach(dir, r.Name, p); !errors.Is(err, errGone) {
		t.Errorf("a process with another namespace: %v", err)
	}

	if err := Attach(dir, r.Name, planFor(t, r)); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip link del consh-0; umount /run/netns/consh; rm /run/netns/consh; ip netns add consh; ip link add consh-0 type veth peer name other")
	if err := Detach(dir, r.Name); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip netns exec consh true; ip link show consh-0")

	if err := Detach(dir, r.Name); err == nil || !strings.Contains(err.Error(), "not one that was attached") {
		t.Errorf("detach twice: %v", err)
	}
	if err := Detach(dir, "../x"); err == nil {
		t.Error("detach of a path")
	}
}
