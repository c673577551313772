// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/smallfile"
)

// Kernel is the FS of the machine that the program runs on.
type Kernel struct{}

// Read reads a whole file.
func (Kernel) Read(path string) (string, error) { return readFile(path) }

// Exists reports whether there is a file or folder.
func (Kernel) Exists(path string) bool { return exists(path) }

// Writable asks the kernel with the effective user, which is the one that
// will write. A file system that is mounted read-only is not writable.
func (Kernel) Writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

func exists(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.F_OK, 0) == nil
}

// openFile opens a file of a cgroup for the readers below. The folder's name
// comes from a state file, so what it leads to is checked to be a cgroup.
func openFile(dir, name string, flags int) (int, error) {
	path := dir + "/" + name
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Statfs_t
	err = unix.Fstatfs(fd, &st)
	if err == nil && st.Type != unix.CGROUP2_SUPER_MAGIC && st.Type != unix.CGROUP_SUPER_MAGIC {
		err = unix.EXDEV
	}
	if err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// get reads a file of a cgroup.
func get(dir, name string) (string, error) {
	fd, err := openFile(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readAll(fd, dir+"/"+name)
}

// glance reads a file of a cgroup by one call: all of it, but where it is a list
// of processes, which the kernel makes piece by piece.
func glance(dir, name string) (string, error) {
	fd, err := openFile(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [4096]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: dir + "/" + name, Err: err}
	}
	if n == len(buf) {
		rest, err := readAll(fd, dir+"/"+name)
		return string(buf[:n]) + rest, err
	}
	return string(buf[:n]), nil
}

// put writes a value to a file of a cgroup, in one write(2).
func put(dir, name, value string) error {
	fd, err := openFile(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write " + value + " to", Path: dir + "/" + name, Err: err}
	}
	return nil
}

func readFile(path string) (string, error) {
	data, err := smallfile.Read(path)
	return string(data), err
}

func readAll(fd int, path string) (string, error) {
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return b.String(), nil
		}
		b.Write(buf[:n])
	}
}
