// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bufio"
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

func newStore(t *testing.T) *Store { return &Store{Root: filepath.Join(t.TempDir(), "containers")} }

func create(t *testing.T, s *Store, id string) *Container {
	t.Helper()
	c, err := s.Create(id)
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

// TestSweepKills: a container that has outlived its maker is ended, and no
// other process that has got its number.
func TestSweepKills(t *testing.T) {
	cmd := sleeper(t, "sleep")
	pid := cmd.Process.Pid
	start, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	for name, text := range map[string]string{
		"later process": fmt.Sprintf("%d %d %s\n", pid, start-1, bootID()),
		"other boot":    fmt.Sprintf("%d %d %s\n", pid, start, "5a0c0000-0000-0000-0000-000000000000"),
		"half a line":   fmt.Sprintf("%d %d", pid, start),
		"nothing":       "", "words": "a b c\n", "negative": fmt.Sprintf("-1 %d %s\n", start, bootID()), "zero": "0 0 " + bootID(),
	} {
		c := create(t, s, "c")
		if err := os.WriteFile(c.Path("process"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.die()
		if err := s.Sweep(); err != nil || exists(c.Dir) {
			t.Errorf("%s: %v", name, err)
		}
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("%s: the process was ended", name)
		}
	}
	c := create(t, s, "c")
	if err := c.Started(pid, cgroup.Dirs{{Path: "/a"}, {Path: "/b"}}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(c.Path("cgroups")); err != nil || string(text) != "/a\n/b\n" {
		t.Errorf("cgroups: %q, %v", text, err)
	}
	c.die()
	if err := s.Sweep(); err != nil || exists(c.Dir) {
		t.Errorf("sweep: %v", err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the container's process: %v", err)
	}
	if err := create(t, s, "d").Started(pid, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that has ended: %v", err)
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

func TestFind(t *testing.T) {
	s := newStore(t)
	if _, _, err := s.Find("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a folder: %v", err)
	}
	pid := sleeper(t, "sleep").Process.Pid
	for _, id := range []string{"abc1", "abc2", "abd"} {
		c := create(t, s, id)
		if id != "abd" {
			if err := c.Started(pid, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(s.Root+"/abc2/name", []byte("web\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"abc1": "", "web": "", "abc2": "", "abc": "2 containers begin so", "ab": "3 containers begin so",
		"abd": "does not run", "abdx": "there is none of this name or ID", "": "there is none of this name or ID", "we": "there is none of this name or ID",
	} {
		_, got, err := s.Find(name)
		if want == "" && (err != nil || got != pid) || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("Find(%q) = %d, %v; want %d %s", name, got, err, pid, want)
		}
	}
}

// FuzzProcess: whatever the file says, a process is the container's only if it
// is named with the time at which it began, and with this boot.
func FuzzProcess(f *testing.F) {
	self, err := startTime(os.Getpid())
	if err != nil {
		f.Fatal(err)
	}
	right := fmt.Sprintf("%d %d %s", os.Getpid(), self, bootID())
	for _, seed := range []string{right, right + "\n", right + " x", "1 0 " + bootID(), "", "\x00", "99999999999999999999 1 " + bootID(), "-0 0 " + bootID()} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(dir+"/process", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pid, ok := living(dir)
		if !ok {
			return
		}
		words := bufio.NewScanner(strings.NewReader(text))
		words.Split(bufio.ScanWords)
		var got []string
		for words.Scan() {
			got = append(got, words.Text())
		}
		start, err := startTime(pid)
		if err != nil || len(got) != 3 || pid <= 0 || got[1] != fmt.Sprint(start) || got[2] != bootID() {
			t.Errorf("%q names process %d, which began at %d, %v", text, pid, start, err)
		}
	})
}
