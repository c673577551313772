// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/host"
	"vitro/plan"
	"vitro/rootfs"
	"vitro/spec"
	"vitro/tree"
	"vitro/volume"
)

// A place is a container's root file system, for the helper to open: that of a
// running one as its mount namespace shows it, and for one that doesn't run what
// its plan would make, in a mount namespace of the helper's.
type place struct {
	Running bool // it is at rootFD
	Overlay *plan.Overlay
	Shifted *rootfs.ShiftedOverlay
	Folder  string // without an overlay
	At      string // where it is mounted
	Fixed   bool   // --read-only
	Mounts  []specs.Mount
	Maps    *mapped // users that the copying is done among, once this is mounted
}

// mapped are idMaps on their way to the helper.
type mapped struct{ UID, GID []specs.LinuxIDMapping }

// at calls do with a container's root. One that doesn't run can't be started
// meanwhile.
func (e *Engine) at(name string, do func(h helper, p *place) error) error {
	c, err := e.find(name)
	if err != nil {
		return err
	}
	if c.State == nil || !c.State.Alive() {
		if c, err = e.lock(name); err != nil {
			return err
		}
		if c.State == nil || !c.State.Alive() {
			defer c.Release()
			return e.atRest(c, do)
		}
		c.Release() // started at this moment
	}
	return e.inRun(c, do)
}

// inRun opens the root of a container's first process. While the process is
// open its number is nobody else's.
func (e *Engine) inRun(c *container.Container, do func(h helper, p *place) error) error {
	pidfd, err := c.State.Open()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", c.State.Pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	defer root.Close()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0); err != nil || n > 0 {
		return fmt.Errorf("open the container's root: %w", container.ErrStopped)
	}
	maps, err := e.usersOf(c.ID)
	if err != nil {
		return err
	}
	return do(helper{e: e, root: root, maps: maps}, &place{Running: true})
}

// atRest has the files made that the plan of a start would make.
func (e *Engine) atRest(c *container.Container, do func(h helper, p *place) error) error {
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	prep, err := e.prepare(context.Background(), r, [2]uint16{}, onlyLook)
	if err != nil {
		return err
	}
	p := &place{At: c.Dir + "/rootfs", Fixed: r.Flags.ReadOnly}
	for _, step := range prep.Plan.Steps {
		switch a := step.Action.(type) {
		case *host.Folder:
			err = within(c.Dir, a.Path, a)
		case *host.Chown:
			err = within(c.Dir, a.Path, a)
		case *volume.Use:
			err = a.Do(new(plan.Env))
		case *own:
			err = a.Do(new(plan.Env))
		case *plan.Overlay:
			p.Overlay = a
		case *rootfs.ShiftedOverlay:
			p.Shifted = a
		case *plan.Scratch:
			return hint(errors.New("open the container's root: its changes were kept in memory, and are gone with its last run"), "start it first")
		case *plan.Bind:
			if a.Target == "/" {
				p.Folder = a.Source
			}
		}
		if err != nil {
			return err
		}
	}
	ms, err := Mounts(c.Dir)
	if err != nil {
		return err
	}
	for _, m := range prep.Spec.Mounts {
		if m.Type == "bind" && slices.ContainsFunc(ms, func(u Mount) bool { return u.Destination == m.Destination }) {
			p.Mounts = append(p.Mounts, m)
		}
	}
	h := helper{e: e, mounts: true}
	switch {
	case prep.maps == nil:
	case e.root:
		p.Maps = &mapped{prep.maps.uid, prep.maps.gid}
	default:
		h.maps = prep.maps
	}
	return do(h, p)
}

// within does a step for the container's own folder; others are for its run.
func within(dir, path string, a plan.Host) error {
	if path != dir && !strings.HasPrefix(path, dir+"/") {
		return nil
	}
	return a.Do(new(plan.Env))
}

// among opens the place, and has the task go on in the container's user
// namespace, if only the machine's root could mount what the task is about, and
// only the container's users can make files there. Else it returns the root.
func (p *place) among(task string, request any) (root tree.Root, done bool, err error) {
	if root, err = p.open(); err != nil || p.Maps == nil {
		return root, false, err
	}
	stream, err := unix.FcntlInt(streamFD, unix.F_DUPFD_CLOEXEC, 3) // it is to be at its number again
	if err != nil {
		return root, false, err
	}
	h := helper{e: &Engine{root: true}, maps: &idMaps{uid: p.Maps.UID, gid: p.Maps.GID}, root: os.NewFile(uintptr(root.FD), "root"), stream: os.NewFile(uintptr(stream), "stream")}
	*p = place{Running: true}
	return root, true, h.run(task, request, nil)
}

// open is done by the helper.
func (p *place) open() (tree.Root, error) {
	if p.Running {
		return tree.Root{FD: rootFD}, nil
	}
	root, err := p.mount()
	if err != nil {
		return root, fmt.Errorf("mount the container's root: %w", err)
	}
	if p.Fixed {
		if err := unix.MountSetattr(root.FD, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return root, err
		}
	}
	for i := range p.Mounts {
		if err := p.attach(root, &p.Mounts[i]); err != nil {
			return root, fmt.Errorf("mount %s: %w", p.Mounts[i].Destination, err)
		}
	}
	return root, nil
}

// mount puts the root at its place, in this mount namespace, where other mounts
// can be attached to it.
func (p *place) mount() (root tree.Root, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return root, err
	}
	fd := -1
	switch {
	case p.Shifted != nil:
		env := &plan.Env{Handles: map[string]int{}}
		err = p.Shifted.Do(env)
		fd = env.Handles["/"]
	case p.Overlay != nil:
		o := p.Overlay
		v := rootfs.View{Layers: o.Layers, Upper: o.Upper, Work: o.Work, UserXattr: slices.Contains(o.Options, "userxattr"), At: p.At}
		var f *os.File
		if f, err = v.Open(); err == nil {
			fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			f.Close()
		}
	default:
		fd, err = unix.OpenTree(unix.AT_FDCWD, p.Folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	}
	if err != nil {
		return root, err
	}
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, p.At, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err == unix.EINVAL {
		err = nil // mount(2) has put it there already
	}
	return tree.Root{FD: fd}, err
}

// attach mounts a volume or a bind where the container has it.
func (p *place) attach(root tree.Root, m *specs.Mount) error {
	source, err := source(m)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro") {
		if err := unix.MountSetattr(source, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return err
		}
	}
	at, err := root.Place(m.Destination, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return unix.MoveMount(source, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// source is a copy of the mount that is to be attached.
func source(m *specs.Mount) (int, error) {
	below := ""
	for _, o := range m.Options {
		if rest, ok := strings.CutPrefix(o, spec.Subpath); ok {
			below = rest
		}
	}
	if len(m.UIDMappings) > 0 {
		a := host.MappedBind{Source: m.Source, Below: below, As: "mount", Recursive: slices.Contains(m.Options, "rbind"), UID: hostRanges(m.UIDMappings), GID: hostRanges(m.GIDMappings)}
		env := &plan.Env{Handles: map[string]int{}}
		err := a.Do(env)
		return env.Handles["mount"], err
	}
	top, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(top)
	from := top
	if below != "" {
		if from, err = unix.Openat2(top, below, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}); err != nil {
			return -1, err
		}
		defer unix.Close(from)
	}
	return unix.OpenTree(from, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
}

func hostRanges(ids []specs.LinuxIDMapping) (rs []host.Range) {
	for _, r := range ids {
		rs = append(rs, host.Range{Container: r.ContainerID, Host: r.HostID, Size: r.Size})
	}
	return rs
}
