// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// A tree is the layer's directory. Paths go in relative to it and never leave it: the kernel resolves them.
type tree struct {
	root int // not the tree's to close

	// The parent of the entry before, since archives list a directory's files one after the other.
	parentName string
	parentFD   int
}

func (t *tree) close() {
	if t.parentFD >= 0 {
		unix.Close(t.parentFD)
	}
	t.parentName, t.parentFD = "", -1
}

// open opens a path of the tree. EAGAIN is openat2's answer when somebody renamed something, anywhere on the machine,
// during a walk through "..": it says to try again.
func (t *tree) open(name string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range 1000 {
		fd, err := unix.Openat2(t.root, name, &how)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR, unix.EAGAIN:
		case unix.EXDEV:
			return -1, fmt.Errorf("%q: a symlink %w", name, ErrEscape)
		case unix.ENOSYS:
			return -1, errors.New("openat2 isn't available: it needs Linux 5.6, and a seccomp filter that lets it through")
		default:
			return -1, err
		}
	}
	return -1, unix.EAGAIN
}

// parent gives a descriptor for the directory of name, valid until the next call, and the last part of name.
func (t *tree) parent(name string) (int, string, error) {
	dir, base := path.Dir(name), path.Base(name)
	if dir == t.parentName {
		return t.parentFD, base, nil
	}
	fd, err := t.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", err
	}
	t.close()
	t.parentName, t.parentFD = dir, fd
	return fd, base, nil
}

// remove takes away whatever name is. The parent that was kept may have been in it, so it is forgotten.
func (t *tree) remove(name string) error {
	dirfd, base, err := t.parent(name)
	if err != nil {
		return err
	}
	err = removeAt(dirfd, base)
	t.close()
	return err
}

// stat doesn't follow a symlink in the last part.
func stat(dirfd int, base string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// isWhiteout knows overlayfs' mark for a deleted file.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
