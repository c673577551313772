// SPDX-License-Identifier: Apache-2.0

package monitor_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/host"
	"vitro/monitor"
	"vitro/plan"
	"vitro/plan/run"
)

// job is a container that is a shell script, without isolation.
func job(t *testing.T, streams *monitor.Streams, script string, before ...plan.Action) (*monitor.Job, *container.Container) {
	t.Helper()
	s := &container.Store{Root: filepath.Join(t.TempDir(), "containers")}
	c, err := s.Create(container.NewID())
	if err == nil {
		err = c.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := streams.Open(); err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{Title: "a test"}
	if len(before) == 0 {
		before = []plan.Action{&plan.Clone{}}
	}
	for _, a := range before {
		p.Add("", a)
	}
	p.Add("", &plan.Stdio{Handles: streams.Names()})
	p.Add("", &plan.CloseOthers{From: 3})
	p.Add("", &plan.Exec{Paths: []string{"/bin/sh"}, Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}})
	return &monitor.Job{Plan: p, Streams: streams, Options: run.Options{Undo: c.List, Meanwhile: c.Saver(container.State{})}}, c
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestExit(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -KILL $$": 137, "kill -TERM $$": 143, "read -r x; exit 9": 9} {
		t.Run(script, func(t *testing.T) {
			j, made := job(t, &monitor.Streams{}, script)
			started := 0
			j.Started = func(c *run.Child) {
				started++
				text, err := os.ReadFile(made.Path("state"))
				if err != nil || !strings.HasPrefix(string(text), fmt.Sprintf("pid %d\n", c.Pid)) {
					t.Errorf("the container's file says %q, %v; its process is %d", text, err, c.Pid)
				}
			}
			e, err := j.Run()
			if err != nil || e.Code != want || e.OOM {
				t.Errorf("%+v, %v; want exit code %d", e, err, want)
			}
			if started != 1 {
				t.Errorf("Started was called %d times", started)
			}
		})
	}
}

// TestFault: a start that fails says so, and leaves no descriptor.
func TestFault(t *testing.T) {
	for range 2 {
		j, _ := job(t, &monitor.Streams{}, "exit 0")
		j.Started = func(*run.Child) { t.Error("Started was called") }
		j.Options.Fail = map[int]unix.Errno{1: unix.EXDEV}
		_, err := j.Run()
		var f *run.Fault
		if !errors.As(err, &f) || f.Index != 1 || !errors.Is(err, unix.EXDEV) {
			t.Errorf("%v", err)
		}
	}
	one := func(errno map[int]unix.Errno) {
		j, made := job(t, &monitor.Streams{}, "exit 0")
		j.Options.Fail = errno
		_, _ = j.Run()
		if err := made.Remove(); err != nil {
			t.Error(err)
		}
	}
	one(nil)
	before := descriptors(t)
	for range 5 {
		one(nil)
		one(map[int]unix.Errno{2: unix.EXDEV})
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestSignals: what is sent to the monitor comes to the container.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/ready", 0o600); err != nil {
		t.Fatal(err)
	}
	own := make(chan os.Signal, 64) // so that none ends this process
	signal.Notify(own, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(own)
	j, _ := job(t, &monitor.Streams{}, "trap 'exit 42' TERM; trap 'exit 43' HUP; echo >"+dir+"/ready; while :; do sleep 0.01; done")
	ended := make(chan struct{})
	j.Started = func(*run.Child) {
		if _, err := os.ReadFile(dir + "/ready"); err != nil {
			t.Error(err)
		}
		go func() {
			for {
				_ = unix.Kill(os.Getpid(), unix.SIGTERM)
				select {
				case <-ended:
					return
				case <-time.After(100 * time.Millisecond): // it may not have been listening yet
				}
			}
		}()
	}
	e, err := j.Run()
	close(ended)
	if err != nil || e.Code != 42 {
		t.Errorf("%+v, %v; want the answer to SIGTERM, 42", e, err)
	}
}

func TestNames(t *testing.T) {
	// In a test no standard stream is a terminal, but the input may be.
	for _, c := range []struct {
		streams *monitor.Streams
		stdin   string
	}{
		{&monitor.Streams{}, "stdin"},
		{&monitor.Streams{Terminal: true}, ""},
		{&monitor.Streams{Interactive: true, Inherit: true}, ""},
		{&monitor.Streams{Inherit: true}, "stdin"},
	} {
		if got := c.streams.Names(); got[0] != c.stdin {
			t.Errorf("%t, %t, %t: standard input is %q; want %q", c.streams.Terminal, c.streams.Interactive, c.streams.Inherit, got[0], c.stdin)
		}
	}
}

const role = "VITRO_TEST_MONITOR"

// TestTerminal: what a container prints on its own terminal comes to our output.
func TestTerminal(t *testing.T) {
	if os.Getenv(role) != "" {
		ids := func(kind string, id int) *host.IDMap {
			return &host.IDMap{Kind: kind, Ranges: []host.Range{{Host: uint32(id), Size: 1}}}
		}
		j, _ := job(t, &monitor.Streams{Terminal: true}, "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo on a terminal; exit 6",
			&plan.Clone{Flags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS},
			&host.Write{Path: "/proc/$PID/setgroups", Value: "deny"}, ids("uid", os.Geteuid()), ids("gid", os.Getegid()),
			&plan.EnterIDs{KeepGroups: true}, &plan.Session{},
			&plan.NewFS{Type: "devpts", Target: "/dev/pts", Options: []string{"newinstance", "ptmxmode=0666"}},
			&plan.Console{Pts: "/dev/pts"})
		e, err := j.Run()
		var f *run.Fault
		if errors.As(err, &f) && f.Index == 0 {
			t.Skipf("needs user namespaces: %v", err)
		}
		if err != nil || e.Code != 6 {
			t.Fatalf("%+v, %v", e, err)
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestTerminal$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	if err != nil || bytes.Count(out, []byte("on a terminal\r\n")) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}
