// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// MappedBind makes a copy of a mount, attached to nothing yet, whose files
// show other owners: the owner that a file has is the ID inside, the one that
// is seen is the ID outside (mount_setattr(2), ID-mapped mounts; Linux 5.12).
//
// Only who has CAP_SYS_ADMIN over the file system may make one, so the host
// does, and the child inherits it.
type MappedBind struct {
	Source string `json:"source"`
	Below  string `json:"below,omitempty"` // a place in the source, found within it
	Target string `json:"target"`          // where it is going to be
	As     string `json:"as"`              // its handle
	// Recursive: the mounts below are copied as well; MapRecursive: and mapped.
	Recursive    bool    `json:"recursive,omitempty"`
	MapRecursive bool    `json:"mapRecursive,omitempty"`
	UID          []Range `json:"uid"`
	GID          []Range `json:"gid"`
}

func (a *MappedBind) Verb() string    { return "mapped-bind" }
func (a *MappedBind) Undo() plan.Host { return nil }
func (a *MappedBind) option() string {
	var b strings.Builder
	b.WriteString("X-mount.idmap=")
	for _, m := range [...]struct {
		kind   string
		ranges []Range
	}{{"u", a.UID}, {"g", a.GID}} {
		for _, r := range m.ranges {
			if !strings.HasSuffix(b.String(), "=") {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%s:%d:%d:%d", m.kind, r.Container, r.Host, r.Size)
		}
	}
	return b.String()
}

func (a *MappedBind) flag() string {
	if a.Recursive {
		return "--rbind"
	}
	return "--bind"
}

func (a *MappedBind) Line() string {
	return fmt.Sprintf("mount %s -o %s", a.flag(), plan.Quote(a.option(), path.Join(a.Source, a.Below), a.Target))
}

func (a *MappedBind) Shell(s *plan.Script) {
	s.Note("%s: the child's mounts are its own; mount(8) of util-linux 2.39 maps owners", a.Line())
}

// Do leaves the mount as the handle As.
func (a *MappedBind) Do(e *plan.Env) error {
	ns, err := UserNamespace(a.UID, a.GID)
	if err != nil {
		return fmt.Errorf("make user namespace: %w", err)
	}
	defer ns.Close()
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if a.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	from, err := a.from()
	if err != nil {
		return err
	}
	defer unix.Close(from)
	fd, err := unix.OpenTree(from, "", flags|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	flags = unix.AT_EMPTY_PATH
	if a.MapRecursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(fd, "", flags, &attr); err != nil {
		unix.Close(fd)
		return &UnmappableError{Source: a.Source, Err: err}
	}
	e.Handles[a.As] = fd
	return nil
}

// from is what is to be mounted.
func (a *MappedBind) from() (int, error) {
	top, err := unix.Open(a.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil || a.Below == "" {
		return top, err
	}
	defer unix.Close(top)
	return unix.Openat2(top, a.Below, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// UnmappableError says that the owners of a mount can't be mapped.
type UnmappableError struct {
	Source string
	Err    error
}

func (e *UnmappableError) Error() string {
	return fmt.Sprintf("map owners of %q: %v", e.Source, e.Err)
}

// Unwrap returns the kernel's error.
func (e *UnmappableError) Unwrap() error { return e.Err }

// Hint says what the kernel wants.
func (e *UnmappableError) Hint() string {
	if errors.Is(e.Err, unix.EPERM) {
		return "run as root: it takes CAP_SYS_ADMIN where the file system was mounted, and a mount can be mapped once only"
	}
	return "its file system, or one mounted below it, can't map owners (ext4, xfs, btrfs and tmpfs can); put the folder on another, or leave out the option idmap"
}

// UserNamespace makes a user namespace with maps, and nobody in it. It takes a
// process to make one: that is stopped before it runs a single instruction.
func UserNamespace(uid, gid []Range) (*os.File, error) {
	p, err := os.StartProcess("/proc/self/exe", []string{"user-namespace"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: procMap(uid), GidMappings: procMap(gid), Ptrace: true, Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
	_ = p.Kill()
	_, _ = p.Wait()
	return f, err
}

func procMap(ranges []Range) (ids []syscall.SysProcIDMap) {
	for _, r := range ranges {
		ids = append(ids, syscall.SysProcIDMap{ContainerID: int(r.Container), HostID: int(r.Host), Size: int(r.Size)})
	}
	return ids
}
