// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vitro/cgroup"
	"vitro/image"
)

// A Commit is how an image is made of a container.
type Commit struct {
	Author, Message string
	Changes         []string // Dockerfile instructions
	Pause           bool     // a running container stands still meanwhile
	// Warn is told if it can't, which is an error without it: an ordinary user's
	// container may be in no cgroup that can be frozen.
	Warn func(string)
}

// Commit makes an image of a container's own and what it has changed: not of
// what is in volumes. The name may be the zero Reference.
func (e *Engine) Commit(ctx context.Context, name string, ref image.Reference, o Commit) (img image.Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("commit container %q: %w", name, err)
		}
	}()
	h, t, c, r, err := e.changes(name)
	if err != nil {
		return img, err
	}
	if r.Flags.Rootfs {
		return img, hint(errors.New("it is made of a folder, not of an image"), "vitro export %s | vitro import - NAME", name)
	}
	config := r.config()
	for _, line := range o.Changes {
		if err := config.Change(line); err != nil {
			return img, err
		}
	}
	base, err := e.Images.Get(string(r.ImageID))
	if err != nil {
		return img, fmt.Errorf("find its image: %w", err)
	}
	if o.Pause && c.State != nil && c.State.Alive() {
		goOn, perr := e.still(c.ID)
		switch {
		case errors.Is(perr, cgroup.ErrNoController) && o.Warn != nil:
			o.Warn("the container goes on while it is copied: " + perr.Error())
		case perr != nil:
			return img, perr
		default:
			defer func() { err = errors.Join(err, goOn()) }()
		}
	}
	if err := mkdirs(c.Dir, "upper"); err != nil { // it has never run
		return img, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return img, err
	}
	d := image.Derived{Config: config, Author: o.Author, Message: o.Message, CreatedBy: strings.Join(r.Command(), " ")}
	task := layerTask{Upper: t.Upper, Skip: t.Skip, IDs: t.IDs}
	err = h.through("layer", task, read, write, func(f *os.File) error {
		img, err = e.Images.Derive(ctx, base, f, ref, d)
		return err
	})
	if err != nil {
		return img, err
	}
	e.tell(r, "commit", "comment", o.Message, "imageID", string(img.ID), "imageRef", ref.Familiar())
	return img, nil
}

// still has a container's processes stand still until the function is called.
// One that somebody else has paused stays so.
func (e *Engine) still(id string) (goOn func() error, err error) {
	i, err := e.Info(id)
	if err != nil || i.Status == Paused {
		return func() error { return nil }, err
	}
	if err := e.Pause(id, true); err != nil {
		return nil, hint(err, "--pause=false copies from the container while it goes on")
	}
	return func() error { return e.Pause(id, false) }, nil
}

func mkdirs(dir string, names ...string) error {
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// config is the image's, with what the container's flags have made of it.
func (r *Record) config() image.Config {
	c, f := r.Config, &r.Flags
	c.Env = merge(c.Env, f.Env)
	c.Labels = r.Labels()
	if f.User != "" {
		c.User = f.User
	}
	if f.Workdir != "" {
		c.WorkingDir = f.Workdir
	}
	if f.StopSignal != "" {
		c.StopSignal = f.StopSignal
	}
	if f.EntrypointSet {
		c.Entrypoint, c.Cmd = nil, nil
		if f.Entrypoint != "" {
			c.Entrypoint = []string{f.Entrypoint}
		}
	}
	if len(f.Command) > 0 {
		c.Cmd = slices.Clone(f.Command)
	}
	switch {
	case f.NoHealthcheck:
		c.Healthcheck = &image.Healthcheck{Test: []string{"NONE"}}
	case f.HealthCmd != nil:
		c.Healthcheck = &image.Healthcheck{Test: []string{"CMD-SHELL", *f.HealthCmd}, Interval: f.HealthInterval, Timeout: f.HealthTimeout,
			StartPeriod: f.HealthStartPeriod, StartInterval: f.HealthStartInterval, Retries: f.HealthRetries}
	}
	return c
}
