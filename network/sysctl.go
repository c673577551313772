// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctl writes a kernel parameter, by its path below /proc, of the calling thread's network namespace.
func sysctl(path, value string) error { return mountedProc.sysctl(path, value) }

// A proc is a descriptor of a proc file system's root.
type proc int

// mountedProc is the one that is mounted on /proc: names that begin with it are looked up from nowhere else.
const mountedProc = proc(unix.AT_FDCWD)

// newProc is a proc file system of the caller's own, for parameters of a container's namespace. Below /proc/sys/net each network
// namespace that a name is looked up from adds another entry of that name to one chain of the kernel's cache, which stays as
// long as the namespace: with a thousand containers each look-up of /proc/sys/net/ipv6 would take two milliseconds,
// for all of the machine. Where a namespace has no right to another proc file system, it is the mounted one.
func newProc() proc {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return mountedProc
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return mountedProc
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return mountedProc
	}
	return proc(fd)
}

// close lets nobody wait: the kernel takes as long for it as all processors take to look up.
func (p proc) close() {
	if p != mountedProc {
		go unix.Close(int(p))
	}
}

func (p proc) sysctl(path, value string) error {
	name := path
	if p != mountedProc {
		name = strings.TrimPrefix(path, "/proc/")
	}
	fd, err := unix.Openat(int(p), name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(value))
	}
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", value, path, err)
	}
	return nil
}
