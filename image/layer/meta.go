// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mode gives the permission, set-ID and sticky bits.
func mode(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

func (u *unpacker) chown(dirfd int, base string, uid, gid int) error {
	if u.opts.DropOwner {
		return nil
	}
	if err := checkIDs(uid, gid); err != nil {
		return err
	}
	return chownError(unix.Fchownat(dirfd, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW), uid, gid)
}

func (u *unpacker) fchown(fd, uid, gid int) error {
	if u.opts.DropOwner {
		return nil
	}
	if err := checkIDs(uid, gid); err != nil {
		return err
	}
	return chownError(unix.Fchown(fd, uid, gid), uid, gid)
}

// checkIDs refuses what isn't an ID; -1, too, which chown(2) takes for "leave it".
func checkIDs(uid, gid int) error {
	if uid < 0 || gid < 0 || uint64(uid) >= math.MaxUint32 || uint64(gid) >= math.MaxUint32 {
		return fmt.Errorf("owner %d:%d is out of range", uid, gid)
	}
	return nil
}

// chownError explains what EINVAL means here: user_namespaces(7).
func chownError(err error, uid, gid int) error {
	switch err {
	case nil:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("set owner %d:%d: it isn't in the user namespace's map; the ranges in /etc/subuid and /etc/subgid have to be larger: %w", uid, gid, err)
	}
	return fmt.Errorf("set owner %d:%d: %w", uid, gid, err)
}

const paxXattr = "SCHILY.xattr."

// xattrs applies an entry's extended attributes, in a fixed order.
//
// Left out are those that would speak to the host and not to the container: overlayfs' own, with which an image could
// redirect a path or hide files, and every security.* but the file capabilities, since labels and signatures are the
// host's to give.
func (u *unpacker) xattrs(h *tar.Header, set func(key string, value []byte) error) error {
	if len(h.PAXRecords) == 0 {
		return nil
	}
	for _, record := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		key, ok := strings.CutPrefix(record, paxXattr)
		if !ok || !wanted(key) {
			continue
		}
		err := set(key, []byte(h.PAXRecords[record]))
		switch {
		case err == nil:
		case err == unix.EPERM && u.opts.DropOwner && !strings.HasPrefix(key, "user."):
			// Goes with the owner.
		case err == unix.EPERM && strings.HasPrefix(key, "user.") && h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
			// user.* is for files and directories only: xattr(7).
		case err == unix.ENOTSUP && key != capability:
			// The file system has none of this kind.
		default:
			return fmt.Errorf("set attribute %q: %w", short(key), err)
		}
	}
	return nil
}

const capability = "security.capability"

func wanted(key string) bool {
	for _, prefix := range [...]string{"trusted.overlay.", "user.overlay."} {
		if strings.HasPrefix(key, prefix) {
			return false
		}
	}
	return key == capability || !strings.HasPrefix(key, "security.")
}

// pathXattrs is xattrs for what is named and not opened. There is no setxattrat(2) before Linux 6.13; the descriptor's
// link in /proc stands for the directory, and lsetxattr follows no symlink in the last part.
func (u *unpacker) pathXattrs(dirfd int, base string, h *tar.Header) error {
	return u.xattrs(h, func(k string, v []byte) error {
		return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dirfd, base), k, v, 0)
	})
}

// futimens sets the times of an open file (AT_EMPTY_PATH with utimensat(2): Linux 5.8).
func futimens(fd int, ts *[2]unix.Timespec) error {
	if err := unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
