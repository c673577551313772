// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
	"vitro/host"
	"vitro/image"
	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/network"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/rootfs"
	"vitro/spec"
)

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
	Release  func() // lets go of the image; for who does not run it
	layers   []image.Digest
	maps     *idMaps
	engine   *Engine
	flags    *Flags
	streams  *monitor.Streams
}

// Prepare decides everything about a container, and makes nothing (but the
// sources of -v that aren't there).
func (e *Engine) Prepare(ctx context.Context, f *Flags) (*Prepared, error) {
	id := container.NewID()
	p := &Prepared{ID: id, engine: e, flags: f, Release: func() {}}
	d := &draft{Flags: f, e: e, id: id, dir: filepath.Join(e.Containers.Root, id), image: &image.Config{}}
	if err := e.networkDefault(f, p); err != nil {
		return nil, err
	}
	if err := d.decide(ctx, p); err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// decide goes from the flags to the plan.
func (d *draft) decide(ctx context.Context, p *Prepared) error {
	root, err := d.root(ctx, p)
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

// networkDefault is the bridge for root; an ordinary user's container has a
// network namespace with nothing in it but the loopback.
func (e *Engine) networkDefault(f *Flags, p *Prepared) error {
	if e.root && !inUserNS() {
		return nil
	}
	switch f.Network {
	case "":
		f.Network = "none"
		p.Notes = append(p.Notes, "network: loopback only: an ordinary user can't plug into a bridge of the machine (--network=host shares the host's network)")
	case "bridge", "default":
		return hint(errors.New("run container with --network=bridge: a bridge takes root"), "--network=host shares the host's network, --network=none is loopback only")
	}
	return nil
}

// root finds what the root file system is made of.
func (d *draft) root(ctx context.Context, p *Prepared) (*rootfs.Root, error) {
	r := &rootfs.Root{Dir: d.dir, Memory: d.RootfsSize != "", Size: d.RootfsSize}
	if d.RootfsSize != "" {
		if _, err := size("rootfs-size", d.RootfsSize); err != nil {
			return nil, err
		}
	}
	if d.Rootfs {
		dir, over := strings.CutSuffix(d.Flags.Image, ":O")
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if st, err := os.Stat(abs); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("use %q as root file system: not a folder", dir)
		}
		r.Layers, r.Direct = []string{abs}, !over && !r.Memory
	} else {
		img, err := p.take(ctx, d.Flags.Image)
		if err != nil {
			return nil, imageHint(err)
		}
		d.image, r.Layers = &img.Config, img.Layers
	}
	d.layers = r.Layers
	if !r.Direct && !r.Memory && !rootfs.CanHoldChanges(d.dir) {
		r.Memory = true
		p.Notes = append(p.Notes, "root file system: an overlay can't keep its changes in "+d.e.Dir+", so they are kept in memory")
	}
	return r, nil
}

// take finds the image, and keeps it from being removed until Release.
func (p *Prepared) take(ctx context.Context, name string) (image.Image, error) {
	if _, err := p.engine.Image(ctx, name); err != nil { // may have to be made first
		return image.Image{}, err
	}
	release, err := p.engine.Images.Hold()
	if err != nil {
		return image.Image{}, err
	}
	img, err := p.engine.Images.Get(name)
	if err != nil {
		release()
		return img, err
	}
	p.Release, p.layers = release, img.DiffIDs
	return img, nil
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
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		facts.Files[filepath.Join(d.dir, name)] = true
	}
	root.UserXattr = d.maps != nil || facts.InUserNS
	root.Append = facts.OverlayAppend()
	r := &spec.Request{ID: d.id, Spec: d.spec, Facts: facts, Bundle: d.dir, At: root.At(), Bound: true, Keyring: true, AllCgroups: true, Shared: d.e.shared(),
		Title: "run " + d.Flags.Image + ": " + strings.Join(d.spec.Process.Args, " ")}
	if d.CgroupParent != "" {
		r.Shared = ""
	}
	if d.maps != nil && d.e.root {
		if err := d.shift(root, r); err != nil {
			return err
		}
	}
	r.Before = append(root.Before(), r.Before...) // its folders come first
	if r.Root == nil {
		if r.Root, err = root.Mount(); err != nil {
			return err
		}
	}
	if err := d.plug(r, p); err != nil {
		return err
	}
	p.streams = &monitor.Streams{Terminal: d.Terminal, Interactive: d.Interactive}
	r.Stdio = p.streams.Names()
	res, err := spec.Compile(r)
	if err != nil {
		return err
	}
	p.Plan, p.Cgroups, p.Notes = res.Plan, res.Cgroups, append(p.Notes, res.Notes...)
	return nil
}

// known is the config.json without the mounts of files that are yet to be made.
func (d *draft) known() *specs.Spec {
	s := *d.spec
	s.Mounts = nil
	for _, m := range d.spec.Mounts {
		if filepath.Dir(m.Source) != d.dir {
			s.Mounts = append(s.Mounts, m)
		}
	}
	return &s
}

// plug joins the container to its network, and makes the files that go with it.
func (d *draft) plug(r *spec.Request, p *Prepared) error {
	var at network.Attachment
	if d.bridged() {
		facts, err := network.Read(d.e.Dir)
		if err != nil {
			return err
		}
		if at, err = facts.Plan(d.id); err != nil {
			return err
		}
		p.Warnings = at.Warnings
		r.Before = append(r.Before, at.Before...)
		r.After = append(r.After, at.After...)
	}
	name := d.spec.Hostname
	if name == "" {
		name = hostHostname()
	}
	hosts, err := network.Hosts(name, at.Address.Addr(), at.Gateway, d.AddHost)
	if err != nil {
		return err
	}
	read := func(file string) []byte { b, _ := os.ReadFile(file); return b }
	resolv, err := network.Resolver{
		Host: read("/etc/resolv.conf"), Uplink: read("/run/systemd/resolve/resolv.conf"),
		Servers: d.DNS, Search: d.DNSSearch, Options: d.DNSOption, Own: d.Network != "host",
	}.File()
	if err != nil {
		return err
	}
	var files plan.Plan
	for _, f := range []struct{ name, content, why string }{
		{"hosts", string(hosts), "the container finds itself by its name"},
		{"hostname", name + "\n", "the name that the container goes by"},
		{"resolv.conf", string(resolv), "the name servers that the container can reach"},
	} {
		if content, ok := d.sharedFile(f.name); ok {
			f.content = content
		}
		files.Add(f.why, &host.File{Path: filepath.Join(d.dir, f.name), Content: f.content})
	}
	r.Before = append(r.Before, files.Steps...)
	return nil
}

// attempts are how often a start is tried again when somebody else has got the
// address that was chosen.
const attempts = 50

// Hooks are what a caller wants to see of a run.
type Hooks struct {
	Trace   bool
	Warn    func(warning string)
	Before  func(p *Prepared, step, pid int) error
	Started func(p *Prepared, child *run.Child)
	Tune    func(p *Prepared, o *run.Options) // for tests: faults
}

// Run makes the container, runs it to its end, and takes everything back.
func (e *Engine) Run(ctx context.Context, f *Flags, h Hooks) (monitor.Exit, error) {
	if err := e.Sweep(); err != nil {
		return monitor.Exit{}, err
	}
	for try := 0; ; try++ {
		flags := *f
		p, err := e.Prepare(ctx, &flags)
		if err != nil {
			return monitor.Exit{}, err
		}
		exit, err := p.run(h)
		if (errors.Is(err, network.ErrTaken) || vanished(err)) && try < attempts {
			continue
		}
		return exit, err
	}
}

// vanished reports whether the cgroup that the container's was to be made in
// has gone since it was looked at: with the last container that was in it.
func vanished(err error) bool {
	var f *run.Fault
	if !errors.As(err, &f) || !errors.Is(f.Err, unix.ENOENT) {
		return false
	}
	_, ok := f.Step.Action.(*cgroup.Make)
	return ok
}

func (p *Prepared) run(h Hooks) (exit monitor.Exit, err error) {
	if h.Warn != nil {
		for _, w := range p.Warnings {
			h.Warn(w)
		}
	}
	c, err := p.engine.Containers.Create(p.ID)
	if err == nil {
		defer func() { err = errors.Join(err, c.Remove()) }()
		err = use(c, p.layers)
	}
	p.Release()
	if err != nil {
		return exit, err
	}
	if err := p.engine.claim(c, p.flags.Name); err != nil {
		return exit, err
	}
	config := ocijson.Indent(nil, ocijson.AppendSpec(nil, p.Spec))
	if err := os.WriteFile(c.Path("config.json"), append(config, '\n'), 0o600); err != nil {
		return exit, err
	}
	if p.maps != nil && p.maps.block != 0 { // nobody else is to get these IDs
		if err := os.WriteFile(c.Path("block"), fmt.Appendln(nil, p.maps.block), 0o600); err != nil {
			return exit, err
		}
	}
	if err := p.streams.Open(); err != nil {
		return exit, err
	}
	job := monitor.Job{Plan: p.Plan, Cgroups: p.Cgroups, Streams: p.streams}
	job.Options.Undo, job.Options.Folder = c.List, c.Dir
	job.Options.Meanwhile = c.Saver(container.State{Created: time.Now(), Cgroups: p.Cgroups})
	job.Options.Trace = h.Trace
	if h.Before != nil {
		job.Options.Before = func(step, pid int) error { return h.Before(p, step, pid) }
	}
	if h.Tune != nil {
		h.Tune(p, &job.Options)
	}
	job.Started = func(child *run.Child) {
		if file := p.flags.CIDFile; file != "" {
			_ = os.WriteFile(file, []byte(p.ID), 0o644)
		}
		if h.Started != nil {
			h.Started(p, child)
		}
	}
	return job.Run()
}
