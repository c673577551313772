// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run"
)

const roleVar = "VITRO_TEST_ROLE"

// TestParentDies: whatever a child is about when the process that made it is
// killed, it ends.
func TestParentDies(t *testing.T) {
	stages := map[string]*plan.Plan{}
	hang := func(e *plan.Env) error {
		fmt.Printf("child %d\n", e.Pid)
		select {}
	}
	stages["before it is let go"] = planOf(&plan.Clone{}, &acts{name: "hang", do: hang}, &plan.DieWith{}, shell("exit 0"))
	stages["between two steps"] = planOf(&plan.Clone{}, &plan.DieWith{}, &acts{name: "hang", do: hang}, shell("exit 0"))
	stages["after a step failed"] = planOf(&plan.Clone{}, &does{"bad", func(asm *plan.Asm) { asm.Do(plan.SysFchdir, plan.Int(999)) }}, &acts{name: "hang", do: hang}, shell("exit 0"))
	stages["running"] = planOf(&plan.Clone{}, &plan.DieWith{}, shell("while :; do sleep 1; done"))
	if role := os.Getenv(roleVar); role != "" {
		runtime.LockOSThread()
		c, err := run.Start(stages[role], run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("child %d\n", c.Pid)
		_, _, _ = c.Wait()
		return
	}
	for role := range stages {
		t.Run(role, func(t *testing.T) {
			parent := exec.Command("/proc/self/exe", "-test.run=^TestParentDies$", "-test.timeout=60s")
			parent.Env = append(os.Environ(), roleVar+"="+role)
			parent.Stderr = os.Stderr
			parent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			child := 0
			line, err := bufio.NewReader(out).ReadString('\n')
			if _, scan := fmt.Sscanf(line, "child %d", &child); err != nil || scan != nil {
				_ = parent.Process.Kill()
				_ = parent.Wait()
				t.Fatalf("the parent says %q, %v", line, err)
			}
			fd, err := unix.PidfdOpen(child, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if ended(t, fd, 0) {
				t.Error("the child had ended before")
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait()
			if !ended(t, fd, 20_000) {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
				t.Error("the child lives on")
			}
		})
	}
}

// ended reports whether a process ends in so many milliseconds.
func ended(t *testing.T, pidfd, ms int) bool {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, ms)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
}

// TestWithoutClone3: where a filter answers clone3(2) with ENOSYS, as Docker's
// does, the child is born by clone(2), and has no pidfd.
func TestWithoutClone3(t *testing.T) {
	if os.Getenv(roleVar) != "" {
		c, err := run.Start(planOf(&plan.Clone{}, shell("while :; do sleep 1; done")), run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Pidfd != -1 {
			t.Errorf("pidfd %d without clone3", c.Pidfd)
		}
		if err := c.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if ws, _, err := c.Wait(); err != nil || ws.Signal() != unix.SIGTERM {
			t.Errorf("%v, %v", ws.Signal(), err)
		}
		f := faults(t, planOf(&plan.Clone{}, shell("exit 0")), run.Options{Fail: map[int]unix.Errno{1: unix.EXDEV}})
		if f.Index != 1 {
			t.Errorf("%v at step %d", f, f.Index)
		}
		f = faults(t, planOf(&plan.Clone{Flags: unix.CLONE_NEWTIME}, shell("exit 0")), run.Options{})
		if f.Index != 0 || !errors.Is(f, unix.ENOSYS) {
			t.Errorf("a time namespace, which clone(2) can't make: %v", f)
		}
		return
	}
	const enosys = 0x00050000 | uint32(unix.ENOSYS)
	filter := program([][4]uint32{
		{0x20, 0, 0, 0}, // A = number of the call
		{0x15, 0, 1, uint32(plan.SysClone3.Nr())},      // clone3?
		{0x06, 0, 0, enosys}, {0x06, 0, 0, 0x7fff0000}, // ENOSYS, or allow
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tp := newTape(t)
	p := planOf(&plan.Clone{}, &plan.Stdio{Handles: [3]string{"", "out", "out"}}, &plan.NoNewPrivs{}, &plan.Seccomp{Filter: filter, Count: 4},
		&plan.Exec{Paths: []string{self}, Args: []string{self, "-test.run=^TestWithoutClone3$", "-test.timeout=60s"}, Env: append(os.Environ(), roleVar+"=inside")})
	if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 0 {
		t.Errorf("exit status %d\n%s", got, tp.so(t))
	}
}

// program is a filter of struct sock_filter: code, jt, jf, k.
func program(rows [][4]uint32) (b []byte) {
	for _, r := range rows {
		b = binary.NativeEndian.AppendUint16(b, uint16(r[0]))
		b = append(b, byte(r[1]), byte(r[2]))
		b = binary.NativeEndian.AppendUint32(b, r[3])
	}
	return b
}

// TestJoin: the child is in the namespaces of another process, the second of
// two that are born, and the only one that is left.
func TestJoin(t *testing.T) {
	other := exec.Command("sh", "-c", "echo ready; read -r _")
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}}
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	// other is a child of this process as well, so the counting of children waits for its end
	fds := map[string]int{}
	clone := &plan.Clone{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	want := []string{"1"}
	for _, kind := range []string{"user", "net", "ipc", "uts"} {
		path := fmt.Sprintf("/proc/%d/ns/%s", other.Process.Pid, kind)
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		link, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		fds["ns-"+kind] = fd
		clone.Join = append(clone.Join, plan.Join{Kind: kind, Handle: "ns-" + kind, Path: path})
		want = append(want, link)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil && other.ProcessState.ExitCode() != 1 { // read's answer at the end of its input
		t.Fatal(err)
	}
	noChildren(t)
	tp := newTape(t)
	fds["out"] = int(tp.w.Fd())
	p := planOf(clone, &plan.EnterIDs{KeepGroups: true}, &plan.NewFS{Type: "proc", Target: "/proc"}, &plan.SetRoot{At: "/nowhere"}, shell("exit 0"))
	p.Steps[3].Action = &does{"proc", func(asm *plan.Asm) {
		asm.Do(plan.SysMoveMount, asm.Use("/proc"), plan.Str(""), plan.AtFDCWD, plan.Str("/proc"), plan.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}}
	p.Steps[4].Action = &plan.Stdio{Handles: [3]string{"", "out", ""}}
	p.Add("", shell("echo $$; for k in user net ipc uts; do readlink /proc/self/ns/$k; done"))
	if got := runs(t, p, run.Options{Handles: fds}); got != 0 {
		t.Errorf("exit status %d", got)
	}
	noChildren(t)
	if got := strings.Fields(tp.so(t)); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the child is in\n%v\nwant\n%v", got, want)
	}
	for k := range p.Steps {
		if f := faults(t, p, run.Options{Handles: fds, Fail: map[int]unix.Errno{k: unix.EXDEV}}); f.Index != k || !errors.Is(f, unix.EXDEV) {
			t.Errorf("step %d: %v at step %d", k, f, f.Index)
		}
	}
	fds["ns-uts"] = int(tp.r.Fd()) // no namespace
	if f := faults(t, p, run.Options{Handles: fds}); f.Index != 0 || !errors.Is(f, unix.EINVAL) {
		t.Errorf("a join that fails: %v at step %d", f, f.Index)
	}
}
