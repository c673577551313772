// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copier copies a tree of files with all that they are: contents, owners,
// modes, times, links, nodes and extended attributes. It works by descriptors and
// single names: whoever changes the tree meanwhile can't lead it elsewhere.
type copier struct {
	to     int              // the copy's top
	linked map[inode]string // the first name of a file with several, from the top
}

type inode struct{ dev, ino uint64 }

// folder copies what is in a folder; path is the folder's, from the top, for
// links and errors.
func (c *copier) folder(from, to int, path string) error {
	names, err := list(from)
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	for _, name := range names {
		full := strings.TrimPrefix(path+"/"+name, "/")
		if err := c.entry(from, to, name, full); err != nil {
			if inner := new(copyError); errors.As(err, &inner) {
				return err
			}
			return &copyError{full, err}
		}
	}
	return nil
}

// copyError names the file that could not be copied, once.
type copyError struct {
	path string
	err  error
}

func (e *copyError) Error() string { return fmt.Sprintf("copy %q: %v", e.path, e.err) }
func (e *copyError) Unwrap() error { return e.err }

func list(fd int) ([]string, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(own), "folder")
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func (c *copier) entry(from, to int, name, full string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		key := inode{uint64(st.Dev), st.Ino}
		if first, ok := c.linked[key]; ok {
			return unix.Linkat(c.to, first, to, name, 0)
		}
		c.linked[key] = full
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subfolder(from, to, name, full)
	case unix.S_IFREG:
		return file(from, to, name)
	case unix.S_IFLNK:
		return symlink(from, to, name, &st)
	}
	if err := unix.Mknodat(to, name, st.Mode, int(st.Rdev)); err != nil {
		return err
	}
	return describe(to, name, &st)
}

func (c *copier) subfolder(from, to int, name, full string) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	src, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := c.folder(src, dst, full); err != nil {
		return err
	}
	return finish(src, dst)
}

// file copies a regular file. It asks the descriptor again what it is: the name
// may be another's by now.
func file(from, to int, name string) error {
	fd, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(fd), name)
	defer src.Close()
	if fd, err = unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600); err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), name)
	defer dst.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it has changed into something else meanwhile")
	}
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return finish(int(src.Fd()), int(dst.Fd()))
}

func symlink(from, to int, name string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
		return err
	}
	return describe(to, name, st)
}

// describe gives a file its owner, mode and times by name; of a link there is
// no mode.
func describe(to int, name string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(to, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish gives a file or folder the owner, the attributes, the mode and the
// times of another, in this order: a new owner takes capabilities and the
// setuid bit away.
func finish(src, dst int) error {
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	if err := unix.Fchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := xattrs(src, dst); err != nil {
		return err
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(dst, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
}

// xattrs copies the extended attributes that a tmpfs can hold.
func xattrs(src, dst int) error {
	size, err := unix.Flistxattr(src, nil)
	if err != nil || size == 0 {
		return none(err)
	}
	names := make([]byte, size)
	if size, err = unix.Flistxattr(src, names); err != nil || size == 0 { // overlay counts its own, and then hides them
		return none(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(src, name, value)
		if err == nil {
			err = unix.Fsetxattr(dst, name, value[:n], 0)
		}
		if err := none(err); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// none: a file system without such attributes is no error, nor is one that is gone.
func none(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return err
}

// CopyTree copies what is in one folder, and what that folder is, to another,
// empty one: both are descriptors. No link is followed.
func CopyTree(from, to int) error {
	c := copier{to: to, linked: make(map[inode]string)}
	if err := c.folder(from, to, ""); err != nil {
		return err
	}
	return finish(from, to)
}

// CopyMeta makes a folder or file what another one is, but for its contents:
// owner, attributes, mode and times.
func CopyMeta(from, to int) error { return finish(from, to) }

// ChownTree gives all that is in a folder, and the folder, to a user and a
// group. No link is followed; what is mounted in it is left alone.
func ChownTree(path string, uid, gid int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := chownIn(fd, "", uint64(st.Dev), uid, gid); err != nil {
			return err
		}
	}
	return unix.Fchown(fd, uid, gid)
}

func chownIn(dir int, path string, dev uint64, uid, gid int) error {
	names, err := list(dir)
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	for _, name := range names {
		full := strings.TrimPrefix(path+"/"+name, "/")
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &copyError{full, err}
		}
		if uint64(st.Dev) != dev {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			sub, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return &copyError{full, err}
			}
			err = chownIn(sub, full, dev, uid, gid)
			unix.Close(sub)
			if err != nil {
				return err
			}
		}
		if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("chown %q: %w", full, err)
		}
	}
	return nil
}
