// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/smallfile"
	"vitro/monitor"
	"vitro/plan/run"
	"vitro/spec"
)

// createContainer makes a container whose first process waits to be started.
func createContainer(inv *invocation) (int, error) {
	return inv.make(func(c *container.Container, b *bundle) (int, error) {
		page, err := smallfile.Open(c.Path("page"), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
		if err != nil {
			return 1, err
		}
		defer page.Close()
		_, err = inv.detached(c, b, &spec.Request{Await: c.Dir}, run.Options{Page: page})
		return 1, err
	}, true)
}

// runContainer makes a container and starts it at once. Without --detach it
// waits for its end and removes it; the exit status is the container's then.
func runContainer(inv *invocation) (int, error) {
	return inv.make(func(c *container.Container, b *bundle) (int, error) {
		n, err := openNotify(c)
		if err != nil {
			return 1, err
		}
		if !inv.has("detach") {
			return inv.foreground(c, b, n)
		}
		child, err := inv.detached(c, b, new(spec.Request), run.Options{})
		if err == nil {
			c.Release() // others may look after it meanwhile
			inv.pass(n, child.Pidfd, child.Pid)
		}
		return 1, err
	}, inv.has("detach"))
}

// make makes a container by begin. If that fails, nothing is left of it.
func (inv *invocation) make(begin func(*container.Container, *bundle) (int, error), detached bool) (int, error) {
	id, err := inv.id()
	if err != nil {
		return 1, err
	}
	b, err := inv.openBundle()
	if err != nil {
		return 1, err
	}
	if err := inv.checkTerminal(b.spec.Process != nil && b.spec.Process.Terminal, detached); err != nil {
		return 1, err
	}
	c, err := inv.store().Create(id)
	if err != nil {
		return 1, err
	}
	if err = c.Begin(); err == nil && inv.command.name != "restore" {
		err = mountNotify(c, b)
	}
	if err == nil {
		err = smallfile.Write(c.Path("config.json"), b.data, 0o600)
	}
	if err == nil {
		var code int
		if code, err = begin(c, b); err == nil {
			if detached {
				c.Release()
				code = 0
			}
			return code, nil
		}
	}
	err = errors.Join(err, c.Remove())
	if fault := new(run.Fault); errors.As(err, &fault) { // it had begun
		inv.poststop(id, b)
	}
	return 1, err
}

// detached makes a container that lives on when we end.
func (inv *invocation) detached(c *container.Container, b *bundle, r *spec.Request, o run.Options) (*run.Child, error) {
	p, err := inv.compile(c, b, r)
	if err != nil {
		return nil, err
	}
	inv.notes(p)
	o.Undo, o.Folder, o.Console = c.List, c.Dir, inv.sendConsole()
	o.Meanwhile = c.Saver(inv.state(b, p))
	child, err := run.Start(p.Plan, o)
	if err != nil {
		return nil, err
	}
	if err := inv.tell(child); err != nil {
		_ = child.Signal(killSignal)
		_, _, _ = child.Wait()
		return nil, err
	}
	return child, nil
}

// foreground runs a container to its end, and removes it.
func (inv *invocation) foreground(c *container.Container, b *bundle, n *notice) (int, error) {
	terminal := b.spec.Process != nil && b.spec.Process.Terminal
	streams := &monitor.Streams{Terminal: terminal, Interactive: true, Inherit: true}
	p, err := inv.compile(c, b, &spec.Request{Stdio: streams.Names(), LineFeeds: true})
	if err != nil {
		return 1, err
	}
	inv.notes(p)
	if err := streams.Open(); err != nil {
		return 1, err
	}
	job := monitor.Job{Plan: p.Plan, Cgroups: p.Cgroups, Streams: streams}
	job.Options = run.Options{Undo: c.List, Folder: c.Dir, Meanwhile: c.Saver(inv.state(b, p))}
	var late error
	var passed sync.WaitGroup
	job.Started = func(child *run.Child) {
		if late = inv.tell(child); late != nil {
			_ = child.Signal(killSignal)
		}
		c.Release()                                                 // others may look after it meanwhile
		passed.Go(func() { inv.pass(n, child.Pidfd, os.Getpid()) }) // we end as it does
	}
	exit, err := job.Run()
	passed.Wait()
	if err != nil || inv.has("keep") {
		return exit.Code, err
	}
	if err := inv.removeEnded(c.ID, b); err != nil {
		return 1, err
	}
	return exit.Code, late
}

// removeEnded removes a container that has ended, if nobody else has.
func (inv *invocation) removeEnded(id string, b *bundle) error {
	c, err := inv.store().Lock(id)
	if errors.Is(err, container.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return inv.remove(c, b)
}

func (inv *invocation) state(b *bundle, p *spec.Result) container.State {
	s := container.State{
		Created: time.Now(), Version: b.spec.Version, Annotations: b.spec.Annotations, Bundle: b.dir, Rootfs: b.rootfs(), Cgroups: p.Cgroups, Hooks: spec.LaterHooks(b.spec),
	}
	if p.Unit != nil {
		s.Unit = p.Unit.Unit
	}
	return s
}

func (inv *invocation) notes(p *spec.Result) {
	for _, w := range p.Warnings {
		inv.warn("%s", w)
	}
	inv.debugPlan(p.Plan)
	for _, n := range p.Notes {
		inv.debug("%s", n)
	}
}
