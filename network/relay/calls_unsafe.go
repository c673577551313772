// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls that each connection and each piece of it takes. None of them waits, or for a moment only, but the kernel does much of the container's
// end in them. The Go runtime, which has one processor in a monitor, would take it away from a call that lasts 20 µs, and give it to a thread
// that finds nothing to do: so it is not told.

//go:noinline
func call(number, fd uintptr, at unsafe.Pointer, size, flags uintptr) (int, error) {
	r, _, errno := unix.RawSyscall6(number, fd, uintptr(at), size, flags, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// read, write: b isn't empty.
func read(fd int, b []byte) (int, error) {
	return call(unix.SYS_READ, uintptr(fd), unsafe.Pointer(&b[0]), uintptr(len(b)), 0)
}

func write(fd int, b []byte) (int, error) {
	return call(unix.SYS_WRITE, uintptr(fd), unsafe.Pointer(&b[0]), uintptr(len(b)), 0)
}

// accept has no use for who it is.
func accept(fd int) (int, error) {
	return call(unix.SYS_ACCEPT4, uintptr(fd), nil, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// look is epoll_wait(2), which has another name on newer architectures. It waits for so many milliseconds.
func look(epoll int, events []unix.EpollEvent, ms int) (int, error) {
	return call(unix.SYS_EPOLL_PWAIT, uintptr(epoll), unsafe.Pointer(&events[0]), uintptr(len(events)), uintptr(ms))
}

// connect begins with the address as the kernel has it: the family is in the first two bytes, the port's bytes in the next as they are sent.
func connect(fd int, to End) error {
	six := unix.RawSockaddrInet6{Family: unix.AF_INET6}
	b := (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&six))
	size, at := uintptr(unix.SizeofSockaddrInet6), 8
	if len(to.IP) == 4 {
		six.Family = unix.AF_INET
		size, at = unix.SizeofSockaddrInet4, 4
	}
	b[2], b[3] = byte(to.Port>>8), byte(to.Port)
	copy(b[at:], to.IP)
	_, err := call(unix.SYS_CONNECT, uintptr(fd), unsafe.Pointer(&six), size, 0)
	return err
}
