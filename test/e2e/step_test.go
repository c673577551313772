// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	s := begin(t, "vitro", "run", "--trace", "busybox", "echo", "hi")
	if got := s.line(); got != "hi" {
		t.Errorf("got %q; want hi", got)
	}
	if code := s.end(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"clone", "pivot_root", "exec", "µs"} {
		if !strings.Contains(s.errs.String(), want) {
			t.Errorf("the trace lacks %q:\n%s", want, &s.errs)
		}
	}

	file := filepath.Join(t.TempDir(), "trace.json")
	output(t, "vitro", "run", "--trace="+file, "busybox", "true")
	var events any
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Errorf("the trace is no JSON: %v", err)
	}
	if !strings.Contains(string(data), "pivot_root") {
		t.Errorf("the trace lacks the step pivot_root: %.200s", data)
	}
}

// mounts is what a process's root is made of, by the kernel.
func mounts(t *testing.T, pid int) string {
	t.Helper()
	return output(t, "findmnt", "-N", itoa(pid), "-n", "-o", "FSTYPE", "/")
}

// The child really waits where the step says, and has not yet done it.
func TestStepUntil(t *testing.T) {
	s := sit(t, "vitro", "run", "--network", "none", "--step-until", "pivot_root", "busybox", "sh", "-c", "echo in the container")
	s.expect(`\[\d+/\d+\] child: pivot_root`)
	pid, err := strconv.Atoi(s.expect(`look:  findmnt -N (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	s.expect(`Enter: go on; q: give up`)
	ours, _ := os.Readlink("/proc/self/ns/mnt")
	theirs, _ := os.Readlink("/proc/" + itoa(pid) + "/ns/mnt")
	if theirs == "" || theirs == ours {
		t.Errorf("process %d is in mount namespace %q", pid, theirs)
	}
	if state := status(pid, "State"); !strings.HasPrefix(state, "S") {
		t.Errorf("the child does not wait, its state is %q", state)
	}
	if got := mounts(t, pid); got == "overlay" {
		t.Errorf("it has pivoted already")
	}
	s.typed("\n")
	s.expect(`Enter: go on; q: give up`) // before the next step
	if got := mounts(t, pid); got != "overlay" {
		t.Errorf("after pivot_root its root is %q; want overlay", got)
	}
	if strings.Contains(s.shown(), "in the container\r") {
		t.Errorf("the command ran before its step")
	}
	s.typed("q\n")
	if code := s.wait(); code != 125 {
		t.Errorf("exit status %d; want 125", code)
	}
	s.expect(`vitro: error: run container: given up at step \d+`)
	if _, err := os.Stat("/proc/" + itoa(pid)); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

func TestStepThroughAll(t *testing.T) {
	s := sit(t, "vitro", "run", "--network", "none", "--step", "busybox", "echo", "in", "the", "container")
	n := 0
	for last := false; !last; n++ {
		m := s.expect(`\[(\d+)/(\d+)\] (?s:.*?)Enter: go on; q: give up`)
		if m[1] != itoa(n+1) {
			t.Fatalf("step %s follows step %d", m[1], n)
		}
		last = m[1] == m[2]
		s.typed("\n")
	}
	s.expect(`in the container`)
	if code := s.wait(); code != 0 || n < 50 {
		t.Errorf("exit status %d after %d steps", code, n)
	}
}

func TestStepUntilNowhere(t *testing.T) {
	s := begin(t, "vitro", "run", "--step-until", "no-such-step", "busybox", "true")
	if code := s.end(); code != 125 {
		t.Errorf("exit status %d; want 125", code)
	}
	for _, want := range []string{`vitro: error: stop at step "no-such-step": the plan has none of this name`, "vitro: hint: vitro explain run"} {
		if !strings.Contains(s.errs.String(), want) {
			t.Errorf("stderr lacks %q: %s", want, &s.errs)
		}
	}
}
