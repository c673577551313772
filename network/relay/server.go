// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits on what clients can have us do at once.
const (
	maxConns = 1000 // of TCP, with up to six descriptors each
	maxFlows = 500  // clients of UDP
	batch    = 64   // connections or datagrams, before others have their turn
	rounds   = 64   // of looking who is ready, before the monitor's other work has its turn

	attention = 2 * time.Millisecond // how long it is waited for the next piece

	rest = 100 * time.Millisecond // for a listener, when there is no room
)

// A Server carries one container's ports. It is for one goroutine.
type Server struct {
	file      string
	ways      []Way // as the file was in this version
	version   version
	epoll     int
	watched   map[int32]handler
	listeners []*listener
	conns     map[*conn]struct{}
	flows     map[client]*flow
	again     time.Time // when connections are taken again; zero for now
	buf       []byte    // a datagram, or a little of a connection
	events    [32]unix.EpollEvent
}

// A handler is what cares for a descriptor.
type handler interface{ ready(fd int, events uint32) }

// New makes a server for the ports that a file names, of which this process holds the sockets. With what
// was packed, it goes on with what another server had begun. There is none, and
// no error, if there is nothing to carry.
func New(file string, packed []string) (*Server, error) {
	ways, err := readWays(file)
	if err != nil || len(ways)+len(packed) == 0 {
		return nil, err
	}
	s := &Server{file: file, watched: make(map[int32]handler), conns: make(map[*conn]struct{}), flows: make(map[client]*flow)}
	s.buf = make([]byte, little)
	if slices.ContainsFunc(ways, func(w Way) bool { return w.Proto == "udp" }) {
		s.buf = make([]byte, 1<<16)
	}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	for _, line := range packed {
		if err = s.unpack(line); err != nil {
			break
		}
	}
	taken := s.Descriptors()
	for _, fd := range taken {
		unix.CloseOnExec(fd)
	}
	if err == nil {
		err = s.open(ways, taken)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open listens on the sockets that the ways begin at. One that is not there is somebody else's
// now: the process that had it was killed. Those that are taken are connections, even if they have no
// peer any more.
func (s *Server) open(ways []Way, taken []int) error {
	sockets, err := Sockets()
	if err != nil {
		return err
	}
	for _, w := range ways {
		for _, b := range sockets {
			if w.From != b.At || w.Proto != names[b.Proto] || slices.Contains(taken, b.FD) {
				continue
			}
			if err := s.listen(w, b.FD); err != nil {
				return fmt.Errorf("listen on %d/%s: %w", w.From.Port, w.Proto, err)
			}
		}
	}
	return nil
}

// names are the protocols that are carried, by their numbers.
var names = map[int]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}

func (s *Server) listen(w Way, fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if w.Proto == "udp" {
		// An answer has to come from the address that was asked.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			return err
		}
		return s.watch(fd, 0, unix.EPOLLIN, &datagrams{s, w, fd})
	}
	// Connections of the container's start before may not be forgotten yet.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return err
	}
	thoughtful(fd)
	l := &listener{s, w, fd}
	s.listeners = append(s.listeners, l)
	return s.watch(fd, 0, unix.EPOLLIN, l)
}

// target is where a way leads now; false, if it leads nowhere. The file is read when it is another than it was, which one
// call tells.
func (s *Server) target(w Way) (to End, ok bool) {
	var st unix.Stat_t
	if unix.Stat(s.file, &st) != nil {
		return to, false
	}
	if v := (version{st.Ino, st.Ctim.Nano()}); v != s.version {
		s.ways, _ = readWays(s.file)
		s.version = v
	}
	for _, now := range s.ways {
		if now.Proto == w.Proto && now.From == w.From {
			return now.To, true
		}
	}
	return to, false
}

// A version is what tells one state of a file from another.
type version struct {
	inode   uint64
	changed int64 // in nanoseconds
}

// Fd is a descriptor that can be read (poll(2)) when there is work.
func (s *Server) Fd() int { return s.epoll }

// Work does what there is to do. Call it when Fd can be read, and when as much time as it returns has passed;
// negative: nothing happens by itself. Who talks goes on soon: it stays for that, no longer than [attention], for to leave and come
// back takes longer than to carry what is said.
func (s *Server) Work() (time.Duration, error) {
	begin, wait := time.Now(), 0
	for range rounds {
		n, err := look(s.epoll, s.events[:], wait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return -1, fmt.Errorf("wait for clients: %w", err)
		}
		for _, e := range s.events[:max(n, 0)] {
			if h := s.watched[e.Fd]; h != nil { // one before it may have closed it
				h.ready(int(e.Fd), e.Events)
			}
		}
		if n <= 0 {
			break
		}
		if wait = 0; time.Since(begin) < attention {
			wait = 1
		}
	}
	return s.expire(time.Now()), nil
}

// expire forgets clients of UDP, and returns how long the next has left.
func (s *Server) expire(now time.Time) time.Duration {
	next := time.Duration(-1)
	soon := func(t time.Time) {
		if d := max(t.Sub(now), 0); next < 0 || d < next {
			next = d
		}
	}
	for _, f := range s.flows {
		if !now.Before(f.end) {
			f.close()
			continue
		}
		soon(f.end)
	}
	if s.again.IsZero() {
		return next
	}
	if now.Before(s.again) {
		soon(s.again)
		return next
	}
	s.again = time.Time{}
	for _, l := range s.listeners {
		_ = s.watch(l.fd, 0, unix.EPOLLIN, l)
	}
	return next
}

// pause takes no connections for a moment: there is no room.
func (s *Server) pause() {
	s.again = time.Now().Add(rest)
	for _, l := range s.listeners {
		_ = s.watch(l.fd, unix.EPOLLIN, 0, nil)
	}
}

// watch says which events of a descriptor are waited for, and which were before. Without any,
// it is not looked at: the end of a connection would be told again and again.
func (s *Server) watch(fd int, before, events uint32, h handler) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case before == events:
		return nil
	case before == 0:
		op = unix.EPOLL_CTL_ADD
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	}
	if events == 0 {
		delete(s.watched, int32(fd))
	} else {
		s.watched[int32(fd)] = h
	}
	return unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// Close passes on what has come, and ends all that is carried. The ports stay held.
func (s *Server) Close() {
	for c := range s.conns {
		_, _ = c.up.move(s.buf), c.down.move(s.buf)
		c.close()
	}
	for _, f := range s.flows {
		f.close()
	}
	unix.Close(s.epoll)
}

// Descriptors are those that the next program has to have.
func (s *Server) Descriptors() (list []int) {
	for c := range s.conns {
		list = append(list, c.up.from, c.down.from)
		for _, d := range [...]*stream{&c.up, &c.down} {
			if d.pipe[1] != 0 {
				list = append(list, d.pipe[:]...)
			}
		}
	}
	for _, f := range s.flows {
		list = append(list, f.fd)
	}
	return list
}

// Pack says what is being carried, in lines for New in the next program.
func (s *Server) Pack() (lines []string) {
	for c := range s.conns {
		lines = append(lines, c.pack())
	}
	for _, f := range s.flows {
		lines = append(lines, f.pack())
	}
	return lines
}

func (s *Server) unpack(line string) error {
	if strings.HasPrefix(line, "flow ") {
		return s.unpackFlow(line)
	}
	return s.unpackConn(line)
}
