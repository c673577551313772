// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// listener is a socket that connections come to.
type listener struct {
	*Server
	way Way
	fd  int
}

func (l *listener) ready(int, uint32) {
	for range batch {
		if len(l.conns) >= maxConns {
			l.pause()
			return
		}
		fd, err := accept(l.fd)
		switch err {
		case nil:
			l.connect(fd)
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.pause()
			return
		}
	}
}

// connect begins to connect a client. One that can't be is refused: it has
// no better answer to expect.
func (l *listener) connect(client int) {
	to, ok := l.target(l.way)
	if !ok {
		reset(client)
		return
	}
	fd, there, err := dial(unix.SOCK_STREAM, to)
	if err != nil {
		reset(client)
		return
	}
	thoughtful(fd) // as the client's end is, from the listener
	c := &conn{server: l.Server, up: stream{from: client, to: fd}, down: stream{from: fd, to: client}, dialing: !there}
	l.conns[c] = struct{}{}
	if there && c.up.move(l.buf) != nil {
		c.abort()
		return
	}
	c.watch()
}

// thoughtful sets what a connection is carried with: who writes has thought of when, and nobody else notices who has gone.
// Those that a listener accepts have it from there.
func thoughtful(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// reset closes a connection so that its other end sees an error, and no end of what was sent.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// A conn is a client and the container.
type conn struct {
	server   *Server
	up, down stream // to the container, and from it
	dialing  bool   // the container has not answered yet
	asked    [2]uint32
}

// A stream is one direction.
type stream struct {
	from, to int
	pipe     [2]int // made when there is much to carry
	held     int    // bytes that are in it
	end      bool   // no more will come
}

const (
	little = 1 << 14 // bytes: what a buffer holds
	piece  = 1 << 16 // what a pipe holds, and is moved at once
)

// move carries what there is, until one of the ends has to be waited for. What is little goes by a buffer: to make and
// close a pipe takes longer than two calls. What is more, and what isn't taken at once, is left in the pipe.
func (d *stream) move(buf []byte) error {
	if d.pipe[1] == 0 && !d.end {
		n, err := read(d.from, buf[:little])
		if err != nil {
			return unready(err)
		}
		if n == 0 {
			return d.finish()
		}
		sent, err := write(d.to, buf[:n])
		if err != nil && unready(err) != nil {
			return err
		}
		if sent = max(sent, 0); sent == n && n < little {
			return nil
		}
		if err := unix.Pipe2(d.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return err
		}
		if sent < n {
			if d.held, err = write(d.pipe[1], buf[sent:n]); err != nil { // there is room for all
				return err
			}
		}
	}
	return d.splice()
}

func (d *stream) splice() error {
	const turns = 16 // then others have theirs
	for range turns {
		for d.held > 0 {
			n, err := unix.Splice(d.pipe[0], nil, d.to, nil, d.held, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			if err != nil {
				return unready(err)
			}
			d.held -= int(n)
		}
		if d.end {
			return nil
		}
		n, err := unix.Splice(d.from, nil, d.pipe[1], nil, piece, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != nil {
			return unready(err)
		}
		if d.held = int(n); n == 0 {
			return d.finish()
		}
	}
	return nil
}

// finish passes the end on.
func (d *stream) finish() error {
	d.end = true
	return unix.Shutdown(d.to, unix.SHUT_WR)
}

// unready is no error: there is something to wait for.
func unready(err error) error {
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	return err
}

// ready moves the streams that an event is about: it comes from one, and goes by the other. At first, and if something
// is wrong, both may have something to say.
func (c *conn) ready(fd int, events uint32) {
	from, to := &c.up, &c.down
	if fd != c.up.from {
		from, to = to, from
	}
	both := c.dialing || events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0
	c.dialing = false
	for _, m := range [...]struct {
		stream *stream
		events uint32
	}{{from, unix.EPOLLIN}, {to, unix.EPOLLOUT}} {
		if (both || events&m.events != 0) && m.stream.move(c.server.buf) != nil {
			c.abort()
			return
		}
	}
	if c.up.over() && c.down.over() {
		c.close()
		return
	}
	c.watch()
}

// over reports whether the end has been passed on.
func (d *stream) over() bool { return d.end && d.held == 0 }

// watch waits for what each direction needs next: its source, or, while the pipe
// holds something, its destination.
func (c *conn) watch() {
	var client, container uint32
	wait := func(d *stream, from, to *uint32) {
		if d.held > 0 {
			*to |= unix.EPOLLOUT
		} else if !d.end {
			*from |= unix.EPOLLIN
		}
	}
	if c.dialing {
		container = unix.EPOLLOUT
	} else {
		wait(&c.up, &client, &container)
		wait(&c.down, &container, &client)
	}
	for i, w := range [...]struct {
		fd     int
		events uint32
	}{{c.up.from, client}, {c.down.from, container}} {
		if c.server.watch(w.fd, c.asked[i], w.events, c) != nil {
			c.abort()
			return
		}
		c.asked[i] = w.events
	}
}

func (c *conn) abort() { c.end(reset) }

func (c *conn) close() { c.end(func(fd int) { unix.Close(fd) }) }

func (c *conn) end(finish func(fd int)) {
	delete(c.server.conns, c)
	for _, d := range [...]*stream{&c.up, &c.down} {
		delete(c.server.watched, int32(d.from))
		finish(d.from)
		if d.pipe[1] != 0 {
			unix.Close(d.pipe[0])
			unix.Close(d.pipe[1])
		}
	}
}

// connLine is a connection as it is packed.
const connLine = "conn %d %d %t %d %d %d %t %d %d %d %t"

func (c *conn) pack() string {
	return fmt.Sprintf(connLine, c.up.from, c.down.from, c.dialing, c.up.pipe[0], c.up.pipe[1], c.up.held, c.up.end, c.down.pipe[0], c.down.pipe[1], c.down.held, c.down.end)
}

func (s *Server) unpackConn(line string) error {
	c := &conn{server: s}
	u, d := &c.up, &c.down
	if _, err := fmt.Sscanf(line, connLine, &u.from, &d.from, &c.dialing, &u.pipe[0], &u.pipe[1], &u.held, &u.end, &d.pipe[0], &d.pipe[1], &d.held, &d.end); err != nil {
		return err
	}
	u.to, d.to = d.from, u.from
	s.conns[c] = struct{}{}
	c.watch()
	return nil
}
