// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/monitor"
)

// A LogQuery says which lines of a container's log are wanted.
type LogQuery struct {
	Since, Until time.Time // zero is no bound
	Tail         int       // of the lines that are there; negative is all
	Follow       bool
}

// A LogLine is a line of a container's log, with its newline if it had one.
type LogLine struct {
	Text   string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// Logs hands the lines of a container's log to f, the oldest first.
func (e *Engine) Logs(ctx context.Context, name string, q LogQuery, f func(LogLine) error) error {
	c, err := e.find(name)
	if err != nil {
		return err
	}
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	if _, err := e.mend(c); err != nil {
		return err
	}
	switch r.Flags.LogDriver {
	case "none":
		return hint(fmt.Errorf("read the log of container %q: it has none", name), "it was made with --log-driver=none")
	case "journald":
		return journal(ctx, r.ID, q, f)
	}
	l := &logReader{c: c, q: q, f: f, held: func() bool { return e.held(c) }}
	return l.read(ctx)
}

// LogDetails are the labels and variables of a container that --log-opt labels
// and env name, as Docker has them: sorted, escaped as in a URL, with commas.
func (e *Engine) LogDetails(name string) (string, error) {
	c, err := e.find(name)
	if err != nil {
		return "", err
	}
	r, err := loadRecord(c.Dir)
	if err != nil {
		return "", err
	}
	var list []string
	add := func(key, value string) { list = append(list, url.QueryEscape(key)+"="+url.QueryEscape(value)) }
	all := labels(r.Config.Labels, r.Flags.Labels)
	for _, key := range strings.Split(r.Flags.LogOpts["labels"], ",") {
		if value, ok := all[key]; ok {
			add(key, value)
		}
	}
	asked := strings.Split(r.Flags.LogOpts["env"], ",")
	for _, v := range merge(r.Config.Env, r.Flags.Env) {
		if key, value, _ := strings.Cut(v, "="); slices.Contains(asked, key) {
			add(key, value)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ","), nil
}

// journal has journalctl(1) read the lines.
func journal(ctx context.Context, id string, q LogQuery, f func(LogLine) error) error {
	args := []string{"-q", "-o", "export", "--no-pager", "CONTAINER_ID_FULL=" + id}
	if !q.Since.IsZero() {
		args = append(args, "--since=@"+microseconds(q.Since))
	}
	if !q.Until.IsZero() {
		args = append(args, "--until=@"+microseconds(q.Until))
	}
	if q.Tail >= 0 {
		args = append(args, "-n", strconv.Itoa(q.Tail))
	}
	if q.Follow {
		args = append(args, "-f")
		if q.Tail < 0 { // else it begins with the last ten
			args = append(args, "--no-tail")
		}
	}
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return hint(fmt.Errorf("read journal: %w", err), "vitro reads it by journalctl, of the package systemd")
	}
	err = journalLines(bufio.NewReaderSize(out, 64<<10), f)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	end := cmd.Wait()
	switch {
	case err != nil:
		return err
	case end != nil && ctx.Err() == nil:
		return fmt.Errorf("read journal: %w: %s", end, strings.TrimSpace(said.String()))
	}
	return nil
}

// microseconds is a time as journalctl(1) reads it.
func microseconds(t time.Time) string {
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

// journalLines reads the journal's export format, which has any bytes in it: lines FIELD=TEXT or
// FIELD, a length and as many bytes; an empty line ends an entry (systemd.io/JOURNAL_EXPORT_FORMATS).
func journalLines(in *bufio.Reader, f func(LogLine) error) error {
	fields := make(map[string]string)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, text := strings.Cut(line, "=")
		switch {
		case line == "":
			if err := f(journalLine(fields)); err != nil {
				return err
			}
			fields = make(map[string]string)
			continue
		case !text:
			var size uint64
			if err := binary.Read(in, binary.LittleEndian, &size); err != nil {
				return err
			}
			if size > maxField {
				return fmt.Errorf("read journal: field %s has %d bytes", name, size)
			}
			data := make([]byte, size+1) // and a newline
			if _, err := io.ReadFull(in, data); err != nil {
				return err
			}
			value = string(data[:size])
		}
		fields[name] = value
	}
}

// maxField is the most that journald keeps of a field, in bytes.
const maxField = 768 << 20

func journalLine(fields map[string]string) LogLine {
	us, _ := strconv.ParseInt(fields["__REALTIME_TIMESTAMP"], 10, 64)
	l := LogLine{Text: fields["MESSAGE"], Stream: "stdout", Time: time.UnixMicro(us)}
	if fields["PRIORITY"] == "3" {
		l.Stream = "stderr"
	}
	if fields[monitor.PartialField] != "true" {
		l.Text += "\n"
	}
	return l
}

// A logReader reads the files of a log, and goes on in the newest.
type logReader struct {
	c *container.Container
	q LogQuery
	f func(LogLine) error
	// held reports whether somebody is beside the container.
	held func() bool
}

func (l *logReader) path() string { return l.c.Path(monitor.LogFile) }

// files are those of the log, the oldest first.
func (l *logReader) files() (names []string) {
	for n := 1; ; n++ {
		older := l.path() + "." + strconv.Itoa(n)
		if _, err := os.Lstat(older); err != nil {
			break
		}
		names = append([]string{older}, names...)
	}
	return append(names, l.path())
}

func (l *logReader) read(ctx context.Context) error {
	var watch *logWatch
	if l.q.Follow { // from before we read, so as to miss nothing
		var err error
		if watch, err = newLogWatch(l.c.Dir); err != nil {
			return err
		}
		defer watch.close()
	}
	var last []LogLine // the last Tail lines, if only those are wanted
	take := func(line LogLine) error {
		if l.q.Tail < 0 {
			return l.f(line)
		}
		if last = append(last, line); len(last) > 2*l.q.Tail+64 {
			last = append([]LogLine(nil), last[len(last)-l.q.Tail:]...)
		}
		return nil
	}
	var newest *os.File
	for _, name := range l.files() {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if newest != nil {
			newest.Close()
		}
		newest = f
		if err := l.lines(f, take); err != nil {
			f.Close()
			return err
		}
	}
	for _, line := range last[max(0, len(last)-max(0, l.q.Tail)):] {
		if err := l.f(line); err != nil {
			return err
		}
	}
	if watch == nil {
		if newest != nil {
			newest.Close()
		}
		return nil
	}
	return l.follow(ctx, watch, newest)
}

// lines hands on the lines from where a file is read now to its last whole one.
func (l *logReader) lines(f *os.File, take func(LogLine) error) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		data, err := in.ReadBytes('\n')
		if err != nil { // the rest is still being written
			_, e := f.Seek(at, io.SeekStart)
			return e
		}
		at += int64(len(data))
		line, ok := parseLine(data)
		switch {
		case !ok: // of a disk that was full
		case !l.q.Since.IsZero() && line.Time.Before(l.q.Since):
		case !l.q.Until.IsZero() && line.Time.After(l.q.Until):
		default:
			if err := take(line); err != nil {
				return err
			}
		}
	}
}

// parseLine reads a line of either form.
func parseLine(data []byte) (l LogLine, ok bool) {
	if len(data) > 0 && data[0] == '{' {
		return l, json.Unmarshal(data, &l) == nil
	}
	f := bytes.SplitN(data, []byte{' '}, 4)
	if len(f) != 4 {
		return l, false
	}
	var err error
	l.Time, err = time.Parse(time.RFC3339Nano, string(f[0]))
	l.Stream, l.Text = string(f[1]), string(f[3])
	if string(f[2]) == "P" {
		l.Text = strings.TrimSuffix(l.Text, "\n")
	}
	return l, err == nil
}

// follow goes on with what is written, until nobody is beside the container.
func (l *logReader) follow(ctx context.Context, watch *logWatch, f *os.File) (err error) {
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	for ctx.Err() == nil {
		over := !l.held() || !l.q.Until.IsZero() && time.Now().After(l.q.Until)
		if f != nil {
			if err := l.lines(f, l.f); err != nil {
				return err
			}
		}
		next, err := os.Open(l.path())
		switch {
		case err == nil && (f == nil || !sameFile(f, next)):
			if f != nil {
				if err := l.lines(f, l.f); err != nil { // what came before it was renamed
					return err
				}
				f.Close()
			}
			f = next
			continue
		case err == nil:
			next.Close()
		}
		if over {
			return nil
		}
		watch.wait(200 * time.Millisecond)
	}
	return nil
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// A logWatch tells when something is written in a folder.
type logWatch struct{ fd int }

func newLogWatch(dir string) (*logWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch log: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch log: %w", err)
	}
	return &logWatch{fd}, nil
}

func (w *logWatch) close() { unix.Close(w.fd) }

// wait waits until something may have been written, or for a while: the end of
// the container writes nothing.
func (w *logWatch) wait(d time.Duration) {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(d.Milliseconds()))
	var buf [4096]byte
	for {
		if n, err := unix.Read(w.fd, buf[:]); n <= 0 || err != nil {
			return
		}
	}
}
