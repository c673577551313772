// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// File is the name of the file that says what leads where.
const File = "relays"

// A Way leads from a port of the host to one of the container.
type Way struct {
	Proto    string // tcp, udp
	From, To End
}

// An End is an address and a port. The type of package netip would make a program that has little
// a fortieth larger.
type End struct {
	IP   string // 4 or 16 bytes
	Port uint16
}

// wayLine is a way in the file, with addresses in hexadecimal digits.
const wayLine = "%s %x %d %x %d"

// String is a line of the file.
func (w Way) String() string {
	return fmt.Sprintf(wayLine, w.Proto, w.From.IP, w.From.Port, w.To.IP, w.To.Port)
}

// Text is the file that says so.
func Text(ways []Way) string {
	var b strings.Builder
	for _, w := range ways {
		b.WriteString(w.String() + "\n")
	}
	return b.String()
}

// readWays reads the file. One that is not there says nothing.
func readWays(file string) (ways []Way, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(data)) {
		var w Way
		if _, err := fmt.Sscanf(line, wayLine, &w.Proto, &w.From.IP, &w.From.Port, &w.To.IP, &w.To.Port); err != nil {
			return nil, fmt.Errorf("read %s: line %q: %w", file, line, err)
		}
		ways = append(ways, w)
	}
	return ways, err
}

// A Socket is bound, and has no peer.
type Socket struct {
	FD    int
	Proto int // the protocol's number
	At    End
}

// Bound looks at what a descriptor of this process is bound to; false, if it is no
// such socket.
func Bound(fd int) (s Socket, ok bool) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return s, false
	}
	s.FD, s.At = fd, address(name)
	if _, err := unix.Getpeername(fd); err == nil || s.At.Port == 0 {
		return s, false
	}
	s.Proto, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return s, err == nil
}

// Sockets are all such of this process.
func Sockets() (list []Socket, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := Bound(fd); ok {
			list = append(list, s)
		}
	}
	return list, nil
}

// address converts a socket's; zero, if it is of another family.
func address(name unix.Sockaddr) End {
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return End{string(a.Addr[:]), uint16(a.Port)}
	case *unix.SockaddrInet6:
		return End{string(a.Addr[:]), uint16(a.Port)}
	}
	return End{}
}

// dial makes a socket that is on its way to an address, or there: to a container of this machine it mostly is, when the
// call returns that began it, though that says otherwise. A second one knows.
func dial(kind int, to End) (fd int, there bool, err error) {
	domain := unix.AF_INET6
	if len(to.IP) == 4 {
		domain = unix.AF_INET
	}
	fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false, err
	}
	err = connect(fd, to)
	if err == unix.EINPROGRESS {
		err = connect(fd, to)
	}
	if err != nil && err != unix.EALREADY {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, err == nil, nil
}
