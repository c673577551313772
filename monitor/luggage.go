// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
)

// A monitor changes its program by execve(2), and stays the same process: with
// its PID, its children, and the descriptors that it takes along. What it
// knows besides is in a file in memory, lines of a name and values; the number
// of its descriptor is the new program's last argument.

// named are the descriptors that are taken along.
func (w *Watch) named() [9]struct {
	name string
	fd   *int
} {
	return [...]struct {
		name string
		fd   *int
	}{{"in", &w.In}, {"out", &w.Out}, {"err", &w.Err}, {"console", &w.Console}, {"listen", &w.Listen}, {"hold", &w.Hold}, {"pidfd", &w.Pidfd},
		{"dns-udp", &w.Questions.UDP}, {"dns-tcp", &w.Questions.TCP}}
}

// pack is what the next program has to know.
func (w *Watch) pack() []byte {
	b := fmt.Appendf(nil, "dir %q\npid %d\nstarted %s\nage %d\n", w.Dir, w.Pid, w.Started.Format(time.RFC3339Nano), w.Ran())
	for _, flag := range [...]struct {
		name string
		set  bool
	}{{"child", w.Child}, {"quit", w.Quit}, {"killed", w.killed}, {"closing", w.closing}} {
		if flag.set {
			b = append(append(b, flag.name...), " yes\n"...)
		}
	}
	for _, d := range w.named() {
		if *d.fd >= 0 {
			b = fmt.Appendf(b, "%s %d\n", d.name, *d.fd)
		}
	}
	for _, c := range w.clients {
		b = fmt.Appendf(b, "client %d %d %q %q\n", c.fd, c.wants, c.in, c.out)
	}
	if w.relay != nil {
		for _, line := range w.relay.Pack() {
			b = fmt.Appendf(b, "relay %s\n", line)
		}
	}
	if len(w.input) > 0 {
		b = fmt.Appendf(b, "input %q\n", w.input)
	}
	if w.log != nil {
		for stream, text := range w.log.partial {
			if len(text) > 0 {
				b = fmt.Appendf(b, "partial %d %q\n", stream, text)
			}
		}
	}
	if e := w.Ended; e != nil {
		b = fmt.Appendf(b, "ended %d %t %t %s\n", e.Code, e.Unknown, e.OOM, e.Finished.Format(time.RFC3339Nano))
	}
	return b
}

// Become goes on as another program, which finds what it has to know by Unpack.
// It returns only if that can't be.
func (w *Watch) Become(argv, env []string) error {
	if w.health != nil {
		w.health.stop()
	}
	w.forget()
	fd, err := unix.MemfdCreate("vitro", 0)
	if err != nil {
		return err
	}
	bag := os.NewFile(uintptr(fd), "luggage")
	defer bag.Close()
	if _, err := bag.WriteAt(w.pack(), 0); err != nil {
		return err
	}
	var keep []int
	for _, d := range w.named() {
		keep = append(keep, *d.fd)
	}
	for _, c := range w.clients {
		keep = append(keep, c.fd)
	}
	if w.relay != nil {
		keep = append(keep, w.relay.Descriptors()...)
	}
	for _, fd := range keep {
		if fd >= 0 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
				return err
			}
		}
	}
	err = unix.Exec(argv[0], append(argv, strconv.Itoa(fd)), env)
	for _, fd := range keep {
		if fd >= 0 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		}
	}
	return fmt.Errorf("go on as %s: %w", argv[0], err)
}

var errLuggage = errors.New("this is a monitor's second part: it is started by none but vitro itself")

// Unpack is the watch of the program that this process has been.
func Unpack(arg string) (*Watch, error) {
	fd, err := strconv.Atoi(arg)
	if err != nil || fd < 3 {
		return nil, errLuggage
	}
	bag := os.NewFile(uintptr(fd), "luggage")
	defer bag.Close()
	data, err := io.ReadAll(io.NewSectionReader(bag, 0, 64<<20))
	if err != nil {
		return nil, errLuggage
	}
	w := NewWatch("")
	var partial [3][]byte
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := w.unpack(name, value, &partial); err != nil {
			return nil, fmt.Errorf("%w: %q", errLuggage, line)
		}
	}
	if w.Orders, err = ReadOrders(w.Dir); err != nil {
		return nil, err
	}
	if w.Ended == nil {
		if w.log, err = openLog(w.Orders, w.Dir); err != nil {
			return nil, err
		}
		w.log.partial = partial
	}
	return w, nil
}

func (w *Watch) unpack(name, value string, partial *[3][]byte) (err error) {
	for _, d := range w.named() {
		if d.name == name {
			if *d.fd, err = strconv.Atoi(value); err == nil {
				unix.CloseOnExec(*d.fd)
			}
			return err
		}
	}
	switch name {
	case "dir":
		w.Dir, err = strconv.Unquote(value)
	case "pid":
		w.Pid, err = strconv.Atoi(value)
	case "started":
		w.Started, err = time.Parse(time.RFC3339Nano, value)
	case "age": // of this moment: the change of programs takes a few milliseconds
		var age int64
		age, err = strconv.ParseInt(value, 10, 64)
		w.Begin(w.Started, time.Duration(age))
	case "child":
		w.Child = true
	case "quit":
		w.Quit = true
	case "killed":
		w.killed = true
	case "closing":
		w.closing = true
	case "client":
		c := new(client)
		if _, err = fmt.Sscanf(value, "%d %d %q %q", &c.fd, &c.wants, &c.in, &c.out); err == nil {
			unix.CloseOnExec(c.fd)
			w.clients = append(w.clients, c)
		}
	case "relay":
		w.carried = append(w.carried, value)
	case "input":
		_, err = fmt.Sscanf(value, "%q", &w.input)
	case "partial":
		var stream int
		var text []byte
		if _, err = fmt.Sscanf(value, "%d %q", &stream, &text); err == nil && stream > 0 && stream < 3 {
			partial[stream] = text
		}
	case "ended":
		w.Ended = &container.Exit{Started: w.Started}
		var at string
		if _, err = fmt.Sscanf(value, "%d %t %t %s", &w.Ended.Code, &w.Ended.Unknown, &w.Ended.OOM, &at); err == nil {
			w.Ended.Finished, err = time.Parse(time.RFC3339Nano, at)
		}
	}
	return err
}
