// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// RootMount mounts a container's root on itself, in a mount namespace that is not
// the container's alone. What the container mounts comes below, and is taken back
// with it: no namespace ends that would.
type RootMount struct {
	Path      string `json:"path"`
	Namespace string `json:"namespace,omitempty"` // "/proc/PID/ns/mnt"; empty: ours
	// Over is what the path was in before: see MountAt. A root is often a mount
	// point of its engine's, which is not ours to take away.
	Over uint64 `json:"over"`
}

func (a *RootMount) Verb() string { return "mount-root" }
func (a *RootMount) Line() string {
	return fmt.Sprintf("mount --rbind %s %[1]s; mount --make-rprivate %[1]s", plan.Quote(a.Path))
}
func (a *RootMount) Shell(s *plan.Script) {
	in, p := enterMounts(a.Namespace), plan.Quote(a.Path)
	s.Run("%smount --rbind %s %[2]s", in, p)
	s.Run("%smount --make-rprivate %s", in, p)
	a.Undo().Shell(s.Undoing())
}
func (a *RootMount) Undo() plan.Host { return (*RootUnmount)(a) }
func (a *RootMount) Do(*plan.Env) error {
	return inMounts(a.Namespace, func() error {
		if err := unix.Mount(a.Path, a.Path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		return unix.Mount("", a.Path, "", unix.MS_PRIVATE|unix.MS_REC, "")
	})
}

// RootUnmount takes a RootMount away, with all that is mounted in it. Where there
// is none, or no such namespace any more, it does nothing.
type RootUnmount RootMount

func (a *RootUnmount) Verb() string         { return "umount-root" }
func (a *RootUnmount) Line() string         { return "umount -l " + plan.Quote(a.Path) }
func (a *RootUnmount) Shell(s *plan.Script) { s.Run("%s%s", enterMounts(a.Namespace), a.Line()) }
func (a *RootUnmount) Undo() plan.Host      { return nil }
func (a *RootUnmount) Do(*plan.Env) error {
	err := inMounts(a.Namespace, func() error {
		if id, err := MountAt(a.Path, ""); err != nil || id == a.Over {
			return err
		}
		return unix.Unmount(a.Path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // EINVAL: not a mount point
		return nil
	}
	return err
}

// MountAt is the ID of the mount that a path is in, in another mount namespace if
// one is named (statx(2), STATX_MNT_ID).
func MountAt(path, namespace string) (id uint64, err error) {
	err = inMounts(namespace, func() error {
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil {
			return &os.PathError{Op: "statx", Path: path, Err: err}
		}
		id = st.Mnt_id
		return nil
	})
	return id, err
}

func enterMounts(namespace string) string {
	if namespace == "" {
		return ""
	}
	return "nsenter --mount=" + plan.Quote(namespace) + " "
}

// inMounts runs f in a mount namespace, on a thread that ends with it: one whose
// folders are not the other threads' does not come back.
func inMounts(namespace string, f func() error) error {
	if namespace == "" {
		return f()
	}
	ns, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			done <- fmt.Errorf("enter mount namespace %s: %w", namespace, err)
			return
		}
		done <- f()
	}()
	return <-done
}
