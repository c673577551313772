// SPDX-License-Identifier: Apache-2.0

// Package container is a container on the disk: a folder of plain files.
//
//	ID/lock          locked (flock) by the process that looks after the container
//	ID/config.json   the OCI configuration that it was made of
//	ID/undo          how to take back what was done for it, a line for each step
//	ID/process       its first process: PID, start time, boot ID
//	ID/cgroups       its cgroups, a line each
//	ID/rootfs        where its root is mounted, in its own mount namespace
//	ID/upper, work   what it has written, if its root is an overlay
//
// Whether a container runs is asked of the kernel, never believed from a file:
// a PID counts only together with its start time and the boot that it was of.
//
// The package keeps and finds. It doesn't start anything: that is package
// monitor's.
package container

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/host"
	"vitro/plan"
	"vitro/plan/run"
)

// A Store is a folder with a folder for each container.
type Store struct {
	Root string
	// Undo makes the actions of undo lists by their verbs, besides those of
	// packages host and cgroup.
	Undo []func(verb string) plan.Host
	// RemoveAll removes a container's folder. Nil is os.RemoveAll; an ordinary
	// user's containers have files of other users in them.
	RemoveAll func(path string) error
}

// A Container is one that this process holds the lock of.
type Container struct {
	ID   string
	Dir  string
	List *run.UndoList

	store *Store
	lock  *os.File
}

// ErrExists is the answer to a second container of the same name.
var ErrExists = errors.New("a container of this name exists")

// newPrefix is what the name of a folder in the making begins with.
const newPrefix = ".new-"

// ErrNotFound is the answer to a name that no container has.
var ErrNotFound = errors.New("there is none of this name or ID")

// NewID makes up an ID: 64 hex digits.
func NewID() string {
	var b [32]byte
	_, _ = unix.Getrandom(b[:], 0) // for so few bytes it neither fails nor falls short (getrandom(2))
	return hex.EncodeToString(b[:])
}

// CheckID refuses names that are no safe folder name: letters, digits, and
// "_+-." not in front, as runc has it.
func CheckID(id string) error {
	ok := id != "" && len(id) <= 255 && id[0] != '.'
	for _, r := range id {
		ok = ok && (r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+-.", r)))
	}
	if !ok {
		return fmt.Errorf("use %q as a container's ID: want letters, digits and any of _+-. but no dot in front", id)
	}
	return nil
}

// Create makes a container's folder, and locks it.
func (s *Store) Create(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Root, 0o711); err != nil {
		return nil, fmt.Errorf("make folder for containers: %w", err)
	}
	dir := filepath.Join(s.Root, id)
	// The lock comes first, under another name: a folder without one could be
	// taken for a dead container's.
	tmp, err := os.MkdirTemp(s.Root, newPrefix)
	if err != nil {
		return nil, fmt.Errorf("make container %q: %w", id, err)
	}
	lock, err := os.OpenFile(tmp+"/lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		err = os.Chmod(tmp, 0o700)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		os.RemoveAll(tmp)
		if err == unix.EEXIST {
			err = ErrExists
		}
		return nil, fmt.Errorf("make container %q: %w", id, err)
	}
	c := &Container{ID: id, Dir: dir, store: s, lock: lock}
	if c.List, err = run.CreateUndo(dir + "/undo"); err != nil {
		c.Remove()
		return nil, err
	}
	return c, nil
}

// Path is a file in the container's folder.
func (c *Container) Path(name string) string { return filepath.Join(c.Dir, name) }

// Started writes down what the next process that comes along has to know.
func (c *Container) Started(pid int, dirs cgroup.Dirs) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("%d %d %s\n", pid, start, bootID())
	if err := os.WriteFile(c.Path("process"), []byte(line), 0o600); err != nil {
		return err
	}
	var b strings.Builder
	for _, d := range dirs {
		b.WriteString(d.Path + "\n")
	}
	return os.WriteFile(c.Path("cgroups"), []byte(b.String()), 0o600)
}

// Remove takes back all that was done for the container, and removes it. If
// something can't be taken back, the folder stays, and the next Sweep tries again.
func (c *Container) Remove() error {
	defer c.lock.Close()
	if c.List != nil {
		c.List.Close()
	}
	return c.store.clean(c.Dir)
}

func (s *Store) clean(dir string) error {
	makers := append([]func(string) plan.Host{host.Actions, cgroup.Actions}, s.Undo...)
	if err := run.Undo(dir+"/undo", makers...); err != nil {
		return err
	}
	remove := s.RemoveAll
	if remove == nil {
		remove = os.RemoveAll
	}
	return remove(dir)
}

// Sweep removes the containers whose makers have died, and all that was done
// for them. It costs a look into the folder if there are none.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if err := s.sweep(filepath.Join(s.Root, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("clean up container %s: %w", e.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) sweep(dir string) error {
	lock, err := os.OpenFile(dir+"/lock", os.O_RDWR, 0)
	making := strings.HasPrefix(filepath.Base(dir), newPrefix) // its maker may not have locked it yet
	if errors.Is(err, fs.ErrNotExist) || err == nil && making {
		lock.Close()
		return s.lockless(dir)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // somebody looks after it
	}
	if !isLockOf(lock, dir) {
		return nil // it has been removed meanwhile, and there may be a new one of this name
	}
	if err := killLeft(dir); err != nil {
		return err
	}
	return s.clean(dir)
}

// isLockOf reports whether an open lock is the one that a folder has now.
func isLockOf(lock *os.File, dir string) bool {
	own, err1 := lock.Stat()
	now, err2 := os.Stat(dir + "/lock")
	return err1 == nil && err2 == nil && os.SameFile(own, now)
}

// lockless is a folder in the making or in the removing, of a process that may
// have died over it.
func (s *Store) lockless(dir string) error {
	st, err := os.Stat(dir)
	if err != nil || time.Since(st.ModTime()) < 10*time.Second {
		return nil
	}
	return s.clean(dir)
}

// killLeft ends a container that has outlived its maker, and waits for it.
func killLeft(dir string) error {
	pid, ok := living(dir)
	if !ok {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // gone
	}
	defer unix.Close(fd)
	if again, ok := living(dir); !ok || again != pid {
		return nil // another process has got the PID meanwhile
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	return err
}

// startTime is when a process began, in clock ticks since boot (proc_pid_stat(5), field 22).
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("read start time of process %d: %d fields", pid, len(f))
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// Find finds a running container by its ID, the beginning of it, or its name:
// its ID and its first process.
func (s *Store) Find(name string) (id string, pid int, err error) {
	entries, err := os.ReadDir(s.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", 0, err
	}
	var found []string
	for _, e := range entries {
		own, _ := os.ReadFile(filepath.Join(s.Root, e.Name(), "name"))
		if e.Name() == name || name != "" && strings.TrimSpace(string(own)) == name {
			found = []string{e.Name()}
			break
		}
		if name != "" && strings.HasPrefix(e.Name(), name) {
			found = append(found, e.Name())
		}
	}
	switch {
	case len(found) == 0:
		return "", 0, fmt.Errorf("find container %q: %w", name, ErrNotFound)
	case len(found) > 1:
		return "", 0, fmt.Errorf("find container %q: %d containers begin so", name, len(found))
	}
	pid, ok := living(filepath.Join(s.Root, found[0]))
	if !ok {
		return "", 0, fmt.Errorf("find container %q: it does not run", name)
	}
	return found[0], pid, nil
}

// living is the process that the folder names, if it is still that one.
func living(dir string) (int, bool) {
	data, err := os.ReadFile(dir + "/process")
	f := strings.Fields(string(data))
	if err != nil || len(f) != 3 || f[2] != bootID() {
		return 0, false
	}
	pid, _ := strconv.Atoi(f[0])
	start, err := startTime(pid)
	return pid, err == nil && strconv.FormatUint(start, 10) == f[1]
}
