// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for namespaces and cgroups")
	}
}

// in runs a shell script in a world.
func in(t *testing.T, w World, limit time.Duration, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := w.Run(ctx, cmd)
	return strings.TrimSpace(out.String()), err
}

func TestOwnNamespaces(t *testing.T) {
	needsRoot(t)
	hidden := t.TempDir()
	if err := os.WriteFile(filepath.Join(hidden, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, script, want string }{
		{"nobody else is there", "ps -e -o comm= | sort -u | xargs", "exe ps sh sort xargs"},
		{"cgroups look like the root's", "cut -d: -f3 /proc/self/cgroup | grep -v '^/init$' | sort -u", "/"},
		{"no link but lo", "ip -o link show up | cut -d: -f2", "lo"},
		{"a hidden folder is empty", "ls -A " + hidden, ""},
		{"a cgroup can be made, and joined", "for d in /sys/fs/cgroup/pids /sys/fs/cgroup; do [ -e $d/cgroup.procs ] || continue; " +
			"mkdir $d/x && (echo 0 >$d/x/cgroup.procs && cat $d/x/pids.max) && break; done", "max"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := in(t, World{Net: true, Hide: []string{hidden}}, time.Minute, test.script)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	needsRoot(t)
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137} {
		_, err := in(t, World{}, time.Minute, script)
		got := 0
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got status %d, want %d", script, got, want)
		}
	}
}

// All that a command leaves goes with the world, in time and after it.
func TestNothingIsLeft(t *testing.T) {
	needsRoot(t)
	const script = `for d in /sys/fs/cgroup/memory /sys/fs/cgroup; do [ ! -e $d/cgroup.procs ] || { mkdir -p $d/a/b; sh -c "echo 0 >$d/a/b/cgroup.procs; exec sleep 1000" & }; done; sleep .2; `
	for _, end := range []string{"true", "sleep 1000"} {
		_, err := in(t, World{Label: "-left"}, 2*time.Second, script+end)
		if (end == "true") != (err == nil) {
			t.Errorf("%s: %v", end, err)
		}
		left, _ := filepath.Glob("/sys/fs/cgroup/*/vitro-world-left-*")
		more, _ := filepath.Glob("/sys/fs/cgroup/vitro-world-left-*")
		if left = append(left, more...); len(left) > 0 {
			t.Errorf("%s: cgroups are left: %q", end, left)
		}
	}
}

// Some engines make plain folders where the hierarchies are mounted.
func TestFolderOfTheHierarchies(t *testing.T) {
	needsRoot(t)
	const left = "/sys/fs/cgroup/vitro-test-left"
	got, err := in(t, World{}, time.Minute, "mkdir "+left+" && findmnt -n -o TARGET -T /sys/fs/cgroup/pids && ls /sys/fs/cgroup/cpu/cgroup.procs")
	if _, v2 := os.Stat("/sys/fs/cgroup/cgroup.procs"); v2 != nil && (err != nil || got != "/sys/fs/cgroup/pids\n/sys/fs/cgroup/cpu/cgroup.procs") {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Remove(left); err == nil {
		t.Error("a folder made beside the hierarchies is left on the machine")
	}
}

// What is frozen can't be killed, and the world would wait for it.
func TestFrozen(t *testing.T) {
	needsRoot(t)
	const freezer = "/sys/fs/cgroup/freezer"
	if _, err := os.Stat(freezer); err != nil {
		t.Skip("needs cgroup v1's freezer: cgroup.kill of v2 ends what is frozen")
	}
	script := "cd " + freezer + " && mkdir x && { sleep 1000 & } && echo $! >x/cgroup.procs && echo FROZEN >x/freezer.state && echo done; "
	if got, err := in(t, World{}, time.Minute, script); err != nil || got != "done" {
		t.Errorf("the command ends: got %q, %v", got, err)
	}
	if _, err := in(t, World{}, 2*time.Second, script+"sleep 1000"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the world ends: %v", err)
	}
}
