// SPDX-License-Identifier: Apache-2.0

package names

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// idle is how long a connection may do nothing.
const idle = 10 * time.Second

// listener is the TCP socket.
type listener struct{ *Server }

func (s listener) ready(uint32) {
	for range batch {
		fd, _, err := unix.Accept4(s.sockets.TCP, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		c := &conn{server: s.Server, fd: fd, end: time.Now().Add(idle)}
		if len(s.conns) >= maxConns || s.watch(fd, unix.EPOLLIN, c) != nil {
			unix.Close(fd)
			continue
		}
		s.conns[c] = struct{}{}
	}
}

// A conn is a client's connection. Its questions are answered one by one: the
// next is looked at when the answer before it has been taken.
type conn struct {
	server *Server
	fd     int
	in     []byte
	out    []byte
	busy   bool // with a question
	waits  *pending
	closed bool
	end    time.Time // to be closed
}

func (c *conn) ready(events uint32) {
	switch {
	case events&(unix.EPOLLHUP|unix.EPOLLERR) != 0:
		c.close()
	case len(c.out) > 0:
		c.flush()
	case !c.busy:
		n, err := unix.Read(c.fd, c.server.in[:maxQuery+2])
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return
		}
		if err != nil || n == 0 {
			c.close()
			return
		}
		c.in = append(c.in, c.server.in[:n]...)
		c.questions()
	}
}

// questions answers what has come as a whole.
func (c *conn) questions() {
	for !c.closed && !c.busy && len(c.out) == 0 {
		msg, rest := message(c.in)
		if msg == nil {
			if len(c.in) > maxQuery+2 {
				c.close()
			}
			break
		}
		c.in = rest
		c.end = time.Now().Add(idle)
		c.busy = true
		c.server.handle(msg, nil, c)
	}
	c.listen()
}

// wait says which question the connection is busy with.
func (c *conn) wait(p *pending) { c.waits = p }

// listen waits for what the connection needs next.
func (c *conn) listen() {
	if c.closed {
		return
	}
	events := uint32(unix.EPOLLIN)
	if len(c.out) > 0 {
		events = unix.EPOLLOUT
	} else if c.busy {
		events = 0
	}
	if c.server.watch(c.fd, events, c) != nil {
		c.close()
	}
}

// answer sends a message, and goes on with what has come meanwhile.
func (c *conn) answer(msg []byte) {
	if c.closed {
		return
	}
	late := c.waits != nil
	c.out = append(binary.BigEndian.AppendUint16(c.out, uint16(len(msg))), msg...)
	c.busy, c.waits = false, nil
	c.end = time.Now().Add(idle)
	if c.write() && late { // else questions is our caller
		c.questions()
	}
}

// flush goes on sending.
func (c *conn) flush() {
	if c.write() {
		c.questions()
	}
}

func (c *conn) write() bool {
	n, err := unix.SendmsgN(c.fd, c.out, nil, nil, unix.MSG_NOSIGNAL)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		c.close()
		return false
	}
	c.out = c.out[max(n, 0):]
	if len(c.out) == 0 {
		c.out = nil
	}
	c.listen()
	return !c.closed && len(c.out) == 0
}

func (c *conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.server.conns, c)
	c.server.forget(c.fd)
	if c.waits != nil {
		c.waits.close()
	}
}
