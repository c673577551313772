// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RemoveAll takes away a directory tree, as os.RemoveAll, and isn't stopped by directories that their own owner may
// not write to or read, of which images have some. Nothing at path is no error.
func RemoveAll(path string) error {
	dirfd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	defer unix.Close(dirfd)
	if err := removeAt(dirfd, filepath.Base(path)); err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return nil
}

// removeAt follows no symlink. It doesn't recurse: a hostile tree can be deeper than there are descriptors to hold, so
// directories below the first level are moved up to it before their turn comes.
func removeAt(dirfd int, base string) error {
	isEmpty, err := unlink(dirfd, base)
	if isEmpty || err != nil {
		return err
	}
	top, err := openDir(dirfd, base)
	if err != nil {
		return err
	}
	defer top.Close()
	for moved := 0; ; {
		names, err := top.Readdirnames(-1)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR)
		}
		for _, name := range names {
			if err := flatten(int(top.Fd()), name, &moved); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
		if _, err := top.Seek(0, 0); err != nil {
			return err
		}
	}
}

// flatten removes name from top; directories in it that aren't empty become directories of top.
func flatten(top int, name string, moved *int) error {
	gone, err := unlink(top, name)
	if gone || err != nil {
		return err
	}
	dir, err := openDir(top, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	children, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, child := range children {
		gone, err := unlink(int(dir.Fd()), child)
		for !gone && err == nil {
			*moved++
			err = unix.Renameat2(int(dir.Fd()), child, top, fmt.Sprintf(".moved-%d", *moved), unix.RENAME_NOREPLACE)
			if gone = err == nil; err == unix.EEXIST {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("%q: %w", child, err)
		}
	}
	return unix.Unlinkat(top, name, unix.AT_REMOVEDIR)
}

// unlink removes a file or an empty directory, and says whether it, or nothing, was there. A directory that isn't empty
// is made accessible to its owner.
func unlink(dirfd int, base string) (gone bool, err error) {
	err = unix.Unlinkat(dirfd, base, 0)
	if err == nil || err == unix.ENOENT {
		return true, nil
	}
	st, serr := stat(dirfd, base)
	if serr != nil || !isDir(&st) {
		return false, err
	}
	err = unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR)
	if err == nil || err != unix.ENOTEMPTY {
		return err == nil, err
	}
	if st.Mode&0o700 != 0o700 {
		// fchmodat follows symlinks, but this is a directory.
		return false, unix.Fchmodat(dirfd, base, 0o700, 0)
	}
	return false, nil
}

func openDir(dirfd int, base string) (*os.File, error) {
	fd, err := unix.Openat(dirfd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), base), nil
}
