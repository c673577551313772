// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// look is how a diagnosis looks at the machine. Nothing that it doesn't find
// is an error: the diagnosis then says less.
type look interface {
	read(path string) string       // a file's text without blanks around it, "" if it can't be read
	exists(path string) bool       // whether there is such a file
	mode(path string) uint32       // st_mode, 0 if it can't be read
	fsType(path string) string     // the name of the file system that a path is on
	hard(resource int) uint64      // our own hard limit
	euid() int                     // who we are
	said() string                  // what the kernel wrote about the mount that failed
	file(name string) *programFile // a file as the child sees it, nil if it can't be looked at
	arch() string                  // of the machine, as OCI names it
}

// machineLook is the machine that the program runs on, and the child on it.
type machineLook struct{ pid, pidfd int }

func (m *machineLook) read(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

func (m *machineLook) exists(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func (m *machineLook) mode(path string) uint32 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Mode
}

func (m *machineLook) hard(resource int) uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(resource, &l) != nil {
		return unix.RLIM_INFINITY
	}
	return l.Max
}

func (m *machineLook) euid() int { return os.Geteuid() }

// fsNames are file systems by their magic numbers (linux/magic.h): those that
// a layer of an overlay may find itself on.
var fsNames = [...]struct {
	magic uint32
	name  string
}{
	{unix.OVERLAYFS_SUPER_MAGIC, "overlay"},
	{unix.NFS_SUPER_MAGIC, "nfs"},
	{unix.FUSE_SUPER_MAGIC, "fuse"},
	{unix.V9FS_MAGIC, "9p"},
	{unix.CIFS_SUPER_MAGIC, "cifs"}, {unix.SMB2_SUPER_MAGIC, "cifs"},
	{unix.MSDOS_SUPER_MAGIC, "vfat"}, {unix.EXFAT_SUPER_MAGIC, "exfat"},
	{unix.ECRYPTFS_SUPER_MAGIC, "ecryptfs"},
	{unix.CEPH_SUPER_MAGIC, "ceph"},
	{0x2fc12fc1, "zfs"},
	{0x0bd00bd0, "lustre"},
	{unix.EXT4_SUPER_MAGIC, "ext4"}, {unix.XFS_SUPER_MAGIC, "xfs"}, {unix.BTRFS_SUPER_MAGIC, "btrfs"},
	{unix.F2FS_SUPER_MAGIC, "f2fs"}, {unix.TMPFS_MAGIC, "tmpfs"}, {unix.RAMFS_MAGIC, "ramfs"},
	{unix.SQUASHFS_MAGIC, "squashfs"}, {unix.EROFS_SUPER_MAGIC_V1, "erofs"},
	{unix.CGROUP2_SUPER_MAGIC, "cgroup2"}, {unix.CGROUP_SUPER_MAGIC, "cgroup"},
}

func (m *machineLook) fsType(path string) string {
	var st unix.Statfs_t
	if path == "" || unix.Statfs(path, &st) != nil {
		return ""
	}
	for _, n := range fsNames {
		if n.magic == uint32(st.Type) {
			return n.name
		}
	}
	return fmt.Sprintf("the file system with the number %#x", uint32(st.Type))
}

// said reads the log of the file system context that the child made last
// (fsopen(2)): a copy of its descriptor, where the kernel lets us have one.
func (m *machineLook) said() string {
	dir := fmt.Sprintf("/proc/%d/fd", m.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var fds []int
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		to, _ := os.Readlink(path.Join(dir, e.Name()))
		if err == nil && to == "anon_inode:[fscontext]" {
			fds = append(fds, n)
		}
	}
	if len(fds) == 0 {
		return ""
	}
	fd, err := unix.PidfdGetfd(m.pidfd, slices.Max(fds), 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	return lastMessage(fd)
}

// lastMessage reads the messages: each read(2) gives one, its level first.
func lastMessage(fd int) string {
	last := ""
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n <= 0 {
			return last
		}
		if text, ok := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "e "); ok {
			last = text
		}
	}
}
