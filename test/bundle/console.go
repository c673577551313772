// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Console is what an engine does at --console-socket: it takes a terminal's
// other side, and keeps what is shown.
type Console struct {
	Path string

	t      testing.TB
	socket int
	master *os.File
	mu     sync.Mutex
	text   strings.Builder
	seen   int
}

// NewConsole listens.
func NewConsole(t testing.TB) *Console {
	t.Helper()
	dir, err := os.MkdirTemp("", "tty") // t.TempDir may be longer than an address holds
	if err != nil {
		t.Fatal(err)
	}
	c := &Console{Path: filepath.Join(dir, "sock"), t: t}
	// Not package net: with cgo it would have this program, which plays in
	// containers, linked with a C library.
	c.socket, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(c.socket, &unix.SockaddrUnix{Name: c.Path})
	}
	if err == nil {
		err = unix.Listen(c.socket, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(c.socket)
		os.RemoveAll(dir)
		if c.master != nil {
			c.master.Close()
		}
	})
	return c
}

// Master is the terminal's other side, once it has been sent.
func (c *Console) Master() *os.File {
	c.t.Helper()
	if c.master == nil {
		fd, err := c.receive()
		if err != nil {
			c.t.Fatalf("receive a terminal at the console socket: %v", err)
		}
		_ = unix.SetNonblock(fd, true)
		c.master = os.NewFile(uintptr(fd), "console")
		go c.watch(c.master)
	}
	return c.master
}

func (c *Console) receive() (int, error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.socket), Events: unix.POLLIN}}, int(patience/2/time.Millisecond))
	if err != nil || n == 0 {
		return -1, errors.New("nobody has sent one")
	}
	conn, _, err := unix.Accept4(c.socket, unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(conn)
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err = unix.Recvmsg(conn, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("%d messages: %w", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	return fds[0], nil
}

func (c *Console) watch(f *os.File) {
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		c.mu.Lock()
		c.text.Write(b[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type is what a person types.
func (c *Console) Type(text string) {
	c.t.Helper()
	if _, err := c.Master().WriteString(text); err != nil {
		c.t.Fatal(err)
	}
}

// Resize changes the terminal's size.
func (c *Console) Resize(rows, cols uint16) {
	c.t.Helper()
	raw, err := c.Master().SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// Expect waits until the terminal shows a text, behind what was expected last.
func (c *Console) Expect(text string) {
	c.t.Helper()
	c.Master()
	for end := time.Now().Add(patience / 2); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		c.mu.Lock()
		i := strings.Index(c.text.String()[c.seen:], text)
		if i >= 0 {
			c.seen += i + len(text)
		}
		c.mu.Unlock()
		if i >= 0 {
			return
		}
	}
	c.t.Fatalf("the terminal never showed %q but %q", text, c.text.String())
}
