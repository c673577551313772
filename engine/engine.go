// SPDX-License-Identifier: Apache-2.0

// Package engine is what the verbs of the command line do: it turns flags and
// images into a config.json, and has it compiled and run.
//
// The words that users know mean what they mean in Docker:
//
//	image      layers and a configuration, kept by package image
//	container  a process in namespaces of its own, with a root file system made of an image
//	plan       all that is done to make a container, as data (package plan)
//	network    a bridge that containers are plugged into (package network)
//
// Nothing here knows how a container is isolated. That is package spec's.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vitro/container"
	"vitro/image"
	"vitro/image/layer"
	"vitro/internal/outside"
	"vitro/rootfs"
	"vitro/volume"
)

// An Engine is the images and containers of one user on one machine.
type Engine struct {
	Dir        string // where all of it is kept
	Images     *image.Store
	Containers *container.Store
	Volumes    *volume.Store
	// Warn is told what goes on in another way than it was to: that a container
	// has lost something with the process beside it. May be nil.
	Warn func(string)

	root bool    // we are root in the initial user namespace, or in one with all IDs
	maps *idMaps // an ordinary user's

	uid, gid int    // who we are on the machine
	inside   bool   // where we are root: among the user's networks
	alone    string // why there are none
	looked   bool   // whether they are served
}

// Open finds the folder for this user: /var/lib/vitro, $XDG_DATA_HOME/vitro or
// ~/.local/share/vitro; dir overrides it. Nothing is made yet.
func Open(dir string) (*Engine, error) {
	e := &Engine{Dir: dir}
	e.uid, e.gid, e.inside = outside.IDs()
	e.root = os.Geteuid() == 0 && !e.inside
	if e.Dir == "" {
		var err error
		if e.Dir, err = outside.Folder(); err != nil {
			return nil, err
		}
	}
	e.Images = &image.Store{Root: e.Dir}
	e.Containers = &container.Store{Root: filepath.Join(e.Dir, "containers"), RemoveAll: rootfs.Remove,
		Names: filepath.Join(e.Dir, "by-name"), Made: recordFile}
	e.Volumes = &volume.Store{Root: filepath.Join(e.Dir, "volumes"), Fill: e.fillVolume}
	e.Containers.Undo = append(e.Containers.Undo, e.actions)
	inNS := inUserNS()
	if !e.root || inNS {
		// Overlay marks its files otherwise in a user namespace.
		e.Images.Options = layer.Options{UserXattr: true, IgnoreDevices: true}
	}
	if !e.root {
		maps, err := e.ownMaps()
		if err != nil {
			return nil, err
		}
		e.maps = maps
		e.Volumes.RemoveAll = e.removeAll
		if maps.single() {
			e.Images.Options.DropOwner = true
		} else {
			e.Images.Unpack = e.unpack
			e.Images.RemoveAll = e.removeAll
			e.Containers.RemoveAll = e.removeAll
		}
	}
	return e, nil
}

// Image finds an image; "busybox" is made of the host's if there is none.
func (e *Engine) Image(ctx context.Context, name string) (image.Image, error) {
	img, err := e.Images.Get(name)
	var none *image.NotFoundError
	if errors.As(err, &none) && image.Builtin(name) {
		return e.Images.EnsureBusybox(ctx)
	}
	return img, err
}

// An Error is an error with a hint: what the user could do about it.
type Error struct {
	Err  error
	Text string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Text }

func hint(err error, format string, args ...any) error {
	return &Error{Err: err, Text: fmt.Sprintf(format, args...)}
}
