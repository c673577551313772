// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// needCriu skips where criu can't work: on this machine, or on this kernel.
func needCriu(t *testing.T) {
	t.Helper()
	needRoot(t, "criu takes the machine's root")
	need(t, "criu")
	if line, ok := criuCheck(); !ok {
		t.Skipf("needs a criu that is made for this kernel: criu check: %s", line)
	}
}

// criuCheck asks criu once: where it works it takes its time.
var criuCheck = sync.OnceValues(func() (line string, ok bool) {
	out, err := exec.Command("criu", "check").CombinedOutput()
	line, _, _ = strings.Cut(string(out), "\n")
	return line, err == nil
})

// A bundled is an OCI bundle, and containers of it.
type bundled struct {
	t      *testing.T
	dir    string
	root   string // --root
	images string
}

// newBundle makes a bundle whose program is a script. Change edits its config.json.
func newBundle(t *testing.T, script string, change ...[2]string) *bundled {
	t.Helper()
	need(t, "busybox")
	b := &bundled{t: t, dir: t.TempDir(), root: t.TempDir(), images: filepath.Join(t.TempDir(), "images")}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mkdir", "-p", b.dir + "/rootfs/bin", b.dir + "/rootfs/tmp"}, {"cp", busybox, b.dir + "/rootfs/bin/busybox"},
		{busybox, "ln", "-s", "busybox", b.dir + "/rootfs/bin/sh"}, {st.oci, "spec", "--bundle", b.dir},
	} {
		output(t, args...)
	}
	for _, c := range []string{"sleep", "nc", "cat", "readlink"} {
		output(t, "ln", "-s", "busybox", b.dir+"/rootfs/bin/"+c)
	}
	config := read(t, b.dir+"/config.json")
	change = append(change, [2]string{`"terminal": true`, `"terminal": false`}, [2]string{`"readonly": true`, `"readonly": false`},
		[2]string{`"sh"`, `"sh", "-c", ` + strconv.Quote(script)}, [2]string{`"linux": {`, `"linux": {"cgroupsPath": "` + st.cgroup + "/" + filepath.Base(b.root) + `",`})
	for _, c := range change {
		if !strings.Contains(config, c[0]) {
			t.Fatalf("no %s in %s", c[0], config)
		}
		config = strings.Replace(config, c[0], c[1], 1)
	}
	if err := os.WriteFile(b.dir+"/config.json", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// oci runs vitro-oci in the bundle. A container that it leaves has /dev/null for its streams.
func (b *bundled) oci(args ...string) (string, error) {
	errs := new(bytes.Buffer)
	log := filepath.Join(b.t.TempDir(), "log")
	cmd := exec.Command(st.oci, append([]string{"--root", b.root, "--log", log}, args...)...)
	cmd.Dir = b.dir
	out := new(bytes.Buffer)
	if args[0] != "run" && args[0] != "restore" { // a container would have the pipe
		cmd.Stdout, cmd.Stderr = out, errs
	}
	err := cmd.Run()
	if data, e := os.ReadFile(log); e == nil {
		errs.Write(data)
	}
	return out.String() + errs.String(), err
}

func (b *bundled) must(args ...string) string {
	b.t.Helper()
	out, err := b.oci(args...)
	if err != nil {
		b.t.Fatalf("vitro-oci %q: %v: %s", args, err, out)
	}
	return out
}

// run starts a container, which is gone at the end of the test.
func (b *bundled) run(id string) {
	b.t.Helper()
	b.willGo(id)
	b.must("run", "--detach", id)
}

func (b *bundled) restore(id string, flags ...string) {
	b.t.Helper()
	b.willGo(id)
	b.must(append(append([]string{"restore", "--detach", "--image-path", b.images}, flags...), id)...)
}

func (b *bundled) willGo(id string) {
	b.t.Cleanup(func() {
		if out, err := b.oci("delete", "--force", id); err != nil {
			b.t.Errorf("delete %s: %v: %s", id, err, out)
		}
	})
}

func (b *bundled) is(id, status string) {
	b.t.Helper()
	if got := b.must("state", id); !strings.Contains(got, `"status": "`+status+`"`) {
		b.t.Errorf("%s is not %s: %s", id, status, got)
	}
}

// count is the last line of a file that the container writes, as a number; the
// second word is whatever it is.
func (b *bundled) count(file string) (n int, word string) {
	data, err := os.ReadFile(b.dir + "/rootfs/tmp/" + file)
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	f := strings.Fields(lines[len(lines)-1])
	if len(f) == 0 {
		return 0, ""
	}
	n, _ = strconv.Atoi(f[0])
	if len(f) > 1 {
		word = f[1]
	}
	return n, word
}

// growing waits until the count is above n.
func (b *bundled) growing(file string, n int) int {
	b.t.Helper()
	return eventually(b.t, "counting above "+strconv.Itoa(n), func() (int, bool) { m, _ := b.count(file); return m, m > n })
}

// counter counts, and says its PID, into a file that it has open.
const counter = `exec 5>/tmp/out; i=0; while :; do i=$((i+1)); echo $i $$ >&5; sleep 0.05; done`

func TestCheckpointAndRestore(t *testing.T) {
	needCriu(t)
	b := newBundle(t, counter)
	b.run("a")
	b.growing("out", 3)
	b.must("checkpoint", "--image-path", b.images, "a")
	b.is("a", "stopped")
	n, _ := b.count("out")

	b.restore("b", "--pid-file", b.dir+"/pid")
	b.is("b", "running")
	b.growing("out", n+3)
	if _, pid := b.count("out"); pid != "1" {
		t.Errorf("its PID is %s now", pid)
	}
	pid := read(t, b.dir+"/pid")
	if got := b.must("list"); !strings.Contains(got, " "+pid+" ") {
		t.Errorf("PID file says %s, list says %s", pid, got)
	}
	if data, _ := os.ReadFile(b.dir + "/rootfs/tmp/out"); !strings.HasPrefix(string(data), "1 1\n2 1\n") {
		t.Errorf("the file has not been written on: %.20q", data)
	}
	if got := b.must("exec", "b", "cat", "/proc/net/dev"); !strings.Contains(got, "lo:") {
		t.Errorf("exec: %s", got)
	}
	b.must("pause", "b")
	b.is("b", "paused")
	b.must("resume", "b")
	b.must("kill", "b", "KILL")
	eventually(t, "end", func() (string, bool) { s := b.must("state", "b"); return s, strings.Contains(s, `"stopped"`) })
}

// The container that has been checkpointed makes room for the one that comes back.
func TestRestoreUnderTheSameID(t *testing.T) {
	needCriu(t)
	b := newBundle(t, counter)
	b.run("a")
	b.must("checkpoint", "--leave-running", "--image-path", b.images+"0", "a")
	b.is("a", "running")
	b.must("checkpoint", "--pre-dump", "--image-path", b.images+"/1", "a")
	b.is("a", "running")
	if out, err := b.oci("restore", "--detach", "--image-path", b.images+"0", "a"); err == nil || !strings.Contains(out, "a container of this name exists") {
		t.Errorf("a running container made room: %v %s", err, out)
	}
	b.must("checkpoint", "--parent-path", "../1", "--image-path", b.images+"/2", "--work-path", b.dir+"/work", "a")
	if _, err := os.Stat(b.dir + "/work/dump.log"); err != nil {
		t.Error(err)
	}
	n, _ := b.count("out")
	b.images += "/2"
	b.restore("a")
	b.growing("out", n+3)
}

const connection = `(sleep 1000 | nc -l -p 5000 >/tmp/got) & (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 5000`

func TestCheckpointOfAConnection(t *testing.T) {
	needCriu(t)
	b := newBundle(t, strings.Replace(connection, "& (", "& sleep 0.5; (", 1))
	b.run("a")
	b.growing("got", 3)
	out, err := b.oci("checkpoint", "--image-path", b.images, "a")
	if err == nil || !strings.Contains(out, "hint: give --tcp-established") {
		t.Errorf("without --tcp-established: %v %s", err, out)
	}
	b.is("a", "running")
	n, _ := b.count("got")
	b.growing("got", n)
	b.must("checkpoint", "--tcp-established", "--image-path", b.images, "a")
	n, _ = b.count("got")
	b.restore("a", "--tcp-established")
	b.growing("got", n+3)
}

// A bind mount comes back from its source, with the mounts below it; the
// network is what hooks make of it.
func TestRestoreOfWhatIsOutside(t *testing.T) {
	needCriu(t)
	src := t.TempDir()
	output(t, "mkdir", src+"/below")
	output(t, "mount", "-t", "tmpfs", "tmpfs", src+"/below")
	t.Cleanup(func() { output(t, "umount", src+"/below") })
	note := src + "/note"
	hook := func(kind string) string {
		return `"` + kind + `": [{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; echo ` + kind + ` >>` + note + `"]}]`
	}
	b := newBundle(t, `exec 5>/data/below/f; `+counter,
		[2]string{`"mounts": [`, `"mounts": [{"destination": "/data", "source": "` + src + `", "options": ["rbind"]},`},
		[2]string{`"linux": {`, `"hooks": {` + hook("prestart") + "," + hook("createRuntime") + "," + hook("poststart") + `}, "linux": {`})
	b.run("a")
	b.growing("out", 0)
	b.must("checkpoint", "--image-path", b.images, "a")
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	n, _ := b.count("out")
	b.restore("a")
	b.growing("out", n)
	if got := read(t, note); got != "prestart\ncreateRuntime\npoststart" {
		t.Errorf("hooks at the restore: %q", got)
	}
	if got := b.must("exec", "a", "readlink", "/proc/1/fd/5"); !strings.Contains(got, "/tmp/out") {
		t.Errorf("descriptor 5: %s", got)
	}
}

// What a restore that fails has made is gone.
func TestFailedRestoreLeavesNothing(t *testing.T) {
	needCriu(t)
	b := newBundle(t, counter)
	b.run("a")
	b.growing("out", 0)
	b.must("checkpoint", "--image-path", b.images, "a")
	if err := os.Remove(b.images + "/mm-1.img"); err != nil {
		t.Fatal(err)
	}
	out, err := b.oci("restore", "--detach", "--image-path", b.images, "b")
	if err == nil || !strings.Contains(out, "restore.log") {
		t.Errorf("got %v: %s", err, out)
	}
	if _, err := os.Stat(b.root + "/b"); err == nil {
		t.Error("the container's folder is there")
	}
	b.must("delete", "a") // which has the same cgroup in its config.json
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if left, err := filepath.Glob(dir + st.cgroup + "/" + filepath.Base(b.root)); err != nil || len(left) > 0 {
			t.Errorf("cgroups are left: %q, %v", left, err)
		}
	}
}

// What no criu is needed for: to be told why not.
func TestCheckpointRefuses(t *testing.T) {
	needRoot(t, "the bundle has no user namespace")
	b := newBundle(t, counter)
	b.run("a")
	b.growing("out", 0)
	t.Setenv("PATH", t.TempDir())
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no criu", []string{"checkpoint", "a"}, []string{"criu is not installed", "hint: install it"}},
		{"mode", []string{"checkpoint", "--manage-cgroups-mode", "x", "a"}, []string{"want soft, full, strict or ignore"}},
		{"namespace", []string{"checkpoint", "--empty-ns", "pid", "a"}, []string{"want network"}},
		{"page server", []string{"checkpoint", "--page-server", "host", "a"}, []string{"want ADDRESS:PORT"}},
		{"no container", []string{"checkpoint", "x"}, []string{"container does not exist"}},
		{"no terminal", []string{"restore", "--console-socket", "/x", "b"}, []string{"--console-socket", "terminal"}},
		{"no pivot", []string{"restore", "--no-pivot", "b"}, []string{"--no-pivot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := b.oci(c.args...)
			for _, w := range c.want {
				if err == nil || !strings.Contains(out, w) {
					t.Errorf("got %v, %s; want %s", err, out, w)
				}
			}
		})
	}
	b.is("a", "running")
}

// What is wrong with the command is said before what is wrong with the container.
func TestCheckpointWithoutItsParent(t *testing.T) {
	needRoot(t, "the bundle has no user namespace")
	b := newBundle(t, counter, [2]string{`"mounts": [`, `"mounts": [{"destination": "/a:b", "type": "bind", "source": "/tmp", "options": ["bind"]},`})
	b.run("a")
	for parent, want := range map[string]string{b.dir: "begins at --image-path", "../none": "no such file"} {
		out, err := b.oci("checkpoint", "--pre-dump", "--parent-path", parent, "--image-path", b.images, "a")
		if err == nil || !strings.Contains(out, "--parent-path") || !strings.Contains(out, want) {
			t.Errorf("--parent-path %s: %v, %s", parent, err, out)
		}
	}
	if out, err := b.oci("checkpoint", "--image-path", b.images, "a"); err == nil || !strings.Contains(out, "destination") {
		t.Errorf("the container: %v, %s", err, out)
	}
}

// A criu that is not made for this kernel says so, and the container runs on.
func TestCheckpointByACriuThatCannot(t *testing.T) {
	needRoot(t, "criu takes the machine's root")
	need(t, "criu")
	if _, ok := criuCheck(); ok {
		t.Skip("needs a criu that is not made for this kernel")
	}
	b := newBundle(t, counter)
	b.run("a")
	b.growing("out", 0)
	out, err := b.oci("checkpoint", "--image-path", b.images, "a")
	if err == nil || !strings.Contains(out, "wait for criu dump: exit status 1; from "+b.images+"/dump.log") || !strings.Contains(out, "hint: criu check says: ") {
		t.Errorf("got %v: %s", err, out)
	}
	b.is("a", "running")
	n, _ := b.count("out")
	b.growing("out", n)
}
