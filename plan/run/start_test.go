// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
	"vitro/plan/run"
)

// does is a child step made of calls that a test wants.
type does struct {
	name  string
	lower func(*plan.Asm)
}

func (a *does) Verb() string        { return a.name }
func (a *does) Line() string        { return "do " + a.name }
func (a *does) Shell(*plan.Script)  {}
func (a *does) Lower(asm *plan.Asm) { a.lower(asm) }

// acts is a host step that calls a function.
type acts struct {
	name string
	do   func(*plan.Env) error
	undo plan.Host
}

func (a *acts) Verb() string       { return a.name }
func (a *acts) Line() string       { return "act " + a.name }
func (a *acts) Shell(*plan.Script) {}
func (a *acts) Undo() plan.Host    { return a.undo }
func (a *acts) Do(e *plan.Env) error {
	if a.do == nil {
		return nil
	}
	return a.do(e)
}

func planOf(actions ...plan.Action) *plan.Plan {
	p := &plan.Plan{Title: "a test"}
	for _, a := range actions {
		p.Add("", a)
	}
	return p
}

// shell is the last step of most plans here.
func shell(script string) *plan.Exec {
	return &plan.Exec{Paths: []string{"/nowhere/sh", "/bin/sh"}, Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin:/usr/sbin"}}
}

func sysWrite(asm *plan.Asm, handle, text string) {
	asm.Do(plan.SysWrite, asm.Use(handle), plan.Str(text), plan.Int(len(text)))
}

// says is a child step that writes a text to the handle "out".
func writes(text string) *does {
	return &does{"write-" + text, func(asm *plan.Asm) { sysWrite(asm, "out", text) }}
}

// A tape is a pipe that steps write on.
type tape struct{ r, w *os.File }

func newTape(t *testing.T) *tape {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return &tape{r, w}
}

// so is what has been written so far.
func (tp *tape) so(t *testing.T) string {
	t.Helper()
	var b [4096]byte
	fd := int(tp.r.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	n, err := unix.Read(fd, b[:])
	if err != nil && err != unix.EAGAIN {
		t.Fatal(err)
	}
	return string(b[:max(n, 0)])
}

func (tp *tape) handles() map[string]int { return map[string]int{"out": int(tp.w.Fd())} }

// runs starts a plan, waits for its end and returns its exit status.
func runs(t *testing.T, p *plan.Plan, o run.Options) int {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := run.Start(p, o)
	if err != nil {
		var f *run.Fault
		if errors.As(err, &f) && f.Step.Action.Verb() == "clone" && errors.Is(err, unix.EPERM) {
			t.Skipf("needs new namespaces: %v", err)
		}
		t.Fatalf("%v\n%s", err, detail(err))
	}
	defer closeChild(c)
	ws, _, err := c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return ws.ExitStatus()
}

func closeChild(c *run.Child) {
	if c.Pidfd >= 0 {
		unix.Close(c.Pidfd)
	}
	if c.Console != nil {
		c.Console.Close()
	}
}

func detail(err error) string {
	var f *run.Fault
	if errors.As(err, &f) {
		return f.Detail()
	}
	return ""
}

// faults starts a plan that has to fail, and checks that nothing of its child
// is left.
func faults(t *testing.T, p *plan.Plan, o run.Options) *run.Fault {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := run.Start(p, o)
	if err == nil {
		_ = c.Signal(unix.SIGKILL)
		_, _, _ = c.Wait()
		t.Fatal("it ran")
	}
	noChildren(t)
	var f *run.Fault
	if !errors.As(err, &f) {
		t.Fatalf("not a fault: %v", err)
	}
	if f.Of != len(p.Steps) || f.Step.Action != p.Steps[f.Index].Action {
		t.Errorf("the fault names step %d of %d, %s", f.Index, f.Of, f.Step.Action.Line())
	}
	return f
}

// noChildren checks that this process has no child, alive or dead.
func noChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: process %d, %v", pid, err)
	}
}

// inUser is a child in a user namespace, with this process's own IDs as root's.
func inUser(flags uint64) []plan.Action {
	ids := func(kind string, id int) *host.IDMap {
		return &host.IDMap{Kind: kind, Ranges: []host.Range{{Host: uint32(id), Size: 1}}}
	}
	return []plan.Action{
		&plan.Clone{Flags: flags | unix.CLONE_NEWUSER},
		&host.Write{Path: "/proc/$PID/setgroups", Value: "deny"}, ids("uid", os.Geteuid()), ids("gid", os.Getegid()),
		&plan.EnterIDs{KeepGroups: true},
	}
}

func TestStart(t *testing.T) {
	tp := newTape(t)
	c, err := run.Start(planOf(&plan.Clone{}, &plan.Stdio{Handles: [3]string{"", "out", ""}},
		&plan.Exec{Paths: []string{"/bin/sh"}, Args: []string{"name", "-c", `echo "$0 $A $1"; kill -STOP $$; exit 7`, "zero", "one"}, Env: []string{"A=b c"}}),
		run.Options{Handles: tp.handles()})
	if err != nil {
		t.Fatal(err)
	}
	defer closeChild(c)
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(c.Pid, &ws, unix.WUNTRACED, nil); err != nil || pid != c.Pid || !ws.Stopped() {
		t.Fatalf("wait for it to stop: %d, %v, %#x", pid, err, ws)
	}
	if got := tp.so(t); got != "zero b c one\n" {
		t.Errorf("it says %q", got)
	}
	if c.Pidfd < 0 {
		t.Error("no pidfd")
	}
	for _, sig := range []unix.Signal{0, unix.SIGCONT} {
		if err := c.Signal(sig); err != nil {
			t.Errorf("signal %v: %v", sig, err)
		}
	}
	if ws, _, err = c.Wait(); err != nil || ws.ExitStatus() != 7 {
		t.Errorf("exit status %d, %v; want 7", ws.ExitStatus(), err)
	}
	if err := c.Signal(0); err != unix.ESRCH {
		t.Errorf("signal to one that has ended: %v; want ESRCH", err)
	}
	noChildren(t)
}

func TestFaultSaysWhat(t *testing.T) {
	tp := newTape(t)
	closeBad := func(asm *plan.Asm) { asm.Do(plan.SysFchdir, plan.Int(999)) }
	for _, c := range []struct {
		name  string
		plan  *plan.Plan
		index int
		call  string
		errno unix.Errno
	}{
		{"first call", planOf(&plan.Clone{}, &does{"bad", closeBad}, writes("x"), shell("exit 0")), 1, "fchdir(999)", unix.EBADF},
		{"second call of the third step", planOf(&plan.Clone{}, writes("a"), &acts{name: "host"}, &does{"bad", func(asm *plan.Asm) {
			sysWrite(asm, "out", "b")
			closeBad(asm)
			sysWrite(asm, "out", "c")
		}}, shell("exit 0")), 3, "fchdir(999)", unix.EBADF},
		{"exec, last path", planOf(&plan.Clone{}, &plan.Exec{Paths: []string{"/nowhere/a", "/nowhere/b"}, Args: []string{"a"}}), 1, `execve("/nowhere/b", ["a"], [environment])`, unix.ENOENT},
		{"host before", planOf(&acts{name: "host", do: func(*plan.Env) error { return unix.EXDEV }}, &plan.Clone{}, shell("exit 0")), 0, "", unix.EXDEV},
		{"host after", planOf(&plan.Clone{}, writes("a"), &acts{name: "host", do: func(*plan.Env) error { return unix.EXDEV }}, shell("exit 0")), 2, "", unix.EXDEV},
		{"clone", planOf(&plan.Clone{Flags: unix.CLONE_NEWNS | unix.CLONE_FS}, shell("exit 0")), 0, "", unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := faults(t, c.plan, run.Options{Handles: tp.handles()})
			if f.Index != c.index || f.Call != c.call || !errors.Is(f, c.errno) {
				t.Errorf("step %d, call %q, %v; want step %d, call %q, %v", f.Index, f.Call, f.Err, c.index, c.call, c.errno)
			}
			if want := c.plan.Steps[c.index].Action.Line(); !strings.HasPrefix(f.Error(), want+": ") {
				t.Errorf("it says %q; want the step's line in front, %q", f, want)
			}
			if d := f.Detail(); !strings.Contains(d, fmt.Sprintf("step %d of %d, in the %s", c.index+1, len(c.plan.Steps), c.plan.Steps[c.index].Where())) || !strings.HasSuffix(d, unix.ErrnoName(c.errno)) {
				t.Errorf("its detail is %q", d)
			}
		})
	}
}

// TestFaultIsHeard: a child that fails while the host is ahead of it, and has
// said go on several times, still tells which step it was.
func TestFaultIsHeard(t *testing.T) {
	tp := newTape(t)
	rest := func(e *plan.Env) error {
		if !waiting(e.Pid) {
			return errors.New("the child has gone")
		}
		return nil
	}
	p := planOf(&plan.Clone{}, &does{"bad", func(asm *plan.Asm) { asm.Do(plan.SysFchdir, plan.Int(999)) }},
		&acts{name: "a", do: rest}, writes("x"), &acts{name: "b", do: rest}, writes("y"), &acts{name: "c", do: rest}, writes("z"), shell("exit 0"))
	f := faults(t, p, run.Options{Handles: tp.handles()})
	if f.Index != 1 || !errors.Is(f, unix.EBADF) {
		t.Errorf("%v at step %d; want EBADF at step 1", f, f.Index)
	}
	if got := tp.so(t); got != "" {
		t.Errorf("behind its fault, the child wrote %q", got)
	}
}

// TestFailEveryStep has each step of a plan fail that has steps of all places,
// in both modes.
func TestFailEveryStep(t *testing.T) {
	for _, strict := range []bool{false, true} {
		tp := newTape(t)
		p := planOf(&acts{name: "one"}, &acts{name: "two"}, &plan.Clone{}, writes("a"), &acts{name: "three"}, writes("b"), writes("c"), &acts{name: "four"}, &acts{name: "five"}, writes("d"), shell("exit 0"))
		for k := range p.Steps {
			o := run.Options{Handles: tp.handles(), Fail: map[int]unix.Errno{k: unix.EXDEV}}
			done := -1
			if strict {
				o.After = func(i, _ int) { done = i }
			}
			f := faults(t, p, o)
			if f.Index != k || !errors.Is(f, unix.EXDEV) {
				t.Errorf("strict %t, step %d: %v at step %d", strict, k, f, f.Index)
			}
			if strict && done != k-1 {
				t.Errorf("step %d failed, and the last one done is %d", k, done)
			}
			want := ""
			for _, s := range p.Steps[:k] {
				want += strings.TrimPrefix(s.Action.Verb(), "write-")[:1]
			}
			want = strings.Map(func(r rune) rune { // what the child has written before
				if strings.ContainsRune("abcd", r) {
					return r
				}
				return -1
			}, want)
			got := tp.so(t)
			if child := !p.Steps[k].IsHost(); (child || strict) && strings.Trim(got, "c") != strings.Trim(want, "c") {
				t.Errorf("strict %t, step %d: the child wrote %q; want %q", strict, k, got, want)
			}
		}
	}
}

func TestJumps(t *testing.T) {
	tp := newTape(t)
	p := planOf(&plan.Clone{}, &does{"jump", func(asm *plan.Asm) {
		w := func(s string) { sysWrite(asm, "out", s) }
		w("a")
		asm.Do(plan.SysFchdir, plan.Int(999)) // fails, is allowed, and passes over two
		asm.Allow(unix.ENOENT, unix.ENOTDIR, unix.EBADF)
		asm.Last().SkipErr = 2
		w("X")
		w("X")
		w("b")
		asm.Last().SkipOK = 1 // succeeds, and passes over one
		w("X")
		asm.Do(plan.SysFchdir, plan.Int(999)) // is allowed, and passes over none
		asm.Allow(unix.EBADF)
		asm.Last().SkipOK = 1
		w("c")
		w("d")
		asm.Last().SkipErr = 1 // no error
		w("e")
	}}, shell("exit 3"))
	if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 3 {
		t.Errorf("exit status %d; want 3", got)
	}
	if got := tp.so(t); got != "abcde" {
		t.Errorf("the calls wrote %q; want abcde", got)
	}
}

// TestPointers passes all that arguments can point to: strings, bytes with
// pointers inside to bytes and to strings, and results of earlier calls.
func TestPointers(t *testing.T) {
	dir := t.TempDir()
	p := planOf(&plan.Clone{},
		&does{"register", func(asm *plan.Asm) {
			fd := asm.Get(plan.SysOpenat, plan.AtFDCWD, plan.Str(dir+"/file"), plan.Int(unix.O_CREAT|unix.O_WRONLY), plan.Int(0o600))
			asm.As("file", fd)
			sysWrite(asm, "file", "by register, ")
		}},
		&does{"reloc", func(asm *plan.Asm) {
			// sendmsg(2) on a socket pair's end, with struct msghdr and two struct iovec
			le := func(b []byte, at int, n uint64) { *(*[8]byte)(b[at:]) = u64(n) }
			msg, iov := make([]byte, 56), make([]byte, 32)
			le(iov, 8, 6)
			le(iov, 24, 7)
			le(msg, 24, 2)
			vec := plan.Buf(iov, "iov", plan.Reloc{Offset: 0, To: plan.Buf([]byte("bytes,"), "")}, plan.Reloc{Offset: 16, To: plan.Str(" string")})
			asm.Do(plan.SysSendmsg, asm.Use("socket"), plan.Buf(msg, "msg", plan.Reloc{Offset: 16, To: vec}), plan.Int(0))
		}},
		&does{"later", func(asm *plan.Asm) { sysWrite(asm, "file", "in a later step") }},
		shell("exit 0"))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	runs(t, p, run.Options{Handles: map[string]int{"socket": pair[1]}})
	if got, err := os.ReadFile(dir + "/file"); err != nil || string(got) != "by register, in a later step" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	b := make([]byte, 100)
	n, err := unix.Read(pair[0], b)
	if err != nil || string(b[:n]) != "bytes, string" {
		t.Errorf("the message is %q, %v", b[:max(n, 0)], err)
	}
}

func u64(n uint64) (b [8]byte) {
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}

func TestHandles(t *testing.T) {
	tp := newTape(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/in", []byte("from the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := planOf(&host.Open{Path: dir + "/in", Flags: unix.O_RDONLY, As: "in"}, &plan.Clone{}, &plan.Stdio{Handles: [3]string{"in", "out", ""}}, &plan.CloseOthers{From: 3},
		shell("cat; ls /proc/self/fd | wc -l"))
	if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 0 {
		t.Errorf("exit status %d", got)
	}
	if got := tp.so(t); strings.Join(strings.Fields(got), " ") != "from the file4" { // 0, 1, 2 and ls's own
		t.Errorf("the command says %q", got)
	}
	if _, err := tp.w.Write(nil); err != nil {
		t.Errorf("the caller's descriptor is closed: %v", err)
	}
	f := faults(t, planOf(&plan.Clone{}, writes("x"), shell("exit 0")), run.Options{})
	if f.Index != 0 || !strings.Contains(f.Error(), `no step before has opened "out"`) {
		t.Errorf("a handle that nobody has opened: %v at step %d", f, f.Index)
	}
}

// TestStrict: with Before or After, each step waits for the one before it, and
// the child is at rest while they are called.
func TestStrict(t *testing.T) {
	tp := newTape(t)
	p := planOf(&acts{name: "first"}, &plan.Clone{}, writes("a"), writes("b"), &acts{name: "second"}, writes("c"), shell("exit 0"))
	var order []string
	written := ""
	see := func(when string, i, pid int) {
		order = append(order, fmt.Sprintf("%s %d", when, i))
		written += tp.so(t)
		want := map[string]string{"before 2": "", "after 2": "a", "before 3": "a", "after 3": "ab", "before 4": "ab", "after 4": "ab", "before 5": "ab", "after 5": "abc", "before 6": "abc", "after 6": "abc"}
		now := order[len(order)-1]
		if written != want[now] {
			t.Errorf("%s: the child has written %q; want %q", now, written, want[now])
		}
		if born := i > 1 || i == 1 && when == "after"; born != (pid != 0) {
			t.Errorf("%s: process %d", now, pid)
		}
		if pid != 0 && i < 6 && !waiting(pid) {
			t.Errorf("%s: the child is not at rest", now)
		}
	}
	o := run.Options{Handles: tp.handles(),
		Before: func(i, pid int) error { see("before", i, pid); return nil },
		After:  func(i, pid int) { see("after", i, pid) }}
	if got := runs(t, p, o); got != 0 {
		t.Errorf("exit status %d", got)
	}
	var want []string
	for i := range p.Steps {
		want = append(want, fmt.Sprintf("before %d", i), fmt.Sprintf("after %d", i))
	}
	if strings.Join(order, ", ") != strings.Join(want, ", ") {
		t.Errorf("the order is %v", order)
	}
}

// waiting reports whether a process comes to wait: it sleeps in a system call.
func waiting(pid int) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); string(f[0]) == "S" {
			return true
		}
	}
	return false
}

// TestBeforeStops: an error of Before ends the start, and the child.
func TestBeforeStops(t *testing.T) {
	stop := errors.New("enough")
	for k := range 4 {
		_, err := run.Start(planOf(&acts{name: "a"}, &plan.Clone{}, &acts{name: "b"}, shell("exit 0")),
			run.Options{Before: func(i, _ int) error {
				if i == k {
					return stop
				}
				return nil
			}})
		if err != stop {
			t.Errorf("stopped before step %d: %v", k, err)
		}
		noChildren(t)
	}
}

// TestKilledChild: a child that somebody ends is no success.
func TestKilledChild(t *testing.T) {
	tp := newTape(t)
	p := planOf(&plan.Clone{}, writes("a"), writes("b"), shell("exit 0"))
	for k := range 3 {
		f := faults(t, p, run.Options{Handles: tp.handles(), After: func(i, pid int) {
			if i == k {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}})
		if !strings.HasSuffix(f.Error(), "the child was killed") {
			t.Errorf("killed after step %d: %v", k, f)
		}
		tp.so(t)
	}
}

func TestTrace(t *testing.T) {
	tp := newTape(t)
	allow := []byte{0x06, 0, 0, 0, 0, 0, 0xff, 0x7f} // BPF_RET, SECCOMP_RET_ALLOW
	p := planOf(&acts{name: "first"}, &plan.Clone{}, writes("a"), &acts{name: "second"}, writes("b"), &plan.NoNewPrivs{}, &plan.Seccomp{Filter: allow, Count: 1}, writes("c"), shell("exit 0"))
	c, err := run.Start(p, run.Options{Handles: tp.handles(), Trace: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closeChild(c)
	if _, _, err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	spans := make(map[int]run.Span)
	for _, s := range c.Spans {
		if _, twice := spans[s.Step]; twice {
			t.Errorf("step %d has two spans", s.Step)
		}
		if s.Duration() < 0 || s.Start == 0 {
			t.Errorf("step %d: from %d to %d", s.Step, s.Start, s.End)
		}
		spans[s.Step] = s
	}
	for i := range p.Steps {
		if _, there := spans[i]; there != (i < 7) { // behind the filter, nobody reads a clock
			t.Errorf("step %d, %s, has a span: %t", i, p.Steps[i].Action.Line(), there)
		}
	}
	for _, pair := range [][2]int{{0, 1}, {1, 3}, {2, 4}, {4, 5}, {5, 6}} { // of the same side
		if a, b := spans[pair[0]], spans[pair[1]]; a.Start > b.Start || a.End > b.Start && pair[0] > 1 {
			t.Errorf("step %d, %v, and step %d, %v, overlap", pair[0], a, pair[1], b)
		}
	}
	if spans[4].Start < spans[3].End {
		t.Error("a child step has begun before the host step in front of it was done")
	}
	var text, chrome bytes.Buffer
	if err := run.Waterfall(&text, p, c.Spans); err != nil || strings.Count(text.String(), "\n") != 9 {
		t.Errorf("%v\n%s", err, text.String())
	}
	if err := run.ChromeTrace(&chrome, p, c.Spans); err != nil || strings.Count(chrome.String(), `"ph":"X"`) != 7 {
		t.Errorf("%v\n%s", err, chrome.String())
	}
	if c, err = run.Start(p, run.Options{Handles: tp.handles()}); err != nil || c.Spans != nil {
		t.Errorf("spans that nobody has asked for: %v, %v", c.Spans, err)
	}
	_, _, _ = c.Wait()
	closeChild(c)
}

// TestConsole: the container gets a terminal of its own, and we its other side.
func TestConsole(t *testing.T) {
	steps := append(inUser(unix.CLONE_NEWNS),
		&plan.NewFS{Type: "devpts", Target: "/dev/pts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}},
		&plan.Session{}, &plan.Console{Pts: "/dev/pts", Rows: 12, Cols: 34}, &plan.CloseOthers{From: 3},
		shell(`[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty -echo && echo "$(stty size)" && read -r a </dev/tty && echo "got $a" && ls /proc/self/fd | wc -l`))
	c, err := run.Start(planOf(steps...), run.Options{})
	if f := new(run.Fault); errors.As(err, &f) && f.Index == 0 {
		t.Skipf("needs user namespaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer closeChild(c)
	if c.Console == nil {
		t.Fatal("no console")
	}
	go func() { _, _ = c.Console.WriteString("word\n") }()
	out, err := io.ReadAll(c.Console)
	if !errors.Is(err, unix.EIO) { // nobody has it open any more
		t.Errorf("read: %v", err)
	}
	if ws, _, _ := c.Wait(); ws.ExitStatus() != 0 {
		t.Errorf("exit status %d", ws.ExitStatus())
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	if text = strings.TrimPrefix(text, "word "); text != "12 34 got word 4" {
		t.Errorf("the terminal shows %q", out)
	}
}

// TestNoDescriptorLeaks starts plans that succeed, and plans that fail in all
// places, and counts.
func TestNoDescriptorLeaks(t *testing.T) {
	tp := newTape(t)
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := planOf(&host.Open{Path: file, As: "in"}, &plan.Clone{}, writes("a"), &host.Open{Path: file, As: "late"}, writes("b"), shell("exit 0"))
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	runs(t, p, run.Options{Handles: tp.handles()}) // what the runtime opens for itself
	before := count()
	for i := range 50 {
		runs(t, p, run.Options{Handles: tp.handles()})
		faults(t, p, run.Options{Handles: tp.handles(), Fail: map[int]unix.Errno{i % len(p.Steps): unix.EXDEV}})
		tp.so(t)
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestBesideGarbageCollection starts children while other threads allocate,
// and the collector moves stacks: the child's memory has to stay.
func TestBesideGarbageCollection(t *testing.T) {
	stop := make(chan struct{})
	done := make(chan struct{})
	for range 3 {
		go func() {
			defer func() { done <- struct{}{} }()
			var keep [][]byte
			for {
				select {
				case <-stop:
					return
				default:
					keep = append(keep, make([]byte, 1<<12))
					if len(keep) > 1000 {
						keep = nil
						runtime.GC()
					}
				}
			}
		}()
	}
	tp := newTape(t)
	long := strings.Repeat("x", 1000)
	p := planOf(&plan.Clone{}, &acts{name: "collect", do: func(*plan.Env) error { runtime.GC(); return nil }}, writes(long), shell("exit 5"))
	for range 30 {
		if got := runs(t, p, run.Options{Handles: tp.handles()}); got != 5 {
			t.Errorf("exit status %d", got)
		}
		if got := tp.so(t); got != long {
			t.Errorf("the child wrote %q", got)
		}
	}
	close(stop)
	for range 3 {
		<-done
	}
}

func TestNoClone(t *testing.T) {
	if _, err := run.Start(planOf(&acts{name: "a"}), run.Options{}); err == nil || !strings.Contains(err.Error(), "no clone step") {
		t.Errorf("a plan without a child: %v", err)
	}
}
