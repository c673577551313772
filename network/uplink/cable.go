// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/network/usernet"
)

const (
	mtu      = 65520 // in bytes; of TCP a frame has as much as fits, whatever it says
	buffered = 8 << 20
)

// the other end's hardware address; the stack's.
var stackMAC = net.HardwareAddr{0x02, 0x76, 0x69, 0x74, 0x72, 0x01}

// Lay makes the link in the calling thread's network namespace, and returns
// the other end of the cable, in a namespace of its own that lasts as long as the
// file is open; the link goes with it.
//
// A packet socket needs no /dev/net/tun, which not every machine has, or lets
// ordinary users open.
//
// Precondition: the thread is locked, and has CAP_NET_ADMIN and CAP_SYS_ADMIN
// over its network namespace.
func Lay(ipv6 bool) (*os.File, error) {
	f, err := lay(ipv6)
	if err != nil {
		return nil, fmt.Errorf("make link %s: %w", usernet.Link, err)
	}
	return f, nil
}

func lay(ipv6 bool) (*os.File, error) {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	there, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		defer there.Close()
	}
	back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
	if err = errors.Join(err, back); err != nil {
		return nil, err
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: usernet.Link, MTU: mtu}, PeerName: usernet.Link, PeerHardwareAddr: stackMAC, PeerNamespace: netlink.NsFd(int(there.Fd()))}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, err
	}
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	f, err := otherEnd()
	if e := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); e != nil {
		return nil, errors.Join(err, e)
	}
	if err != nil {
		return nil, err
	}
	if err := address(veth, ipv6); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// otherEnd opens the end that is the stack's.
func otherEnd() (*os.File, error) {
	for _, c := range [...]string{"all", "default"} { // no kernel speaks here
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+c+"/disable_ipv6", []byte("1"), 0)
	}
	l, err := netlink.LinkByName(usernet.Link)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(netlink.LinkSetARPOff(l), netlink.LinkSetMTU(l, mtu), netlink.LinkSetUp(l)); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), usernet.Link)
	for _, size := range [...]struct{ force, plain int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, size.force, buffered) != nil { // before Linux 5.16 the machine's root alone
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, size.plain, buffered)
		}
	}
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	if err == nil {
		all := uint16(unix.ETH_P_ALL)
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: l.Attrs().Index})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// address gives the link its addresses, and has it lead out.
func address(l netlink.Link, ipv6 bool) error {
	if lo, err := netlink.LinkByName("lo"); err != nil {
		return err
	} else if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+usernet.Link+"/accept_dad", []byte("0"), 0) // nobody else is there
	if !ipv6 {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+usernet.Link+"/disable_ipv6", []byte("1"), 0)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, a := range [...]struct {
		own netip.Prefix
		via netip.Addr
	}{{usernet.Address, usernet.Gateway}, {usernet.Address6, usernet.Gateway6}} {
		if a.own.Addr().Is6() && !ipv6 {
			continue
		}
		ip := &net.IPNet{IP: a.own.Addr().AsSlice(), Mask: net.CIDRMask(a.own.Bits(), a.own.Addr().BitLen())}
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ip}); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: a.via.AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}
