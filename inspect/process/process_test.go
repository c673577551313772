// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/inspect"
	"vitro/plan"
)

func read(t *testing.T, pid int) *Process {
	t.Helper()
	p, err := Read(pid, Options{Links: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOurselves(t *testing.T) {
	p := read(t, os.Getpid())
	if p.UIDs[1] != uint32(os.Geteuid()) || p.GIDs[0] != uint32(os.Getgid()) {
		t.Errorf("users = %v %v, want %d %d", p.UIDs, p.GIDs, os.Geteuid(), os.Getgid())
	}
	if p.Levels[0].PID != os.Getpid() || len(p.Levels) != 1 || p.Levels[0].Namespace == 0 {
		t.Errorf("levels = %+v, want %d alone", p.Levels, os.Getpid())
	}
	if len(p.Namespaces) != len(inspect.Kinds()) {
		t.Errorf("%d namespaces, want %d", len(p.Namespaces), len(inspect.Kinds()))
	}
	for _, n := range p.Namespaces {
		if !n.Shared {
			t.Errorf("our own %s namespace is not ours", n.Kind)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil || p.Hostname != unix.ByteSliceToString(u.Nodename[:]) {
		t.Errorf("host name = %q, uname has %q", p.Hostname, u.Nodename)
	}
	var b bytes.Buffer
	if err := p.Text(&b); err != nil || !strings.Contains(b.String(), strconv.Itoa(os.Getpid())) {
		t.Errorf("Text = %v, %s", err, b.String())
	}
}

// capget(2) and getrlimit(2) are the kernel's other words for the same.
func TestRightsAndLimits(t *testing.T) {
	p := read(t, os.Getpid())
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		t.Fatal(err)
	}
	join := func(low, high uint32) plan.CapSet { return plan.CapSet(low) | plan.CapSet(high)<<32 }
	want := Capabilities{Effective: join(data[0].Effective, data[1].Effective), Permitted: join(data[0].Permitted, data[1].Permitted),
		Inheritable: join(data[0].Inheritable, data[1].Inheritable), Bounding: p.Capabilities.Bounding, Ambient: p.Capabilities.Ambient}
	if p.Capabilities != want {
		t.Errorf("capabilities = %+v, capget says %+v", p.Capabilities, want)
	}
	for _, l := range p.Limits {
		if l.Type != "RLIMIT_STACK" {
			continue
		}
		var r unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_STACK, &r); err != nil || r.Cur != l.Soft || r.Max != l.Hard {
			t.Errorf("stack = %+v, getrlimit says %+v", l, r)
		}
	}
	if len(p.Limits) != 16 {
		t.Errorf("%d limits, want 16", len(p.Limits))
	}
}

// A mount is in sight if the path that it is on leads to it: statx(2) says
// which one that is.
func TestHiddenMounts(t *testing.T) {
	const mark = "VITRO_PROCESS_MOUNTS"
	if os.Getenv(mark) == "" {
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec",
			"mount -t tmpfs one /mnt; mkdir -p /mnt/in/deep; mount -t tmpfs two /mnt/in/deep; mount -t tmpfs three /mnt/in; mount -t tmpfs four /mnt/in; exec \"$@\"",
			"sh", "/proc/self/exe", "-test.run=^TestHiddenMounts$", "-test.v")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args[len(cmd.Args)-3] = self
		cmd.Env = append(os.Environ(), mark+"=1")
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || !strings.Contains(string(out), "=== RUN")) {
			t.Skipf("needs unshare and user namespaces: %v: %s", err, out)
		}
		if err != nil {
			t.Errorf("%s", out)
		}
		return
	}
	p := read(t, os.Getpid())
	hidden := 0
	for _, m := range p.Mounts {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, m.Point, unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
		seen := err == nil && st.Mnt_id == uint64(m.ID)
		if errors.Is(err, unix.EACCES) {
			continue
		}
		if seen != (m.Hidden == 0) {
			t.Errorf("mount %d on %s: hidden under %d, but statx finds %d (%v)", m.ID, m.Point, m.Hidden, st.Mnt_id, err)
		}
		if m.Hidden != 0 && strings.HasPrefix(m.Point, "/mnt/in") {
			hidden++
		}
	}
	if hidden != 2 {
		t.Errorf("%d mounts below /mnt/in are hidden, want the one deep in it and the third", hidden)
	}
}

func TestLevelsBothWays(t *testing.T) {
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 60 & echo ready; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs unshare: %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Skip("needs user namespaces")
	}
	first := 0
	children, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/" + strconv.Itoa(cmd.Process.Pid) + "/children")
	if err != nil {
		t.Skipf("needs /proc/PID/task/TID/children: %v", err)
	}
	if first, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		t.Fatalf("children = %q", children)
	}
	outside, err := Find(2, first)
	if err != nil {
		t.Fatal(err)
	}
	p := read(t, outside)
	for range 1000 { // a shell, until it has executed the other
		if p.Name == "sleep" {
			break
		}
		time.Sleep(5 * time.Millisecond)
		p = read(t, outside)
	}
	if last := p.Levels[len(p.Levels)-1]; last.PID != 2 || len(p.Levels) != 2 || p.Levels[0].PID != outside {
		t.Errorf("levels = %+v, want %d and 2", p.Levels, outside)
	}
	if p.Name != "sleep" {
		t.Errorf("process 2 = %q, want sleep", p.Name)
	}
	if _, err := Find(77, first); err == nil {
		t.Error("Find(77) has found what is not there")
	}
	// Its capabilities hold over what it has of its own, and no further.
	for _, w := range p.Powers() {
		if own := strings.HasPrefix(w.Over, "pid ") || strings.HasPrefix(w.Over, "user "); own != w.Held {
			t.Errorf("they hold over %s: %v, want %v", w.Over, w.Held, own)
		}
	}
}

func TestNoSuchProcess(t *testing.T) {
	var gone *GoneError
	if _, err := Read(1<<30, Options{}); !errors.As(err, &gone) {
		t.Errorf("Read = %v, want a GoneError", err)
	}
}

func TestHostileNames(t *testing.T) {
	p := &Process{PID: 7, Name: "\x1b[31m", Args: []string{"\x1b]0;x\x07", strings.Repeat("long", 1000)}, Hostname: "\u202eevil", Label: "\x1b[2J",
		Container: &inspect.Container{Engine: "docker", Name: "\x1b[1m"}, Root: "/\x1b", Cwd: "/\r", Exe: "\n",
		Cgroups: []Cgroup{{Path: "/\x1b[31m", Values: []Value{{Name: "memory.limit", File: "x", Value: "\x1b"}}}},
		Mounts:  []Mount{{ID: 1, Point: "/a\nb\x1b", Type: "tmpfs", Root: "/\x1b", Options: []string{"rw"}, Propagation: []string{"\x1b"}}},
		Links:   []Link{{Name: "\x1b", Peer: &Peer{Name: "\x1b", Whose: "\x1b", Namespace: 1}}}, Missing: []string{"\x1b"}}
	var b bytes.Buffer
	if err := p.Text(&b); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(b.Bytes(), "\x1b\r\x07\u202e") {
		t.Errorf("Text holds what a terminal obeys: %q", b.String())
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("Name:\tx\nNSpid:\t1\t2\nCapEff:\t00000000a80425fb\nUid:\t0\t0\t0\t0\n")
	f.Add("Max open files            1024                 524288               files\n")
	f.Fuzz(func(t *testing.T, text string) {
		list := ParseMounts([]byte(text))
		hide(list)
		p := &Process{Mounts: list}
		parseStatus(p, []byte(text))
		p.Limits = parseLimits([]byte(text))
		var b bytes.Buffer
		if err := p.Text(&b); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(b.Bytes(), 0x1b) {
			t.Errorf("Text of %q holds an escape", text)
		}
	})
}
