// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls that each connection and each piece of it takes. None of them waits, or for a moment only, but the kernel does much of the container's
// end in them. The Go runtime, which has one processor in a monitor, would take it away from a call that lasts 20 µs, and give it to a thread
// that finds nothing to do: so it is not told.

func result(r uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// read, write: b isn't empty.
func read(fd int, b []byte) (int, error) {
	r, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return result(r, errno)
}

func write(fd int, b []byte) (int, error) {
	r, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return result(r, errno)
}

// accept has no use for who it is.
func accept(fd int) (int, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return result(r, errno)
}

// look is epoll_wait(2), which has another name on newer architectures. It waits for so many milliseconds.
func look(epoll int, events []unix.EpollEvent, ms int) (int, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	return result(r, errno)
}

func connect(fd int, to End) error {
	port := binary.NativeEndian.Uint16([]byte{byte(to.Port >> 8), byte(to.Port)}) // the bytes, as they are sent
	var at unsafe.Pointer
	var size uintptr
	if len(to.IP) == 4 {
		four := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port}
		copy(four.Addr[:], to.IP)
		at, size = unsafe.Pointer(four), unix.SizeofSockaddrInet4
	} else {
		six := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port}
		copy(six.Addr[:], to.IP)
		at, size = unsafe.Pointer(six), unix.SizeofSockaddrInet6
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(at), size)
	if errno != 0 {
		return errno
	}
	return nil
}
