// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// sendConsole returns what hands a terminal's other side to whoever listens on
// --console-socket; nil if that isn't given.
func (inv *invocation) sendConsole() func(*os.File) error {
	path := inv.get("console-socket")
	if path == "" {
		return nil
	}
	return func(console *os.File) error {
		if err := sendFile(path, console); err != nil {
			return fmt.Errorf("send terminal to %s: %w", path, err)
		}
		return nil
	}
}

// sendFile sends a terminal to a Unix socket.
func sendFile(path string, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(console uintptr) { sent = sendFD(path, "/dev/ptmx", int(console)) })
	if err != nil {
		return err
	}
	return sent
}

// sendFD sends a descriptor to a Unix socket. The message is a name for it,
// which receivers want to be there.
func sendFD(path, name string, what int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := connect(fd, path); err != nil {
		return err
	}
	return unix.Sendmsg(fd, []byte(name), unix.UnixRights(what), nil, 0)
}

// connect connects to a socket whose path may be longer than an address holds:
// by its folder's descriptor then.
func connect(fd int, path string) error {
	if len(path) < len(unix.RawSockaddrUnix{}.Path) {
		return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	f, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", f)})
}
