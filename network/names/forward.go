// SPDX-License-Identifier: Apache-2.0

package names

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A pending is a question on its way to the host's name servers.
//
// They are asked one after the other, each a part of the time that the client
// has patience for; one that was slow may still answer while the next is asked.
// The first good answer is the answer.
type pending struct {
	server *Server
	query  query
	msg    []byte // as it is sent, with an ID of our own
	from   unix.RawSockaddrInet4
	of     *conn // nil: from a datagram
	id     uint16

	up    upstream
	first int // the server that is asked first
	sent  int // how often one was asked
	gone  int // those that can't answer, a bit each
	tries []*try
	step  time.Duration
	next  time.Time // for the next one
	worst []byte    // what a server said that failed
	done  bool
}

// forward sends a question on its way. It reports false if there is no room.
func (s *Server) forward(q *query, msg []byte, from *unix.RawSockaddrInet4, of *conn) bool {
	for p := range s.pending { // asked again, with patience at its end
		if of == nil && p.of == nil && p.from == *from && p.query.id == q.id && bytes.Equal(p.query.question, q.question) {
			return true
		}
	}
	if len(s.pending) >= maxPending {
		return false
	}
	p := &pending{server: s, query: *q, msg: bytes.Clone(msg), of: of, id: s.id(), up: s.upstream()}
	if from != nil {
		p.from = *from
	}
	p.query.question = p.msg[headerSize : headerSize+len(q.question)]
	binary.BigEndian.PutUint16(p.msg, p.id)
	if p.up.rotate {
		s.turn++
		p.first = s.turn
	}
	// A client waits for as long as its own resolv.conf says, which is like ours.
	p.step = p.up.timeout * 9 / 10 / time.Duration(len(p.up.servers)*p.up.attempts)
	s.pending[p] = struct{}{}
	if of != nil {
		of.wait(p)
	}
	p.again(time.Now())
	return true
}

// upstream is who is asked.
func (s *Server) upstream() upstream {
	s.resolv.refresh()
	u := s.resolv.upstream
	for _, o := range s.config.Options {
		u.option(o)
	}
	if len(s.config.Servers) > 0 {
		u.servers = nil
		for _, a := range s.config.Servers {
			u.servers = append(u.servers, sockaddr(a))
		}
	}
	return u
}

// again asks the next server. If each has been asked as often as it may be, the
// answer is that there is none.
func (p *pending) again(now time.Time) {
	p.next = now.Add(p.step)
	for p.sent < len(p.up.servers)*p.up.attempts {
		at := (p.first + p.sent) % len(p.up.servers)
		p.sent++
		if p.gone&(1<<at) == 0 && p.ask(at) {
			return
		}
		p.gone |= 1 << at
	}
	answer := p.worst
	if answer == nil {
		answer = p.query.reply(nil, codeFailure, nil, 0, maxMessage)
	}
	p.deliver(answer)
}

// ask sends the question to a server, over the socket that it was asked by before,
// if there is one. Each has its own, and so a port that nobody can foresee.
func (p *pending) ask(at int) bool {
	tcp := p.of != nil || p.up.tcp
	for _, t := range p.tries {
		if t.at == at {
			if !tcp {
				_ = unix.Send(t.fd, p.msg, unix.MSG_NOSIGNAL) // what is wrong with it is heard by ready
			}
			return true
		}
	}
	kind := unix.SOCK_DGRAM
	if tcp {
		kind = unix.SOCK_STREAM
	}
	family := unix.AF_INET
	if _, ok := p.up.servers[at].(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	t := &try{pending: p, fd: fd, at: at, tcp: tcp}
	err = unix.Connect(fd, p.up.servers[at])
	if err == nil && !tcp {
		err = unix.Send(fd, p.msg, unix.MSG_NOSIGNAL)
	}
	events := uint32(unix.EPOLLIN)
	if tcp {
		t.out = append(binary.BigEndian.AppendUint16(nil, uint16(len(p.msg))), p.msg...)
		events = unix.EPOLLOUT
	}
	if err == nil || errors.Is(err, unix.EINPROGRESS) {
		err = p.server.watch(fd, events, t)
	}
	if err != nil {
		unix.Close(fd)
		return false
	}
	p.tries = append(p.tries, t)
	return true
}

// deliver gives the client its answer, and ends the matter.
func (p *pending) deliver(answer []byte) {
	p.close()
	if len(answer) > p.query.size && p.of == nil {
		answer = p.query.cut(answer)
	}
	binary.BigEndian.PutUint16(answer, p.query.id)
	p.server.send(answer, &p.from, p.of)
}

// close closes the sockets.
func (p *pending) close() {
	p.done = true
	for _, t := range p.tries {
		p.server.forget(t.fd)
	}
	p.tries = nil
	delete(p.server.pending, p)
}

// A try is a server that was asked.
type try struct {
	*pending
	fd, at  int
	tcp     bool
	out, in []byte // of TCP: what is still to be sent, and what has come
}

func (t *try) ready(uint32) {
	if t.tcp {
		t.stream()
		return
	}
	for range batch { // of what is no answer
		n, err := unix.Read(t.fd, t.server.in)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return
		case err != nil: // nobody is there
			t.lost(nil)
			return
		case answers(t.server.in[:n], t.id, t.query.question):
			t.heard(t.server.in[:n])
			return
		}
	}
}

// heard looks at an answer: what a server can't say, another one may.
func (t *try) heard(answer []byte) {
	if failed(answer) {
		t.lost(bytes.Clone(answer))
		return
	}
	t.deliver(answer)
}

// lost gives up a server. If no other is being waited for, the next has its turn.
func (t *try) lost(said []byte) {
	p := t.pending
	p.gone |= 1 << t.at
	if said != nil {
		p.worst = said
	}
	p.server.forget(t.fd)
	for i := range p.tries {
		if p.tries[i] == t {
			p.tries = append(p.tries[:i], p.tries[i+1:]...)
			break
		}
	}
	if len(p.tries) == 0 {
		p.again(time.Now())
	}
}

// stream goes on with a question by TCP.
func (t *try) stream() {
	if len(t.out) > 0 {
		n, err := unix.SendmsgN(t.fd, t.out, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			t.lost(nil)
			return
		}
		if t.out = t.out[max(n, 0):]; len(t.out) > 0 {
			return
		}
		if t.server.watch(t.fd, unix.EPOLLIN, t) != nil {
			t.lost(nil)
		}
		return
	}
	n, err := unix.Read(t.fd, t.server.in)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		t.lost(nil)
		return
	}
	t.in = append(t.in, t.server.in[:n]...)
	msg, rest := message(t.in)
	switch {
	case msg == nil && len(t.in) <= maxMessage+2:
	case len(rest) == 0 && answers(msg, t.id, t.query.question):
		t.heard(msg)
	default: // whoever that is, it doesn't speak DNS
		t.lost(nil)
	}
}

// message takes the first message out of a stream; nil if it is not there as a whole.
func message(b []byte) (msg, rest []byte) {
	if len(b) < 2 {
		return nil, b
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, b
	}
	return b[2 : 2+n], b[2+n:]
}
