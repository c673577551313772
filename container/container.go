// SPDX-License-Identifier: Apache-2.0

// Package container is a container on the disk: a folder of plain files.
//
//	ID/lock          locked (flock) by the process that changes the container
//	ID/monitor       locked by the process beside it, as long as there is one: its PID
//	ID/config.json   the OCI configuration that it was made of
//	ID/undo          how to take back what was done for it, a line for each step
//	ID/state         its first process (PID, start time, boot ID), its cgroups and more
//	ID/exec.fifo     as long as it waits to be started: what it hears
//	ID/started       and what it says then
//	ID/page          and where it writes what it is about
//	ID/checkpointed  it has ended in a checkpoint: a restore may take its place
//	ID/restored      the PID that criu has told of its first process
//	ID/rootfs        where its root is mounted, in its own mount namespace
//	ID/upper, work   what it has written, if its root is an overlay
//	ID/exit          how it ended the last time
//	ID/wanted        what its user wants of it: see Wanted
//
// Whether a container runs is asked of the kernel, never believed from a file:
// a PID counts only together with its start time and the boot that it was of.
//
// The package keeps and finds. It doesn't start anything: that is package
// monitor's.
package container

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/host"
	"vitro/internal/smallfile"
	"vitro/plan"
	"vitro/plan/run"
)

// RuntimeDir is where vitro-oci keeps its containers, if it isn't told.
func RuntimeDir(rootless bool) string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && rootless {
		return filepath.Join(dir, "vitro-oci")
	}
	return "/run/vitro-oci"
}

// A Store is a folder with a folder for each container.
type Store struct {
	Root string
	// Undo makes the actions of undo lists by their verbs, besides those of
	// packages host and cgroup.
	Undo []func(verb string) plan.Host
	// Made is the file whose presence says that a container has been made whole:
	// Sweep leaves it alone then.
	Made string
	// Names is a folder of symbolic links from names to IDs. Empty: containers
	// have only IDs.
	Names string
	// RemoveAll removes a container's folder. Nil is os.RemoveAll; an ordinary
	// user's containers have files of other users in them.
	RemoveAll func(path string) error
}

// A Container is one that this process holds the lock of, or only looks at: see
// Create, Lock and Look.
type Container struct {
	ID    string
	Dir   string
	List  *run.UndoList // of the process that makes it
	State *State        // nil as long as it is being made

	store *Store
	lock  *os.File
}

// ErrExists is the answer to a second container of the same name.
var ErrExists = errors.New("a container of this name exists")

// newPrefix is what the name of a folder in the making begins with.
const newPrefix = ".new-"

// ErrNotFound is the answer to a name that no container has. Engines look for
// these words in what a runtime says.
var ErrNotFound = errors.New("container does not exist")

// ErrStopped is the answer to what only a running container can do, in words
// that engines look for.
var ErrStopped = errors.New("container not running")

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
		return fmt.Errorf("use %q as a container ID: invalid characters: want letters, digits and any of _+-. but no dot in front", id)
	}
	return nil
}

// Create makes a container's folder, and locks it. What is left of one of this
// ID whose maker died over it is removed first. Before anything is done for it
// outside of the folder, call Begin.
func (s *Store) Create(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	c, err := s.create(id)
	if errors.Is(err, ErrExists) && s.sweep(filepath.Join(s.Root, id)) == nil {
		c, err = s.create(id)
	}
	return c, err
}

func (s *Store) create(id string) (*Container, error) {
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
	lock, err := smallfile.Open(tmp+"/lock", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
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
	return &Container{ID: id, Dir: dir, store: s, lock: lock}, nil
}

// Begin makes the list of how what is about to be done for the container will
// be taken back.
func (c *Container) Begin() (err error) {
	c.List, err = run.CreateUndo(c.Path("undo"))
	return err
}

// TakeBack takes back what was done since Begin; the folder stays.
//
// Precondition: the lock is held.
func (c *Container) TakeBack() error {
	if c.List != nil {
		c.List.Close()
		c.List = nil
	}
	return c.store.undo(c.Dir)
}

// Look finds a container by its ID, without its lock.
func (s *Store) Look(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	c := &Container{ID: id, Dir: filepath.Join(s.Root, id), store: s}
	state, err := loadState(c.Dir, "state")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(c.Dir); err != nil {
			return nil, fmt.Errorf("find container %q: %w", id, ErrNotFound)
		}
		return c, nil
	}
	c.State = state
	return c, err
}

// Lock finds a container by its ID, and waits until no other process changes it.
//
// Who holds the lock must not wait for the process beside the container (see
// Hold), which takes the lock for its own changes.
func (s *Store) Lock(id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Root, id)
	lock, err := smallfile.Open(dir+"/lock", unix.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find container %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("find container %q: %w", id, err)
	}
	if err := flock(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock container %q: %w", id, err)
	}
	if !isLockOf(lock, dir) {
		lock.Close()
		return nil, fmt.Errorf("find container %q: %w", id, ErrNotFound)
	}
	c, err := s.Look(id)
	if err != nil {
		lock.Close()
		return nil, err
	}
	c.lock = lock
	return c, nil
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}

// SweepNew removes what is left of containers whose makers died before they
// had a name: those are found by no other command.
func (s *Store) SweepNew() error {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) {
			err = errors.Join(err, s.sweep(filepath.Join(s.Root, e.Name())))
		}
	}
	return err
}

// All are the containers that there are, by their IDs.
func (s *Store) All() ([]*Container, error) {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Container
	for _, e := range entries {
		if c, err := s.Look(e.Name()); err == nil && c.State != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// Path is a file in the container's folder.
func (c *Container) Path(name string) string { return filepath.Join(c.Dir, name) }

// Saver writes the state when the container's process is there: what package
// run is to do meanwhile.
func (c *Container) Saver(s State) func(pid int) error {
	return func(pid int) error {
		s.Pid = pid
		return c.Save(&s)
	}
}

// Release lets go of a container that lives on.
func (c *Container) Release() {
	if c.List != nil {
		c.List.Close()
	}
	if c.lock != nil {
		_ = unix.Flock(int(c.lock.Fd()), unix.LOCK_UN) // a child that is yet to exec has a copy of the descriptor
		c.lock.Close()
	}
}

// Remove takes back all that was done for the container, and removes it. If
// something can't be taken back, the folder stays, and the next Sweep tries again.
func (c *Container) Remove() error {
	defer c.Release()
	return c.store.clean(c.Dir)
}

func (s *Store) undo(dir string) error {
	return run.Undo(dir+"/undo", append([]func(string) plan.Host{host.Actions, cgroup.Actions}, s.Undo...)...)
}

func (s *Store) clean(dir string) error {
	if err := s.undo(dir); err != nil {
		return err
	}
	if s.RemoveAll != nil {
		return s.RemoveAll(dir)
	}
	for _, name := range files {
		_ = unix.Unlink(dir + "/" + name)
	}
	if unix.Rmdir(dir) == nil {
		return nil
	}
	return os.RemoveAll(dir)
}

// files are what mostly is in a container's folder: when it is removed nothing
// needs to be looked for then. The lock goes last.
var files = [...]string{"config.json", "state", "lock"}

// Sweep removes the containers whose makers died over the making, and all that
// was done for them. It costs a look into each container's folder.
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
	return errors.Join(append(errs, s.sweepNames())...)
}

func (s *Store) sweep(dir string) error {
	lock, err := smallfile.Open(dir+"/lock", unix.O_RDWR, 0)
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
	if _, err := os.Stat(filepath.Join(dir, s.Made)); err == nil {
		return nil // it needs nobody
	}
	if !isLockOf(lock, dir) {
		return nil // it has been removed meanwhile, and there may be a new one of this name
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
	if err != nil || time.Since(st.ModTime()).Abs() < 10*time.Second { // the clock may have been put back
		return nil
	}
	return s.clean(dir)
}
