// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
	"vitro/rootfs"
	"vitro/volume"
)

// A fillTask copies what an image has at a place to an empty volume.
type fillTask struct {
	Dir       string
	From      volume.Source
	UserXattr bool
}

// fillVolume is volume.Store's Fill. The image's layers are put together for it
// in a mount namespace of its own.
func (e *Engine) fillVolume(dir string, from volume.Source) error {
	at := dir + "/view"
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	err := helper{e: e, mounts: true}.run("fill", fillTask{dir, from, e.Images.Options.UserXattr}, nil)
	return errors.Join(err, os.Remove(at))
}

func (t fillTask) do() (any, error) {
	if len(t.From.Layers) == 0 {
		return nil, volume.Fill(t.Dir, -1)
	}
	root, err := rootfs.View{Layers: t.From.Layers, UserXattr: t.UserXattr, At: t.Dir + "/view"}.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	from, err := unix.Openat2(int(root.Fd()), t.From.Target, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	switch err {
	case nil:
		defer unix.Close(from)
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		from = -1 // the image has no such folder
	default:
		return nil, fmt.Errorf("open %q in the image: %w", t.From.Target, err)
	}
	return nil, volume.Fill(t.Dir, from)
}

// own is the step for the option U: all that is in a folder is a user's.
type own struct {
	Path string `json:"path"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`

	engine *Engine
}

func (a *own) Verb() string    { return "chown-tree" }
func (a *own) Undo() plan.Host { return nil }
func (a *own) Line() string {
	return fmt.Sprintf("chown -R %d:%d %s", a.UID, a.GID, plan.Quote(a.Path))
}
func (a *own) Shell(s *plan.Script) {
	s.Run("chown -Rh %d:%d %s", a.UID, a.GID, plan.Quote(a.Path))
}

// Do goes to a user namespace with an ordinary user: the IDs are the container's there.
func (a *own) Do(*plan.Env) error {
	task := ownTask{a.Path, int(a.UID), int(a.GID)}
	if a.engine.root {
		_, err := task.do()
		return err
	}
	return helper{e: a.engine}.run("own", task, nil)
}

type ownTask struct {
	Path     string
	UID, GID int
}

func (t ownTask) do() (any, error) { return nil, host.ChownTree(t.Path, t.UID, t.GID) }

// hostID is the host's ID for one of a user namespace.
func hostID(ids []specs.LinuxIDMapping, id uint32) uint32 {
	for _, r := range ids {
		if id >= r.ContainerID && id-r.ContainerID < r.Size {
			return r.HostID + (id - r.ContainerID)
		}
	}
	return id
}
