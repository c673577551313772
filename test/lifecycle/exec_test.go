// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vitro/test/bundle"
)

func TestExec(t *testing.T) {
	b := box(t)
	must(t, os.WriteFile(b.Path("etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"), 0o644))
	b.Spec.Process.Env = append(b.Spec.Process.Env, "OF=the container")
	b.Start()
	for _, c := range []struct {
		name  string
		flags []string
		args  []string
		want  string
		code  int
		root  bool
	}{
		{name: "output", args: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, want: "out", code: 7},
		{name: "environment", flags: []string{"--env", "A=1", "--env", "B=2 3"}, args: []string{"sh", "-c", "echo $A $B $OF"}, want: "1 2 3 the container"},
		{name: "cwd", flags: []string{"--cwd", "/tmp"}, args: []string{"pwd"}, want: "/tmp"},
		{name: "user", flags: []string{"--user", "1000:1001"}, args: []string{"sh", "-c", "id -u; id -g; echo $HOME"}, want: "1000\n1001\n/home/alice", root: true},
		{name: "groups", flags: []string{"-u", "1000:1000", "-g", "7", "-g", "8"}, args: []string{"id", "-G"}, want: "1000 7 8", root: true},
		{name: "capability", flags: []string{"--cap", "CAP_NET_RAW"}, args: []string{"grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status"},
			want: "CapPrm:\t0000000020002420\nCapEff:\t0000000020002420\nCapBnd:\t0000000020002420"},
		{name: "no-new-privs", flags: []string{"--no-new-privs"}, args: []string{"grep", "NoNewPrivs", "/proc/self/status"}, want: "NoNewPrivs:\t1"},
		{name: "options-of-the-command", args: []string{"echo", "-n", "--cwd", "/x"}, want: "--cwd /x"},
		{name: "signal", args: []string{"sh", "-c", "kill -9 $$"}, code: 137},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("needs a second user in the user namespace")
			}
			r := b.Do(append(append(append([]string{"exec"}, c.flags...), b.ID), c.args...)...)
			if r.Out != c.want || r.Code != c.code {
				t.Errorf("%v\nwant %q, status %d", r, c.want, c.code)
			}
		})
	}
	if r := b.Do("exec", b.ID, "no-such-program"); r.Code == 0 || !strings.Contains(r.Err, "no-such-program") {
		t.Errorf("exec of nothing: %v", r)
	}
	if r := b.Do("exec", b.ID, "/etc/passwd"); r.Code == 0 {
		t.Errorf("exec of a text: %v", r)
	}
}

func TestExecProcess(t *testing.T) {
	b := box(t)
	b.Start()
	file := filepath.Join(filepath.Dir(b.Dir), "process.json")
	must(t, os.WriteFile(file, []byte(`{"args":["sh","-c","pwd; echo $X; grep CapEff /proc/self/status; exit 4"],"cwd":"/etc","env":["PATH=/bin","X=y"],"user":{"uid":0,"gid":0}}`), 0o644))
	if r := b.Do("exec", "--process", file, b.ID); r.Code != 4 || r.Out != "/etc\ny\nCapEff:\t0000000020000420" { // the container's
		t.Error(r)
	}
	for _, bad := range []string{`{`, `{}`, `{"args":[],"cwd":"/"}`, `{"args":["true"],"cwd":"etc"}`} {
		must(t, os.WriteFile(file, []byte(bad), 0o644))
		if r := b.Do("exec", "--process", file, b.ID); r.Code == 0 {
			t.Errorf("%s: %v", bad, r)
		}
	}
}

func TestExecDetached(t *testing.T) {
	b := box(t)
	b.Start()
	pidFile := filepath.Join(filepath.Dir(b.Dir), "pid")
	b.Must("exec", "-d", "--pid-file", pidFile, b.ID, "sleep", "999")
	pid := read(t, pidFile)
	if cmd := read(t, "/proc/"+pid+"/cmdline"); cmd != "sleep\x00999\x00" && !isRunc() { // which does not wait for the exec
		t.Errorf("process %s is %q", pid, cmd)
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		a, err := os.Readlink("/proc/" + pid + "/ns/" + ns)
		must(t, err)
		if b2, _ := os.Readlink("/proc/" + itoa(b.Pid()) + "/ns/" + ns); a != b2 {
			t.Errorf("%s namespace is %s; the container's %s", ns, a, b2)
		}
	}
	if got, want := read(t, "/proc/"+pid+"/cgroup"), read(t, "/proc/"+itoa(b.Pid())+"/cgroup"); got != want {
		t.Errorf("cgroups are\n%swant\n%s", got, want)
	}
}

func TestExecInCgroupBelow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a cgroup of its own")
	}
	b := box(t)
	b.Start()
	var dirs []string
	for line := range strings.Lines(read(t, "/proc/"+itoa(b.Pid())+"/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if !strings.Contains(f[2], b.ID) {
			continue
		}
		trees := []string{strings.TrimPrefix(f[1], "name=")}
		if f[1] == "" {
			trees = []string{"unified", ""}
		}
		for _, tree := range trees {
			if dir := filepath.Join("/sys/fs/cgroup", tree, f[2]); isDir(dir) {
				must(t, os.MkdirAll(dir+"/below", 0o755))
				for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // of version 1, which hands down nothing
					if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil && f[1] != "" {
						must(t, os.WriteFile(filepath.Join(dir, "below", file), data, 0))
					}
				}
				dirs = append(dirs, dir+"/below")
				break
			}
		}
	}
	t.Cleanup(func() {
		b.Do("delete", "--force", b.ID)
		for _, d := range dirs {
			if isDir(d) {
				t.Errorf("%s is left", d)
			}
		}
	})
	out := b.Must("exec", "--cgroup", "below", b.ID, "sh", "-c", "sleep 0; cat /proc/self/cgroup").Out
	if got := strings.Count(out, "/below"); got < len(dirs) || got == 0 {
		t.Errorf("in %d cgroups of %d:\n%s", got, len(dirs), out)
	}
	for _, bad := range []string{"no-such", "../..", "/../../.."} {
		if r := b.Do("exec", "--cgroup", bad, b.ID, "cat", "/proc/self/cgroup"); r.Code == 0 && strings.Contains(r.Out, "/..") { // as the container's cgroup namespace shows what is outside
			t.Errorf("exec --cgroup %s leads out: %v", bad, r)
		} else if bad == "no-such" && r.Code == 0 {
			t.Errorf("exec --cgroup %s: %v", bad, r)
		}
	}
}

func isDir(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}

// Descriptors are handed on, those of systemd's too, and no others.
func TestPreserveFDs(t *testing.T) {
	b := box(t)
	for i := range 4 {
		f, err := os.CreateTemp(filepath.Dir(b.Dir), "handed")
		must(t, err)
		defer f.Close()
		_, err = f.WriteString("file " + itoa(i))
		must(t, err)
		_, err = f.Seek(0, 0)
		must(t, err)
		b.Files = append(b.Files, f)
	}
	const look = `for n in 3 4 5 6; do [ -h /proc/$$/fd/$n ] && echo $n; done; cat /proc/self/fd/3; echo; echo $LISTEN_FDS,$LISTEN_PID`
	b.Shell(look)
	if out := b.Run("--preserve-fds", "2").Out; out != "3\n4\nfile 0\n," {
		t.Errorf("run --preserve-fds 2: %q", out)
	}
	b.Env = []string{"LISTEN_FDS=1", "LISTEN_PID=" + itoa(os.Getpid())}
	if out := b.Run("--preserve-fds", "2").Out; out != "3\n4\nfile 0\n," {
		t.Errorf("run --preserve-fds 2 with LISTEN_FDS=1, for another process: %q", out)
	}
	b.Env = []string{"LISTEN_FDS=1", "RUNTIME=" + b.Runtime}
	runtime := b.Runtime
	b.Runtime = b.Path("../listen")
	must(t, os.WriteFile(b.Runtime, []byte("#!/bin/sh\nLISTEN_PID=$$ exec \"$RUNTIME\" \"$@\"\n"), 0o755))
	if out := b.Run("--preserve-fds", "2").Out; out != "3\n4\n5\nfile 0\n1,1" {
		t.Errorf("run --preserve-fds 2 with LISTEN_FDS=1: %q", out)
	}
	b.Env, b.Runtime = nil, runtime
	if r := b.Run("--preserve-fds", "5"); r.Code == 0 && !isRunc() {
		t.Errorf("run --preserve-fds of a descriptor that is not open: %v", r)
	}
	b.Spec.Process.Args = []string{"sleep", "1000"}
	b.Start()
	if out := b.Do("exec", "--preserve-fds", "1", b.ID, "sh", "-c", look).Out; out != "3\nfile 0\n," {
		t.Errorf("exec --preserve-fds 1: %q", out)
	}
	bundle.Eventually(t, "running", func() bool { return b.Status() == "running" })
}
