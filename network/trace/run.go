// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/network/topology"
)

// wait is how long an answer may take: a second try of TCP's is in it.
const wait = 2500 * time.Millisecond

// An Error is a request that can't be met.
type Error struct {
	Err    error
	Remedy string
}

func (e *Error) Error() string { return "trace: " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Remedy }

// A spot is a namespace that may be on the way.
type spot struct {
	*topology.Namespace
	file    *os.File // nil: it can't be entered
	err     error
	watcher *watcher
	events  []Event
}

// in runs f in the namespace.
func (s *spot) in(f func() error) error {
	if s.Own {
		return f() // an ordinary user may not even enter where he is
	}
	if s.file == nil {
		return s.err
	}
	return netns.Do(s.file, f)
}

// Run follows one packet. It needs CAP_NET_ADMIN for what the firewall does; without it, what
// can be seen is in the result.
func Run(m *topology.Machine, r Request) (*Result, error) {
	t := &tracer{machine: m, request: r}
	defer t.close()
	start := t.spot(r.From)
	if start == nil {
		return nil, &Error{fmt.Errorf("from namespace %d: there is none", r.From), ""}
	}
	if start.file == nil {
		return nil, &Error{fmt.Errorf("from %s: %w", topology.Clean(start.Title()), start.err), "run it as root"}
	}
	res := &Result{Request: r}
	var p *probe
	err := start.in(func() (err error) { p, err = newProbe(r); return err })
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, &Error{fmt.Errorf("to %s: this kernel has no IPv6", r.To.Addr()), "it was started with ipv6.disable=1, or was built without"}
	}
	if err != nil {
		return nil, fmt.Errorf("trace: make socket: %w", err)
	}
	defer p.close()
	t.choose(start)
	protocol := byte(unix.IPPROTO_TCP)
	if r.UDP {
		protocol = unix.IPPROTO_UDP
	}
	for _, s := range t.spots {
		s.err = cmpErr(s.err, s.in(func() (err error) { s.watcher, err = watch(protocol, p.port); return err }))
		if s.err != nil {
			s.watcher = nil
		}
	}
	res.Outcome, res.Sent = p.send(t.listen)
	t.listen()
	res.Source = t.source(p.port)
	t.places(res, p.port)
	return res, nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

type tracer struct {
	machine *topology.Machine
	request Request
	spots   []*spot
}

func (t *tracer) close() {
	for _, s := range t.spots {
		if s.watcher != nil {
			s.watcher.close()
		}
		if s.file != nil {
			s.file.Close()
		}
	}
}

// spot finds a namespace by its ID, and opens it.
func (t *tracer) spot(id uint64) *spot {
	for _, s := range t.spots {
		if s.ID == id || id == 0 && s.Own {
			return s
		}
	}
	for _, n := range t.machine.Namespaces {
		if n.ID == id || id == 0 && n.Own {
			s := &spot{Namespace: n}
			s.file, s.err = n.Open()
			t.spots = append(t.spots, s)
			return s
		}
	}
	return nil
}

// choose adds the namespaces that may be on the way: ours, where bridges and
// rules are; that of the address; those that rules send the port to.
func (t *tracer) choose(start *spot) {
	t.spot(0)
	to := []string{t.request.To.Addr().String()}
	port := fmt.Sprint(t.request.To.Port())
	for _, n := range t.machine.Namespaces {
		if n != start.Namespace && !n.Own {
			continue
		}
		for _, f := range n.Forwards() {
			if strings.Contains(f.From, port) || strings.Contains(f.From, "*:*") {
				to = append(to, f.Host())
			}
		}
	}
	for _, n := range t.machine.Namespaces {
		if len(t.spots) < maxSpots && slices.ContainsFunc(to, n.Has) {
			t.spot(n.ID)
		}
	}
}

// maxSpots is how many namespaces are watched at most.
const maxSpots = 8

// listen reads what the tables have seen, and reports whether a rule has ended the matter.
func (t *tracer) listen() (ended bool) {
	for _, s := range t.spots {
		if s.watcher != nil {
			s.events = append(s.events, s.watcher.read()...)
		}
		ended = ended || slices.ContainsFunc(s.events, func(e Event) bool { return e.Drop })
	}
	return ended
}

func (t *tracer) source(port uint16) netip.AddrPort {
	for _, s := range t.spots {
		for _, e := range s.events {
			if e.Source.Port() == port {
				return e.Source
			}
		}
	}
	return netip.AddrPort{}
}

// places puts together what is known, a namespace after the other.
func (t *tracer) places(res *Result, port uint16) {
	to := res.Request.To
	seen := make(map[uint64]bool)
	s := t.spot(res.Request.From)
	for s != nil && !seen[s.ID] {
		seen[s.ID] = true
		p := Place{Name: topology.Clean(s.Title()), Own: s.Own, Command: s.command(), Tables: s.watcher != nil}
		for _, e := range s.events {
			if e.Source.Port() == port {
				p.There = append(p.There, e)
				to = e.Destination
			} else {
				p.Back = append(p.Back, e)
			}
		}
		p.To = to
		var next *topology.Namespace
		err := s.in(func() error { next = t.ask(s, &p, res); return nil })
		if err != nil {
			p.Closed = err.Error()
			if errors.Is(err, fs.ErrPermission) {
				p.Closed = "not allowed"
			}
		}
		res.Places = append(res.Places, p)
		s = t.after(next, seen)
	}
}

// after is where the packet was seen next, or should have been.
func (t *tracer) after(next *topology.Namespace, seen map[uint64]bool) *spot {
	if next == nil {
		return nil
	}
	return t.spot(next.ID)
}

// command enters the namespace in front of another command.
func (s *spot) command() string {
	switch {
	case s.Own:
		return ""
	case len(s.Processes) > 0:
		return fmt.Sprintf("nsenter -t %d -n ", s.Processes[0].PID)
	case len(s.Names) > 0:
		return "nsenter --net=" + topology.Clean(s.Names[0]) + " "
	}
	return ""
}

// A probe is the socket that the packet comes from.
type probe struct {
	fd      int
	port    uint16
	request Request
}

func newProbe(r Request) (*probe, error) {
	family, any := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if r.To.Addr().Is6() {
		family, any = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	kind := unix.SOCK_STREAM
	if r.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &probe{fd: fd, request: r}
	if err := unix.Bind(fd, any); err != nil {
		p.close()
		return nil, err
	}
	name, err := unix.Getsockname(fd)
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		p.port = uint16(a.Port)
	case *unix.SockaddrInet6:
		p.port = uint16(a.Port)
	}
	return p, err
}

func (p *probe) close() { unix.Close(p.fd) }

// send sends the packet, and waits for what comes back; ended is asked now and then whether
// there is anything to wait for.
func (p *probe) send(ended func() bool) (unix.Errno, bool) {
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(p.request.To.Port())}
	if a := p.request.To.Addr(); a.Is6() {
		to = &unix.SockaddrInet6{Port: int(p.request.To.Port()), Addr: a.As16()}
	} else {
		to.(*unix.SockaddrInet4).Addr = a.As4()
	}
	err := unix.Connect(p.fd, to)
	if p.request.UDP && err == nil {
		err = unix.Send(p.fd, nil, unix.MSG_NOSIGNAL)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		var errno unix.Errno
		errors.As(err, &errno)
		return cmp.Or(errno, unix.EIO), false
	}
	limit := wait
	if p.request.UDP {
		limit = wait / 4 // mostly nothing comes back
	}
	events := int16(unix.POLLOUT)
	if p.request.UDP {
		events = unix.POLLIN
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: events}}
		if n, _ := unix.Poll(fds, 50); n <= 0 { // -1: a signal
			if ended() {
				break
			}
			continue
		}
		code, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return unix.EIO, true
		}
		return unix.Errno(code), true
	}
	return unix.ETIMEDOUT, true
}
