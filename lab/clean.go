// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long the kernel may take to be done with what was killed.
const patience = 10 * time.Second

// A Removed is one kind of thing, and how many of it were taken away.
type Removed struct {
	What  string
	Count int
}

// cleaning is the order: first what uses something, then what is used.
var cleaning = [...]struct {
	what string
	do   func(*Lab) (int, error)
}{
	{"processes", (*Lab).killAll},
	{"network namespaces", (*Lab).removeNetns},
	{"links", (*Lab).removeLinks},
	{"nftables tables", (*Lab).removeTables},
	{"mounts", (*Lab).removeMounts},
	{"cgroups", (*Lab).removeGroups},
	{"folders", (*Lab).removeFolder},
}

// Clean removes all that carries the lab's names, and says what it was. It may
// be called at any moment and again: each step looks for what is there. What
// can't be removed does not keep the rest from it.
func (l *Lab) Clean() ([]Removed, error) {
	var list []Removed
	var errs []error
	for _, c := range cleaning {
		n, err := c.do(l)
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", c.what, err))
		}
		if n > 0 {
			list = append(list, Removed{c.what, n})
		}
	}
	return list, errors.Join(errs...)
}

// killAll kills the marked processes until there are none: one may have had a
// child in between.
func (l *Lab) killAll() (int, error) {
	killed := make(map[int]bool)
	spared := lineage()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		list, err := l.processes()
		list = slices.DeleteFunc(list, func(p process) bool { return slices.Contains(spared, p.pid) })
		if err != nil || len(list) == 0 {
			return len(killed), err
		}
		for _, p := range list {
			if err := l.kill(p); err != nil {
				return len(killed), fmt.Errorf("kill %d: %w", p.pid, err)
			}
			killed[p.pid] = true
		}
		if time.Now().After(end) {
			return len(killed), fmt.Errorf("%d has not ended %v after it was killed", list[0].pid, patience)
		}
	}
}

// lineage is this process and those above it. Who has exported the mark in
// the shell has it on all that the shell starts, vitro lab clean included.
func lineage() (pids []int) {
	for pid := os.Getpid(); pid > 0; pid, _ = strconv.Atoi(status(pid, "PPid")) {
		pids = append(pids, pid)
	}
	return pids
}

// kill ends the process that has the mark: between the look and the signal its
// number may have become somebody else's, so it is looked at again through a
// descriptor that can't.
func (l *Lab) kill(p process) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	env, err := os.ReadFile(p.proc("environ"))
	if err != nil || l.marked(string(env)) == "" {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	return nil
}

// removeNetns removes the names that ip(8) has for the lab's namespaces, and
// the folder of them, if the lab made it.
func (l *Lab) removeNetns() (int, error) {
	names, err := filepath.Glob(filepath.Join(netns, Prefix+"*"))
	if err != nil {
		return 0, err
	}
	text, _ := content(l.path(note))
	all, _ := os.ReadDir(netns)
	ours := strings.Contains(text, noNetns) && len(all) == len(names) // nobody else uses it by now
	for i, name := range names {
		if err := unmountAll(name); err != nil {
			return i, err
		}
		err := os.Remove(name)
		// One that was mounted by hand, before ip(8) mounted the folder on itself, is below that.
		for ours && errors.Is(err, unix.EBUSY) && unix.Unmount(netns, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
			if err := unmountAll(name); err != nil {
				return i, err
			}
			err = os.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return i, err
		}
	}
	if !ours {
		return len(names), nil
	}
	if err := unmountAll(netns); err != nil {
		return len(names), err
	}
	if err := os.Remove(netns); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return len(names), err
	}
	return len(names), nil
}

// unmountAll takes all mounts from a place.
func unmountAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT {
			return nil // nothing is mounted there
		}
		if err != nil {
			return &fs.PathError{Op: "umount", Path: path, Err: err}
		}
	}
}

// labLinks are the lab's links in our network namespace.
func labLinks() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var list []netlink.Link
	for _, link := range all {
		if t := link.Type(); strings.HasPrefix(link.Attrs().Name, Prefix) && (t == "veth" || t == "bridge") {
			list = append(list, link)
		}
	}
	return list, nil
}

func (l *Lab) removeLinks() (int, error) {
	list, err := labLinks()
	if err != nil {
		return 0, err
	}
	for i, link := range list {
		err := netlink.LinkDel(link)
		// The other end of a cable goes with the first one, or with its namespace.
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.As(err, new(netlink.LinkNotFoundError)) {
			return i, fmt.Errorf("%s: %w", printable(link.Attrs().Name), err)
		}
	}
	return len(list), nil
}

func (l *Lab) removeTables() (int, error) {
	c, err := nftables.New()
	if err != nil {
		return 0, err
	}
	list, err := c.ListTables()
	if err != nil {
		return 0, nil // an ordinary user, or no nftables: the lab has made none
	}
	n := 0
	for _, t := range list {
		if t.Name == Table {
			c.DelTable(t)
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, c.Flush()
}

// mounts are those below the lab's folder, the last one first.
func (l *Lab) mounts() ([]mount, error) {
	all, err := mounts("self")
	if err != nil {
		return nil, err
	}
	var list []mount
	for i := len(all) - 1; i >= 0; i-- {
		if strings.HasPrefix(all[i].target, l.Dir+"/") {
			list = append(list, all[i])
		}
	}
	return list, nil
}

func (l *Lab) removeMounts() (int, error) {
	list, err := l.mounts()
	if err != nil {
		return 0, err
	}
	for i, m := range list {
		err := unix.Unmount(m.target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		// It has gone with the one that it was on.
		if err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return i, &fs.PathError{Op: "umount", Path: m.target, Err: err}
		}
	}
	return len(list), nil
}

func (l *Lab) removeGroups() (int, error) {
	list, err := tops()
	if err != nil {
		return 0, nil // no cgroups are mounted
	}
	n := 0
	for _, dir := range list {
		m, err := removeGroup(dir)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// removeGroup removes a cgroup and those below it. The kernel may need a
// moment until those that were killed are gone from it. Who is in there all the
// same, such as the shell of who is at the terminal, is moved out, not killed.
func removeGroup(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if e.IsDir() {
			m, err := removeGroup(filepath.Join(dir, e.Name()))
			n += m
			if err != nil {
				return n, err
			}
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return n + 1, nil
		}
		if err != unix.EBUSY || time.Now().After(end) {
			return n, &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		if err := moveOut(dir); err != nil {
			return n, err
		}
	}
}

// moveOut moves the processes of one of the lab's cgroups to the folder that
// vitro-lab is in.
func moveOut(dir string) error {
	outside := dir
	for filepath.Base(outside) != Cgroup {
		outside = filepath.Dir(outside)
	}
	outside = filepath.Dir(outside)
	procs, err := content(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil // it is gone by now
	}
	for _, pid := range strings.Fields(procs) {
		if _, err := strconv.Atoi(pid); err != nil || pid == "0" {
			continue
		}
		err := os.WriteFile(filepath.Join(outside, "cgroup.procs"), []byte(pid), 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move process %s out of %s: %w", pid, dir, err)
		}
	}
	return nil
}

// removeFolder removes the lab's folder, if it is one, the note that says so
// last: until then the next Clean goes on.
func (l *Lab) removeFolder() (int, error) {
	info, err := os.Lstat(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return 0, err
	}
	if !info.IsDir() || !l.begun() {
		if len(entries) == 0 {
			return 0, nil
		}
		return 0, &Error{fmt.Errorf("%s is no folder of the lab's: it has no file %s", l.Dir, note), "look what it is; name another one with --dir"}
	}
	if left, err := l.mounts(); err != nil || len(left) > 0 {
		return 0, errors.Join(err, fmt.Errorf("%s has something mounted in it still", l.Dir))
	}
	for _, e := range entries {
		if e.Name() != note {
			if err := removeAll(l.path(e.Name())); err != nil {
				return 0, err
			}
		}
	}
	if err := os.Remove(l.path(note)); err != nil {
		return 0, err
	}
	return 1, os.Remove(l.Dir)
}

// removeAll removes a tree. An overlay's work has a folder that nobody may
// read, its owner neither; without root that has to be changed first.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	for e := new(fs.PathError); errors.As(err, &e) && errors.Is(err, fs.ErrPermission); err = os.RemoveAll(dir) {
		info, serr := os.Lstat(e.Path)
		if serr != nil || !info.IsDir() || info.Mode().Perm() == 0o700 {
			break // that was not it
		}
		if cerr := os.Chmod(e.Path, 0o700); cerr != nil {
			break
		}
	}
	return err
}
