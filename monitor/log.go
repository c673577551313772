// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
)

// lineLimit is how long a line of a log may be; longer ones are cut, as
// Docker and Kubernetes do it.
const lineLimit = 16 << 10

// LogFile is the container's log in its folder; older files are LogFile.1 and so on.
const LogFile = "log"

// A logger writes what a container prints, line by line with the time, in the
// form of its driver.
type logger struct {
	o       *Orders
	path    string
	fd      int
	size    int64
	journal *journal
	partial [3][]byte // by stream: a line that is not yet whole
	buf     []byte
}

// openLog opens the log, to go on where it ends.
func openLog(o *Orders, dir string) (*logger, error) {
	l := &logger{o: o, path: dir + "/" + LogFile, fd: -1}
	var err error
	switch o.Driver {
	case "none":
		return l, nil
	case "journald":
		l.journal, err = openJournal(o)
		return l, err
	}
	return l, l.open()
}

func (l *logger) open() error {
	fd, err := unix.Open(l.path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", &os.PathError{Op: "open", Path: l.path, Err: err})
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("open log: %w", err)
	}
	l.fd, l.size = fd, st.Size
	return nil
}

// write logs what came from a stream, 1 or 2. A full disk loses lines of the
// log, and never stops the container.
func (l *logger) write(stream int, data []byte, now time.Time) {
	if l.fd < 0 && l.journal == nil {
		return
	}
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		rest := l.partial[stream]
		room := lineLimit - len(rest)
		switch {
		case i >= 0 && i < room:
			l.line(stream, append(rest, data[:i+1]...), now)
			l.partial[stream], data = rest[:0], data[i+1:]
		case len(data) < room:
			l.partial[stream], data = append(rest, data...), nil
		default:
			l.line(stream, append(rest, data[:room]...), now)
			l.partial[stream], data = rest[:0], data[room:]
		}
	}
	l.flush()
}

// end logs lines that never came to their end.
func (l *logger) end(now time.Time) {
	for stream, rest := range l.partial {
		if len(rest) > 0 {
			l.line(stream, rest, now)
		}
		l.partial[stream] = nil
	}
	l.flush()
}

func (l *logger) line(stream int, text []byte, now time.Time) {
	name := [...]string{1: "stdout", 2: "stderr"}[stream]
	switch {
	case l.journal != nil:
		l.journal.line(stream, text)
	case l.o.Driver == "k8s-file":
		text, whole := bytes.CutSuffix(text, []byte{'\n'})
		l.buf = now.UTC().AppendFormat(l.buf, time.RFC3339Nano)
		l.buf = append(append(append(l.buf, ' '), name...), map[bool]string{true: " F ", false: " P "}[whole]...)
		l.buf = append(append(l.buf, text...), '\n')
	default:
		l.buf = ocijson.AppendString(append(l.buf, `{"log":`...), string(text))
		l.buf = append(append(append(l.buf, `,"stream":"`...), name...), `","time":"`...)
		l.buf = append(now.UTC().AppendFormat(l.buf, time.RFC3339Nano), "\"}\n"...)
	}
	if len(l.buf) >= lineLimit {
		l.flush()
	}
}

func (l *logger) flush() {
	if len(l.buf) == 0 || l.fd < 0 {
		l.buf = l.buf[:0]
		return
	}
	if l.o.MaxSize > 0 && l.size > 0 && l.size+int64(len(l.buf)) > l.o.MaxSize {
		l.rotate()
	}
	n, _ := unix.Write(l.fd, l.buf)
	l.size += int64(max(n, 0))
	if l.buf = l.buf[:0]; cap(l.buf) > 2*lineLimit {
		l.buf = nil
	}
}

// rotate begins a new file, and lets the oldest go.
func (l *logger) rotate() {
	unix.Close(l.fd)
	l.fd = -1
	older := func(n int) string { return l.path + "." + strconv.Itoa(n) }
	if l.o.MaxFile > 1 {
		for n := l.o.MaxFile - 1; n > 1; n-- {
			_ = os.Rename(older(n-1), older(n))
		}
		_ = os.Rename(l.path, older(1))
	} else {
		_ = os.Remove(l.path)
	}
	_ = l.open()
}

func (l *logger) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
	if l.journal != nil {
		unix.Close(l.journal.fd)
	}
}
