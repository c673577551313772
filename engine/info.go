// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vitro/container"
	"vitro/image"
	"vitro/internal/processors"
	"vitro/monitor"
	"vitro/network"
)

// A Status is where a container is in its life, in Docker's words.
type Status string

// The statuses. A container whose start has failed is still created.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Exited     Status = "exited"
)

// A Card is what a list says of a container. There may be a thousand of them,
// and somebody waits: it is made of as little as can be read and kept.
type Card struct {
	ID      string
	Name    string
	Created time.Time
	Image   string // as it was asked for; with --rootfs a folder
	ImageID image.Digest
	DiffIDs []image.Digest
	Command []string
	Labels  map[string]string

	Dir    string
	Status Status
	Pid    int             // of its first process; 0 if it doesn't run
	Began  time.Time       // and when that began
	Exit   *container.Exit // how it ended, if it doesn't run; nil if it has not
	Beside int             // the process beside it; 0 if there is none

	// What is read only where it is asked for: see Part.
	Networks network.Attachments // those of its last start
	Meant    []string            // networks that it is told to have and isn't plugged into: see WithMeant
	Health   *monitor.Condition
	Mounts   []Mount // what the user has mounted
}

// An Info is all that is known about a container.
type Info struct {
	Card
	Record *Record
	Last   *container.Exit // how it ended the last time, nil if it has not
}

// A Part reads a part of a Card that most lists don't show: each is one more
// file of each container.
type Part func(*Card) error

// WithNetworks reads what the container is plugged into.
func WithNetworks(c *Card) (err error) {
	c.Networks, err = network.ReadAttachments(c.Dir)
	return err
}

// WithMeant reads, after WithNetworks, which networks the container is said to
// have without being plugged into them: none or host, which Docker counts among
// the networks, and where it doesn't run those of its next start.
func WithMeant(c *Card) error {
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	switch f := &r.Flags; {
	case c.Pid == 0 && f.bridged():
		wishes, err := f.wires()
		if err != nil {
			return err
		}
		wished := func(p network.Endpoint) bool {
			return slices.ContainsFunc(wishes, func(w network.Wish) bool { return w.Network == p.Network })
		}
		if c.Pid == 0 {
			c.Networks.Endpoints = slices.DeleteFunc(c.Networks.Endpoints, func(p network.Endpoint) bool { return !wished(p) })
		}
		for _, w := range wishes {
			if c.Networks.Endpoint(w.Network) == nil {
				c.Meant = append(c.Meant, w.Network)
			}
		}
	case f.Network == "none" || f.Network == "host":
		c.Meant = []string{f.Network}
	}
	return nil
}

// WithHealth reads how a running container is.
func WithHealth(c *Card) error {
	if c.Pid != 0 {
		c.Health = monitor.ReadCondition(c.Dir)
	}
	return nil
}

// WithMounts reads what is mounted in it by the user's wish.
func WithMounts(c *Card) (err error) {
	c.Mounts, err = Mounts(c.Dir)
	return err
}

// Info looks at a container.
func (e *Engine) Info(name string) (*Info, error) {
	c, err := e.find(name)
	if err != nil {
		return nil, err
	}
	card, err := e.card(c.ID, WithNetworks, WithMeant, WithHealth, WithMounts)
	if err != nil {
		return nil, err
	}
	i := &Info{Card: *card}
	if i.Record, err = loadRecord(c.Dir); err != nil {
		return nil, err
	}
	if i.Last, err = c.LoadExit(); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return i, err
}

// card looks at a container; at one that has lost the process beside it after
// it was looked after.
func (e *Engine) card(id string, parts ...Part) (*Card, error) {
	_ = e.mendUserNet() // if that can't be, it has no way out
	s, err := e.Containers.See(id)
	if err == nil && s.Made && s.Beside == 0 {
		if c, err := e.Containers.Look(id); err == nil {
			_, _ = e.mend(c) // if that can't be, it is shown as it is
		}
		s, err = e.Containers.See(id)
	}
	if err != nil {
		return nil, err
	}
	card, err := e.look(id, s)
	for _, read := range parts {
		if err == nil {
			err = read(card)
		}
	}
	return card, err
}

// look reads a container's card.
func (e *Engine) look(id string, s container.Sight) (*Card, error) {
	c := &container.Container{ID: id, Dir: filepath.Join(e.Containers.Root, id)}
	card, err := loadCard(c.Dir)
	if err != nil {
		return nil, err
	}
	card.Beside = s.Beside
	switch s.Status {
	case container.Paused:
		card.Status, card.Pid, card.Began = Paused, s.Pid, s.Started
		return card, nil
	case container.Running:
		card.Status, card.Pid, card.Began = Running, s.Pid, s.Started
		return card, nil
	}
	if card.Exit, err = c.LoadExit(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	switch {
	case card.Exit == nil || card.Exit.Started.IsZero():
		card.Status = Created
	case card.Beside != 0 && card.Exit.Restarts > 0:
		card.Status = Restarting
	default:
		card.Status = Exited
	}
	return card, nil
}

// loadCard reads of a Record what a list shows. To decode all of it costs as
// much as all else that is asked of a container for a list.
func loadCard(dir string) (*Card, error) {
	var r struct {
		ID, Name string
		Created  time.Time
		Flags    struct {
			Image, Entrypoint string
			Command           []string
			EntrypointSet     bool
			Labels            map[string]string
		}
		ImageID image.Digest
		Config  struct {
			Entrypoint, Cmd []string
			Labels          map[string]string
		}
		DiffIDs []image.Digest
	}
	if err := readRecord(dir, &r); err != nil {
		return nil, err
	}
	f := Flags{Command: r.Flags.Command, Entrypoint: r.Flags.Entrypoint, EntrypointSet: r.Flags.EntrypointSet}
	return &Card{
		ID: r.ID, Name: r.Name, Created: r.Created, Image: r.Flags.Image, ImageID: r.ImageID, DiffIDs: r.DiffIDs, Dir: dir,
		Command: f.command(r.Config.Entrypoint, r.Config.Cmd), Labels: labels(r.Config.Labels, r.Flags.Labels),
	}, nil
}

// List looks at all containers, the newest first. One that goes while it looks
// is left out.
func (e *Engine) List(parts ...Part) ([]*Card, error) {
	ids, err := e.Containers.IDs()
	if err != nil {
		return nil, err
	}
	all := make([]*Card, len(ids))
	errs := make([]error, len(ids))
	processors.Each(len(ids), func(n int) {
		all[n], errs[n] = e.card(ids[n], parts...)
		if errors.Is(errs[n], os.ErrNotExist) || errors.Is(errs[n], container.ErrNotFound) {
			all[n], errs[n] = nil, nil // still in the making, or just gone
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c *Card) bool { return c == nil })
	slices.SortStableFunc(all, func(a, b *Card) int { return b.Created.Compare(a.Created) })
	return all, nil
}
