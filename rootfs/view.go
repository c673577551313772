// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A View is a root file system for somebody who is not the container: to copy
// from or to it while no container runs on it.
type View struct {
	// Layers are folders, the lowest first. Without Upper nothing can be written,
	// and a folder of changes may stand on top of the others.
	Layers []string
	// Upper and Work keep changes; no container may run on them meanwhile.
	Upper, Work string
	UserXattr   bool
	// At is a folder for kernels before 6.7, which have to mount it somewhere.
	At string
}

// Open gives a descriptor of the root. It needs CAP_SYS_ADMIN in the mount
// namespace, which should be one of the caller's own; the mount goes with it.
func (v View) Open() (*os.File, error) {
	if len(v.Layers) == 1 && v.Upper == "" { // overlay wants two
		return os.Open(v.Layers[0])
	}
	fd, err := v.modern()
	if err != nil {
		err = v.old()
		if err == nil {
			return os.Open(v.At)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("mount overlay of %d layers: %w", len(v.Layers), err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// options are the words for fsconfig(2), in order.
func (v View) options() [][2]string {
	opts := [][2]string{{"source", "overlay"}}
	for _, dir := range slices.Backward(v.Layers) {
		opts = append(opts, [2]string{"lowerdir+", dir})
	}
	if v.Upper != "" {
		opts = append(opts, [2]string{"upperdir", v.Upper}, [2]string{"workdir", v.Work})
	}
	return opts
}

// modern attaches the overlay to At as well: what is mounted in it needs a
// mount of this namespace.
func (v View) modern() (int, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range v.options() {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, err
		}
	}
	if v.UserXattr {
		if err := unix.FsconfigSetFlag(fs, "userxattr"); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// old is mount(2), whose options have to fit in a page.
func (v View) old() error {
	o := plan.Overlay{Layers: v.Layers, Upper: v.Upper, Work: v.Work}
	if v.UserXattr {
		o.Options = []string{"userxattr"}
	}
	return unix.Mount("overlay", v.At, "overlay", 0, o.Data())
}
