// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// TestSendListener plays the agent: one message with the descriptor, then the
// end of the connection.
func TestSendListener(t *testing.T) {
	path := t.TempDir() + "/agent"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	state := []byte(`{"metadata":"` + strings.Repeat("x", 300_000) + `"}`) // more than a socket takes at once
	sent := make(chan error)
	go func() { sent <- host.SendListener(path, state, int(w.Fd())) }()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf, oob := make([]byte, len(state)), make([]byte, 100)
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := string(buf[:n]) + string(rest); got != string(state) {
		t.Errorf("%d bytes have come, of %d", len(got), len(state))
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%d control messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d descriptors, %v", len(fds), err)
	}
	if _, err := unix.Write(fds[0], []byte("hello")); err != nil {
		t.Fatal(err)
	}
	unix.Close(fds[0])
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("through the descriptor comes %q, %v", buf[:n], err)
	}
}

func TestSendListenerToNobody(t *testing.T) {
	path := t.TempDir() + "/agent"
	err := host.SendListener(path, []byte("{}"), 0)
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	if err := (&host.Listener{Path: path}).Do(&plan.Env{Pid: os.Getpid()}); err == nil || err.Error() != "take it from the child: it has none" {
		t.Errorf("no listener: %v", err)
	}
}

// TestAffinity: a thread goes where it is told, and back.
func TestAffinity(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if !before.IsSet(0) {
		t.Skip("needs processor 0 in its cpuset")
	}
	do(t, &host.Affinity{CPUs: "0"}, new(plan.Env))
	if err := unix.SchedGetaffinity(0, &now); err != nil || now.Count() != 1 || !now.IsSet(0) {
		t.Errorf("on %d processors: %v", now.Count(), err)
	}
	do(t, &host.Affinity{}, new(plan.Env))
	if err := unix.SchedGetaffinity(0, &now); err != nil || now.Count() < before.Count() {
		t.Errorf("on %d processors, before on %d: %v", now.Count(), before.Count(), err)
	}
	if err := (&host.Affinity{CPUs: "x"}).Do(new(plan.Env)); err == nil {
		t.Error("a list that is none")
	}
}

// TestResctrlSteps works on a folder that looks like resctrl's.
func TestResctrlSteps(t *testing.T) {
	dir := t.TempDir() + "/gold"
	c := &host.Class{Path: dir}
	do(t, c, new(plan.Env))
	do(t, c, new(plan.Env)) // others may have made it
	if c.Undo() != nil {
		t.Error("a class that is to stay has an inverse")
	}
	if err := os.WriteFile(dir+"/tasks", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, &host.Tasks{Path: dir + "/tasks"}, &plan.Env{Pid: 4711})
	if got, err := os.ReadFile(dir + "/tasks"); err != nil || string(got) != "4711" {
		t.Errorf("tasks: %q, %v", got, err)
	}
}

// TestOpenProc: only the root of a procfs will do.
func TestOpenProc(t *testing.T) {
	e := &plan.Env{Handles: map[string]int{}}
	do(t, &host.OpenProc{}, e)
	defer unix.Close(e.Handles[plan.Proc])
	var fs unix.Statfs_t
	if err := unix.Fstatfs(e.Handles[plan.Proc], &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		t.Errorf("type %#x, %v", fs.Type, err)
	}
}

// TestOpenProcThatIsNot: a tmpfs in its place (CVE-2019-16884), or a part of it.
func TestOpenProcThatIsNot(t *testing.T) {
	for _, c := range []struct{ source, fstype string }{{"tmpfs", "tmpfs"}, {"/proc/sys", ""}} {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
			err := unix.Unshare(unix.CLONE_NEWNS)
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
			}
			if err != nil {
				done <- &skip{err}
				return
			}
			flags := uintptr(0)
			if c.fstype == "" {
				flags = unix.MS_BIND
			}
			if err := unix.Mount(c.source, "/proc", c.fstype, flags, ""); err != nil {
				done <- err
				return
			}
			done <- (&host.OpenProc{}).Do(&plan.Env{Handles: map[string]int{}})
		}()
		err := <-done
		var s *skip
		if errors.As(err, &s) {
			t.Skipf("needs CAP_SYS_ADMIN to mount: %v", err)
		}
		if err == nil || err.Error() != "it is not the root of a procfs" {
			t.Errorf("%s: %v", c.source, err)
		}
	}
}

type skip struct{ error }
