// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits until nobody else fills or removes a volume.
func (s *Store) lock(name string) (*os.File, error) {
	file := filepath.Join(s.Root, name, "lock")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find volume %q: %w", name, ErrNotFound)
	}
	if err == nil {
		err = flock(f, unix.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock volume %q: %w", name, err)
	}
	own, err1 := f.Stat()
	now, err2 := os.Stat(file)
	if err1 != nil || err2 != nil || !os.SameFile(own, now) {
		f.Close()
		return nil, fmt.Errorf("find volume %q: %w", name, ErrNotFound) // removed while we waited
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

// patience is for the moment between the making of a folder and its lock.
const patience = 10 * time.Second

// sweep removes what processes that were killed have left half made or half
// removed. What can't be removed stays for the next: nobody waits for it.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) && !strings.HasPrefix(e.Name(), gonePrefix) {
			continue
		}
		dir := filepath.Join(s.Root, e.Name())
		lock, err := os.OpenFile(dir+"/lock", os.O_RDWR, 0)
		if err != nil {
			if st, err := os.Stat(dir); err == nil && time.Since(st.ModTime()).Abs() > patience { // the clock may have been put back
				_ = s.removeAll(dir)
			}
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && stale(lock, dir) {
			_ = s.removeAll(dir)
		}
		lock.Close()
	}
}

// stale reports whether a folder with a free lock has lost its maker: it is
// still the folder that the lock is of, and not from this moment.
func stale(lock *os.File, dir string) bool {
	own, err1 := lock.Stat()
	now, err2 := os.Stat(dir + "/lock")
	return err1 == nil && err2 == nil && os.SameFile(own, now) &&
		(strings.HasPrefix(filepath.Base(dir), gonePrefix) || time.Since(own.ModTime()).Abs() > patience)
}
