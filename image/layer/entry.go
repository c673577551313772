// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// create calls f with the directory and the last part of name. If something is there already the archive means to
// replace it, as in every engine: it is removed, with all that is in it, and f gets a second try.
func (u *unpacker) create(name string, f func(dirfd int, base string) error) error {
	dirfd, base, err := u.parent(name)
	if err != nil {
		return err
	}
	if err = f(dirfd, base); !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := u.tree.remove(name); err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	if dirfd, base, err = u.tree.parent(name); err != nil {
		return err
	}
	return f(dirfd, base)
}

func (u *unpacker) regular(name string, h *tar.Header, content io.Reader) error {
	return u.create(name, func(dirfd int, base string) error {
		fd, err := openat(dirfd, base)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := u.fill(fd, content); err != nil {
			return err
		}
		// The order matters: to change the owner clears set-user-ID bits and file capabilities.
		if err := u.fchown(fd, h.Uid, h.Gid); err != nil {
			return err
		}
		if err := unix.Fchmod(fd, mode(h)); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
		if err := u.xattrs(h, func(k string, v []byte) error { return unix.Fsetxattr(fd, k, v, 0) }); err != nil {
			return err
		}
		return futimens(fd, times(h))
	})
}

func openat(dirfd int, base string) (fd int, err error) {
	for {
		fd, err = unix.Openat(dirfd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (u *unpacker) fill(fd int, content io.Reader) error {
	for {
		n, err := content.Read(u.buf)
		for b := u.buf[:n]; len(b) > 0; {
			w, err := unix.Write(fd, b)
			if err != nil && err != unix.EINTR {
				return fmt.Errorf("write: %w", err)
			}
			b = b[max(w, 0):]
		}
		u.res.Bytes += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
	}
}

// directory keeps a directory that is there, and replaces everything else.
func (u *unpacker) directory(name string, h *tar.Header) error {
	dirfd, base, err := u.parent(name)
	if err != nil {
		return err
	}
	// The owner may do everything until the end; finishDirs sets the mode that the archive asks for.
	if err = unix.Mkdirat(dirfd, base, 0o700); err == unix.EEXIST {
		st, err := stat(dirfd, base)
		switch {
		case err != nil:
			return err
		case isWhiteout(&st):
			return u.replaceWhiteout(name, func() error { return u.directory(name, h) })
		case !isDir(&st):
			if err := u.tree.remove(name); err != nil {
				return fmt.Errorf("replace: %w", err)
			}
			return u.directory(name, h)
		}
	} else if err != nil {
		return err
	}
	if err := u.chown(dirfd, base, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := u.pathXattrs(dirfd, base, h); err != nil {
		return err
	}
	return u.later(name, dirMeta{mode: mode(h), times: times(h)})
}

// rootDir is an entry for the layer's own directory.
func (u *unpacker) rootDir(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the layer's root has to be a directory", ErrName)
	}
	if err := u.fchown(u.tree.root, h.Uid, h.Gid); err != nil {
		return err
	}
	set := func(k string, v []byte) error { return unix.Fsetxattr(u.tree.root, k, v, 0) }
	if err := u.xattrs(h, set); err != nil {
		return err
	}
	return u.later(".", dirMeta{mode: mode(h), times: times(h)})
}

func (u *unpacker) symlink(name string, h *tar.Header) error {
	return u.create(name, func(dirfd int, base string) error {
		if err := unix.Symlinkat(h.Linkname, dirfd, base); err != nil {
			return err
		}
		return u.finish(dirfd, base, h)
	})
}

// hardlink links to a file of the same layer, never to what a symlink points at. Owner, mode and times are the file's.
func (u *unpacker) hardlink(name string, h *tar.Header) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", short(h.Linkname), err)
	}
	if target == name {
		return nil
	}
	return u.create(name, func(dirfd int, base string) error {
		// The tree keeps one parent; this one has to outlive the look-up of the other.
		dirfd, err := unix.FcntlInt(uintptr(dirfd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dirfd)
		from, fromBase, err := u.tree.parent(target)
		if err == nil {
			err = unix.Linkat(from, fromBase, dirfd, base, 0)
		}
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", short(h.Linkname), err)
		}
		return nil
	})
}

// node makes a device or a fifo.
func (u *unpacker) node(name string, h *tar.Header) error {
	kind := uint32(unix.S_IFIFO)
	switch h.Typeflag {
	case tar.TypeChar:
		kind = unix.S_IFCHR
	case tar.TypeBlock:
		kind = unix.S_IFBLK
	}
	if h.Devmajor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor < 0 || h.Devminor > math.MaxUint32 {
		return fmt.Errorf("device number %d:%d is out of range", h.Devmajor, h.Devminor)
	}
	dev := 0
	if h.Typeflag != tar.TypeFifo {
		dev = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	return u.create(name, func(dirfd int, base string) error {
		err := unix.Mknodat(dirfd, base, kind|0o600, dev)
		if err == unix.EPERM && h.Typeflag != tar.TypeFifo {
			if !u.opts.IgnoreDevices {
				return fmt.Errorf("make device %d:%d: %w", h.Devmajor, h.Devminor, ErrDevice)
			}
			if len(u.res.Skipped) < maxSkipped {
				u.res.Skipped = append(u.res.Skipped, name)
			}
			return nil
		}
		if err != nil {
			return err
		}
		return u.finish(dirfd, base, h)
	})
}

// finish sets the metadata of what was made just now and isn't opened: a symlink, a device, a fifo.
func (u *unpacker) finish(dirfd int, base string, h *tar.Header) error {
	if err := u.chown(dirfd, base, h.Uid, h.Gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink { // whose mode nobody asks for
		if err := unix.Fchmodat(dirfd, base, mode(h), 0); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	if err := u.pathXattrs(dirfd, base, h); err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(dirfd, base, times(h)[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
