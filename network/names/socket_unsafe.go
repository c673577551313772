// SPDX-License-Identifier: Apache-2.0

package names

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvfrom is recvfrom(2) without anything allocated: at thousands of questions
// a second, what x/sys makes of each address is most of the garbage.
func recvfrom(fd int, b []byte, from *unix.RawSockaddrInet4) (int, error) {
	size := uint32(unix.SizeofSockaddrInet4)
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendto is sendto(2) likewise.
func sendto(fd int, b []byte, to *unix.RawSockaddrInet4) error {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}
