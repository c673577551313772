// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
)

func newStore(t *testing.T) *Store {
	dir := t.TempDir()
	return &Store{Root: filepath.Join(dir, "containers"), Names: filepath.Join(dir, "names"), Made: "state"}
}

func create(t *testing.T, s *Store, id string) *Container {
	t.Helper()
	c, err := s.Create(id)
	if err == nil {
		err = c.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.lock.Close(); c.List.Close() })
	return c
}

// die is what happens to a container when the process that has made it is killed.
func (c *Container) die() { c.lock.Close(); c.List.Close() }

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// sleeper is a process that sleeps until it is killed.
func sleeper(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "A.b-c_d+e", "0", strings.Repeat("x", 255), "-x", NewID()} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", ".hidden", "a/b", "a b", "a\x00", "ä", "a\n", "a:b", strings.Repeat("x", 256)} {
		if err := CheckID(id); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", id)) {
			t.Errorf("CheckID(%q) = %v", id, err)
		}
		s := newStore(t)
		if _, err := s.Create(id); err == nil || exists(s.Root) {
			t.Errorf("Create(%q) = %v, and has made a folder: %t", id, err, exists(s.Root))
		}
	}
	if a, b := NewID(), NewID(); a == b || len(a) != 64 {
		t.Errorf("new IDs: %s, %s", a, b)
	}
}

func TestCreate(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "one")
	if st, err := os.Stat(c.Dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", st.Mode(), err)
	}
	lock, err := os.Open(c.Path("lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("the lock is free: %v", err)
	}
	if _, err := s.Create("one"); !errors.Is(err, ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	if all, _ := os.ReadDir(s.Root); len(all) != 1 {
		t.Errorf("the store holds %v", all)
	}
	if err := s.Sweep(); err != nil || !exists(c.Dir) {
		t.Errorf("swept while it is looked after: %v", err)
	}
	if err := c.Remove(); err != nil || exists(c.Dir) {
		t.Errorf("remove: %v", err)
	}
	if again := create(t, s, "one"); again.Remove() != nil {
		t.Error("the name can't be had again")
	}
}

// TestRemoveUndoes: what the list says is taken back, and if that fails, the
// container stays for the next try.
func TestRemoveUndoes(t *testing.T) {
	s := newStore(t)
	made := filepath.Join(t.TempDir(), "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(made+"/busy", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := create(t, s, "one")
	if err := os.WriteFile(c.Path("undo"), []byte(`rmdir {"path":"`+made+`"}`+"\nrmcgroup {\"path\":\"/nowhere/c\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(); !errors.Is(err, unix.ENOTEMPTY) || !exists(c.Dir) || !exists(c.Path("undo")) {
		t.Errorf("with something in the way: %v", err)
	}
	if err := s.Sweep(); !errors.Is(err, unix.ENOTEMPTY) || !strings.Contains(err.Error(), "clean up container one: ") {
		t.Errorf("sweep with something in the way: %v", err)
	}
	if err := os.Remove(made + "/busy"); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil || exists(c.Dir) || exists(made) {
		t.Errorf("sweep: %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := newStore(t)
	if err := s.Sweep(); err != nil {
		t.Errorf("without a folder: %v", err)
	}
	dead, alive := create(t, s, "dead"), create(t, s, "alive")
	dead.die()
	half := func(name, file string, age time.Duration) string {
		dir := filepath.Join(s.Root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if file != "" {
			if err := os.WriteFile(dir+"/"+file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	kept := []string{alive.Dir, half("removing", "config.json", 0), half(".new-1", "", 0), half(".new-2", "lock", 0)}
	gone := []string{dead.Dir, half("removed", "config.json", time.Minute), half(".new-3", "", time.Minute), half(".new-4", "lock", time.Minute)}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range kept {
		if !exists(dir) {
			t.Errorf("%s was taken from its maker", dir)
		}
	}
	for _, dir := range gone {
		if exists(dir) {
			t.Errorf("%s is there still", dir)
		}
	}
}

// TestSweepNew takes what is older than a making, and nothing that has a name.
func TestSweepNew(t *testing.T) {
	s := newStore(t)
	if err := s.SweepNew(); err != nil {
		t.Errorf("without a folder: %v", err)
	}
	dead := create(t, s, "dead")
	dead.die()
	for name, age := range map[string]time.Duration{".new-young": 0, ".new-old": time.Minute, ".new-clockback": -time.Hour} {
		dir := filepath.Join(s.Root, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/lock", nil, 0o600), os.Chtimes(dir, time.Time{}, time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SweepNew(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"dead": true, ".new-young": true, ".new-old": false, ".new-clockback": false} {
		if got := exists(filepath.Join(s.Root, name)); got != want {
			t.Errorf("%s is there: %t; want %t", name, got, want)
		}
	}
}

// TestSweepLooksAgain: the lock that was free may be that of a container that
// has been removed, and the folder a new one's.
func TestSweepLooksAgain(t *testing.T) {
	s := newStore(t)
	old := create(t, s, "one")
	lock, err := os.OpenFile(old.Path("lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if !isLockOf(lock, old.Dir) {
		t.Error("not its lock")
	}
	if err := old.Remove(); err != nil {
		t.Fatal(err)
	}
	if isLockOf(lock, old.Dir) {
		t.Error("the lock of nothing")
	}
	c := create(t, s, "one")
	if isLockOf(lock, c.Dir) {
		t.Error("the lock of the one before")
	}
}

// TestAlive: a process is the container's only if it began when that did, and
// in this boot.
func TestAlive(t *testing.T) {
	cmd := sleeper(t, "sleep")
	pid := cmd.Process.Pid
	start, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"later process": fmt.Sprintf("pid %d\nstart %d\nboot %s\n", pid, start-1, bootID()),
		"other boot":    fmt.Sprintf("pid %d\nstart %d\nboot %s\n", pid, start, "5a0c0000-0000-0000-0000-000000000000"),
		"half a line":   fmt.Sprintf("pid %d\nstart %d", pid, start),
		"nothing":       "", "words": "a b c\n", "negative": fmt.Sprintf("pid -1\nstart %d\nboot %s\n", start, bootID()), "zero": "pid 0\nstart 0\nboot " + bootID(),
	} {
		if s, err := parseState([]byte(text), false); err == nil && s.Alive() {
			t.Errorf("%s: it is alive", name)
		}
	}
	s := newStore(t)
	c := create(t, s, "c")
	if err := c.Save(&State{Pid: pid}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Look("c"); err != nil || !got.State.Alive() {
		t.Errorf("it is not alive: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got, err := s.Look("c"); err != nil || got.State.Alive() {
		t.Errorf("it is alive after its end: %v", err)
	}
	if err := create(t, s, "d").Save(&State{Pid: pid}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that has ended: %v", err)
	}
}

// TestAge: what the clock said when a process began tells nothing of its age.
func TestAge(t *testing.T) {
	pid := sleeper(t, "sleep").Process.Pid
	c := create(t, newStore(t), "c")
	for _, created := range []time.Time{time.Now().Add(-5 * time.Hour), time.Now().Add(5 * time.Hour)} {
		s := &State{Pid: pid, Created: created}
		if err := c.Save(s); err != nil {
			t.Fatal(err)
		}
		if age := s.Age(); age > time.Hour {
			t.Errorf("a process of this test is %v old", age)
		}
		s.Start -= 60 * 100
		if age := s.Age(); age < time.Minute || age > time.Hour {
			t.Errorf("one that began a minute earlier is %v old", age)
		}
		s.Boot = "5a0c0000-0000-0000-0000-000000000000"
		if age := s.Age(); created.Before(time.Now()) && age < 5*time.Hour || age < 0 {
			t.Errorf("one of another boot, that began at %v, is %v old", created, age)
		}
	}
}

// TestStartTime: a program's name may hold all that separates the fields.
func TestStartTime(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	before, err := startTime(os.Getpid())
	if err != nil || before == 0 {
		t.Fatalf("%d, %v", before, err)
	}
	for _, name := range []string{"sleep) R 1 2", "a (b) c", ") ) )"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(program), "busybox") {
			t.Skip("needs a sleep that runs by any name: busybox's doesn't")
		}
		got, err := startTime(sleeper(t, path).Process.Pid)
		if err != nil || got < before || got > before+1_000_000_000 {
			t.Errorf("%q began at %d, %v; this process at %d", name, got, err, before)
		}
	}
}

func TestResolve(t *testing.T) {
	s := newStore(t)
	if _, err := s.Resolve("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a folder: %v", err)
	}
	for _, id := range []string{"abc1", "abc2", "abd"} {
		create(t, s, id)
	}
	if err := s.Name("web", "abc2"); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]string{
		"abc1": "abc1", "web": "abc2", "abc2": "abc2", "abd": "abd", "abc": "2 containers' IDs begin so", "ab": "3 containers' IDs begin so",
		"abdx": "no container", "": "no container", "we": "no container", "../x": "no container",
	} {
		got, err := s.Resolve(word)
		if len(want) == 4 || want == "abd" {
			if err != nil || got != want {
				t.Errorf("Resolve(%q) = %q, %v; want %q", word, got, err, want)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %q, %v; want %s", word, got, err, want)
		}
	}
}

// TestNames: a name is one container's, and free again when that has gone.
func TestNames(t *testing.T) {
	s := newStore(t)
	a, b := create(t, s, "a"), create(t, s, "b")
	if err := errors.Join(s.Name("web", "a"), s.Name("web", "a"), s.Unname("web", "b"), s.Unname("nobody", "b")); err != nil {
		t.Fatal(err)
	}
	if err := s.Name("web", "b"); !errors.Is(err, ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := a.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := s.Name("web", "b"); err != nil {
		t.Errorf("the name of a container that has gone: %v", err)
	}
	if got := s.AllNames(); len(got) != 1 || got[0] != "web" {
		t.Errorf("names: %v", got)
	}
	if err := s.Unname("web", "b"); err != nil || exists(s.Names+"/web") {
		t.Errorf("take it away: %v", err)
	}
	for _, name := range []string{"", "a/b", ".x", "a b"} {
		if err := s.Name(name, b.ID); err == nil {
			t.Errorf("name %q was given", name)
		}
	}
	done := make(chan error)
	for _, id := range []string{"a1", "a2", "a3", "a4"} {
		create(t, s, id)
		go func() { done <- s.Name("one", id) }()
	}
	taken := 0
	for range 4 {
		if err := <-done; err == nil {
			taken++
		} else if !errors.Is(err, ErrExists) {
			t.Error(err)
		}
	}
	if taken != 1 {
		t.Errorf("%d containers have got one name", taken)
	}
}

// TestHold: one process is beside a container, and others can wait for its end.
func TestHold(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "c")
	if got := c.Holder(); got != 0 {
		t.Errorf("process %d is beside it", got)
	}
	f, err := c.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hold(); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one: %v", err)
	}
	if got := c.Holder(); got != os.Getpid() {
		t.Errorf("process %d is beside it, not %d", got, os.Getpid())
	}
	if c.AwaitRelease(time.Now().Add(5 * time.Millisecond)) {
		t.Error("released")
	}
	go f.Close()
	if !c.AwaitRelease(time.Now().Add(10 * time.Second)) {
		t.Error("not released")
	}
}

func TestExit(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "c")
	if _, err := c.LoadExit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before its end: %v", err)
	}
	for _, want := range []Exit{{}, {Code: 137, OOM: true, Unknown: true, Error: "a\nb", Started: time.Unix(1, 2).UTC(), Finished: time.Unix(3, 4).UTC(), Restarts: 3}} {
		if err := c.SaveExit(&want); err != nil {
			t.Fatal(err)
		}
		got, err := c.LoadExit()
		if err != nil || *got != want {
			t.Errorf("read %+v, %v; written %+v", got, err, want)
		}
	}
	if err := c.Want(WantStop); err != nil || c.Wanted() != WantStop {
		t.Errorf("wanted: %q, %v", c.Wanted(), err)
	}
}

// TestState: what is written is what is read, whatever the paths hold.
func TestState(t *testing.T) {
	pid := sleeper(t, "sleep").Process.Pid
	for _, want := range []State{
		{},
		{Bundle: "/b", Rootfs: "/b/rootfs", Hooks: true, Unit: "docker-1.scope", Version: "1.0.2", Annotations: map[string]string{"a b": "\n\"", "": "x"}, Created: time.Unix(1, 23).UTC(),
			Cgroups: cgroup.Dirs{{Path: "/sys/fs/cgroup/a b", V2: true, Controllers: []string{"cpu", "memory"}}, {Path: "/x\"\n"}}},
		{Bundle: "/line\nbreak\npid 1", Rootfs: "/\xff"},
	} {
		s := newStore(t)
		c := create(t, s, "c")
		want.Pid = pid
		if err := c.Save(&want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Look("c")
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(*got.State) != fmt.Sprint(want) {
			t.Errorf("read %v\nwritten %v", *got.State, want)
		}
		if got.Status() != Running {
			t.Errorf("it is %s", got.Status())
		}
	}
}

func TestStatus(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "c")
	look := func() Status {
		t.Helper()
		got, err := s.Look("c")
		if err != nil {
			t.Fatal(err)
		}
		return got.Status()
	}
	if got := look(); got != Creating {
		t.Errorf("without a state it is %s", got)
	}
	cmd := sleeper(t, "sleep")
	if err := c.Save(&State{Pid: cmd.Process.Pid}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(c.Path(startFIFO), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != Created {
		t.Errorf("waiting to be started it is %s", got)
	}
	if err := os.Remove(c.Path(startFIFO)); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != Running {
		t.Errorf("started it is %s", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // a zombie, as soon as the kernel has come to it
		if look() == Stopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := look(); got != Stopped {
		t.Errorf("dead, and not waited for, it is %s", got)
	}
}

// TestMade: what has been made whole is not swept, what its maker has not
// finished is, and makes way for a container of its name.
func TestMade(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "whole")
	if err := c.Save(&State{Pid: sleeper(t, "sleep").Process.Pid}); err != nil {
		t.Fatal(err)
	}
	c.Release()
	half := create(t, s, "half")
	if err := os.WriteFile(half.Path("left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	half.die()
	if _, err := s.Create("whole"); !errors.Is(err, ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	again := create(t, s, "half")
	if exists(again.Path("left")) {
		t.Error("the half-made container's file is there")
	}
	again.die()
	if err := s.Sweep(); err != nil || exists(again.Dir) || !exists(c.Dir) {
		t.Errorf("sweep: %v; half-made there: %t, whole there: %t", err, exists(again.Dir), exists(c.Dir))
	}
	if all, err := s.All(); err != nil || len(all) != 1 || all[0].ID != "whole" {
		t.Errorf("all: %v, %v", all, err)
	}
}

func TestLock(t *testing.T) {
	s := newStore(t)
	if _, err := s.Lock("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lock nothing: %v", err)
	}
	c := create(t, s, "c")
	got := make(chan error)
	go func() { _, err := s.Lock("c"); got <- err }()
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrNotFound) {
		t.Errorf("locked while it was removed: %v", err)
	}
}

// FuzzState: whatever the file says, a process is the container's only if it
// is named with the time at which it began, and with this boot; and what was
// understood is written as it was read.
func FuzzState(f *testing.F) {
	self, err := startTime(os.Getpid())
	if err != nil {
		f.Fatal(err)
	}
	right := fmt.Sprintf("pid %d\nstart %d\nboot %s\n", os.Getpid(), self, bootID())
	for _, seed := range []string{right, right + "x", "pid 1\nstart 0\nboot " + bootID(), "", "\x00", "cgroup v1 \"/a\" cpu memory\n" + right, "bundle \"\\n\"\n" + right, "annotation \"a\" \"b c\"\n" + right, "hooks yes\ncreated 2026-01-02T03:04:05Z\n" + right} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseState([]byte(text), false)
		if err != nil {
			return
		}
		if s.Alive() {
			start, err := startTime(s.Pid)
			if err != nil || s.Pid <= 0 || start != s.Start || s.Boot != bootID() {
				t.Errorf("%q names process %d, which began at %d, %v", text, s.Pid, start, err)
			}
		}
		if y := s.Created.UTC().Year(); y < 0 || y > 9999 {
			return // no RFC 3339
		}
		again, err := parseState(s.append(nil), false)
		if err != nil || !s.Created.Equal(again.Created) {
			t.Errorf("%q is written as what can't be read: %v", text, err)
		}
	})
}

// TestSee: whoever was beside the container at its start, and is its parent
// still, is beside it; of others the lock is asked for.
func TestSee(t *testing.T) {
	s := newStore(t)
	see := func(id string) Sight {
		t.Helper()
		got, err := s.See(id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	c := create(t, s, "c")
	if got := see("c"); got.Status != Creating || got.Made || got.Beside != 0 || got.Pid != 0 {
		t.Errorf("without a state: %+v", got)
	}
	cmd := sleeper(t, "sleep")
	pid, began := cmd.Process.Pid, time.Now().UTC()
	state := State{Pid: pid, Created: began, Beside: os.Getpid(), Annotations: map[string]string{"long": strings.Repeat("x", 5000)}}
	if err := c.Save(&state); err != nil {
		t.Fatal(err)
	}
	if got := see("c"); got != (Sight{Status: Running, Beside: os.Getpid(), Made: true, Pid: pid, Started: began}) {
		t.Errorf("beside its parent: %+v", got)
	}
	state.Beside = 1
	if err := c.Save(&state); err != nil {
		t.Fatal(err)
	}
	if got := see("c"); got.Beside != 0 || got.Status != Running {
		t.Errorf("its parent has gone, and nobody holds it: %+v", got)
	}
	hold, err := c.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if got := see("c"); got.Beside != os.Getpid() {
		t.Errorf("its parent has gone, and another holds it: %+v", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := see("c"); got.Status != Stopped || got.Pid != 0 || !got.Made {
		t.Errorf("dead: %+v", got)
	}
}

// TestSeeIsCheap: lists look at very many containers, and a page of memory that
// is touched for the first time is dearer than a system call.
func TestSeeIsCheap(t *testing.T) {
	s := newStore(t)
	c := create(t, s, "c")
	state := State{Pid: sleeper(t, "sleep").Process.Pid, Beside: os.Getpid()}
	for i := range 10 {
		state.Cgroups = append(state.Cgroups, cgroup.Dir{Path: fmt.Sprintf("/nowhere/%d", i), Controllers: []string{"pids"}})
	}
	if err := c.Save(&state); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = s.See("c") }); n > 20 {
		t.Errorf("a look at a container makes %v pieces of garbage", n)
	}
}
