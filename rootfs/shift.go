// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// A ShiftedOverlay is an overlay whose layers show other owners: root's files
// are those of the root of a user namespace. Only the machine's root may make
// one, so the host does, and the child inherits it.
//
// Each layer is an idmapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP; under
// overlay since Linux 5.19).
type ShiftedOverlay struct {
	Overlay plan.Overlay `json:"overlay"`
	First   uint32       `json:"first"` // the host's ID of the container's root
	Size    uint32       `json:"size"`
}

func (a *ShiftedOverlay) Verb() string    { return "shifted-overlay" }
func (a *ShiftedOverlay) Undo() plan.Host { return nil }
func (a *ShiftedOverlay) Line() string {
	return fmt.Sprintf("%s, owners of the layers mapped from 0 to %d", a.Overlay.Line(), a.First)
}

func (a *ShiftedOverlay) Shell(s *plan.Script) {
	s.Run("echo 'this container needs layers with mapped owners (mount_setattr(2), MOUNT_ATTR_IDMAP), which no shell command makes for an overlay' >&2; exit 1")
}

// Do leaves the overlay as the handle "/".
//
// Kernels before 6.15 take only layers that are mounted somewhere. So a thread
// goes to a mount namespace of its own, mounts them there, and ends; overlay
// keeps its own copies.
func (a *ShiftedOverlay) Do(e *plan.Env) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		fd, err := a.make()
		e.Handles["/"] = fd
		if err != nil {
			delete(e.Handles, "/")
		}
		done <- err
	}()
	return <-done
}

// make runs on a thread that nothing else will run on.
func (a *ShiftedOverlay) make() (int, error) {
	ids := []host.Range{{Host: a.First, Size: a.Size}}
	ns, err := host.UserNamespace(ids, ids)
	if err != nil {
		return -1, fmt.Errorf("make user namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("unshare mount namespace: %w", err)
	}
	at := a.Overlay.At
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		return -1, fmt.Errorf("mount a place for the layers: %w", err)
	}
	o := a.Overlay
	o.Layers = nil
	for i, dir := range a.Overlay.Layers {
		place := fmt.Sprintf("%s/%d", at, i)
		if err := mapped(dir, place, int(ns.Fd())); err != nil {
			return -1, fmt.Errorf("map owners of layer %s: %w", dir, err)
		}
		o.Layers = append(o.Layers, place)
	}
	place := at + "/root"
	if err := unix.Mkdir(place, 0o700); err != nil {
		return -1, err
	}
	if err := unix.Mount("overlay", place, "overlay", 0, o.Data()); err != nil {
		return -1, err
	}
	return unix.OpenTree(unix.AT_FDCWD, place, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

// mapped mounts a layer with mapped owners.
func mapped(dir, place string, ns int) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return err
	}
	if err := unix.Mkdir(place, 0o700); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// Shift is Mount for a user namespace of root's making: a host step, that goes
// with Before.
func (r *Root) Shift(first, size uint32) (plan.Step, error) {
	o := plan.Overlay{Layers: r.Layers, Upper: r.Dir + "/upper", Work: r.Dir + "/work", At: r.At()}
	if o.OptionsSize() > page {
		return plan.Step{}, fmt.Errorf("make root file system: %d layers need more mount options than the kernel takes", len(r.Layers))
	}
	return plan.Step{Action: &ShiftedOverlay{Overlay: o, First: first, Size: size}, Why: "root's files in the image belong to the container's root, who is somebody else outside"}, nil
}
