// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options of a raw socket: IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES, the same of ip6_tables.
const (
	getInfo    = 64
	getEntries = 65
)

// fetch reads a table: what struct ipt_getinfo says of it, and its entries. It
// needs CAP_NET_ADMIN.
func (l *layout) fetch(table string) (info, entries []byte, err error) {
	fd, err := unix.Socket(l.socket, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd)
	for range 10 { // it may have grown in between
		info = make([]byte, infoSize)
		copy(info[:nameSize-1], table)
		if err = getsockopt(fd, l.level, getInfo, info); err != nil {
			return nil, nil, err
		}
		size := binary.NativeEndian.Uint32(info[infoSize-4:])
		if size > tablesSize {
			return nil, nil, unix.EFBIG
		}
		b := make([]byte, entriesAt+size)
		copy(b[:nameSize-1], table)
		binary.NativeEndian.PutUint32(b[nameSize:], size)
		if err = getsockopt(fd, l.level, getEntries, b); err == nil {
			return info, b[entriesAt:], nil
		}
		if err != unix.EAGAIN {
			return nil, nil, err
		}
	}
	return nil, nil, err
}

func getsockopt(fd, level, name int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
