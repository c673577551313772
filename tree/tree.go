// SPDX-License-Identifier: Apache-2.0

// Package tree goes through a container's files from outside: it says what has
// changed, packs files into an archive, and unpacks one among them.
//
// The files are a stranger's, and he may change them while we look. So a path
// is resolved by the kernel, within the container's root (openat2(2),
// RESOLVE_IN_ROOT), and everything below it is reached by descriptor and single
// name, with no link followed. A container that could lead us elsewhere could
// read and write the host's files (CVE-2018-15664, CVE-2019-14271).
//
// To unpack an image's layer is package image/layer's: nobody else is there then.
package tree

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Range maps IDs outside a container to those inside.
type Range struct{ Inside, Outside, Size uint32 }

// IDs are the users and groups of a container whose files we see with the IDs
// that they have outside. Nil: we see them as the container does.
type IDs struct{ UID, GID []Range }

// inside is the container's ID; those that it doesn't know are nobody's.
func inside(ids []Range, id uint32) int {
	for _, r := range ids {
		if id >= r.Outside && id-r.Outside < r.Size {
			return int(r.Inside + (id - r.Outside))
		}
	}
	if len(ids) == 0 {
		return int(id)
	}
	return nobody
}

// nobody is what the kernel shows for an ID that has no name (overflowuid).
const nobody = 65534

func (m *IDs) inside(st *unix.Stat_t) (uid, gid int) {
	if m == nil {
		return int(st.Uid), int(st.Gid)
	}
	return inside(m.UID, st.Uid), inside(m.GID, st.Gid)
}

// A Root is a tree of files whose paths begin at a descriptor.
type Root struct {
	FD int
	// Host: it is the host's own root, where a path means what it always does.
	Host bool
}

// open resolves a path; the last part is a link only if flags have O_NOFOLLOW.
func (r Root) open(name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC)}
	if !r.Host {
		how.Resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	}
	if name == "" {
		name = "/"
	}
	return openat2(r.FD, name, &how)
}

// Place opens a place for a mount, with a path of the tree; it is made if it
// isn't there.
func (r Root) Place(name string, folder bool) (int, error) {
	abs, _ := clean(name)
	fd, err := r.open(abs, unix.O_PATH)
	if err != unix.ENOENT || abs == "/" {
		return fd, err
	}
	up, err := r.Place(path.Dir(abs), true)
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	if folder {
		err = unix.Mkdirat(up, path.Base(abs), 0o755)
	} else {
		err = unix.Mknodat(up, path.Base(abs), unix.S_IFREG|0o644, 0)
	}
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return r.open(abs, unix.O_PATH)
}

// openat2 tries again when somebody renames something during a walk through "..".
func openat2(dir int, name string, how *unix.OpenHow) (int, error) {
	for range 1000 {
		fd, err := unix.Openat2(dir, name, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// openDir opens a folder in a folder, which is no link.
func openDir(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func lstat(dir int, name string) (st unix.Stat_t, err error) {
	return st, unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
}

func isDir(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// isWhiteout knows overlayfs' mark for a file that is deleted.
func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// names are a folder's entries, in order.
func names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "folder")
	defer f.Close()
	list, err := f.Readdirnames(-1)
	slices.Sort(list)
	return list, err
}

// attribute reads an extended attribute of an open file; nil if it has none.
func attribute(fd int, name string) []byte {
	buf := make([]byte, 256)
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		if err == unix.ERANGE {
			buf = make([]byte, 64<<10) // XATTR_SIZE_MAX
			continue
		}
		if err != nil {
			return nil
		}
		return buf[:n]
	}
}

// overlay reads one of overlayfs' notes, which it keeps in one of two places.
func overlay(fd int, name string) []byte {
	if v := attribute(fd, "trusted.overlay."+name); v != nil {
		return v
	}
	return attribute(fd, "user.overlay."+name)
}

// An Error is what went wrong with one file.
type Error struct {
	Op, Path string
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// at names the file once, where it is known.
func at(op, name string, err error) error {
	if err == nil || errors.As(err, new(*Error)) {
		return err
	}
	return &Error{op, name, err}
}

// clean makes a container's path absolute, and says whether it has to be a
// folder: "x/", "x/.".
func clean(name string) (abs string, folder bool) {
	folder = name == "" || name == "." || strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") || strings.HasSuffix(name, "/..")
	return path.Clean("/" + name), folder
}
