// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"vitro/network/usernet"
)

// A pinger asks the host's kernel what the namespace asks by ping(8): an echo
// request goes out by a socket that ordinary users may have where
// net.ipv4.ping_group_range says so (icmp(7)). Elsewhere nobody answers: the stack would
// answer in everybody's name.
type pinger struct {
	wire *wire
	mu   sync.Mutex
	open map[pinging]int // sockets
}

// A pinging is one process's pinging of one host.
type pinging struct {
	from, to netip.Addr
	id       uint16
}

const (
	pingPatience = 30 * time.Second
	pingMost     = 256 // hosts at a time
)

func newPinger(w *wire) *pinger { return &pinger{wire: w, open: make(map[pinging]int)} }

// take looks whether a frame is an echo request for somebody beyond the stack.
func (p *pinger) take(frame []byte) bool {
	if len(frame) < header.EthernetMinimumSize {
		return false
	}
	var k pinging
	var icmp []byte
	switch b := frame[header.EthernetMinimumSize:]; header.Ethernet(frame).Type() {
	case header.IPv4ProtocolNumber:
		h := header.IPv4(b)
		if len(b) < header.IPv4MinimumSize || h.TransportProtocol() != header.ICMPv4ProtocolNumber || !h.IsValid(len(b)) || h.More() || h.FragmentOffset() != 0 {
			return false
		}
		k.from, k.to, icmp = addr(h.SourceAddress()), addr(h.DestinationAddress()), h.Payload()
		if len(icmp) < header.ICMPv4MinimumSize || header.ICMPv4(icmp).Type() != header.ICMPv4Echo {
			return false
		}
	case header.IPv6ProtocolNumber:
		h := header.IPv6(b)
		if len(b) < header.IPv6MinimumSize || h.TransportProtocol() != header.ICMPv6ProtocolNumber || !h.IsValid(len(b)) {
			return false
		}
		k.from, k.to, icmp = addr(h.SourceAddress()), addr(h.DestinationAddress()), h.Payload()
		if len(icmp) < header.ICMPv6EchoMinimumSize || header.ICMPv6(icmp).Type() != header.ICMPv6EchoRequest {
			return false
		}
	default:
		return false
	}
	switch k.to {
	case usernet.Gateway, usernet.Gateway6, usernet.Resolver, usernet.Resolver6:
		return false // the stack is that
	}
	if k.to.IsMulticast() || k.to.IsLoopback() || k.to.IsLinkLocalUnicast() && k.to.Is6() {
		return true
	}
	k.id = binary.BigEndian.Uint16(icmp[4:])
	p.ask(k, append([]byte(nil), frame[:header.EthernetMinimumSize]...), append([]byte(nil), icmp...))
	return true
}

// ask sends the request by the socket of this pinging.
func (p *pinger) ask(k pinging, ethernet, icmp []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fd, ok := p.open[k]
	if !ok {
		if len(p.open) >= pingMost {
			return
		}
		var err error
		if fd, err = pingSocket(k.to); err != nil {
			return
		}
		p.open[k] = fd
		go p.answer(k, fd, ethernet)
	}
	_, _ = unix.Write(fd, icmp)
}

func pingSocket(to netip.Addr) (int, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	var sa unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte(to.AsSlice()[:4])}
	if to.Is6() {
		family, proto, sa = unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: to.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, err
	}
	wait := unix.NsecToTimeval(pingPatience.Nanoseconds())
	if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err == nil {
		err = unix.Connect(fd, sa)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// answer sends replies back, until there have been none for a while.
func (p *pinger) answer(k pinging, fd int, ethernet []byte) {
	defer unix.Close(fd)
	defer func() {
		p.mu.Lock()
		delete(p.open, k)
		p.mu.Unlock()
	}()
	b := make([]byte, datagram)
	for {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < header.ICMPv4MinimumSize {
			return
		}
		binary.BigEndian.PutUint16(b[4:], k.id) // the kernel has put its own
		p.wire.send(reply(k, ethernet, b[:n]))
	}
}

// reply is the frame for an answer to who has asked with this head of a frame.
func reply(k pinging, ethernet, icmp []byte) []byte {
	asked := header.Ethernet(ethernet)
	from, to := tcpip.AddrFromSlice(k.to.AsSlice()), tcpip.AddrFromSlice(k.from.AsSlice())
	size := header.IPv4MinimumSize
	if k.to.Is6() {
		size = header.IPv6MinimumSize
	}
	frame := make([]byte, header.EthernetMinimumSize+size, header.EthernetMinimumSize+size+len(icmp))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: asked.DestinationAddress(), DstAddr: asked.SourceAddress(), Type: asked.Type()})
	if k.to.Is6() {
		h := header.ICMPv6(icmp)
		h.SetChecksum(0)
		h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: from, Dst: to}))
		header.IPv6(frame[header.EthernetMinimumSize:]).Encode(&header.IPv6Fields{PayloadLength: uint16(len(icmp)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 64, SrcAddr: from, DstAddr: to})
	} else {
		h := header.ICMPv4(icmp)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(icmp, 0))
		ip := header.IPv4(frame[header.EthernetMinimumSize:])
		ip.Encode(&header.IPv4Fields{TotalLength: uint16(size + len(icmp)), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: from, DstAddr: to})
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	return append(frame, icmp...)
}
