// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/ocijson"
)

// Whoever starts us with NOTIFY_SOCKET wants to hear when the container is
// ready (sd_notify(3)): systemd, for a unit of Type=notify. The container gets
// a socket of its own, in a folder that it can't write to, and hears of it by its
// environment. Of what it says there only that it is ready is passed on, once, by
// the command that has started it, and which waits for that: as runc does it.
// The container never gets the caller's own socket: with that it could say that
// another process is the unit's, or stop its watchdog.

// notifyInside is where the container finds its socket, as with runc.
const notifyInside = "/run/notify"

// barrierPatience is how long the caller may take to say that it has read all,
// in milliseconds.
const barrierPatience = 30_000

// mountNotify gives a container that is to be made a place for its socket.
func mountNotify(c *container.Container, b *bundle) error {
	if os.Getenv("NOTIFY_SOCKET") == "" || b.spec.Process == nil {
		return nil
	}
	dir := c.Path("notify")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{
		Destination: notifyInside, Source: dir, Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"},
	})
	b.spec.Process.Env = append(b.spec.Process.Env, "NOTIFY_SOCKET="+notifyInside+"/notify.sock")
	b.data = ocijson.AppendSpec(nil, b.spec) // start goes by the copy
	return nil
}

// A notice is what listens for a container to be ready; nil if nobody asks.
type notice struct {
	fd   int    // the container's socket
	host string // its address is the caller's
}

// openNotify opens the socket, before the container's program runs.
func openNotify(c *container.Container) (*notice, error) {
	host := os.Getenv("NOTIFY_SOCKET")
	if host == "" || unix.Access(c.Path("notify"), unix.F_OK) != nil { // or it was made without
		return nil, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open notify socket: %w", err)
	}
	path := c.Path("notify/notify.sock")
	if err = bind(fd, c.Path("notify"), "notify.sock"); err == nil {
		err = unix.Chmod(path, 0o777) // for whichever user the program is
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open notify socket %s: %w", path, err)
	}
	return &notice{fd, host}, nil
}

// bind gives a socket its name in a folder, whose path may be longer than an
// address holds.
func bind(fd int, dir, name string) error {
	f, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", f, name)})
}

// pass waits until the container is ready, or its first process has ended, and
// tells the caller the former, with the process that it is to watch from then
// on. The container runs, so what fails is only said.
func (inv *invocation) pass(n *notice, pidfd, mainPID int) {
	if n == nil {
		return
	}
	if err := n.pass(pidfd, mainPID); err != nil {
		inv.warn("%v", err)
	}
	unix.Close(n.fd)
}

func (n *notice) pass(pidfd, mainPID int) error {
	for {
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("wait until the container is ready: %w", err)
		}
		switch {
		case fds[0].Revents != 0:
			var said [4096]byte
			got, _, err := unix.Recvfrom(n.fd, said[:], 0)
			if err == nil && isReady(said[:got]) {
				return n.tell(mainPID)
			}
		case fds[1].Revents != 0:
			return nil
		}
	}
}

// isReady reports whether a message has the line that says so.
func isReady(message []byte) bool {
	for line := range bytes.SplitSeq(message, []byte{'\n'}) {
		if string(line) == "READY=1" {
			return true
		}
	}
	return false
}

// tell tells the caller, and waits until it has heard (sd_notify_barrier(3)):
// it looks up who has sent a message, and finds nobody if we have ended by then.
func (n *notice) tell(mainPID int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: n.host}); err != nil {
		return fmt.Errorf("tell %s that the container is ready: %w", n.host, err)
	}
	for _, m := range [...]string{"READY=1\n", "MAINPID=" + strconv.Itoa(mainPID) + "\n"} {
		if _, err := unix.Write(fd, []byte(m)); err != nil {
			return fmt.Errorf("tell %s that the container is ready: %w", n.host, err)
		}
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	err = unix.Sendmsg(fd, []byte("BARRIER=1"), unix.UnixRights(pipe[1]), nil, 0)
	unix.Close(pipe[1])
	if err == nil {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pipe[0])}}, barrierPatience) // its end is closed when all has been read
	}
	return nil
}
