// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Lost is the type of an event that no writer wrote: files were removed before
// the reader came to them.
const Lost = "lost"

// Read calls visit for each event that is in the log, oldest first, until it
// gives an error.
func (l Log) Read(visit func(Event) error) error {
	r, err := l.reader(false)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer r.close()
	return r.drain(visit)
}

// Follow calls visit for each event as it is written, until the context ends
// or visit gives an error, which is then Follow's. With past it begins with
// the oldest that there is, else with the next that comes.
func (l Log) Follow(ctx context.Context, past bool, visit func(Event) error) error {
	if err := os.MkdirAll(l.Dir, 0o711); err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	w, err := watch(l.Dir)
	if err != nil {
		return fmt.Errorf("follow events: watch %s: %w", l.Dir, err)
	}
	defer w.Close()
	stop := context.AfterFunc(ctx, func() { _ = w.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r, err := l.reader(!past) // after the watch, so that nothing falls between
	if err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	defer r.close()
	var news [4096]byte
	for {
		if err := r.drain(visit); err != nil || ctx.Err() != nil {
			return err
		}
		// What changed doesn't matter: the reader looks.
		if _, err := w.Read(news[:]); err != nil && ctx.Err() == nil {
			return fmt.Errorf("follow events: watch %s: %w", l.Dir, err)
		}
	}
}

// watch is a descriptor that can be read whenever something is written to, or
// appears in, a folder.
func watch(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVE|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// A reader goes through the files of a log in the order of their numbers. That
// which has none yet, DIR/events, will get the one after the highest.
type reader struct {
	log  Log
	n    int      // which file it is at
	file *os.File // nil: it isn't there yet
	rest []byte   // of a line that isn't complete
}

// reader begins at the oldest event, or behind the newest.
func (l Log) reader(atEnd bool) (*reader, error) {
	list, err := l.numbers()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r := &reader{log: l, n: 1}
	if len(list) > 0 {
		r.n = list[0]
	}
	if !atEnd {
		return r, nil
	}
	// Whatever is in the files up to the newest is the past, and what was appended to that before now.
	if len(list) > 0 {
		r.n = list[len(list)-1] + 1
	}
	if _, err := r.open(); err != nil || r.file == nil {
		return r, err
	}
	_, err = r.file.Seek(0, io.SeekEnd)
	return r, err
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// open opens file n if it is there. If it was removed it goes on to the next
// that wasn't.
func (r *reader) open() (lost bool, err error) {
	for {
		if r.file, err = openFile(r.log.old(r.n)); r.file != nil || err != nil {
			return lost, err
		}
		f, err := openFile(r.log.path())
		if err != nil {
			return lost, err
		}
		list, err := r.log.numbers()
		if errors.Is(err, fs.ErrNotExist) { // nor is the folder
			err = nil
		}
		newest := 1 // that of f, if f hasn't been renamed since
		if len(list) > 0 {
			newest = list[len(list)-1] + 1
		}
		current := err == nil
		if current && f != nil {
			_, current, err = r.log.isCurrent(int(f.Fd()))
		}
		if current && newest <= r.n {
			r.n, r.file = newest, f // less: somebody has removed all files
			return lost, nil
		}
		if f != nil {
			f.Close()
		}
		if err != nil {
			return lost, err
		}
		if i, there := slices.BinarySearch(list, r.n); current && !there {
			r.n, lost = list[i], true
		}
	}
}

func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// drain reads on until there is nothing more.
func (r *reader) drain(visit func(Event) error) error {
	for {
		if r.file == nil {
			lost, err := r.open()
			if lost && err == nil {
				err = visit(Event{Time: time.Now(), Type: Lost, Action: "rotate"})
			}
			if err != nil || r.file == nil {
				return err
			}
		}
		// Before its end is looked for: once it isn't the newest, nothing is appended.
		_, current, err := r.log.isCurrent(int(r.file.Fd()))
		if err != nil {
			return err
		}
		if err := r.lines(visit); err != nil || current {
			return err
		}
		r.close()
		r.n, r.rest = r.n+1, nil
	}
}

// lines reads a file to its end.
func (r *reader) lines(visit func(Event) error) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.file.Read(buf)
		r.rest = append(r.rest, buf[:n]...)
		for {
			text, rest, ok := bytes.Cut(r.rest, []byte("\n"))
			if !ok {
				break
			}
			r.rest = rest
			if e, ok := parse(text); ok {
				if err := visit(e); err != nil {
					return err
				}
			}
		}
		r.rest = bytes.Clone(r.rest)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parse reads a line. If one before it was cut off, they are one; then it is
// what begins last.
func parse(text []byte) (Event, bool) {
	i := bytes.LastIndex(text, []byte(lineStart))
	if i < 0 {
		return Event{}, false
	}
	var m struct {
		TimeNano     int64 `json:"timeNano"`
		Type, Action string
		Actor        struct {
			ID         string
			Attributes map[string]string
		}
	}
	if json.Unmarshal(text[i:], &m) != nil {
		return Event{}, false
	}
	return Event{Time: time.Unix(0, m.TimeNano), Type: m.Type, Action: m.Action, ID: m.Actor.ID, Attributes: m.Actor.Attributes}, true
}
