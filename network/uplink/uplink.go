// SPDX-License-Identifier: Apache-2.0

// Package uplink is a way out of a network namespace for somebody without
// rights on the machine: a TCP/IP stack that ends each connection which leaves
// the namespace, and makes another of its own in the host's, with the sockets
// that any program has.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"vitro/network/usernet"
)

// A Stack is what is at the stack's end of a cable.
type Stack struct {
	Options
	stack *stack.Stack
}

const nic = 1

// Options are what a stack does beyond passing on.
type Options struct {
	Loopback bool                    // the gateway's address leads to the host's loopback
	Servers  func() []netip.AddrPort // whom the resolver's address leads to
}

// New begins to serve the cable.
func New(cable *os.File, o Options) (*Stack, error) {
	w, err := newWire(cable, tcpip.LinkAddress(stackMAC), mtu)
	if err != nil {
		return nil, err
	}
	s := &Stack{Options: o, stack: stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})}
	w.echo = newPinger(w).take
	if e := s.configure(w); e != nil {
		return nil, fmt.Errorf("configure network stack: %s", e)
	}
	return s, nil
}

func (s *Stack) configure(w *wire) tcpip.Error {
	sack, moderate, cubic := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.CongestionControlOption("cubic")
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 4 << 20, Max: 8 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 4 << 20, Max: 8 << 20}
	for _, o := range [...]tcpip.SettableTransportProtocolOption{&sack, &moderate, &cubic, &receive, &send} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s.stack, 0, 4096, s.tcp).HandlePacket)
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s.stack, s.udp).HandlePacket)
	if err := s.stack.CreateNIC(nic, w); err != nil {
		return err
	}
	for _, a := range [...]struct {
		addr netip.Addr
		bits int
		num  tcpip.NetworkProtocolNumber
	}{{usernet.Gateway, usernet.Address.Bits(), ipv4.ProtocolNumber}, {usernet.Resolver, usernet.Address.Bits(), ipv4.ProtocolNumber}, {usernet.Gateway6, usernet.Address6.Bits(), ipv6.ProtocolNumber}, {usernet.Resolver6, usernet.Address6.Bits(), ipv6.ProtocolNumber}} {
		pa := tcpip.ProtocolAddress{Protocol: a.num, AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(a.addr.AsSlice()), PrefixLen: a.bits}}
		if err := s.stack.AddProtocolAddress(nic, pa, stack.AddressProperties{}); err != nil {
			return err
		}
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	if err := s.stack.SetPromiscuousMode(nic, true); err != nil {
		return err
	}
	return s.stack.SetSpoofing(nic, true)
}

// addr is an address of the stack's as one of Go's.
func addr(a tcpip.Address) netip.Addr {
	n, _ := netip.AddrFromSlice(a.AsSlice())
	return n
}

// target is where on the host a packet for an address of the namespace's goes;
// the resolver's goes to the first of several that answers.
func (s *Stack) target(a netip.Addr, port uint16) (to []netip.AddrPort, ok bool) {
	switch a {
	case usernet.Gateway:
		return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}, s.Loopback
	case usernet.Gateway6:
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), port)}, s.Loopback
	case usernet.Resolver, usernet.Resolver6:
		if port != domain {
			return nil, false
		}
		to = s.Servers()
		return to, len(to) > 0
	}
	if a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, false
	}
	return []netip.AddrPort{netip.AddrPortFrom(a, port)}, true
}

// How much is passed on at a time, in bytes: into the namespace what fits in one
// packet with its headers, and in the stack's pool of memory; out of it what has come.
const (
	onePacket   = 64<<10 - 512
	manyPackets = 256 << 10
)

const (
	domain       = 53
	dialPatience = 2 * time.Minute // the kernel's own, nearly
)

func (s *Stack) tcp(r *tcp.ForwarderRequest) {
	id := r.ID()
	host, err := s.dial(addr(id.LocalAddress), id.LocalPort)
	if err != nil {
		r.Complete(!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, unix.ETIMEDOUT)) // who is silent stays so
		return
	}
	var wq waiter.Queue
	ep, e := r.CreateEndpoint(&wq)
	r.Complete(e != nil)
	if e != nil {
		host.Close()
		return
	}
	ep.SocketOptions().SetKeepAlive(true)
	join(gonet.NewTCPConn(&wq, ep), host.(*net.TCPConn))
}

// dial connects to where a connection of the namespace's leads on the host.
func (s *Stack) dial(a netip.Addr, port uint16) (conn net.Conn, err error) {
	to, ok := s.target(a, port)
	if !ok {
		return nil, unix.ECONNREFUSED
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	for _, t := range to {
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", t.String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// half is one that can end in one direction.
type half interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// join passes bytes on both ways, until both have ended or one fails.
func join(inside, host half) {
	var wait sync.WaitGroup
	pass := func(to, from half, size int) {
		if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, size)); err != nil {
			inside.Close()
			host.Close()
		}
		to.CloseWrite()
	}
	wait.Go(func() { pass(inside, host, onePacket) })
	pass(host, inside, manyPackets)
	wait.Wait()
	inside.Close()
	host.Close()
}
