// SPDX-License-Identifier: Apache-2.0

// Package rootfs decides how a container's root file system is put together:
// layers of an image below, a folder for changes above. It emits mounts as
// steps, and never mounts.
//
// To unpack layers is package image's.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// A Root says what a container's root is made of.
type Root struct {
	// Layers are folders, the lowest first, that stay as they are.
	Layers []string
	// Direct: the only layer is the root, and what the container writes is
	// written there.
	Direct bool
	// Dir is the container's own folder: changes are kept below it.
	Dir string
	// Memory: changes are kept in memory, in a tmpfs of this size ("50m"; "" is
	// half of the machine's).
	Memory bool
	Size   string
	// UserXattr: the overlay is mounted in a user namespace, where it marks its
	// files with user.overlay.* in place of trusted.overlay.* (Linux 5.11).
	UserXattr bool
	// Append: the kernel takes layers one by one (Linux 6.7).
	Append bool
	// Owner is who the folder for changes belongs to outside, if it is not us.
	Owner *Owner
}

// An Owner is a user and a group of the host.
type Owner struct{ UID, GID int }

// page is what mount(2) takes of options, in bytes.
const page = 4096

// noUpper are the file systems that can't hold an overlay's changes: they lack
// whiteouts or the attributes that overlay keeps there.
var noUpper = [...]int64{unix.OVERLAYFS_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, 0xff534d42 /* cifs */, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.RAMFS_MAGIC, unix.SQUASHFS_MAGIC}

// CanHoldChanges reports whether an overlay can keep its changes in a folder,
// or else in the nearest one above that exists.
func CanHoldChanges(dir string) bool {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) == unix.ENOENT && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return !slices.Contains(noUpper[:], int64(st.Type))
}

// Before are the host's steps: the folders that the mounts need.
func (r *Root) Before() []plan.Step {
	var p plan.Plan
	own := func(path string) {
		if r.Owner != nil {
			p.Add("the container's root owns it", &host.Chown{Path: path, UID: r.Owner.UID, GID: r.Owner.GID})
		}
	}
	p.Add("a folder of the container's own", &host.Folder{Path: r.Dir})
	own(r.Dir)
	p.Add("a place to mount the root on", &host.Folder{Path: r.At()})
	if r.Direct {
		return p.Steps
	}
	if r.Memory {
		p.Add("a place for the changes, which stay in memory", &host.Folder{Path: r.scratch()})
		return p.Steps
	}
	for _, dir := range []string{"/upper", "/work"} {
		p.Add("what the container changes is kept here", &host.Folder{Path: r.Dir + dir, Mode: 0o755})
		own(r.Dir + dir)
	}
	return p.Steps
}

// At is the folder that the root is mounted on, in the container's mount namespace only.
func (r *Root) At() string { return r.Dir + "/rootfs" }

func (r *Root) scratch() string { return r.Dir + "/scratch" }

// Mount are the child's steps: they make the handle "/".
func (r *Root) Mount() ([]plan.Step, error) {
	if len(r.Layers) == 0 {
		return nil, errors.New("make root file system: no layers")
	}
	var p plan.Plan
	if r.Direct {
		p.Add("the folder is the root, as it is", &plan.Bind{Source: r.Layers[0], Target: "/", Recursive: true, Share: unix.MS_PRIVATE | unix.MS_REC})
		return p.Steps, nil
	}
	o := &plan.Overlay{Layers: r.Layers, Upper: r.Dir + "/upper", Work: r.Dir + "/work", Append: r.Append, At: r.At()}
	if r.Memory {
		p.Add("changes stay in memory, and go with the container", &plan.Scratch{At: r.scratch(), Size: r.Size})
		o.Upper, o.Work = r.scratch()+"/upper", r.scratch()+"/work"
	}
	if r.UserXattr {
		o.Options = append(o.Options, "userxattr")
	}
	if !o.Append && o.OptionsSize() > page {
		return nil, fmt.Errorf("make root file system: %d layers need %d bytes of mount options, and this kernel takes %d: Linux 6.7 has no such limit", len(r.Layers), o.OptionsSize(), page)
	}
	p.Add("layers shared by all containers of the image, and on top what this one changes", o)
	return p.Steps, nil
}

// Remove deletes a container's folder. Overlay leaves a folder without
// permissions in work, which its owner can't look into.
func Remove(dir string) error {
	_ = os.Chmod(dir+"/work/work", 0o700)
	return os.RemoveAll(dir)
}
