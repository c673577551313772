// SPDX-License-Identifier: Apache-2.0

// Package bundle makes OCI bundles for tests, and drives a runtime on them as
// an engine does: by its command line, with nothing of its insides in reach.
//
// The root file system holds busybox and the test's own program, which plays
// whoever is in the container (see Main). An ordinary user's bundles have a
// user namespace.
//
// Not for tests of packages: those call the package.
package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/internal/ocijson"
	"vitro/spec"
)

// patience is how long a command of a runtime may take.
const patience = 30 * time.Second

// A Box is a bundle, a container's ID, and the runtime that is to run it.
type Box struct {
	Runtime string   // the program
	Global  []string // its options before the command, besides --root
	Root    string   // where it keeps containers
	Dir     string   // the bundle
	ID      string
	Spec    *specs.Spec
	// Attr is how the runtime is started, Files what it gets from descriptor 3
	// on, Env what it has in its environment beside ours.
	Attr  *syscall.SysProcAttr
	Files []*os.File
	Env   []string

	t testing.TB
}

// A Result is what a command has said, and how it ended.
type Result struct {
	Out, Err string
	Code     int
}

func (r Result) String() string {
	return fmt.Sprintf("exit status %d\nstdout: %s\nstderr: %s", r.Code, r.Out, r.Err)
}

// New makes a bundle with a container that runs without a terminal. What the
// runtime has of it when the test ends is deleted.
func New(t testing.TB, runtime string) *Box {
	t.Helper()
	dir := t.TempDir()
	b := &Box{Runtime: runtime, Root: filepath.Join(dir, "state"), Dir: filepath.Join(dir, "bundle"), ID: id(t), Spec: spec.Example(), t: t}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		_ = os.Chmod(d, 0o755) // for containers whose root is another user outside
	}
	b.must(os.MkdirAll(b.Path("bin"), 0o755))
	for _, d := range []string{"proc", "sys", "dev", "tmp", "etc", "host"} {
		b.must(os.Mkdir(b.Path(d), 0o755))
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox, statically linked")
	}
	b.copy(busybox, "bin/busybox")
	b.copy("/proc/self/exe", "bin/"+Inside)
	for _, name := range strings.Fields("sh true false cat echo sleep id stty tty ls env pwd test kill stat ps head touch hostname wc grep readlink mv") {
		b.must(os.Symlink("busybox", b.Path("bin/"+name)))
	}
	s := b.Spec
	s.Root.Readonly, s.Process.Terminal = false, false
	s.Process.NoNewPrivileges = false
	s.Linux.CgroupsPath = cgroupParent() + "/" + b.ID
	if os.Geteuid() != 0 {
		spec.Rootless(s, os.Geteuid(), os.Getegid())
		s.Linux.CgroupsPath = ""
	}
	t.Cleanup(func() { b.Do("delete", "--force", b.ID) })
	return b
}

// id is a name that no other test's container has.
func id(t testing.TB) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, t.Name())
	return clean[max(0, len(clean)-60):] + "-" + strconv.FormatInt(time.Now().UnixNano()%1e9, 36)
}

func (b *Box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Path is where a path of the container's root is on the host.
func (b *Box) Path(name string) string { return filepath.Join(b.Dir, "rootfs", name) }

func (b *Box) copy(from, to string) {
	b.t.Helper()
	data, err := os.ReadFile(from)
	b.must(err)
	b.must(os.WriteFile(b.Path(to), data, 0o755))
}

// Play has the container run the test's own program, as the given part.
func (b *Box) Play(part string, args ...string) {
	b.Spec.Process.Args = append([]string{"/bin/" + Inside, part}, args...)
}

// Shell has the container run a script.
func (b *Box) Shell(script string) { b.Spec.Process.Args = []string{"sh", "-c", script} }

// Mount adds a mount to the container, behind the others.
func (b *Box) Mount(typ, source, target string, options ...string) {
	b.Spec.Mounts = append(b.Spec.Mounts, specs.Mount{Type: typ, Source: source, Destination: target, Options: options})
}

// Unmount takes a mount out of the container.
func (b *Box) Unmount(target string) {
	var left []specs.Mount
	for _, m := range b.Spec.Mounts {
		if m.Destination != target {
			left = append(left, m)
		}
	}
	b.Spec.Mounts = left
}

// Caps gives the container's process these capabilities, and no others.
func (b *Box) Caps(names ...string) {
	b.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// Save writes config.json.
func (b *Box) Save() {
	b.t.Helper()
	b.must(os.WriteFile(filepath.Join(b.Dir, "config.json"), ocijson.AppendSpec(nil, b.Spec), 0o644))
}

// Command is a command of the runtime, not started yet.
func (b *Box) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.Runtime, append(append([]string{"--root", b.Root}, b.Global...), args...)...)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = b.Dir, b.Attr, b.Files
	cmd.Env = append(os.Environ(), b.Env...)
	return cmd
}

// Do runs a command of the runtime. Its output goes to files: a container
// that lives on may hold them, and nobody waits for it.
func (b *Box) Do(args ...string) Result {
	b.t.Helper()
	return b.wait(b.Command(args...))
}

func (b *Box) wait(cmd *exec.Cmd) Result {
	b.t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(filepath.Dir(b.Dir), "output")
		b.must(err)
		defer f.Close()
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	b.must(cmd.Start())
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !watch.Stop() {
		b.t.Errorf("%s has not ended in %v", strings.Join(cmd.Args, " "), patience)
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	var said [2]string
	for i, f := range files {
		data, err := os.ReadFile(f.Name())
		b.must(err)
		said[i] = string(bytes.TrimRight(data, "\n"))
	}
	return Result{said[0], said[1], cmd.ProcessState.ExitCode()}
}

// Run runs the container to its end.
func (b *Box) Run(options ...string) Result {
	b.t.Helper()
	b.Save()
	return b.Do(append(append([]string{"run"}, options...), b.ID)...)
}

// Must runs a command that has to succeed.
func (b *Box) Must(args ...string) Result {
	b.t.Helper()
	r := b.Do(args...)
	if r.Code != 0 {
		b.t.Fatalf("%s: %v", strings.Join(args, " "), r)
	}
	return r
}

// Start has the container live on, until the test ends.
func (b *Box) Start() {
	b.t.Helper()
	b.Save()
	b.Must("create", b.ID)
	b.Must("start", b.ID)
}

// Pid is the container's first process.
func (b *Box) Pid() int {
	b.t.Helper()
	out := b.Must("state", b.ID).Out
	_, rest, _ := strings.Cut(out, `"pid":`)
	n := strings.TrimLeft(rest, " ")
	if i := strings.IndexAny(n, ",\n}"); i >= 0 {
		n = n[:i]
	}
	pid, err := strconv.Atoi(n)
	if err != nil {
		b.t.Fatalf("state has no pid: %s", out)
	}
	return pid
}

// Status is where the container is in its life; "" if there is none.
func (b *Box) Status() string {
	_, rest, ok := strings.Cut(b.Do("state", b.ID).Out, `"status": "`)
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(rest, `"`)
	return word
}

// Eventually waits until something is so.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience / 2); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
