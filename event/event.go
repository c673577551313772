// SPDX-License-Identifier: Apache-2.0

// Package event is the log of what happens to containers, images, networks
// and volumes: a file that every process appends to and any can follow.
//
//	DIR/events      the newest, a line of JSON for each event
//	DIR/events.N    the older ones; a higher N is newer
//
// There is no daemon to serialize it, so the order of things is the kernel's:
//
//   - A writer holds a shared lock (flock) on the file that DIR/events names
//     while it appends a line by one write(2). Writers don't wait for one another.
//   - Who finds the file large takes the exclusive lock, and renames it to the
//     next events.N. So nothing is appended to a file any more once it has
//     that name, and a reader that comes to its end has read all of it.
//   - A reader takes no lock. It goes on with events.N+1, or DIR/events if
//     that isn't there.
//
// The order is that of writing. The times in it are the clock's, which may be
// put back: nothing here compares them with each other.
package event

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
)

// The types of what events are about.
const (
	Container = "container"
	Image     = "image"
	Network   = "network"
	Volume    = "volume"
)

// An Event is what happened, in Docker's words: docs.docker.com has the list
// of actions for each type.
type Event struct {
	Time       time.Time // zero: now
	Type       string
	Action     string            // "start", "die", "health_status: healthy"
	ID         string            // of what it happened to
	Attributes map[string]string // "name", "image", "exitCode", labels
}

// A Log is the events of one store. The zero values of its limits are the
// usual ones: 4 MiB a file, four old ones.
type Log struct {
	Dir  string
	Size int64
	Keep int
}

const (
	fileName    = "events"
	defaultSize = 4 << 20
	defaultKeep = 4
	// lineStart begins each line, and can't be within a string of one: so a line that was cut off, on a full disk,
	// spoils no other.
	lineStart = `{"timeNano":`
)

func (l Log) path() string { return filepath.Join(l.Dir, fileName) }

func (l Log) old(n int) string { return l.path() + "." + strconv.Itoa(n) }

// numbers are those of the old files, oldest first.
func (l Log) numbers() ([]int, error) {
	d, err := os.Open(l.Dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	var list []int
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name, fileName+"."); ok {
			if n, err := strconv.Atoi(digits); err == nil && n > 0 && strconv.Itoa(n) == digits {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return list, err
}

// line is an event as the log has it.
func line(e *Event) []byte {
	b := strconv.AppendInt([]byte(lineStart), e.Time.UnixNano(), 10)
	member := func(start, s string) { b = ocijson.AppendString(append(b, start...), s) }
	member(`,"Type":`, e.Type)
	member(`,"Action":`, e.Action)
	member(`,"Actor":{"ID":`, e.ID)
	b = append(b, `,"Attributes":{`...)
	for i, k := range slices.Sorted(maps.Keys(e.Attributes)) {
		if i > 0 {
			b = append(b, ',')
		}
		member("", k)
		member(":", e.Attributes[k])
	}
	return append(b, "}}}\n"...)
}

// Write appends an event. It is on the disk as soon as the kernel likes.
func (l Log) Write(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	err := l.write(line(&e))
	if err != nil {
		return fmt.Errorf("write event %s %s: %w", e.Type, e.Action, err)
	}
	return nil
}

func (l Log) write(text []byte) error {
	for {
		fd, err := l.open()
		if err != nil {
			return err
		}
		size, current, err := l.lock(fd)
		switch {
		case err == nil && !current: // it was renamed between open and lock
			unix.Close(fd)
			continue
		case err == nil:
			var n int
			if n, err = retry(func() (int, error) { return unix.Write(fd, text) }); err == nil && n < len(text) {
				err = unix.ENOSPC
			}
			if l.Size == 0 {
				l.Size = defaultSize
			}
			if err == nil && size+int64(n) >= l.Size {
				l.rotate(fd)
			}
		}
		// Not left to close: a child of another thread's, not yet at its exec, has the descriptor too.
		_ = unix.Flock(fd, unix.LOCK_UN)
		unix.Close(fd)
		return err
	}
}

// open opens the newest file. Who may read and write it is who may so with
// the folder: in one that only its owner can list, nobody else learns what happens.
func (l Log) open() (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CLOEXEC | unix.O_NOFOLLOW
	fd, err := retry(func() (int, error) { return unix.Open(l.path(), flags, 0) })
	if err != unix.ENOENT {
		return fd, err
	}
	var st unix.Stat_t
	if err := unix.Stat(l.Dir, &st); err != nil {
		return -1, err
	}
	return retry(func() (int, error) { return unix.Open(l.path(), flags|unix.O_CREAT, st.Mode&0o666) })
}

// lock takes the shared lock, and says whether the file is still the newest.
func (l Log) lock(fd int) (size int64, current bool, err error) {
	if _, err := retry(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_SH) }); err != nil {
		return 0, false, err
	}
	return l.isCurrent(fd)
}

func (l Log) isCurrent(fd int) (size int64, current bool, err error) {
	var ours, named unix.Stat_t
	if err := unix.Fstat(fd, &ours); err != nil {
		return 0, false, err
	}
	err = unix.Stat(l.path(), &named)
	if err != nil && err != unix.ENOENT {
		return 0, false, err
	}
	return ours.Size, err == nil && ours.Ino == named.Ino && ours.Dev == named.Dev, nil
}

// rotate gives a file its number, and removes the oldest. It waits for nobody:
// if others are writing, one of them will do it.
func (l Log) rotate(fd int) {
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	if _, current, err := l.isCurrent(fd); err != nil || !current {
		return
	}
	list, err := l.numbers()
	if err != nil {
		return
	}
	next := 1
	if len(list) > 0 {
		next = list[len(list)-1] + 1
	}
	if os.Rename(l.path(), l.old(next)) != nil {
		return
	}
	if l.Keep == 0 {
		l.Keep = defaultKeep
	}
	for _, n := range list {
		if n <= next-l.Keep {
			_ = os.Remove(l.old(n))
		}
	}
}

func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
