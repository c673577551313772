// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Hold keeps every image and layer of the store in place until release is called. It is for the short time between
// Get and the note that a container uses the image. Others may hold the store at the same time; who wants to change it
// waits. So a process that holds the store must not call Commit or Remove before release: it would wait for itself.
func (s *Store) Hold() (release func(), err error) {
	if err := os.MkdirAll(s.Root, 0o711); err != nil {
		return nil, fmt.Errorf("hold image store: %w", err)
	}
	f, err := s.flock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// lock is the right to change the store. The leftovers of processes that were killed go when it is given back.
func (s *Store) lock() (unlock func(), err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	f, err := s.flock(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	dead := s.leftovers()
	return func() {
		f.Close()
		for _, t := range dead {
			// Nobody waits for it, and who comes next tries again.
			_ = t.remove()
		}
	}, nil
}

func (s *Store) flock(how int) (*os.File, error) {
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	if err := flock(f, how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// A tempDir is a directory under tmp, and the lock on it that says its owner lives.
type tempDir struct {
	store *Store
	path  string
	lock  *os.File
}

// tempDir makes one. The caller holds the store's lock, or a sweep could see it before it is locked.
func (s *Store) tempDir(kind string) (*tempDir, error) {
	path, err := os.MkdirTemp(s.path("tmp"), kind+"-")
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	t, err := s.takeTempDir(path)
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	return t, nil
}

func (s *Store) takeTempDir(path string) (*tempDir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return &tempDir{s, path, f}, nil
}

// remove takes the directory away; its lock goes last.
func (t *tempDir) remove() error {
	defer t.lock.Close()
	return t.store.removeAll(t.path)
}

// leftovers takes over what lies in tmp and has no owner. Under the store's lock.
func (s *Store) leftovers() []*tempDir {
	entries, err := os.ReadDir(s.path("tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var dead []*tempDir
	for _, e := range entries {
		path := s.path("tmp", e.Name())
		if !e.IsDir() {
			_ = os.Remove(path) // of a write that was cut short; only the lock's holder writes here
			continue
		}
		if t, err := s.takeTempDir(path); err == nil {
			dead = append(dead, t)
		}
	}
	return dead
}
