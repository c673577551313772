// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"vitro/network/usernet"
)

const (
	flowPatience  = 3 * time.Minute // without a packet: conntrack's for a stream
	queryPatience = 3 * time.Second // for each name server
	datagram      = 1 << 16
)

// udp gives packets between two ports a socket of their own on the host.
func (s *Stack) udp(r *udp.ForwarderRequest) bool {
	id := r.ID()
	a := addr(id.LocalAddress)
	to, ok := s.target(a, id.LocalPort)
	if !ok {
		return false // which the stack says to the sender
	}
	var wq waiter.Queue
	ep, e := r.CreateEndpoint(&wq)
	if e != nil {
		return true
	}
	inside := gonet.NewUDPConn(&wq, ep)
	if a == usernet.Resolver || a == usernet.Resolver6 {
		go ask(inside, to)
	} else {
		go flow(inside, to[0])
	}
	return true
}

// flow passes packets on both ways until there have been none for a while.
func flow(inside *gonet.UDPConn, to netip.AddrPort) {
	defer inside.Close()
	host, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return
	}
	defer host.Close()
	fragment(host, to.Addr())
	go func() {
		defer inside.Close()
		pass(inside, host)
	}()
	pass(host, inside)
}

// pass ends when its sender has been silent for long. That the other side has
// been means nothing: one who only listens is heard all the same.
func pass(to, from net.Conn) {
	b := make([]byte, datagram)
	for {
		_ = from.SetReadDeadline(time.Now().Add(flowPatience))
		n, err := from.Read(b)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // nobody listens there yet
		}
		if err != nil {
			return
		}
		_, _ = to.Write(b[:n])
	}
}

// fragment has the host cut packets that are too large for a link on their way:
// the sender has been told of none.
func fragment(c *net.UDPConn, to netip.Addr) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if to.Unmap().Is4() {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		}
	})
}

// ask passes questions on to the first name server that answers.
func ask(inside *gonet.UDPConn, servers []netip.AddrPort) {
	defer inside.Close()
	b := make([]byte, datagram)
	for {
		_ = inside.SetReadDeadline(time.Now().Add(2 * queryPatience))
		n, err := inside.Read(b)
		if err != nil {
			return
		}
		go func(query []byte) {
			for _, s := range servers {
				if answer, err := exchange(query, s); err == nil {
					_, _ = inside.Write(answer)
					return
				}
			}
		}(append([]byte(nil), b[:n]...))
	}
}

// exchange asks one name server.
func exchange(query []byte, server netip.AddrPort) ([]byte, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(queryPatience))
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, datagram)
	n, err := c.Read(b)
	return b[:n], err
}
