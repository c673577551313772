// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run"
)

// held starts a plan whose child waits, with the FIFOs and the page in files as
// another process finds them, and returns what Resume needs.
func held(t *testing.T, p *plan.Plan, handles map[string]int) *run.Waiting {
	t.Helper()
	dir := t.TempDir()
	page, err := os.Create(filepath.Join(dir, "page"))
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	for _, name := range []string{"in", "out"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		handles["fifo-"+name] = int(f.Fd())
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := run.Start(p, run.Options{Handles: handles, Page: page})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Waiting {
		t.Fatal("the child does not say that it waits")
	}
	t.Cleanup(func() { unix.Kill(c.Pid, unix.SIGKILL); unix.Wait4(c.Pid, nil, 0, nil); unix.Close(c.Pidfd) })
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	return &run.Waiting{Pid: c.Pid, Pidfd: c.Pidfd, Out: open("in", os.O_WRONLY), In: open("out", os.O_RDONLY), Page: open("page", os.O_RDWR), Meets: meets(p),
		Rest: func() (*plan.Plan, error) { return &plan.Plan{Steps: p.Steps[p.Waits()+1:]}, nil }}
}

// meets reports whether there are host steps behind plan.Await.
func meets(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Steps[p.Waits()+1:], plan.Step.IsHost)
}

var await = &plan.Await{In: "fifo-in", Out: "fifo-out"}

func TestResume(t *testing.T) {
	tp := newTape(t)
	whole := planOf(&plan.Clone{}, writes("a"), await, writes("b"), shell("exit 0"))
	w := held(t, whole, tp.handles())
	if got := tp.so(t); got != "a" {
		t.Fatalf("before it was resumed the child has written %q; want a", got)
	}
	if err := run.Resume(w, run.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := tp.so(t); got != "b" {
		t.Errorf("after it was resumed the child has written %q; want b", got)
	}
}

// TestResumeMeets has host steps before, between and after the child's.
func TestResumeMeets(t *testing.T) {
	tp := newTape(t)
	says := func(text string) *acts {
		return &acts{name: "say-" + text, do: func(*plan.Env) error { _, err := tp.w.WriteString(text); return err }}
	}
	whole := planOf(&plan.Clone{}, writes("a"), await)
	whole.Meet("", says("1"))
	whole.Add("", writes("b"))
	whole.Meet("", says("2"))
	whole.Add("", writes("c"))
	whole.Add("", shell("exit 0"))
	whole.Meet("", says("3"))
	w := held(t, whole, tp.handles())
	if err := run.Resume(w, run.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := tp.so(t); got != "a1b2c3" {
		t.Errorf("host and child have written %q; want a1b2c3", got)
	}
}

// TestResumeFault: the reason for a failed exec comes to the process that resumes.
func TestResumeFault(t *testing.T) {
	whole := planOf(&plan.Clone{}, await, writes("b"), &plan.Exec{Paths: []string{"/nowhere/x"}, Args: []string{"x"}})
	tp := newTape(t)
	w := held(t, whole, tp.handles())
	err := run.Resume(w, run.Options{})
	var f *run.Fault
	if !errors.As(err, &f) || f.Index != 1 || !errors.Is(err, unix.ENOENT) || f.Call == "" {
		t.Fatalf("resumed with %v (%+v); want a fault of the exec, with its call", err, f)
	}
}

// TestResumeForeignPage: a page that is not of this plan's child is refused.
func TestResumeForeignPage(t *testing.T) {
	whole := planOf(&plan.Clone{}, await, shell("exit 0"))
	w := held(t, whole, make(map[string]int))
	w.Meets, w.Rest = true, func() (*plan.Plan, error) { return planOf(writes("x"), writes("y"), shell("exit 0")), nil }
	if err := run.Resume(w, run.Options{}); err == nil {
		t.Error("a plan of three steps has resumed a child that has one to go")
	}
}

// TestMeet: a host step that needs the child's steps finds them done, and the
// child waits for it.
func TestMeet(t *testing.T) {
	tp := newTape(t)
	p := planOf(&plan.Clone{}, writes("a"))
	p.Meet("", &acts{name: "look", do: func(*plan.Env) error { _, err := tp.w.WriteString("1"); return err }})
	p.Add("", writes("b"))
	p.Add("", shell("exit 3"))
	p.Meet("", &acts{name: "after", do: func(*plan.Env) error { _, err := tp.w.WriteString("2"); return err }})
	if code := runs(t, p, run.Options{Handles: tp.handles()}); code != 3 {
		t.Errorf("exit status %d; want 3", code)
	}
	if got := tp.so(t); got != "a1b2" {
		t.Errorf("host and child have written %q; want a1b2", got)
	}
}
