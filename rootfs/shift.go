// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

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
	s.Note("mount(8) maps owners from version 2.39 on only (X-mount.idmap): with an older one, the files belong to nobody")
}

// Do leaves the overlay as the handle "/".
func (a *ShiftedOverlay) Do(e *plan.Env) error {
	ns, err := userNamespace(a.First, a.Size)
	if err != nil {
		return fmt.Errorf("make user namespace: %w", err)
	}
	defer ns.Close()
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for i := len(a.Overlay.Layers) - 1; i >= 0; i-- {
		fd, err := addLayer(fs, a.Overlay.Layers[i], int(ns.Fd()))
		if err != nil {
			return fmt.Errorf("map owners of layer %s: %w", a.Overlay.Layers[i], err)
		}
		// A mount that is attached to nothing is taken apart when its last
		// descriptor is closed, and overlay clones it at its own creation.
		defer unix.Close(fd)
	}
	for _, o := range [...][2]string{{"upperdir", a.Overlay.Upper}, {"workdir", a.Overlay.Work}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	e.Handles["/"], err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	return err
}

// addLayer makes a mount of a layer with mapped owners, and names it to overlay.
func addLayer(fs int, dir string, ns int) (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)}
	if err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err == nil {
		err = unix.FsconfigSetString(fs, "lowerdir+", fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// userNamespace makes a user namespace with a map, and nobody in it. It takes
// a process to make one: that is stopped before it runs a single instruction.
func userNamespace(first, size uint32) (*os.File, error) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(first), Size: int(size)}}
	p, err := os.StartProcess("/proc/self/exe", []string{"user-namespace"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
	_ = p.Kill()
	_, _ = p.Wait()
	return f, err
}

// Shift is Mount for a user namespace of root's making: a host step, that goes
// with Before.
func (r *Root) Shift(first, size uint32) (plan.Step, error) {
	if !r.Append {
		return plan.Step{}, fmt.Errorf("make root file system: layers with mapped owners need Linux 6.7")
	}
	o := plan.Overlay{Layers: r.Layers, Upper: r.Dir + "/upper", Work: r.Dir + "/work", Append: true, At: r.At()}
	return plan.Step{Action: &ShiftedOverlay{Overlay: o, First: first, Size: size}, Why: "root's files in the image belong to the container's root, who is somebody else outside"}, nil
}
