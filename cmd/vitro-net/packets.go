// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	flowPatience = 3 * time.Minute // without a packet from either side: conntrack's for a stream
	flowMost     = 4096            // clients at a time, for each port
	datagram     = 1 << 16
)

// flows are the clients of a UDP port, each with a socket to the container.
type flows struct {
	port *port
	conn *net.UDPConn
	mu   sync.Mutex
	to   map[netip.AddrPort]net.Conn
}

// packets passes on what comes to a UDP port, until it is closed.
func (p *port) packets(c *net.UDPConn) {
	f := &flows{port: p, conn: c, to: make(map[netip.AddrPort]net.Conn)}
	defer f.close()
	f.askWhere()
	b, oob := make([]byte, datagram), make([]byte, 128)
	for {
		n, rights, _, client, err := c.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client has refused an answer
		}
		if to := f.find(client, oob[:rights]); to != nil {
			_, _ = to.Write(b[:n])
		}
	}
}

// askWhere has the kernel say which of the host's addresses a packet came to:
// the answer is to come from there.
func (f *flows) askWhere() {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_PKTINFO, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
}

// find is the client's socket.
func (f *flows) find(client netip.AddrPort, where []byte) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.to[client]; c != nil {
		_ = c.SetReadDeadline(time.Now().Add(flowPatience))
		return c
	}
	if len(f.to) >= flowMost {
		return nil
	}
	c, err := f.port.dial(client)
	if err != nil {
		return nil
	}
	f.to[client] = c
	_ = c.SetReadDeadline(time.Now().Add(flowPatience))
	go f.answers(client, c, append([]byte(nil), where...))
	return c
}

// answers sends back what the container says.
func (f *flows) answers(client netip.AddrPort, c net.Conn, where []byte) {
	defer func() {
		f.mu.Lock()
		delete(f.to, client)
		f.mu.Unlock()
		c.Close()
	}()
	b := make([]byte, datagram)
	for {
		n, err := c.Read(b)
		if err != nil {
			return // also when the container has nobody there: the next packet tries again
		}
		_, _, _ = f.conn.WriteMsgUDPAddrPort(b[:n], where, client)
		_ = c.SetReadDeadline(time.Now().Add(flowPatience))
	}
}

func (f *flows) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.to {
		c.Close()
	}
}
