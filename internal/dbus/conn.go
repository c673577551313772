// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed: the peer has closed the connection.
var ErrClosed = errors.New("the other side has closed the connection")

// An Error is a peer's answer that a call failed.
type Error struct {
	Name string // "org.freedesktop.systemd1.UnitExists"
	Text string // for people; may be empty
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Text + " (" + e.Name + ")"
}

// Is the name of an error reply.
func Is(err error, name string) bool {
	var e *Error
	return errors.As(err, &e) && e.Name == name
}

// A Conn is a connection to a bus, or to a program directly.
type Conn struct {
	fd       int
	serial   uint32
	deadline time.Time
	rest     []byte     // read, but not used yet
	signals  []*Message // came while a reply was awaited
}

// Dial connects to a Unix socket; a path with "@" in front is an abstract one.
// A bus wants to be greeted (Hello) before anything else, a program at the
// other end of a private socket does not. All that is done with the connection
// has to be done within patience; then it is unix.ETIMEDOUT.
func Dial(path string, hello bool, patience time.Duration) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	c := &Conn{fd: fd, deadline: time.Now().Add(patience)}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = c.authenticate()
	}
	if err == nil && hello {
		_, err = c.Call(Bus, "Hello", "")
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() { unix.Close(c.fd) }

// Peer is who listens at the other end, as this process numbers it: a PID of 0
// is a process of a PID namespace that can't be seen from here.
func (c *Conn) Peer() (*unix.Ucred, error) {
	return unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
}

// authenticate says nothing of who we are: the peer is to take the socket's
// word for it (mechanism EXTERNAL, without an identity). A number would be
// wrong in a user namespace, where we don't know our own.
//
// All is said at once, as sd-bus does it, and nothing more before the answer:
// systemd 252 lets a call lie that it reads together with BEGIN, until it reads
// something else.
func (c *Conn) authenticate() error {
	if err := c.write([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")); err != nil {
		return err
	}
	first, err := c.line() // to AUTH: DATA, what else we have to say for it; some are content
	second := first
	if err == nil && (first == "DATA" || strings.HasPrefix(first, "OK")) {
		second, err = c.line() // to DATA
	}
	switch {
	case err != nil:
		return fmt.Errorf("authenticate: %w", err)
	case strings.HasPrefix(first, "OK") || strings.HasPrefix(second, "OK"):
		return nil
	}
	return fmt.Errorf("authenticate: the answer is %.100q: %w", second, unix.EACCES)
}

// line reads a line of the authentication.
func (c *Conn) line() (string, error) {
	for {
		if i := bytes.Index(c.rest, []byte("\r\n")); i >= 0 {
			s := string(c.rest[:i])
			c.rest = c.rest[i+2:]
			return s, nil
		}
		if len(c.rest) > 16<<10 {
			return "", errors.New("a line without an end")
		}
		if err := c.read(); err != nil {
			return "", err
		}
	}
}

// An Object is what a call goes to: an interface of an object of a peer.
type Object struct{ Destination, Path, Interface string }

// Bus is the bus itself.
var Bus = Object{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"}

// Call calls a method and waits for what it returns; a refusal is an *Error.
func (c *Conn) Call(o Object, member, sig string, args ...any) ([]any, error) {
	c.serial++
	m := &Message{Type: MethodCall, Serial: c.serial, Destination: o.Destination, Path: o.Path, Interface: o.Interface,
		Member: member, Sig: sig, Body: args}
	b, err := m.Encode()
	if err == nil {
		err = c.write(b)
	}
	for err == nil {
		var r *Message
		if r, err = c.receive(); err != nil {
			break
		}
		switch {
		case r.Type == Signal:
			c.signals = append(c.signals, r)
		case r.ReplySerial != c.serial:
		case r.Type == ErrorReply:
			e := &Error{Name: r.ErrorName}
			if len(r.Body) > 0 {
				e.Text, _ = r.Body[0].(string)
			}
			err = e
		case r.Type == MethodReturn:
			return r.Body, nil
		}
	}
	return nil, fmt.Errorf("call %s: %w", member, err)
}

// Wait waits for a signal that is wanted. Those that have come before are
// looked at first; the others are dropped.
func (c *Conn) Wait(wanted func(*Message) bool) (*Message, error) {
	for {
		for len(c.signals) > 0 {
			m := c.signals[0]
			c.signals = c.signals[1:]
			if wanted(m) {
				return m, nil
			}
		}
		m, err := c.receive()
		if err != nil {
			return nil, err
		}
		if m.Type == Signal {
			c.signals = append(c.signals, m)
		}
	}
}

// receive reads the next message.
func (c *Conn) receive() (*Message, error) {
	need := headSize
	for {
		if len(c.rest) >= headSize {
			n, err := size(c.rest)
			if err != nil {
				return nil, err
			}
			need = n
		}
		if len(c.rest) >= need {
			b := c.rest[:need]
			c.rest = c.rest[need:]
			return DecodeMessage(b)
		}
		if err := c.read(); err != nil {
			return nil, err
		}
	}
}

// read reads what there is.
func (c *Conn) read() error {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(c.fd, buf)
		switch {
		case n > 0:
			c.rest = append(c.rest, buf[:n]...)
			return nil
		case err == nil || err == unix.ECONNRESET:
			return ErrClosed
		case err == unix.EAGAIN:
			err = c.poll(unix.POLLIN)
		case err == unix.EINTR:
			err = nil
		}
		if err != nil {
			return err
		}
	}
}

// write writes all. A peer that is gone is an error, not a signal.
func (c *Conn) write(b []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			b = b[n:]
		case err == unix.EPIPE || err == unix.ECONNRESET:
			return ErrClosed
		case err == unix.EAGAIN:
			err = c.poll(unix.POLLOUT)
		case err == unix.EINTR:
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// poll waits until the socket is ready, or the deadline has passed.
func (c *Conn) poll(events int16) error {
	left := time.Until(c.deadline)
	if left <= 0 {
		return unix.ETIMEDOUT
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, int(left/time.Millisecond)+1)
	if err == unix.EINTR {
		return nil
	}
	return err
}
