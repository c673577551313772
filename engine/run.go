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

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup"
	"vitro/container"
	"vitro/image"
	"vitro/monitor"
	"vitro/network"
	"vitro/plan"
	"vitro/rootfs"
	"vitro/spec"
)

// A Context ends what takes long, such as making an image.
type Context = context.Context

// A Prepared container is one that only needs to be run: its config.json and
// its plan.
type Prepared struct {
	ID      string
	Spec    *specs.Spec
	Plan    *plan.Plan
	Cgroups cgroup.Dirs
	Notes   []string // what is not as it was asked for, and why
	// Warnings are what the machine has set that may stand in the container's way.
	Warnings []string

	maps   *idMaps
	engine *Engine
	settle *settle
	asks   bool // it asks its monitor for names
}

// Prepare decides everything about a container that is yet to be made, and makes
// nothing (but the sources of -v that aren't there).
func (e *Engine) Prepare(ctx Context, f *Flags) (*Prepared, error) { return e.prepareNew(ctx, f, 0) }

// MayCreate refuses what can't be had of a container that is yet to be made. Of an
// ordinary user's networks, which only its start reaches, it asks what stands in files.
func (e *Engine) MayCreate(ctx Context, f *Flags) error {
	if !e.elsewhere() || !f.bridged() {
		_, err := e.prepareNew(ctx, f, 0)
		return err
	}
	wishes, err := (&draft{Flags: f}).networkWishes()
	if err != nil {
		return err
	}
	for _, w := range wishes {
		if err := network.Check(e.Dir, w); err != nil {
			return err
		}
	}
	_, err = e.prepareNew(ctx, f, onlyLook)
	return err
}

func (e *Engine) prepareNew(ctx Context, f *Flags, try int) (*Prepared, error) {
	r := &Record{ID: container.NewID(), Flags: *f}
	if err := r.Flags.freeze(); err != nil {
		return nil, err
	}
	release, err := e.choose(ctx, r)
	if err != nil {
		return nil, err
	}
	defer release()
	return e.prepare(ctx, r, [2]uint16{}, try)
}

// prepare decides everything about a start of a container. Size is that of the
// terminal of whoever starts it. Try is 0; more, if another start was faster to
// take what this one had chosen; or onlyLook, if nothing is to be started.
func (e *Engine) prepare(ctx Context, r *Record, size [2]uint16, try int) (*Prepared, error) {
	p := &Prepared{ID: r.ID, engine: e}
	flags := r.Flags // what is decided of them holds for this start only
	flags.Name = r.Name
	d := &draft{Flags: &flags, e: e, id: r.ID, dir: filepath.Join(e.Containers.Root, r.ID), image: &r.Config, layers: r.Layers, size: size, try: try, nofile: r.Nofile}
	if err := e.networkDefault(&flags, p, try); err != nil {
		return nil, err
	}
	return p, d.decide(p)
}

// onlyLook is for who wants to know what a container would be.
const onlyLook = -1

// decide goes from the flags to the plan.
func (d *draft) decide(p *Prepared) error {
	root, err := d.root(p)
	if err != nil {
		return err
	}
	if err := d.e.shareUsers(d.Flags); err != nil {
		return err
	}
	if d.maps, err = d.e.usersFor(d.Flags, d.id); err != nil {
		return err
	}
	if err := d.write(); err != nil {
		return err
	}
	p.Spec, p.maps = d.spec, d.maps
	return d.compile(p, root)
}

// root finds what the root file system is made of.
func (d *draft) root(p *Prepared) (*rootfs.Root, error) {
	r := &rootfs.Root{Dir: d.dir, Memory: d.RootfsSize != "", Size: d.RootfsSize, Layers: d.layers}
	if len(d.StorageOpt) > 0 {
		return nil, hint(fmt.Errorf("read --storage-opt %q: an overlay's folder has no quota", d.StorageOpt[0]), "--rootfs-size 50m keeps the container's changes in memory, and limits them")
	}
	if d.RootfsSize != "" {
		if _, err := size("rootfs-size", d.RootfsSize); err != nil {
			return nil, err
		}
	}
	if d.Rootfs {
		dir, over := strings.CutSuffix(d.Flags.Image, ":O")
		r.Layers, r.Direct = []string{dir}, !over && !r.Memory
		d.layers = r.Layers
	}
	if !r.Direct && !r.Memory && !rootfs.CanHoldChanges(d.dir) {
		r.Memory = true
		p.Notes = append(p.Notes, "root file system: an overlay can't keep its changes in "+d.e.Dir+", so they are kept in memory")
	}
	return r, nil
}

func imageHint(err error) error {
	var none *image.NotFoundError
	if !errors.As(err, &none) {
		return err
	}
	if len(none.Near) > 0 {
		return hint(err, "did you mean %s?", strings.Join(none.Near, " or "))
	}
	return hint(err, "vitro load -i ARCHIVE takes what docker save and skopeo write, vitro import a root file system; busybox is always there")
}

// compile has the config.json compiled, with root, network and files around it.
func (d *draft) compile(p *Prepared, root *rootfs.Root) error {
	facts, err := spec.ReadFacts(d.known(), d.dir)
	if err != nil {
		return err
	}
	if d.nofile != 0 {
		facts.Nofile = d.nofile
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		facts.Files[filepath.Join(d.dir, name)] = true
	}
	root.UserXattr = d.maps != nil || facts.InUserNS
	root.Append = facts.OverlayAppend()
	r := &spec.Request{ID: d.id, Spec: d.spec, Facts: facts, Bundle: d.dir, At: root.At(), Keyring: true, AllCgroups: true, Shared: d.e.shared(),
		Title: "run " + d.Flags.Image + ": " + strings.Join(d.spec.Process.Args, " ")}
	if d.CgroupParent != "" {
		r.Shared = ""
	}
	if d.maps != nil && d.e.root {
		if err := d.shift(root, r); err != nil {
			return err
		}
	}
	r.Before = slices.Concat(root.Before(), d.before, r.Before) // its folders come first
	if r.Root == nil {
		if r.Root, err = root.Mount(); err != nil {
			return err
		}
	}
	if err := d.plug(r, p); err != nil {
		return err
	}
	p.settle = &settle{Dir: d.dir}
	r.After = append(r.After, plan.Step{Action: p.settle, Why: "whoever comes next finds the container, whatever becomes of us"})
	r.Stdio = monitor.Handles(d.Terminal)
	res, err := spec.Compile(r)
	if err != nil {
		return err
	}
	p.Plan, p.Cgroups, p.Notes = res.Plan, res.Cgroups, append(p.Notes, res.Notes...)
	return nil
}

// known is the config.json without the mounts of files and volumes that are yet to be made.
func (d *draft) known() *specs.Spec {
	s := *d.spec
	s.Mounts = nil
	for _, m := range d.spec.Mounts {
		_, err := os.Stat(m.Source)
		if filepath.Dir(m.Source) != d.dir && !(err != nil && strings.HasPrefix(m.Source, d.e.Volumes.Root+"/")) {
			s.Mounts = append(s.Mounts, m)
		}
	}
	return &s
}
