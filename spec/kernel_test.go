// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan/run"
	"vitro/spec"
)

// A bundle is a folder with a root file system of busybox, and a config.json
// for it. The containers of these tests are real; other programs are asked what
// they are.
type bundle struct {
	dir, root string
	*specs.Spec
	facts func(*spec.Facts)
}

func newBundle(t *testing.T, script string) *bundle {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for containers without a user namespace")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox, for a root file system")
	}
	b := &bundle{dir: t.TempDir(), Spec: spec.Example()}
	b.root = b.dir + "/rootfs"
	for dir := range strings.FieldsSeq("bin dev proc sys tmp etc var") {
		if err := os.MkdirAll(b.root+"/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for up := b.dir; up != "/" && strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil { // for users other than root
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.root+"/bin/busybox", program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("busybox", b.root+"/bin/sh"); err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields("cat echo grep id ip ls mkdir mknod mount nproc sleep stat touch uname") {
		if err := os.Symlink("busybox", b.root+"/bin/"+applet); err != nil {
			t.Fatal(err)
		}
	}
	b.Process.Terminal, b.Process.Rlimits = false, nil
	b.Process.Args = []string{"sh", "-c", script}
	b.Process.Env = []string{"PATH=/bin", "HOME=/"}
	b.Root.Readonly = false
	b.Linux.Resources = nil
	b.Linux.MaskedPaths, b.Linux.ReadonlyPaths = nil, nil
	return b
}

// users gives the container a user namespace whose root is 100000 outside.
func (b *bundle) users(t *testing.T) {
	t.Helper()
	b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	b.Linux.UIDMappings, b.Linux.GIDMappings = ids, ids
	err := filepath.WalkDir(b.root, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, 100000, 100000))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A started container, and what it says.
type started struct {
	child *run.Child
	out   *os.File
	undo  string
}

// start compiles and starts; an error of either is returned.
func (b *bundle) start(t *testing.T) (*started, error) {
	t.Helper()
	facts, err := spec.ReadFacts(b.Spec, b.dir)
	if err != nil {
		return nil, err
	}
	if b.facts != nil {
		b.facts(facts)
	}
	res, err := spec.Compile(&spec.Request{ID: "test", Spec: b.Spec, Facts: facts, Title: t.Name(), Bundle: b.dir, Stdio: [3]string{"", "out", "out"}})
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	list := t.TempDir() + "/undo"
	undo, err := run.CreateUndo(list)
	if err != nil {
		t.Fatal(err)
	}
	defer undo.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(res.Plan, run.Options{Undo: undo, Handles: map[string]int{"out": int(w.Fd())}})
	if err != nil {
		r.Close()
		return nil, err
	}
	s := &started{child: child, out: r, undo: list}
	t.Cleanup(func() { r.Close() })
	return s, nil
}

// must starts, and reads the first line: then the script is at work.
func (b *bundle) must(t *testing.T) (*started, string) {
	t.Helper()
	s, err := b.start(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	var line []byte
	for c := make([]byte, 1); ; {
		if n, err := s.out.Read(c); n == 0 || err != nil {
			t.Fatalf("the container has ended, after %q", line)
		}
		if c[0] == '\n' {
			return s, string(line)
		}
		line = append(line, c[0])
	}
}

func (s *started) end() {
	_ = s.child.Signal(unix.SIGKILL)
	_, _, _ = s.child.Wait()
}

// says runs the container to its end, and is all that it has said.
func (b *bundle) says(t *testing.T) string {
	t.Helper()
	text, err := b.text(t)
	if err != nil {
		var report bytes.Buffer
		run.Report(&report, "test", err)
		t.Fatalf("%v\n%s", err, report.String())
	}
	return text
}

// text is the same, for those who expect that it may not start.
func (b *bundle) text(t *testing.T) (string, error) {
	t.Helper()
	s, err := b.start(t)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(s.out)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.child.Wait(); err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

// oracle asks a program about the container.
func oracle(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("needs %s", args[0])
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func pid(s *started) string { return fmt.Sprint(s.child.Pid) }

// want compares what is said with what is to be said.
func want(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != want {
		t.Errorf("%s: %q; want %q", what, strings.TrimSpace(got), want)
	}
}

// has looks for a part.
func has(t *testing.T, what, got, part string) {
	t.Helper()
	if !strings.Contains(got, part) {
		t.Errorf("%s: %q; want %q in it", what, got, part)
	}
}
