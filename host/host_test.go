// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// undo does what a later process does with a line of the undo list.
func undo(t *testing.T, a plan.Host) {
	t.Helper()
	u := a.Undo()
	text, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	back := host.Actions(u.Verb())
	if back == nil {
		t.Fatalf("no action has the verb %q", u.Verb())
	}
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	if err := back.Do(&plan.Env{}); err != nil {
		t.Errorf("undo %s: %v", a.Line(), err)
	}
}

func do(t *testing.T, a plan.Host, e *plan.Env) {
	t.Helper()
	if err := a.Do(e); err != nil {
		t.Fatalf("%s: %v", a.Line(), err)
	}
}

func TestActions(t *testing.T) {
	for _, verb := range []string{"rmdir", "remove", "write", "chown"} {
		if a := host.Actions(verb); a == nil || a.Verb() != verb {
			t.Errorf("Actions(%q) = %v", verb, a)
		}
	}
	if a := host.Actions("mkdir"); a != nil {
		t.Errorf("Actions(mkdir) = %v: it is no inverse", a)
	}
}

func TestMkdir(t *testing.T) {
	base := t.TempDir()
	deep := &host.Mkdir{Path: base + "/a/b/c", Mode: 0o711, Below: base}
	if err := (&host.Mkdir{Path: deep.Path, Mode: 0o711}).Do(nil); err != unix.ENOENT {
		t.Errorf("without parents: %v", err)
	}
	undo(t, deep) // it never happened
	do(t, deep, nil)
	if st, err := os.Stat(deep.Path); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", st, err)
	}
	if err := deep.Do(nil); err != unix.EEXIST {
		t.Errorf("a second time: %v", err)
	}
	if err := os.Mkdir(base+"/a/other", 0o755); err != nil {
		t.Fatal(err)
	}
	undo(t, deep)
	undo(t, deep) // it happened twice
	if exists(base+"/a/b") || !exists(base+"/a/other") {
		t.Error("what is another's was taken along, or what is ours was not")
	}
	if err := os.Remove(base + "/a/other"); err != nil {
		t.Fatal(err)
	}
	do(t, deep, nil)
	undo(t, deep)
	if exists(base+"/a") || !exists(base) {
		t.Error("the way up was not cleared, or too far")
	}
	late := &host.Mkdir{Path: base + "/d/e/f", Mode: 0o755, Below: base + "/d/e"}
	do(t, late, nil) // what was there for the plan has gone meanwhile
	undo(t, late)
	if !exists(late.Below) {
		t.Error("what stood above was taken along")
	}
	do(t, deep, nil)
	if err := os.WriteFile(deep.Path+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := deep.Undo().Do(nil); err != unix.ENOTEMPTY {
		t.Errorf("one that is not empty: %v", err)
	}
}

// TestMkdirTogether: containers come and go in a folder that they share, which
// is made for the first and removed with the last.
func TestMkdirTogether(t *testing.T) {
	base := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				a := &host.Mkdir{Path: fmt.Sprintf("%s/shared/all/%d", base, i), Mode: 0o755, Below: base}
				if err := a.Do(nil); err != nil {
					t.Errorf("%s: %v", a.Line(), err)
				}
				if err := a.Undo().Do(nil); err != nil {
					t.Errorf("undo %s: %v", a.Line(), err)
				}
			}
		})
	}
	all.Wait()
	if exists(base + "/shared") {
		t.Error("the shared folder is left")
	}
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	content := func() string { data, _ := os.ReadFile(file); return string(data) }
	if err := (&host.Write{Path: file, Value: "x"}).Do(&plan.Env{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
	do(t, &host.Write{Path: file, Value: "x", Optional: true}, &plan.Env{})
	if exists(file) {
		t.Error("an optional file was made")
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &host.Write{Path: file, Value: "new", Before: "old"}
	do(t, a, &plan.Env{})
	if content() != "new" {
		t.Errorf("the file holds %q", content())
	}
	undo(t, a)
	if content() != "old" {
		t.Errorf("after the undo the file holds %q", content())
	}
	if (&host.Write{Path: file, Value: "x"}).Undo() != nil {
		t.Error("an inverse of what can't be restored")
	}
	// the kernel's answer; the step's line has the value that it is about
	err := (&host.Write{Path: "/proc/$PID/oom_score_adj", Value: "5000"}).Do(&plan.Env{Pid: os.Getpid()})
	if err != unix.EINVAL {
		t.Errorf("%v; want EINVAL", err)
	}
}

func TestChown(t *testing.T) {
	dir := t.TempDir()
	own := func(path string) *host.Chown { return &host.Chown{Path: path, UID: os.Getuid(), GID: os.Getgid()} }
	if err := own(dir + "/none").Do(nil); err != unix.ENOENT {
		t.Errorf("a file that is missing: %v", err)
	}
	optional := own(dir + "/none")
	optional.Optional = true
	do(t, optional, nil)
	if err := os.Symlink("/nowhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	do(t, own(dir+"/link"), nil) // the link itself
}

func TestFiles(t *testing.T) {
	dir := t.TempDir() + "/container"
	folder := &host.Folder{Path: dir}
	do(t, folder, nil)
	do(t, folder, nil) // the engine may have made it
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	text := "a\n'b' $c"
	do(t, &host.File{Path: dir + "/file", Content: text}, nil)
	if got, err := os.ReadFile(dir + "/file"); err != nil || string(got) != text {
		t.Errorf("the file holds %q, %v", got, err)
	}
	e := &plan.Env{Handles: map[string]int{}}
	do(t, &host.Open{Path: dir + "/file", Flags: unix.O_RDONLY, As: "x"}, e)
	flags, err := unix.FcntlInt(uintptr(e.Handles["x"]), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the handle is inherited by everybody: %#x, %v", flags, err)
	}
	unix.Close(e.Handles["x"])
	if err := (&host.Open{Path: dir + "/none", As: "y"}).Do(e); err != unix.ENOENT {
		t.Errorf("open nothing: %v", err)
	}
	if _, there := e.Handles["y"]; there {
		t.Error("a handle for nothing")
	}
	remove := &host.Remove{Path: dir}
	do(t, remove, nil)
	do(t, remove, nil)
	if exists(dir) {
		t.Error("the folder is left")
	}
}

// child is a process to change from outside. It is in a user namespace without
// maps if inUser is set.
func child(t *testing.T, inUser bool) *plan.Env {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if inUser {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &plan.Env{Pid: cmd.Process.Pid, Handles: map[string]int{}}
}

func TestIDMap(t *testing.T) {
	e := child(t, true)
	do(t, &host.Write{Path: "/proc/$PID/setgroups", Value: "deny"}, e)
	for kind, id := range map[string]int{"uid": os.Geteuid(), "gid": os.Getegid()} {
		a := &host.IDMap{Kind: kind, Ranges: []host.Range{{Container: 7, Host: uint32(id), Size: 1}}}
		do(t, a, e)
		got, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s_map", e.Pid, kind))
		if want := fmt.Sprintf("7 %d 1", id); err != nil || strings.Join(strings.Fields(string(got)), " ") != want {
			t.Errorf("the map is %q, %v; want %q", got, err, want)
		}
		if err := a.Do(e); !errors.Is(err, unix.EPERM) {
			t.Errorf("a second map: %v", err)
		}
	}
	if os.Geteuid() == 0 {
		e := child(t, true)
		two := &host.IDMap{Kind: "uid", Ranges: []host.Range{{Container: 0, Host: 5, Size: 2}, {Container: 2, Host: 100, Size: 3}}}
		do(t, two, e)
		got, _ := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", e.Pid))
		if strings.Join(strings.Fields(string(got)), " ") != "0 5 2 2 100 3" {
			t.Errorf("the map is %q", got)
		}
	}
}

// TestIDMapTool: what the program says is in the error.
func TestIDMapTool(t *testing.T) {
	dir := t.TempDir()
	tool := func(script string) string {
		path := dir + "/newuidmap"
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := &host.IDMap{Kind: "uid", Ranges: []host.Range{{Container: 0, Host: 1000, Size: 1}, {Container: 1, Host: 100000, Size: 65536}}}
	a.Tool = tool(`echo "$*" >` + dir + "/args")
	do(t, a, &plan.Env{Pid: 42})
	if got, _ := os.ReadFile(dir + "/args"); string(got) != "42 0 1000 1 1 100000 65536\n" {
		t.Errorf("it is called with %q", got)
	}
	a.Tool = tool("echo no range >&2; exit 3")
	if err := a.Do(&plan.Env{Pid: 42}); err == nil || err.Error() != "exit status 3: no range" {
		t.Errorf("%v", err)
	}
	a.Tool = dir + "/none"
	if err := a.Do(&plan.Env{Pid: 42}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestRlimit(t *testing.T) {
	e := child(t, false)
	get := func() (l unix.Rlimit) {
		if err := unix.Prlimit(e.Pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	do(t, &host.Rlimit{Name: "nofile", Type: unix.RLIMIT_NOFILE, Soft: 50, Hard: 60}, e)
	if l := get(); l.Cur != 50 || l.Max != 60 {
		t.Errorf("the limit is %v", l)
	}
	do(t, &host.Nofile{Soft: 40}, e)
	if l := get(); l.Cur != 40 || l.Max != 60 {
		t.Errorf("the limit is %v", l)
	}
	do(t, &host.Nofile{Soft: 1000}, e) // not above the hard one
	if l := get(); l.Cur != 60 || l.Max != 60 {
		t.Errorf("the limit is %v", l)
	}
	if err := (&host.Rlimit{Name: "nofile", Type: unix.RLIMIT_NOFILE, Soft: 2, Hard: 1}).Do(e); err != unix.EINVAL {
		t.Errorf("soft above hard: %v", err)
	}
	a := &host.Rlimit{Name: "core", Soft: 0, Hard: unix.RLIM_INFINITY}
	if a.Line() != "prlimit --core=0:unlimited" {
		t.Errorf("it reads %q", a.Line())
	}
}
