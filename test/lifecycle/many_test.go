// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vitro/test/bundle"
)

func itoa(n int) string { return strconv.Itoa(n) }

// left says what a container has left: cgroups, its folder, processes.
func left(b *bundle.Box) string {
	var list []string
	for _, dir := range bundle.CgroupsLeft() {
		if strings.Contains(dir, b.ID) {
			list = append(list, dir)
		}
	}
	names, _ := os.ReadDir(b.Root)
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".new-") {
			continue // of a create that was killed before there was a container: it holds nothing
		}
		list = append(list, filepath.Join(b.Root, n.Name()))
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/root")
	for _, p := range procs {
		if to, _ := os.Readlink(p); strings.HasPrefix(to, b.Dir) {
			list = append(list, p)
		}
	}
	if info, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(info), b.Dir) {
		list = append(list, "a mount in "+b.Dir)
	}
	return strings.Join(list, "\n")
}

// Of several starts at once, one starts.
func TestTwoStarts(t *testing.T) {
	for range 5 {
		b := box(t)
		b.Shell("echo x >>/tmp/started; sleep 1000")
		b.Save()
		b.Must("create", b.ID)
		if n := together(4, func() bool { return b.Do("start", b.ID).Code == 0 }); n != 1 {
			t.Errorf("%d of 4 starts succeeded; want 1", n)
		}
		bundle.Eventually(t, "started", func() bool { return there(b, "tmp/started")() && read(t, b.Path("tmp/started")) != "" })
		if got := read(t, b.Path("tmp/started")); got != "x\n" {
			t.Errorf("it ran %d times", len(got)/2)
		}
	}
}

// Of several creates of one ID, one creates.
func TestTwoCreates(t *testing.T) {
	b := box(t)
	b.Save()
	if n := together(6, func() bool { return b.Do("create", b.ID).Code == 0 }); n != 1 {
		t.Errorf("%d of 6 creates succeeded; want 1", n)
	}
	b.Must("delete", "--force", b.ID)
	if s := left(b); s != "" {
		t.Errorf("left are\n%s", s)
	}
}

// together does a thing so many times at once, and counts the successes.
func together(n int, do func() bool) (ok int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		wg.Go(func() {
			good := do()
			mu.Lock()
			defer mu.Unlock()
			if good {
				ok++
			}
		})
	}
	wg.Wait()
	return ok
}

// However a start and a delete meet, nothing is left.
func TestDeleteWhileStarting(t *testing.T) {
	for range 10 {
		b := box(t)
		b.Save()
		b.Must("create", b.ID)
		var wg sync.WaitGroup
		wg.Go(func() { b.Do("start", b.ID) })
		b.Do("delete", "--force", b.ID)
		wg.Wait()
		b.Must("delete", "--force", b.ID)
		if s := left(b); s != "" {
			t.Fatalf("left are\n%s", s)
		}
	}
}

// A create that is killed at any moment leaves what the next create of its ID,
// or a delete, can do away with: its mounts, too, where no namespace ends them.
func TestKilledCreate(t *testing.T) {
	t.Run("own mounts", func(t *testing.T) { killCreate(t, func(*bundle.Box) {}) })
	t.Run("shared mounts", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root: an ordinary user has no right to mount in a namespace that he shares")
		}
		killCreate(t, shareMounts)
	})
}

func killCreate(t *testing.T, change func(*bundle.Box)) {
	t.Helper()
	took := func() time.Duration {
		b := box(t)
		change(b)
		b.Save()
		began := time.Now()
		b.Must("create", b.ID)
		return time.Since(began)
	}()
	const moments = 24
	for i := range moments {
		b := box(t)
		change(b)
		b.Save()
		before := mounts(t)
		cmd := b.Command("create", b.ID)
		must(t, cmd.Start())
		timer := time.AfterFunc(took*time.Duration(i)/moments, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		if i%2 == 0 {
			if r := b.Do("create", b.ID); r.Code != 0 && !strings.Contains(r.Err, "exists") {
				t.Errorf("create after a create that was killed: %v", r)
			}
		}
		b.Must("delete", "--force", b.ID)
		if s := b.Status(); s != "" {
			t.Errorf("after delete --force it is %s", s)
		}
		if s := left(b); s != "" {
			t.Errorf("killed at moment %d, left are\n%s", i, s)
		}
		if after := mounts(t); after != before {
			t.Errorf("killed at moment %d, mounts were\n%s\nand are\n%s", i, before, after)
		}
	}
}

// Many at a time get in nobody's way.
func TestHundredAtOnce(t *testing.T) {
	const many = 100
	b := box(t)
	b.Spec.Process.Args = []string{"true"}
	cgroup := b.Spec.Linux.CgroupsPath
	slots := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if out, err := one(b, cgroup, i); err != nil {
				t.Errorf("container %d: %v: %s", i, err, out)
			}
		})
	}
	wg.Wait()
	if out := b.Must("list", "-q").Out; out != "" {
		t.Errorf("listed are %q", out)
	}
	if s := left(b); s != "" {
		t.Errorf("left are\n%s", s)
	}
}

// one is a container's whole life, on a root that others use too.
func one(b *bundle.Box, cgroup string, i int) (string, error) {
	id := b.ID + "." + itoa(i)
	for _, line := range [][]string{{"create", id}, {"start", id}, {"kill", "--all", id, "KILL"}, {"state", id}, {"delete", "--force", id}} {
		cmd := b.Command(line...)
		out, err := os.CreateTemp(filepath.Dir(b.Dir), "out")
		if err != nil {
			return "", err
		}
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Dir = filepath.Join(filepath.Dir(b.Dir), itoa(i))
		if line[0] == "create" {
			if err := clone(b, cmd.Dir, cgroup, i); err != nil {
				return "", err
			}
		}
		err = cmd.Run()
		text, _ := os.ReadFile(out.Name())
		out.Close()
		if err != nil && line[0] != "kill" { // it may have ended by itself
			return strings.Join(line, " ") + ": " + string(text), err
		}
	}
	return "", nil
}

var cloning sync.Mutex

// clone makes a bundle with another cgroup, on the same root file system.
func clone(b *bundle.Box, dir, cgroup string, i int) error {
	cloning.Lock()
	defer cloning.Unlock()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	b.Spec.Root.Path = b.Path("")
	if cgroup != "" {
		b.Spec.Linux.CgroupsPath = cgroup + "." + itoa(i)
	}
	b.Save()
	return exec.Command("cp", filepath.Join(b.Dir, "config.json"), dir).Run()
}
