// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fill writes to a file until there is no room for another byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: when the engine's folder is full, what runs goes on and can be
// looked at, what can't be made says why and leaves nothing, and whoever stops
// and removes gets room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	disk := t.TempDir()
	if err := unix.Mount("disk", disk, "tmpfs", 0, "size=100m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	vitro := func(args ...string) (string, error) {
		out, err := exec.Command(st.vitro, append([]string{"--root", disk + "/root"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := vitro(args...)
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return out
	}
	start := func(name string, args ...string) {
		t.Helper()
		must(append([]string{"run", "-d", "--network=none", "--cgroup-parent=" + st.cgroup, "--name", name}, args...)...)
	}
	t.Cleanup(func() { // whatever has happened
		os.Remove(disk + "/fill")
		if ids, _ := vitro("ps", "-aq"); ids != "" {
			_, _ = vitro(append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
		}
	})
	status := func(name string) string {
		t.Helper()
		return must("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)
	}

	start("talks", "busybox", "sh", "-c", "while echo hello; do sleep 0.05; done")
	start("sleeps", "busybox", "sleep", "1000")
	start("comes-back", "--restart=always", "busybox", "sleep", "1000")
	start("big", "busybox", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=3")
	must("wait", "big")
	fill(t, disk+"/fill")

	for _, args := range [][]string{
		{"ps", "-a"}, {"exec", "sleeps", "true"}, {"inspect", "sleeps"}, {"stats", "--no-stream"}, {"top", "sleeps"},
		{"diff", "big"}, {"cp", "sleeps:/etc/passwd", "-"}, {"pause", "sleeps"}, {"unpause", "sleeps"}, {"images"}, {"system", "df"},
	} {
		must(args...)
	}
	if out := must("logs", "--tail=1", "talks"); out != "hello" {
		t.Errorf("the log's last line is %q", out)
	}
	before, _ := filepath.Glob(disk + "/root/containers/*")
	for _, args := range [][]string{{"run", "--rm", "busybox", "true"}, {"run", "-d", "busybox", "true"}, {"create", "busybox", "true"}} {
		out, err := vitro(args...)
		want := 125
		if args[0] == "create" {
			want = 1
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(out, "no space left") || !strings.Contains(out, "\nvitro: hint: the file system is full") {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
	if after, _ := filepath.Glob(disk + "/root/containers/*"); len(after) != len(before) {
		t.Errorf("what could not be made has left something: %q; before: %q", after, before)
	}

	// An end is known, and what it leaves is taken down, though there is no room for a new file.
	must("kill", "sleeps")
	must("wait", "sleeps")
	fill(t, disk+"/fill2") // what that gave back
	if got := status("sleeps"); got != "exited 137" {
		t.Errorf("a killed container is %s", got)
	}
	// Nor does who is to be started again stay down.
	pid, err := strconv.Atoi(must("inspect", "-f", "{{.State.Pid}}", "comes-back"))
	if err != nil || unix.Kill(pid, unix.SIGKILL) != nil {
		t.Fatal(err)
	}
	must("stop", "-t", "0", "talks")
	if got := status("talks"); got != "exited 137" {
		t.Errorf("a stopped container is %s", got)
	}

	var fs [2]unix.Statfs_t
	for i := range fs {
		if err := unix.Statfs(disk, &fs[i]); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			must("rm", "big")
		}
	}
	if freed := (fs[1].Bfree - fs[0].Bfree) * uint64(fs[1].Bsize); freed < 3<<20 {
		t.Errorf("to remove 3 MB has given back %d bytes", freed)
	}
	if out := must("run", "--rm", "--network=none", "--cgroup-parent="+st.cgroup, "busybox", "echo", "room"); out != "room" {
		t.Errorf("got %q", out)
	}
	eventually(t, "restart", func() (int, bool) { return 0, status("comes-back") == "running 0" }) // tried until there was room
	must("rm", "-f", "talks", "sleeps", "comes-back")
	if out := must("system", "check"); out != "" {
		t.Errorf("left over: %s", out)
	}
	if rest, _ := os.ReadDir(disk + "/root/containers"); len(rest) > 0 {
		t.Errorf("left over: %v", rest)
	}
}
