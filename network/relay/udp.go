// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// idle is how long a client of UDP is remembered that says nothing and hears nothing.
const idle = 90 * time.Second

// datagrams is a socket that datagrams come to.
type datagrams struct {
	*Server
	way Way
	fd  int
}

// A client is who has sent one, and where to.
type client struct {
	listener int // descriptor
	addr     [16]byte
	port     int
	zone     uint32
	local    [16]byte // the address that was asked
}

// A flow is the socket for one client.
type flow struct {
	server *Server
	client client
	link   uint32 // by which answers go; 0: whichever leads there
	fd     int
	end    time.Time
}

func (d *datagrams) ready(int, uint32) {
	var control [64]byte
	for range batch {
		n, k, _, from, err := unix.Recvmsg(d.fd, d.buf, control[:], unix.MSG_DONTWAIT)
		if err != nil {
			return // an error that an answer has met is told here as well
		}
		sender, ok := from.(*unix.SockaddrInet6)
		if !ok {
			continue
		}
		c := client{listener: d.fd, addr: sender.Addr, port: sender.Port, zone: sender.ZoneId}
		link := asked(control[:k], &c.local)
		f := d.flows[c]
		if f == nil {
			if f = d.begin(c); f == nil {
				continue
			}
			if c.local[0] == 0xfe && c.local[1]&0xc0 == 0x80 { // the address says nothing without its link
				f.link = link
			}
		}
		f.end = time.Now().Add(idle)
		_, _ = unix.Write(f.fd, d.buf[:n])
	}
}

// asked is where a datagram was sent to, and the index of the link that it came by.
func asked(control []byte, to *[16]byte) (link uint32) {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range list {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo {
			copy(to[:], m.Data)
			return binary.NativeEndian.Uint32(m.Data[16:])
		}
	}
	return 0
}

// begin makes a flow for a client; nil, if it can't be. If there are too many, it takes the place of the
// one that was used longest ago.
func (d *datagrams) begin(c client) *flow {
	to, ok := d.target(d.way)
	if !ok {
		return nil
	}
	if len(d.flows) >= maxFlows {
		var oldest *flow
		for _, f := range d.flows {
			if oldest == nil || f.end.Before(oldest.end) {
				oldest = f
			}
		}
		oldest.close()
	}
	fd, _, err := dial(unix.SOCK_DGRAM, to)
	if err != nil {
		return nil
	}
	f := &flow{server: d.Server, client: c, fd: fd}
	if d.watch(fd, 0, unix.EPOLLIN, f) != nil {
		unix.Close(fd)
		return nil
	}
	d.flows[c] = f
	return f
}

// ready passes answers on.
func (f *flow) ready(int, uint32) {
	to := &unix.SockaddrInet6{Addr: f.client.addr, Port: f.client.port, ZoneId: f.client.zone}
	control := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: f.client.local, Ifindex: f.link})
	for range batch {
		n, err := unix.Read(f.fd, f.server.buf)
		if err != nil {
			return // nothing more, or the container doesn't listen: the client gets no answer
		}
		f.end = time.Now().Add(idle)
		_, _ = unix.SendmsgN(f.client.listener, f.server.buf[:n], control, to, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
}

func (f *flow) close() {
	delete(f.server.flows, f.client)
	delete(f.server.watched, int32(f.fd))
	unix.Close(f.fd)
}

// flowLine is a flow as it is packed.
const flowLine = "flow %d %d %d %d %d %x %x"

func (f *flow) pack() string {
	return fmt.Sprintf(flowLine, f.fd, f.client.listener, f.client.port, f.client.zone, f.link, f.client.addr[:], f.client.local[:])
}

func (s *Server) unpackFlow(line string) error {
	f := &flow{server: s}
	var addr, local []byte
	if _, err := fmt.Sscanf(line, flowLine, &f.fd, &f.client.listener, &f.client.port, &f.client.zone, &f.link, &addr, &local); err != nil {
		return err
	}
	copy(f.client.addr[:], addr)
	copy(f.client.local[:], local)
	unix.CloseOnExec(f.fd)
	f.end = time.Now().Add(idle)
	s.flows[f.client] = f
	return s.watch(f.fd, 0, unix.EPOLLIN, f)
}
