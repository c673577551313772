// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// whiteout marks name as deleted from the layers below. The mark never hides what its own layer has (OCI image spec):
// there a file hides the lower one anyway, and a directory becomes opaque, so that nothing lower shows through.
//
// The kernel lets everybody make this one device node since 5.8, in every user namespace.
func (u *unpacker) whiteout(name string) error {
	dirfd, base, err := u.parent(name)
	if err != nil {
		return err
	}
	err = unix.Mknodat(dirfd, base, unix.S_IFCHR, 0)
	switch {
	case err == unix.EPERM:
		return fmt.Errorf("mark as deleted: without root this needs Linux 5.8: %w", err)
	case err != unix.EEXIST:
		return err
	}
	st, err := stat(dirfd, base)
	if err == nil && isDir(&st) {
		return u.setOpaque(name)
	}
	return err
}

// opaque marks a directory as replaced as a whole.
func (u *unpacker) opaque(name string) error {
	if name == "." {
		// Overlayfs doesn't look at this mark on a layer's own root: who stacks the layers has to.
		u.res.Opaque = true
		return nil
	}
	// The parent of something in it: so the directory exists, if need be.
	if _, _, err := u.parent(name + "/x"); err != nil {
		return err
	}
	return u.setOpaque(name)
}

// replaceWhiteout puts a directory, which mkdir makes, where the mark of a deleted file is. It has to hide the lower
// directory as well.
func (u *unpacker) replaceWhiteout(name string, mkdir func() error) error {
	if err := u.tree.remove(name); err != nil {
		return err
	}
	if err := mkdir(); err != nil {
		return err
	}
	return u.setOpaque(name)
}

func (u *unpacker) setOpaque(name string) error {
	fd, err := u.tree.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	key := "trusted.overlay.opaque"
	if u.opts.UserXattr {
		key = "user.overlay.opaque"
	}
	if err := unix.Fsetxattr(fd, key, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark as replaced: set %s: %w", key, err)
	}
	return nil
}
