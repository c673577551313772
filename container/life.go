// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/smallfile"
)

// An Exit is how a container ended, or why it could not be started: the file
// exit, lines of a name and a value.
type Exit struct {
	Code     int
	OOM      bool      // the kernel killed a process of it for want of memory
	Unknown  bool      // nobody was there to see it: Code is 137 by convention
	Error    string    // of a start
	Started  time.Time // zero if it was not
	Finished time.Time
	Restarts int // in a row, by its restart policy
}

func (e *Exit) append(b []byte) []byte {
	b = fmt.Appendf(b, "code %d\nfinished %s\n", e.Code, e.Finished.UTC().Format(time.RFC3339Nano))
	if !e.Started.IsZero() {
		b = fmt.Appendf(b, "started %s\n", e.Started.UTC().Format(time.RFC3339Nano))
	}
	if e.OOM {
		b = append(b, "oom yes\n"...)
	}
	if e.Unknown {
		b = append(b, "unknown yes\n"...)
	}
	if e.Restarts > 0 {
		b = fmt.Appendf(b, "restarts %d\n", e.Restarts)
	}
	if e.Error != "" {
		b = append(strconv.AppendQuote(append(b, "error "...), e.Error), '\n')
	}
	return b
}

func parseExit(data []byte) (*Exit, error) {
	e := new(Exit)
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch name {
		case "code":
			e.Code, err = strconv.Atoi(value)
		case "finished":
			e.Finished, err = time.Parse(time.RFC3339Nano, value)
		case "started":
			e.Started, err = time.Parse(time.RFC3339Nano, value)
		case "restarts":
			e.Restarts, err = strconv.Atoi(value)
		case "oom":
			e.OOM = value == "yes"
		case "unknown":
			e.Unknown = value == "yes"
		case "error":
			e.Error, err = strconv.Unquote(value)
		}
		if err != nil {
			return nil, fmt.Errorf("read how the container ended: line %q", line)
		}
	}
	return e, nil
}

// SaveExit writes how the container ended: on a full disk in the place of its
// orders, which nobody needs any more. Whoever could not write it could not take
// the container down either, and give its room back.
func (c *Container) SaveExit(e *Exit) error { return c.squeeze("exit", e.append(nil), "orders") }

// LoadExit is how the container ended the last time; an error that is
// fs.ErrNotExist if it has not yet.
func (c *Container) LoadExit() (*Exit, error) {
	data, err := smallfile.Read(c.Path("exit"))
	if err != nil {
		return nil, err
	}
	return parseExit(data)
}

// Write writes a file of the container's folder, whole or not at all.
func (c *Container) Write(name string, data []byte) error {
	tmp := c.Path("." + name + "." + strconv.Itoa(os.Getpid()))
	err := os.WriteFile(tmp, data, 0o600)
	if err == nil {
		err = os.Rename(tmp, c.Path(name))
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write file %s of container %s: %w", name, c.ID, err)
	}
	return nil
}

// Wanted is what a container's user wants of it, whatever it does.
type Wanted string

// What can be wanted. A container that nobody has said anything of is wanted
// as it is.
const (
	WantRun     Wanted = "run"
	WantStop    Wanted = "stop"
	WantRestart Wanted = "restart" // once, whatever its restart policy says
)

// Want writes down what the user wants. On a full disk there may be no room for
// a new file, but for another word in the old one: whoever stops or removes
// containers to make room is not to be refused.
func (c *Container) Want(w Wanted) error { return c.squeeze("wanted", []byte(w)) }

// squeeze is Write, if there is room. If not, what is written takes the place
// of what the file had, or one of others that can go.
func (c *Container) squeeze(name string, data []byte, others ...string) error {
	err := c.Write(name, data)
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	for _, old := range append([]string{name}, others...) {
		if c.overwrite(old, data) == nil && (old == name || os.Rename(c.Path(old), c.Path(name)) == nil) {
			return nil
		}
	}
	return err
}

// overwrite writes to the blocks that a file has already.
func (c *Container) overwrite(name string, data []byte) error {
	f, err := os.OpenFile(c.Path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(data)))
}

// Wanted is what the user wants; "" if nothing was said.
func (c *Container) Wanted() Wanted {
	data, _ := smallfile.Read(c.Path("wanted"))
	return Wanted(data)
}

// ErrHeld is the answer of Hold if another process is beside the container.
var ErrHeld = errors.New("another process looks after the container")

// Hold has this process be the one beside the container, until the file is
// closed by its end: by any other way than exec(2).
func (c *Container) Hold() (*os.File, error) {
	f, err := os.OpenFile(c.Path("monitor"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hold container %s: %w", c.ID, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			err = ErrHeld
		}
		return nil, fmt.Errorf("hold container %s: %w", c.ID, err)
	}
	text := strconv.Itoa(os.Getpid()) + "\n"
	if _, err = f.WriteAt([]byte(text), 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("hold container %s: %w", c.ID, err)
	}
	return f, nil
}

// Holder is the process beside the container: its PID, 0 if there is none.
func (c *Container) Holder() int {
	f, err := smallfile.Open(c.Path("monitor"), unix.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0
	}
	var b [16]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return max(pid, 1) // it has not written its PID yet
}

// AwaitRelease waits until no process is beside the container. It reports
// whether that was before the deadline; a zero deadline is none.
func (c *Container) AwaitRelease(deadline time.Time) bool {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		pid := c.Holder()
		if pid == 0 {
			return true
		}
		wait := pause
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return false
			}
			wait = min(wait, left)
		}
		fd := -1
		if pid > 1 {
			fd, _ = unix.PidfdOpen(pid, 0)
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait/time.Millisecond)+1)
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
