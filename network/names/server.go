// SPDX-License-Identifier: Apache-2.0

package names

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Limits on what a container can have us do at once.
const (
	maxPending = 128 // questions on their way to the host's name servers
	maxConns   = 32  // of TCP
	batch      = 64  // datagrams, before others have their turn
	maxMessage = 1<<16 - 1
	maxQuery   = 4096 // of TCP
)

// Config says whose questions are answered.
type Config struct {
	Dir     string   // the folder of all networks: DIR/network
	ID      string   // the container
	Resolv  string   // whose name servers are asked; "" is /etc/resolv.conf
	Servers []string // --dns: asked instead of those of Resolv
	Options []string // --dns-option: besides those of Resolv
}

// A Server answers one container's questions. It is for one goroutine.
type Server struct {
	config  Config
	sockets Sockets
	table   table
	resolv  resolvFile
	epoll   int
	watched map[int32]handler
	pending map[*pending]struct{}
	conns   map[*conn]struct{}
	turn    int
	random  []byte
	in, out []byte
	client  unix.RawSockaddrInet4 // of the datagram at hand
	events  [32]unix.EpollEvent
}

// A handler is what cares for a descriptor.
type handler interface{ ready(events uint32) }

// New makes a server. The sockets are its own from then on.
func New(c Config, sockets Sockets) (*Server, error) {
	if c.Resolv == "" {
		c.Resolv = "/etc/resolv.conf"
	}
	s := &Server{
		config: c, sockets: sockets,
		table:   table{dir: c.Dir, id: c.ID},
		resolv:  resolvFile{path: c.Resolv},
		watched: make(map[int32]handler),
		pending: make(map[*pending]struct{}),
		conns:   make(map[*conn]struct{}),
		in:      make([]byte, maxMessage),
	}
	for _, a := range c.Servers {
		if sockaddr(a) == nil {
			return nil, fmt.Errorf("name server %q: not an IP address", a)
		}
	}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if err = s.watch(sockets.UDP, unix.EPOLLIN, datagrams{s}); err == nil {
		err = s.watch(sockets.TCP, unix.EPOLLIN, listener{s})
	}
	if err != nil {
		unix.Close(s.epoll)
		return nil, fmt.Errorf("watch sockets: %w", err)
	}
	return s, nil
}

// Fd is a descriptor that can be read (poll(2)) when there is work.
func (s *Server) Fd() int { return s.epoll }

// Work does what there is to do, without waiting. Call it when Fd can be read, and when as much time
// as it returns has passed; negative: nothing happens by itself.
func (s *Server) Work() (time.Duration, error) {
	n, err := unix.EpollWait(s.epoll, s.events[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return -1, fmt.Errorf("wait for questions: %w", err)
	}
	for _, e := range s.events[:max(n, 0)] {
		if h := s.watched[e.Fd]; h != nil { // one before it may have closed it
			h.ready(e.Events)
		}
	}
	return s.expire(time.Now()), nil
}

// Serve answers until the descriptor stop can be read, such as the pidfd of a
// process that has ended; -1: for ever. It closes the server.
func (s *Server) Serve(stop int) error {
	defer s.Close()
	fds := make([]unix.PollFd, 2)
	for {
		wait, err := s.Work()
		if err != nil {
			return err
		}
		ms := -1
		if wait >= 0 {
			ms = int((wait + time.Millisecond - 1) / time.Millisecond)
		}
		fds[0] = unix.PollFd{Fd: int32(s.epoll), Events: unix.POLLIN}
		fds[1] = unix.PollFd{Fd: int32(stop), Events: unix.POLLIN}
		if _, err := unix.Poll(fds, ms); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for questions: %w", err)
		}
		if fds[1].Revents != 0 {
			return nil
		}
	}
}

// Close closes all that the server has open.
func (s *Server) Close() {
	for p := range s.pending {
		p.close()
	}
	for c := range s.conns {
		c.close()
	}
	s.sockets.Close()
	unix.Close(s.epoll)
}

func (s *Server) watch(fd int, events uint32, h handler) error {
	op := unix.EPOLL_CTL_ADD
	if s.watched[int32(fd)] != nil {
		op = unix.EPOLL_CTL_MOD
	}
	err := unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err == nil {
		s.watched[int32(fd)] = h
	}
	return err
}

// forget closes a descriptor.
func (s *Server) forget(fd int) {
	delete(s.watched, int32(fd))
	unix.Close(fd)
}

// expire ends what has waited long enough, and returns how long the next has left.
func (s *Server) expire(now time.Time) time.Duration {
	next := time.Duration(-1)
	soon := func(t time.Time) {
		if d := max(t.Sub(now), 0); next < 0 || d < next {
			next = d
		}
	}
	for p := range s.pending {
		if !now.Before(p.next) {
			p.again(now)
		}
		if !p.done {
			soon(p.next)
		}
	}
	for c := range s.conns {
		if c.busy {
			continue // the question's own time counts
		}
		if !now.Before(c.end) {
			c.close()
			continue
		}
		soon(c.end)
	}
	return next
}

// datagrams is the UDP socket.
type datagrams struct{ *Server }

func (s datagrams) ready(uint32) {
	for range batch {
		n, err := recvfrom(s.sockets.UDP, s.in, &s.client)
		if err != nil {
			return
		}
		if n > maxQuery {
			n = 0 // no question is that long
		}
		s.handle(s.in[:n], &s.client, nil)
	}
}

// handle answers a message, or sends it on its way. It is from a datagram's sender, or
// of a connection.
func (s *Server) handle(msg []byte, from *unix.RawSockaddrInet4, of *conn) {
	q, code, isQuery := parseQuery(msg)
	if !isQuery {
		if of != nil {
			of.close()
		}
		return
	}
	size := q.size
	if of != nil {
		size = maxMessage
	}
	if code == codeOK {
		s.table.refresh()
		records, known := s.table.answer(&q)
		switch {
		case known:
			s.turn++
			s.out = q.reply(s.out[:0], codeOK, records, s.turn, size)
			s.send(s.out, from, of)
			return
		case s.table.outward():
			if s.forward(&q, msg, from, of) {
				return
			}
			code = codeFailure
		default:
			code = codeNoName
		}
	}
	s.out = q.reply(s.out[:0], code, nil, 0, size)
	s.send(s.out, from, of)
}

// send hands an answer over. A client that doesn't take it has to ask again.
func (s *Server) send(answer []byte, to *unix.RawSockaddrInet4, of *conn) {
	if of != nil {
		of.answer(answer)
		return
	}
	_ = sendto(s.sockets.UDP, answer, to)
}

// id is a number that nobody can foresee.
func (s *Server) id() uint16 {
	if len(s.random) < 2 {
		s.random = make([]byte, 128)
		_, _ = unix.Getrandom(s.random, 0) // fails only for a bad address
	}
	n := uint16(s.random[0])<<8 | uint16(s.random[1])
	s.random = s.random[2:]
	return n
}
