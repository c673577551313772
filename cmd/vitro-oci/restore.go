// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"vitro/checkpoint"
	"vitro/container"
	"vitro/host"
	"vitro/monitor"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// restoreContainer makes a container of the images of a checkpoint. Without
// --detach it waits for its end and removes it; the exit status is the
// container's then.
func restoreContainer(inv *invocation) (int, error) {
	if inv.get("console-socket") != "" {
		return 1, errors.New("use --console-socket: containers with a terminal can't be restored")
	}
	if inv.has("no-pivot") {
		return 1, errors.New("use --no-pivot: criu always pivots into the root that it restores")
	}
	id, err := inv.id()
	if err != nil {
		return 1, err
	}
	if err := inv.makeRoom(id); err != nil {
		return 1, err
	}
	return inv.make(func(c *container.Container, b *bundle) (int, error) {
		code, err := inv.restore(c, b)
		if err != nil {
			err = fmt.Errorf("restore container %q: %w", id, err)
		}
		return code, err
	}, inv.has("detach"))
}

// makeRoom removes a container of this ID that ended in a checkpoint: the one to
// be restored takes its place.
func (inv *invocation) makeRoom(id string) error {
	c, err := inv.store().Lock(id)
	if errors.Is(err, container.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = os.Stat(c.Path(checkpointed))
	if c.Status() != container.Stopped || err != nil {
		c.Release()
		return nil // make says what is to be said
	}
	return inv.remove(c, nil)
}

func (inv *invocation) restore(c *container.Container, b *bundle) (int, error) {
	p, err := inv.restorePlan(c, b)
	if err != nil {
		return 1, err
	}
	inv.notes(p)
	after, err := spec.CompilePoststart(c.ID, b.dir, b.spec)
	if err != nil {
		return 1, err
	}
	begun := func(child *run.Child) error {
		err := c.Saver(inv.state(b, p))(child.Pid)
		for i := 0; err == nil && i < len(after); i++ {
			err = after[i].Action.(plan.Host).Do(&plan.Env{Pid: child.Pid})
		}
		if err == nil {
			err = inv.tell(child)
		}
		if err != nil {
			_ = child.Signal(killSignal)
		}
		return err
	}
	o := run.Options{Undo: c.List}
	if !inv.has("detach") {
		return inv.restoreForeground(c, b, p, o, begun)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(p.Plan, o)
	if err != nil {
		return 1, err
	}
	if err := begun(child); err != nil {
		_, _, _ = child.Wait()
		return 1, err
	}
	return 0, nil
}

// restoreForeground runs a restored container to its end, and removes it.
func (inv *invocation) restoreForeground(c *container.Container, b *bundle, p *spec.Result, o run.Options, begun func(*run.Child) error) (int, error) {
	var late error
	streams := &monitor.Streams{Interactive: true, Inherit: true}
	job := monitor.Job{Plan: p.Plan, Cgroups: p.Cgroups, Streams: streams, Options: o}
	job.Started = func(child *run.Child) {
		late = begun(child)
		c.Release() // others may look after it meanwhile
	}
	exit, err := job.Run()
	if err != nil {
		return 1, err
	}
	if err := inv.removeEnded(c.ID, b); err != nil {
		return 1, err
	}
	if late != nil {
		inv.report(late)
		return 1, nil
	}
	return exit.Code, nil
}

// restorePlan decides the plan.
func (inv *invocation) restorePlan(c *container.Container, b *bundle) (*spec.Result, error) {
	if err := spec.Checkpointable(b.spec); err != nil {
		return nil, err
	}
	r := &checkpoint.Restore{
		PIDFile: c.Path("restored"), TCPClose: inv.has("tcp-close"),
		LSMProfile: inv.get("lsm-profile"), LSMContext: inv.get("lsm-mount-context"),
	}
	var err error
	if r.Options, err = inv.criuOptions(b); err != nil {
		return nil, err
	}
	if r.Criu, r.Path, err = checkpoint.Find(); err != nil {
		return nil, err
	}
	if r.Streams, err = checkpoint.ReadStreams(r.Images); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckStreams(r.Streams); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckNetwork(r.Images); err != nil {
		return nil, err
	}
	if r.Mounts, err = checkpoint.HostMounts(); err != nil {
		return nil, err
	}
	if r.Work != "" {
		if err := os.MkdirAll(r.Work, 0o700); err != nil {
			return nil, err
		}
	}
	root := c.Path("rootfs")
	req := &spec.Request{
		ID: c.ID, Spec: b.spec, Bundle: b.dir, Title: "restore " + c.ID, At: root,
		AllCgroups: b.spec.Linux != nil && b.spec.Linux.CgroupsPath != "",
		Before:     []plan.Step{{Action: &host.Folder{Path: root, Mode: 0o755}, Why: "for its root to be mounted on"}},
	}
	if req.Facts, err = spec.ReadFacts(b.spec, b.dir); err != nil {
		return nil, err
	}
	if req.SystemdCgroup = inv.systemd(); req.SystemdCgroup {
		if err := req.Facts.Cgroups.AskSystemd(); err != nil {
			return nil, err
		}
	}
	return spec.CompileRestore(req, r)
}
