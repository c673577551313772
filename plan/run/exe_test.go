// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run"
)

// hostBinary is what the container must not reach: this program's file.
func hostBinary(t *testing.T) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// TestCVE20195736Exec: a container whose program is /proc/self/exe, by a script
// or a link, executes the sealed program, which has nothing to do any more.
func TestCVE20195736Exec(t *testing.T) {
	before := hostBinary(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/script", []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/self/exe", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/script", dir + "/link", "/proc/self/exe"} {
		p := planOf(&plan.Clone{}, &plan.CloseOthers{From: 3}, &plan.Exec{Paths: []string{path}, Args: []string{path, "-test.list=."}})
		if got := runs(t, p, run.Options{}); got != 126 {
			t.Errorf("%s: exit status %d; want the sealed program's, 126", path, got)
		}
	}
	if hostBinary(t) != before {
		t.Error("HOST PROGRAM WAS CHANGED! THIS IS A CONTAINER ESCAPE!")
	}
}

var seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// TestCVE20195736Open: whoever holds the program that a container's process
// was, before its exec, holds a sealed file in memory.
func TestCVE20195736Open(t *testing.T) {
	before := hostBinary(t)
	var held *os.File
	look := func(i, pid int) error {
		if i != 3 {
			return nil
		}
		exe := fmt.Sprintf("/proc/%d/exe", pid)
		if to, err := os.Readlink(exe); err != nil || to != "/memfd:vitro (deleted)" {
			if errors.Is(err, unix.EACCES) { // the process is not to be looked at
				return nil
			}
			t.Errorf("%s leads to %q, %v", exe, to, err)
		}
		for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC} {
			f, err := os.OpenFile(exe, flags, 0)
			if err == nil { // Linux 6.11 and 6.12 let a running program be opened so
				if _, err = f.Write([]byte("overwritten")); err == nil {
					t.Errorf("%s could be written to (%#x)", exe, flags)
				}
				f.Close()
			}
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || string(comm) != "vitro\n" {
			t.Errorf("the child's name is %q, %v", comm, err)
		}
		held, err = os.Open(exe)
		return err
	}
	p := planOf(&plan.Clone{}, &plan.Umask{}, &plan.Umask{}, shell("exit 0"))
	if got := runs(t, p, run.Options{Before: look}); got != 0 {
		t.Fatalf("exit status %d", got)
	}
	if held == nil {
		t.Skip("needs CAP_SYS_PTRACE, to open another process's program")
	}
	defer held.Close()
	// when nobody runs it any more, nothing but the seals guards it
	got, err := unix.FcntlInt(held.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		t.Errorf("the seals are %#x, %v; want %#x", got, err, seals)
	}
	w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", held.Fd()), os.O_RDWR, 0)
	if err == nil {
		defer w.Close()
		if _, err = w.Write([]byte("overwritten")); err == nil {
			t.Error("the sealed program could be overwritten")
		}
		if err = w.Truncate(0); err == nil {
			t.Error("the sealed program could be cut")
		}
	}
	if hostBinary(t) != before {
		t.Error("HOST PROGRAM WAS CHANGED! THIS IS A CONTAINER ESCAPE!")
	}
}

// TestCVE20195736Neighbour: a process of the container can't look at one that
// enters it (CVE-2016-9962): neither at its program nor at its descriptors.
func TestCVE20195736Neighbour(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for a /proc of the container's own")
	}
	before := hostBinary(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	in, out := newTape(t), newTape(t)
	// capabilities of a container; without CAP_SYS_PTRACE
	const caps = plan.CapSet(1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETUID | 1<<unix.CAP_KILL)
	sets := &plan.Capabilities{Effective: caps, Permitted: caps}
	neighbour := planOf(&plan.Clone{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}, &plan.Propagation{Flag: unix.MS_PRIVATE | unix.MS_REC},
		&plan.NewFS{Type: "proc", Target: "/proc"},
		&does{"proc", func(asm *plan.Asm) {
			asm.Do(plan.SysMoveMount, asm.Use("/proc"), plan.Str(""), plan.AtFDCWD, plan.Str("/proc"), plan.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
		}},
		&plan.Stdio{Handles: [3]string{"in", "out", "out"}}, &plan.BoundingSet{Keep: caps, Last: 40}, sets, &plan.CloseOthers{From: 3},
		shell(`echo ready; while read n; do for f in exe fd/0 root; do (exec 9</proc/$n/$f) 2>/dev/null && echo "reached $f"; done; echo looked; done`))
	c, err := run.Start(neighbour, run.Options{Handles: map[string]int{"in": int(in.r.Fd()), "out": int(out.w.Fd())}})
	if err != nil {
		t.Fatalf("%v\n%s", err, detail(err))
	}
	defer closeChild(c)
	_ = out.r.SetReadDeadline(time.Now().Add(20 * time.Second))
	said := bufio.NewReader(out.r)
	if line, err := said.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the container says %q, %v", line, err)
	}
	inner := regexp.MustCompile(`NSpid:.*\t(\d+)\n`)
	looks := 0
	look := func(i, pid int) error {
		if i == 0 {
			return nil
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		if _, err := in.w.Write(append(inner.FindSubmatch(status)[1], '\n')); err != nil {
			return err
		}
		looks++
		if line, err := said.ReadString('\n'); err != nil || line != "looked\n" {
			t.Errorf("before step %d the neighbour says %q, %v", i, line, err)
		}
		return nil
	}
	enters := planOf(&plan.Clone{Enter: &plan.Enter{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pidfd: "container", PID: c.Pid}},
		&plan.Umask{}, &plan.CloseOthers{From: 3}, shell("exit 0"))
	if got := runs(t, enters, run.Options{Handles: map[string]int{"container": c.Pidfd}, Before: look}); got != 0 || looks != 3 {
		t.Errorf("exit status %d, %d looks", got, looks)
	}
	in.w.Close()
	if ws, _, err := c.Wait(); err != nil || !ws.Exited() {
		t.Errorf("the container: %v, %v", ws, err)
	}
	if hostBinary(t) != before {
		t.Error("HOST PROGRAM WAS CHANGED! THIS IS A CONTAINER ESCAPE!")
	}
}

// TestNothingStaysOpen: also without a step that closes descriptors, the
// container's program has those that the caller has open for all programs, and
// no other.
func TestNothingStaysOpen(t *testing.T) {
	tp := newTape(t)
	for _, extra := range []*plan.Clone{{}, {Flags: unix.CLONE_NEWUTS | unix.CLONE_NEWUSER}} {
		p := planOf(extra, writes("1 "), &acts{name: "a"}, writes("2 "), &plan.Stdio{Handles: [3]string{"", "out", ""}}, shell("cd /proc/self/fd; echo *"))
		if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 0 {
			t.Errorf("exit status %d", got)
		}
		var own []string
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range fds {
			var fd int
			if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
				t.Fatal(err)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
				own = append(own, e.Name())
			}
		}
		want := "1 2 " + strings.Join(own, " ")
		if got := strings.TrimSpace(tp.so(t)); got != want && got != want+" 3" { // 3: the shell's own, of the folder
			t.Errorf("the program has %q; want %q", got, want)
		}
	}
}

// TestCapabilitiesPass: the program that sets up has the capabilities that the
// child was born with, and none of them gets to the container unasked.
func TestCapabilitiesPass(t *testing.T) {
	tp := newTape(t)
	steps := append(inUser(unix.CLONE_NEWUTS), &plan.Hostname{Name: "sealed"}, &plan.Stdio{Handles: [3]string{"", "out", ""}},
		shell("grep -E 'Cap(Inh|Amb)' /proc/self/status; hostname || uname -n"))
	if got := runs(t, planOf(steps...), run.Options{Handles: tp.handles()}); got != 0 {
		t.Errorf("exit status %d", got)
	}
	got := strings.Join(strings.Fields(tp.so(t)), " ")
	if want := "CapInh: 0000000000000000 CapAmb: 0000000000000000 sealed"; got != want {
		t.Errorf("the program has %q; want %q", got, want)
	}
}

// TestNewTime: the kernel makes no child in a new time namespace that shares
// its parent's memory.
func TestNewTime(t *testing.T) {
	tp := newTape(t)
	steps := append(inUser(unix.CLONE_NEWTIME), &plan.Stdio{Handles: [3]string{"", "out", ""}}, shell("readlink /proc/self/ns/time"))
	if got := runs(t, planOf(steps...), run.Options{Handles: tp.handles()}); got != 0 {
		t.Errorf("exit status %d", got)
	}
	own, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		t.Skipf("needs time namespaces: %v", err)
	}
	if got := strings.TrimSpace(tp.so(t)); got == own || !strings.HasPrefix(got, "time:[") {
		t.Errorf("the child is in %q, its parent in %q", got, own)
	}
}

// TestNoexecMemory: where files in memory can't be executed, one in a folder is;
// without one the error says what to do.
func TestNoexecMemory(t *testing.T) {
	folder := t.TempDir()
	if os.Getenv(roleVar) != "" {
		folder = os.Getenv("VITRO_TEST_FOLDER")
		if got := runs(t, planOf(&plan.Clone{}, shell("exit 7")), run.Options{Folder: folder}); got != 7 {
			t.Errorf("exit status %d", got)
		}
		f := faults(t, planOf(&plan.Clone{}, shell("exit 0")), run.Options{})
		if f.Index != 0 || !strings.Contains(f.Error(), "execute the program that sets the child up: ") || f.Cause == "" || f.Hint() == "" {
			t.Errorf("%v\ncause: %s\nhint: %s", f, f.Cause, f.Hint())
		}
		left, err := filepath.Glob(folder + "/*")
		if err != nil || len(left) != 0 {
			t.Errorf("in the folder are left: %v, %v", left, err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := &plan.Exec{Paths: []string{self}, Args: []string{self, "-test.run=^TestNoexecMemory$", "-test.timeout=60s"},
		Env: append(os.Environ(), roleVar+"=inside", "VITRO_TEST_FOLDER="+folder)}
	for _, c := range []struct {
		name  string
		steps []plan.Action
	}{
		{"filter", []plan.Action{&plan.NoNewPrivs{}, &plan.Seccomp{Count: 4, Filter: program([][4]uint32{
			{0x20, 0, 0, 0}, // A = number of the call
			{0x15, 0, 1, unix.SYS_MEMFD_CREATE},
			{0x06, 0, 0, 0x00050000 | uint32(unix.EPERM)}, {0x06, 0, 0, 0x7fff0000}, // EPERM, or allow
		})}}},
		{"sysctl", []plan.Action{&does{"memfd_noexec", func(asm *plan.Asm) {
			fd := asm.Get(plan.SysOpenat, plan.AtFDCWD, plan.Str("/proc/sys/vm/memfd_noexec"), plan.Int(unix.O_WRONLY|unix.O_CLOEXEC), plan.Int(0))
			asm.As("sysctl", fd)
			sysWrite(asm, "sysctl", "2")
		}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clone := &plan.Clone{}
			if c.name == "sysctl" {
				if _, err := os.Stat("/proc/sys/vm/memfd_noexec"); os.Geteuid() != 0 || err != nil {
					t.Skip("needs CAP_SYS_ADMIN and the sysctl vm.memfd_noexec (Linux 6.3)")
				}
				clone.Flags = unix.CLONE_NEWPID // whose the sysctl is
			}
			tp := newTape(t)
			p := planOf(append(append([]plan.Action{clone, &plan.Stdio{Handles: [3]string{"", "out", "out"}}}, c.steps...), again)...)
			if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 0 {
				t.Errorf("exit status %d\n%s", got, tp.so(t))
			}
		})
	}
}
