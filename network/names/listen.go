// SPDX-License-Identifier: Apache-2.0

package names

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/internal/netns"
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
// /proc/PID/ns/net. It needs CAP_SYS_ADMIN in
// the caller's user namespace and in that of the network namespace; who has it only as a child of
// the container's makes them there, by [ListenHere], and passes them on.
//
// A thread goes there and comes back: no thread ends, for the life of a child may hang on the one that made it.
func Listen(path string) (s Sockets, err error) {
	err = netns.In(path, func() (err error) {
		s, err = ListenHere()
		return err
	})
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
	// The loopback may be down still: the container's own program is to find us there from its first moment on.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
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
