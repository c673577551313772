// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network"
)

// A port is a socket of the host's, whose clients are passed on to a
// container. What comes there comes from the client's own address, which a
// socket in the namespace is bound to; only one that is no address elsewhere, such
// as 127.0.0.1, becomes that of the network's gateway.
type port struct {
	network.Bound
	net *namespace

	mu     sync.Mutex
	listen io.Closer // nil until it is open
	closed bool
}

// open begins to accept for the container's addresses; opened again, it goes on for others.
func (p *port) open(t network.Taking) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.Aim(t)
	if p.listen != nil {
		return nil
	}
	f := os.NewFile(uintptr(p.FD), "port")
	defer func() { f.Close(); p.FD = -1 }() // the other has a copy
	if p.Port.Proto == "udp" {
		c, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		p.listen = c
		go p.packets(c.(*net.UDPConn))
		return nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	p.listen = l
	go p.connections(l)
	return nil
}

func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.listen != nil {
		p.listen.Close()
	}
	if p.FD >= 0 {
		unix.Close(p.FD)
		p.FD = -1
	}
}

func (p *port) connections(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, for instance
			time.Sleep(50 * time.Millisecond)
			continue
		}
		go func() {
			inside, err := p.dial(c.RemoteAddr().(*net.TCPAddr).AddrPort())
			if err != nil {
				_ = c.(*net.TCPConn).SetLinger(0) // as if the container had refused it
				c.Close()
				return
			}
			join(c.(*net.TCPConn), inside.(*net.TCPConn))
		}()
	}
}

// join passes bytes on both ways; the kernel does it (splice(2)).
func join(a, b *net.TCPConn) {
	defer a.Close()
	defer b.Close()
	var wait sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		if _, err := to.ReadFrom(from); err != nil {
			a.Close()
			b.Close()
		}
		_ = to.CloseWrite()
	}
	wait.Go(func() { pass(a, b) })
	pass(b, a)
	wait.Wait()
}

// dialPatience is how long a container may take to answer.
const dialPatience = 30 * time.Second

// dial opens a connection to the container in the client's name.
func (p *port) dial(client netip.AddrPort) (net.Conn, error) {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	p.mu.Lock()
	to := p.To
	p.mu.Unlock()
	if !nameable(client.Addr()) || client.Addr().Is4() != to.Addr().Is4() {
		return p.dialAs(netip.AddrPort{}, to)
	}
	c, err := p.dialAs(client, to)
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) { // the port is taken in here
		c, err = p.dialAs(netip.AddrPortFrom(client.Addr(), 0), to)
	}
	return c, err
}

// nameable reports whether an address means the same in the namespace.
func nameable(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

func (p *port) dialAs(client, to netip.AddrPort) (net.Conn, error) {
	kind := unix.SOCK_STREAM
	if p.Port.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	domain := unix.AF_INET
	if to.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd := -1
	err := p.net.do(func() (err error) {
		fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "container")
	defer f.Close()
	if client.IsValid() {
		if err := speakAs(fd, client); err != nil {
			return nil, err
		}
	}
	if err := connect(f, fd, sockaddr(to)); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return net.FileConn(f)
}

// speakAs binds a socket to an address that is somebody else's.
func speakAs(fd int, client netip.AddrPort) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if client.Addr().Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(client))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// connect waits for the answer as Go waits: without a thread.
func connect(f *os.File, fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if err != unix.EINPROGRESS {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if err := f.SetWriteDeadline(time.Now().Add(dialPatience)); err != nil {
		return err
	}
	answered, no := false, 0
	err = raw.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, e := unix.Poll(p, 0); e != nil || n == 0 {
			return false
		}
		answered = true
		no, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		return true
	})
	switch {
	case err != nil:
		return err
	case !answered:
		return unix.ETIMEDOUT
	case no != 0:
		return unix.Errno(no)
	}
	return f.SetWriteDeadline(time.Time{})
}
