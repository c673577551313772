// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan/run"
	"vitro/spec"
)

// mountsOf lists the mounts of a process: what is mounted where, and how it travels.
func mountsOf(t *testing.T, pid string) (list []string) {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		list = append(list, strings.Join(strings.Fields(line)[3:], " "))
	}
	return list
}

// TestSharedMounts: a container without a mount namespace of its own, ours or
// another process's, sees its root alone; its mounts go with the undo list, and
// nothing else does, how often that is read.
func TestSharedMounts(t *testing.T) {
	for _, name := range [...]string{"ours", "another's"} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t, "echo here; "+waiting)
			ownMounts(t)
			mount(t, "tmpfs", b.dir+"/engine", "tmpfs", 0, "")
			mount(t, b.root, b.root, "", unix.MS_BIND, "") // as an engine does
			mount(t, "", b.root, "", unix.MS_SHARED, "")
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: b.dir + "/engine", Options: []string{"rbind"}})
			b.Linux.MaskedPaths = []string{"/proc/acpi", "/proc/keys"}
			b.Linux.Namespaces = slices.DeleteFunc(b.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
			owner := "thread-self"
			if name != "ours" {
				cmd := exec.Command("sleep", "1000")
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
				owner = fmt.Sprint(cmd.Process.Pid)
				b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: specs.MountNamespace, Path: "/proc/" + owner + "/ns/mnt"})
			}
			ours, before := mountsOf(t, "thread-self"), mountsOf(t, owner)
			s, _ := b.must(t)
			root, err := os.Readlink("/proc/" + pid(s) + "/root")
			if err != nil || root != b.root {
				t.Errorf("its root is %s, %v; want %s", root, err, b.root)
			}
			if during := mountsOf(t, owner); len(during) < len(before)+5 {
				t.Errorf("its mounts are not there: %q", during)
			}
			if name != "ours" && !slices.Equal(mountsOf(t, "thread-self"), ours) {
				t.Error("its mounts are here, too")
			}
			s.end()
			list, err := os.ReadFile(s.undo)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := os.WriteFile(s.undo, list, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := run.Undo(s.undo, host.Actions); err != nil {
					t.Fatal(err)
				}
				if after := mountsOf(t, owner); !slices.Equal(after, before) {
					t.Errorf("mounts before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
				}
			}
		})
	}
}

// A namespace that is not there is named, before anything is made.
func TestSharedMountsOfNobody(t *testing.T) {
	s := spec.Example()
	s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace, Path: "/proc/self/ns/none"}}
	if _, err := spec.ReadFacts(s, t.TempDir()); err == nil || !strings.Contains(err.Error(), "/proc/self/ns/none") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}
