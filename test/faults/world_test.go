// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/engine"
	"vitro/plan"
)

// A world is a machine on which containers are made.
type world struct {
	engine *engine.Engine
	dir    string // with the engine's folder in it
	plan   *plan.Plan
	before []string
}

// looks are the things that a container could leave behind. A look is a list of
// lines, each with the kind of thing in front.
var looks = [...]struct {
	kind string
	see  func(t *testing.T, w *world) []string
}{
	{"mount", mounts}, {"cgroup", cgroups}, {"process", processes}, {"descriptor", descriptors},
	{"file", func(t *testing.T, w *world) []string { return tree(t, w.dir) }},
	{"namespace", func(t *testing.T, _ *world) []string { return tree(t, "/var/run/netns") }},
	{"link", links}, {"firewall", firewall}, {"parameter", parameters},
}

// look sees everything.
func (w *world) look(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, l := range looks {
		for _, s := range l.see(t, w) {
			all = append(all, l.kind+" "+s)
		}
	}
	slices.Sort(all)
	return all
}

// same compares the machine with before.
func (w *world) same(t *testing.T) {
	t.Helper()
	now := w.look(t)
	if slices.Equal(now, w.before) {
		return
	}
	for _, s := range now {
		if !slices.Contains(w.before, s) {
			t.Errorf("left behind: %s", s)
		}
	}
	for _, s := range w.before {
		if !slices.Contains(now, s) {
			t.Errorf("gone: %s", s)
		}
	}
	w.before = now // the next step is not to blame
}

// mounts are what this process sees mounted, without the mounts' numbers.
func mounts(t *testing.T, _ *world) []string {
	var all []string
	for l := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		f := strings.Fields(l)
		all = append(all, strings.Join(f[2:], " "))
	}
	return all
}

// cgroups are those below the test's own, in all trees, with their processes.
func cgroups(t *testing.T, _ *world) []string {
	var all []string
	for _, dir := range cgroupDirs(t, os.Getenv(parent)) {
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, path)
				procs, _ := os.ReadFile(path + "/cgroup.procs")
				for p := range strings.FieldsSeq(string(procs)) {
					all = append(all, path+" holds process "+p)
				}
			}
			return nil
		})
	}
	return all
}

// cgroupDirs are the folders of a cgroup, one in each tree.
func cgroupDirs(t *testing.T, name string) []string {
	t.Helper()
	if name == "" {
		return nil
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, h := range l.Hierarchies {
		dirs = append(dirs, h.Mount+name)
	}
	return dirs
}

func makeCgroups(t *testing.T, name string) {
	t.Helper()
	for _, dir := range cgroupDirs(t, name) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("needs cgroups that can be written to: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// processes are this process's children, alive or dead.
func processes(t *testing.T, _ *world) []string {
	var all []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no lists of children: %v", err)
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // a thread may have ended
		for pid := range strings.FieldsSeq(string(text)) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			all = append(all, string(stat))
		}
	}
	return all
}

// descriptors are this process's own, by what they are open on. The runtime's
// and those of a test that another has left open are the same each time.
func descriptors(t *testing.T, _ *world) []string {
	var all []string
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		link, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && link != fmt.Sprintf("/proc/%d/fd", os.Getpid()) {
			all = append(all, fd.Name()+" "+link)
		}
	}
	return all
}

// tree is all that is in a folder.
func tree(t *testing.T, dir string) []string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil {
			all = append(all, err.Error()) // an overlay's work, in a user's folder
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%s %v", path, info.Mode()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func links(t *testing.T, _ *world) []string {
	list, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range list {
		a := l.Attrs()
		all = append(all, fmt.Sprintf("%s %s mtu %d master %d", a.Name, l.Type(), a.MTU, a.MasterIndex))
	}
	return all
}

// firewall is in words only if there is something: nft(8) takes its time.
func firewall(t *testing.T, _ *world) []string {
	if os.Geteuid() != 0 {
		return nil // can't be seen, nor changed
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) == 0 {
		return nil
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		return []string{fmt.Sprintf("%d tables, and nft(8) says %v", len(tables), err)}
	}
	return []string{string(out)}
}

func parameters(t *testing.T, _ *world) []string {
	var all []string
	for _, p := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if text, err := os.ReadFile("/proc/sys/" + p); err == nil {
			all = append(all, p+" "+string(text))
		}
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func linkUp(t *testing.T, name string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// orphans waits until all processes have ended that a killed process has left:
// they are our children by then.
func (w *world) orphans(t *testing.T) {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() {
		for _, p := range processes(t, w) {
			t.Errorf("lives on without the process that made it: %s", p)
			var pid int
			if _, err := fmt.Sscan(p, &pid); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	})
	defer timer.Stop()
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
			return
		}
	}
}

// clear has what a killed process has left found and looked after, and removes
// all containers. What can't be put right is an error.
func (w *world) clear(t *testing.T) error {
	t.Helper()
	err := w.engine.Sweep()
	all, e := w.engine.List()
	err = errors.Join(err, e)
	for _, i := range all {
		err = errors.Join(err, w.engine.Remove(i.ID, true, true))
	}
	w.orphans(t)
	return err
}

// age makes what a process has left that died over making or removing a
// container's folder look old: it is left alone for some seconds, since it might
// be at it still.
func (w *world) age(t *testing.T) {
	t.Helper()
	dirs, err := os.ReadDir(w.engine.Containers.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		dir := filepath.Join(w.engine.Containers.Root, d.Name())
		if _, err := os.Stat(dir + "/lock"); errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(d.Name(), ".new-") {
			if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
