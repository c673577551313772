// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network"
	"vitro/network/usernet"
)

// linger is how long it goes on without a container: the next may come.
const linger = 10 * time.Second

// A server answers requests, and knows the containers.
type server struct {
	dir    string // of all networks
	socket int
	user   *os.File
	net    *namespace

	mu         sync.Mutex
	containers map[string]*container
	wake       [2]int // a pipe: the list of processes is another
	busy       time.Time
}

// A container is there as long as one of its processes is: its first, or the
// one beside it.
type container struct {
	pidfds []int
	ports  []*port
}

func newServer(stateDir string, socket int, user *os.File, n *namespace) (*server, error) {
	s := &server{dir: filepath.Join(stateDir, "network"), socket: socket, user: user, net: n, containers: make(map[string]*container), busy: time.Now()}
	if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	go s.accept()
	return s, nil
}

func (s *server) close() {
	unix.Close(s.socket)
	_ = os.Remove(filepath.Join(filepath.Dir(s.dir), "usernet", "socket"))
}

func (s *server) accept() {
	for {
		c, _, err := unix.Accept4(s.socket, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return
		}
		go func() {
			defer unix.Close(c)
			s.serve(c)
		}()
	}
}

// serve answers one request.
func (s *server) serve(c int) {
	patience := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
	_ = unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	var r usernet.Request
	fds, err := usernet.Receive(c, &r)
	if err != nil {
		return
	}
	var reply usernet.Reply
	var send []int
	if r.Verb == usernet.Enter {
		s.mu.Lock()
		s.busy = time.Now()
		s.mu.Unlock()
		send = []int{int(s.user.Fd()), int(s.net.file.Fd())}
	} else if reply.Body, err = s.answer(r, fds); err != nil {
		reply.Error = err.Error()
	}
	_ = usernet.Send(c, reply, send...)
}

func (s *server) answer(r usernet.Request, fds []int) (json.RawMessage, error) {
	var t network.Taking
	if len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, &t); err != nil {
			return nil, err
		}
	}
	var taken network.Taken
	var err error
	switch r.Verb {
	case usernet.Look:
		used, err := network.UsedHere()
		if err != nil {
			return nil, err
		}
		return json.Marshal(used)
	case usernet.Hold:
		s.hold(r.ID, fds)
	case usernet.Choose:
		taken.Ports, err = network.ChooseHere(s.dir, t)
	case usernet.Reserve:
		err = s.reserve(r.ID, t)
	case usernet.Publish:
		err = s.publish(r.ID, t)
	case usernet.Release:
		s.mu.Lock()
		s.of(r.ID).release()
		s.mu.Unlock()
	default:
		err = fmt.Errorf("%q is nothing that vitro-net does", r.Verb)
	}
	if refused, ok := network.Refused(err); ok {
		taken, err = refused, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(taken)
}

// of is the container with the ID. The caller has the lock.
func (s *server) of(id string) *container {
	c := s.containers[id]
	if c == nil {
		c = new(container)
		s.containers[id] = c
	}
	return c
}

// hold replaces the processes that a container is known by.
func (s *server) hold(id string, pidfds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(id)
	for _, fd := range c.pidfds {
		unix.Close(fd)
	}
	c.pidfds, s.busy = pidfds, time.Now()
	_, _ = unix.Write(s.wake[1], []byte{0})
}

func (s *server) reserve(id string, t network.Taking) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(id)
	c.release() // of a start before
	list, err := network.BindHere(s.dir, t)
	for _, b := range list {
		if err == nil {
			c.ports = append(c.ports, &port{Bound: b, net: s.net})
		}
	}
	return err
}

func (s *server) publish(id string, t network.Taking) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.of(id).ports {
		if err := p.open(t); err != nil {
			return err
		}
	}
	return nil
}

func (c *container) release() {
	for _, p := range c.ports {
		p.close()
	}
	c.ports = nil
}

// end waits for the end of all containers.
func (s *server) end() <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.watch() }()
	return ended
}

// watch looks at the processes, until there have been none for a while.
func (s *server) watch() error {
	for {
		s.mu.Lock()
		polled := []unix.PollFd{{Fd: int32(s.wake[0]), Events: unix.POLLIN}}
		for _, c := range s.containers {
			for _, fd := range c.pidfds {
				polled = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
		}
		idle := linger - time.Since(s.busy)
		s.mu.Unlock()
		wait := -1
		if len(polled) == 1 {
			if idle <= 0 {
				return nil
			}
			wait = int(idle.Milliseconds()) + 1
		}
		n, err := unix.Poll(polled, wait)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 {
			s.sort(polled)
		}
	}
}

// sort forgets the processes that have ended, and containers that have none left.
func (s *server) sort(polled []unix.PollFd) {
	if polled[0].Revents != 0 {
		var b [64]byte
		_, _ = unix.Read(s.wake[0], b[:])
	}
	ended := func(fd int) bool {
		now := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(now, 0)
		return err == nil && n > 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.containers {
		var left []int
		for _, fd := range c.pidfds {
			if ended(fd) {
				unix.Close(fd)
			} else {
				left = append(left, fd)
			}
		}
		if c.pidfds = left; len(left) == 0 {
			c.release()
			delete(s.containers, id)
			s.busy = time.Now()
		}
	}
}
