// SPDX-License-Identifier: Apache-2.0

package names

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Address is where containers ask: the same as Docker's.
const Address = "127.0.0.11"

// Sockets are where questions come in: bound, and in the container's network namespace.
type Sockets struct {
	UDP, TCP int // descriptors; both are closed on execve(2)
}

// Close closes them.
func (s Sockets) Close() { unix.Close(s.UDP); unix.Close(s.TCP) }

// Listen makes the sockets in the network namespace that a file stands for, such as
// /proc/PID/ns/net, whose loopback has to be up. It needs CAP_SYS_ADMIN in
// the caller's user namespace and in that of the network namespace; who has it only as a child of
// the container's makes them there, by [ListenHere], and passes them on.
//
// A thread goes there and comes back; the rest of the program stays where it is.
func Listen(netns string) (s Sockets, err error) {
	there, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("open network namespace %s: %w", netns, err)
	}
	defer unix.Close(there)
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("open network namespace: %w", err)
	}
	defer unix.Close(here)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(there, unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("enter network namespace %s: %w", netns, err)
			return
		}
		s, err = ListenHere()
		// A thread that can't come back stays locked, and ends with the goroutine. No
		// other should: the life of a child may hang on the thread that made it.
		if unix.Setns(here, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return s, err
}

// ListenHere makes the sockets in the calling thread's network namespace.
func ListenHere() (s Sockets, err error) {
	if s.UDP, err = listen(unix.SOCK_DGRAM); err != nil {
		return Sockets{}, fmt.Errorf("listen on %s:%d/udp: %w", Address, port, err)
	}
	if s.TCP, err = listen(unix.SOCK_STREAM); err != nil {
		unix.Close(s.UDP)
		return Sockets{}, fmt.Errorf("listen on %s:%d/tcp: %w", Address, port, err)
	}
	return s, nil
}

func listen(kind int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	// Of the container's neighbours nobody gets in, even if somebody sets route_localnet.
	// A kernel without it has that much less of a lock.
	if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"); err != nil && !errors.Is(err, unix.EPERM) {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, sockaddr(Address)); err != nil {
		return -1, err
	}
	if kind == unix.SOCK_STREAM {
		return fd, unix.Listen(fd, maxConns)
	}
	return fd, nil
}
