// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Pipes are a container's standard streams between it and a Watch: FIFOs in
// its folder.
//
// The container gets those that it writes to open for reading as well. So as
// long as it lives they have a reader, and a container whose monitor has been
// killed doesn't die of SIGPIPE: what it writes waits there for the next one.
type Pipes struct {
	dir    string
	theirs [3]*os.File
	ours   [3]int
}

// Handles are the names that the plan knows a Watch's streams by.
func Handles(terminal bool) [3]string {
	if terminal {
		return [3]string{}
	}
	return streamNames
}

// OpenPipes makes the streams, and opens both ends. Without input, the
// container reads an empty file. The folder is the container's, which nobody
// else can look into: so the container's own user, whoever that is, may open
// /dev/stdout anew.
func OpenPipes(dir string, input bool) (*Pipes, error) {
	p := &Pipes{dir: dir, ours: [3]int{-1, -1, -1}}
	for fd, name := range streamNames {
		if err := p.open(fd, dir+"/"+name, input); err != nil {
			p.Close()
			return nil, fmt.Errorf("open the container's %s: %w", name, err)
		}
	}
	return p, nil
}

func (p *Pipes) open(fd int, path string, input bool) (err error) {
	if fd == 0 && !input {
		p.theirs[0], err = os.Open(os.DevNull)
		return err
	}
	_ = os.Remove(path) // of the start before: somebody may still hold its other end
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	if err := os.Chmod(path, 0o666); err != nil { // whatever the umask is
		return err
	}
	both, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(both) // neither of the next two calls waits while this is open
	ours, theirs := unix.O_RDONLY, unix.O_RDWR
	if fd == 0 {
		ours, theirs = unix.O_WRONLY, unix.O_RDONLY
	}
	if p.ours[fd], err = unix.Open(path, ours|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	their, err := unix.Open(path, theirs|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	p.theirs[fd] = os.NewFile(uintptr(their), path)
	return nil
}

// Add adds the container's ends to the handles of a plan.
func (p *Pipes) Add(handles map[string]int) {
	for fd, f := range p.theirs {
		if f != nil {
			handles[streamNames[fd]] = int(f.Fd())
		}
	}
}

// Input is our end of the container's input, -1 if it has none.
func (p *Pipes) Input() int { return p.ours[0] }

// Give hands our ends to a watch, and closes the container's.
func (p *Pipes) Give(w *Watch) {
	w.In, w.Out, w.Err = p.ours[0], p.ours[1], p.ours[2]
	p.ours = [3]int{-1, -1, -1}
	p.Close()
}

// Close closes what has not been given away.
func (p *Pipes) Close() {
	for fd, f := range p.theirs {
		if f != nil {
			f.Close()
			p.theirs[fd] = nil
		}
		if p.ours[fd] >= 0 {
			unix.Close(p.ours[fd])
			p.ours[fd] = -1
		}
	}
}

// Reopen takes the pipes that a container writes to which has lost its monitor.
// Its input has come to an end, if nobody has kept it.
func (w *Watch) Reopen(dir string) {
	for fd, to := range [...]*int{1: &w.Out, 2: &w.Err} {
		if to == nil {
			continue
		}
		n, err := unix.Open(dir+"/"+streamNames[fd], unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			*to = n
		}
	}
}

// Socket is the name of the socket in the container's folder that clients connect to.
const Socket = "attach"

// Bind makes the socket for clients.
func (w *Watch) Bind(dir string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	path := dir + "/" + Socket
	_ = os.Remove(path)
	err = bySocketPath(path, func(short string) error {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: short}); err != nil {
			return err
		}
		return unix.Listen(fd, 64)
	})
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("make socket %s: %w", path, err)
	}
	w.Listen = fd
	return nil
}

// bySocketPath calls f with a name for a path that fits into a socket's
// address, which holds only 108 bytes: by its folder's descriptor if need be.
func bySocketPath(path string, f func(short string) error) error {
	if len(path) < 100 {
		return f(path)
	}
	i := len(path) - 1
	for path[i] != '/' {
		i--
	}
	dir, err := unix.Open(path[:i], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return f(fmt.Sprintf("/proc/self/fd/%d%s", dir, path[i:]))
}
