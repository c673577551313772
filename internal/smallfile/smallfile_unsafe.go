// SPDX-License-Identifier: Apache-2.0

// Package smallfile reads and writes small files in the fewest system calls.
//
// Package os asks about each file it opens whether it can be polled, in five
// calls, and the first of them starts the Go runtime's poller: half of what a
// container's start asks of the host's kernel. A file of ours, or one of /proc, never can.
//
// The calls are raw: the runtime does not look for other work meanwhile, which
// costs more than they do. So this is not for what may block for long.
package smallfile

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads a file. What falls short of what was asked for is taken for the
// end of a file of a disk, and not of one of the kernel's.
func Read(path string) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer closeRaw(fd)
	var buf [4096]byte // on the stack: a page of garbage for each file would be dear
	data := buf[:0]
	for {
		n, errno := transfer(unix.SYS_READ, fd, data[len(data):cap(data)])
		if errno != 0 {
			return nil, &fs.PathError{Op: "read", Path: path, Err: errno}
		}
		if n == 0 {
			return bytes.Clone(data), nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		} else if onDisk(path) {
			return bytes.Clone(data), nil
		}
	}
}

// onDisk tells the files of file systems apart from those that the kernel makes
// when they are read, piece by piece.
func onDisk(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/proc/") && !strings.HasPrefix(path, "/sys/")
}

// First reads the beginning of a file into buf, by one call of the kernel's: all
// of it, where the kernel makes a file's text at once, as in /proc/PID/stat, and
// it fits. It returns what it has filled.
func First(path string, buf []byte) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer closeRaw(fd)
	n, errno := transfer(unix.SYS_READ, fd, buf)
	if errno != 0 {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errno}
	}
	return buf[:n], nil
}

// Write writes a file, which is made if it is not there, and emptied if it is.
func Write(path string, data []byte, mode uint32) error {
	fd, err := open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, mode)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n, errno := transfer(unix.SYS_WRITE, fd, data)
		if errno != 0 {
			closeRaw(fd)
			return &fs.PathError{Op: "write", Path: path, Err: errno}
		}
		data = data[n:]
	}
	if errno := closeRaw(fd); errno != 0 {
		return &fs.PathError{Op: "close", Path: path, Err: errno}
	}
	return nil
}

// Open opens a file. It is closed when a program is executed.
func Open(path string, flags int, mode uint32) (*os.File, error) {
	fd, err := open(path, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func open(path string, flags int, mode uint32) (int, error) {
	var short [256]byte // on the stack, as most paths are
	p := &short[0]
	if len(path) < len(short) && strings.IndexByte(path, 0) < 0 {
		copy(short[:], path)
	} else {
		long, err := unix.BytePtrFromString(path)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		p = long
	}
	at := unix.AT_FDCWD
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(flags|unix.O_CLOEXEC|unix.O_LARGEFILE), uintptr(mode), 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, &fs.PathError{Op: "open", Path: path, Err: errno}
		}
	}
}

func transfer(call uintptr, fd int, data []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

func closeRaw(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return errno
}
