// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// CopyUp makes a tmpfs, attached to nothing yet, that starts with a copy of
// what the container's root has at its place: the mount option tmpcopyup. The
// child inherits it.
//
// The place is found within the root (openat2(2), RESOLVE_IN_ROOT), and below
// it everything by descriptor and single name, with no link followed. Mounts of
// the container's are not there yet: it is the root's own folder that is copied.
type CopyUp struct {
	Root    string    `json:"root"`
	Target  string    `json:"target"`
	As      string    `json:"as"` // its handle
	Options []string  `json:"options,omitempty"`
	Attr    plan.Attr `json:"attr,omitempty"`
}

func (a *CopyUp) Verb() string    { return "copy-up" }
func (a *CopyUp) Undo() plan.Host { return nil }
func (a *CopyUp) Line() string {
	line := "mount -t tmpfs"
	if len(a.Options) > 0 {
		line += " -o " + plan.Quote(strings.Join(a.Options, ","))
	}
	return line + " " + plan.Quote("tmpfs", a.Target) + ", with a copy of what the root has there"
}

func (a *CopyUp) Shell(s *plan.Script) {
	s.Note("%s: before the child is born there is no place for it; cp -a would copy", a.Line())
}

// Do leaves the tmpfs as the handle As.
func (a *CopyUp) Do(e *plan.Env) error {
	fd, err := a.mount()
	if err != nil {
		return fmt.Errorf("make tmpfs: %w", err)
	}
	err = a.fill(fd)
	if err == nil && a.Attr != 0 {
		err = a.restrict(fd)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	e.Handles[a.As] = fd
	return nil
}

func (a *CopyUp) mount() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range append([]string{"source=tmpfs"}, a.Options...) {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return -1, fmt.Errorf("option %q: %w", o, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// restrict sets the mount's attributes, when all is in it: it may be read-only.
func (a *CopyUp) restrict(fd int) error {
	attr := unix.MountAttr{Attr_set: uint64(a.Attr)}
	if a.Attr&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 {
		attr.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)
}

func (a *CopyUp) fill(fd int) error {
	root, err := unix.Open(a.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root %q: %w", a.Root, err)
	}
	defer unix.Close(root)
	from, err := unix.Openat2(root, a.Target, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err == unix.ENOENT {
		return nil // nothing to copy
	}
	if err != nil {
		return fmt.Errorf("open %q in the root: %w", a.Target, err)
	}
	defer unix.Close(from)
	to, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	c := copier{to: to, linked: make(map[inode]string)}
	if err := c.folder(from, to, ""); err != nil {
		return err
	}
	return a.top(from, to)
}

// top makes the tmpfs's own root what the folder is, in what its options don't say.
func (a *CopyUp) top(from, to int) error {
	var was unix.Stat_t
	if err := unix.Fstat(to, &was); err != nil {
		return err
	}
	if err := finish(from, to); err != nil {
		return err
	}
	uid, gid := -1, -1
	if a.given("uid") {
		uid = int(was.Uid)
	}
	if a.given("gid") {
		gid = int(was.Gid)
	}
	if err := unix.Fchown(to, uid, gid); err != nil {
		return err
	}
	if a.given("mode") {
		return unix.Fchmod(to, was.Mode&0o7777)
	}
	return nil
}

// given reports whether an option of the tmpfs has said what its root is to be.
func (a *CopyUp) given(key string) bool {
	return slices.ContainsFunc(a.Options, func(o string) bool { return strings.HasPrefix(o, key+"=") })
}
