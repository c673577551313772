// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// rtnl is a socket to the kernel's links and addresses, those of the network
// namespace that it was made in (rtnetlink(7)). It is as little of one as a
// moved device needs: what package network uses has no place in the runtime.
type rtnl struct {
	fd  int
	seq uint32
}

func dialRoute() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &rtnl{fd: fd}, nil
}

// dialRouteIn makes the socket in another network namespace: on a thread that
// goes there, and ends.
func dialRouteIn(ns *os.File) (r *rtnl, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			r, err = dialRoute()
		}
	}()
	<-done
	return r, err
}

func (r *rtnl) close() { unix.Close(r.fd) }

// attr is a routing attribute.
func attr(typ int, value []byte) []byte {
	n := unix.SizeofRtAttr + len(value)
	b := make([]byte, (n+3)&^3)
	binary.NativeEndian.PutUint16(b[0:], uint16(n))
	binary.NativeEndian.PutUint16(b[2:], uint16(typ))
	copy(b[unix.SizeofRtAttr:], value)
	return b
}

func attr32(typ int, value uint32) []byte {
	return attr(typ, binary.NativeEndian.AppendUint32(nil, value))
}

func attrString(typ int, value string) []byte { return attr(typ, append([]byte(value), 0)) }

// call sends a request, and reads until its answer is whole.
func (r *rtnl) call(typ, flags int, body ...[]byte) ([]syscall.NetlinkMessage, error) {
	r.seq++
	msg := make([]byte, unix.SizeofNlMsghdr)
	for _, b := range body {
		msg = append(msg, b...)
	}
	binary.NativeEndian.PutUint32(msg[0:], uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], uint16(typ))
	binary.NativeEndian.PutUint16(msg[6:], uint16(unix.NLM_F_REQUEST|flags))
	binary.NativeEndian.PutUint32(msg[8:], r.seq)
	if err := unix.Sendto(r.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var answer []syscall.NetlinkMessage
	for {
		buf := make([]byte, 64<<10)
		n, _, err := unix.Recvfrom(r.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		part, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range part {
			switch {
			case m.Header.Seq != r.seq:
			case m.Header.Type == unix.NLMSG_DONE:
				return answer, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				return answer, netlinkError(m.Data)
			default:
				answer = append(answer, m)
			}
		}
	}
}

func netlinkError(data []byte) error {
	if len(data) < 4 {
		return fmt.Errorf("netlink: an answer of %d bytes", len(data))
	}
	if errno := -int32(binary.NativeEndian.Uint32(data)); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// ifinfo is struct ifinfomsg.
func ifinfo(index int32, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// link is a network device, as far as it matters here.
type link struct {
	index   int32
	name    string
	flags   uint32
	address string // of the hardware, the permanent one where there is one
	kind    string // of a virtual device: "veth"
}

func readLink(m *syscall.NetlinkMessage) (l link, err error) {
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return l, err
	}
	l.index = int32(binary.NativeEndian.Uint32(m.Data[4:]))
	l.flags = binary.NativeEndian.Uint32(m.Data[8:])
	permanent := ""
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_ADDRESS:
			l.address = fmt.Sprintf("%x", a.Value)
		case unix.IFLA_PERM_ADDRESS:
			permanent = fmt.Sprintf("%x", a.Value)
		case unix.IFLA_LINKINFO:
			l.kind = linkKind(a.Value)
		}
	}
	if permanent != "" {
		l.address = permanent
	}
	return l, nil
}

// linkKind is the first attribute in IFLA_LINKINFO.
func linkKind(info []byte) string {
	if len(info) < unix.SizeofRtAttr || binary.NativeEndian.Uint16(info[2:]) != unix.IFLA_INFO_KIND {
		return ""
	}
	n := int(binary.NativeEndian.Uint16(info))
	if n < unix.SizeofRtAttr || n > len(info) {
		return ""
	}
	return unix.ByteSliceToString(info[unix.SizeofRtAttr:n])
}

// links lists the devices of the namespace.
func (r *rtnl) links() ([]link, error) {
	msgs, err := r.call(unix.RTM_GETLINK, unix.NLM_F_DUMP, ifinfo(0, 0, 0))
	if err != nil {
		return nil, err
	}
	var list []link
	for i := range msgs {
		l, err := readLink(&msgs[i])
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// link finds a device by its name; nil if there is none.
func (r *rtnl) link(name string) (*link, error) {
	list, err := r.links()
	for i := range list {
		if list[i].name == name {
			return &list[i], nil
		}
	}
	return nil, err
}

// addresses are the permanent ones of a device that are meant for more than
// its own link, as requests that add them to another device.
func (r *rtnl) addresses(index int32) ([][]byte, error) {
	msgs, err := r.call(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for i := range msgs {
		m := &msgs[i]
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, err
		}
		head := append([]byte(nil), m.Data[:unix.SizeofIfAddrmsg]...)
		if int32(binary.NativeEndian.Uint32(head[4:])) != index || head[3] != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		flags := uint32(head[2])
		var body []byte
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFA_FLAGS:
				flags = binary.NativeEndian.Uint32(a.Value)
			case unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST, unix.IFA_RT_PRIORITY:
				body = append(body, attr(int(a.Attr.Type), a.Value)...)
			}
		}
		if flags&unix.IFA_F_PERMANENT == 0 {
			continue
		}
		head[2] = 0
		flags &= unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_MCAUTOJOIN
		list = append(list, append(append(head, attr32(unix.IFA_FLAGS, flags)...), body...))
	}
	return list, nil
}
