// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// startContainer has the process of a created container run its program.
func startContainer(inv *invocation) (int, error) {
	c, err := inv.lock()
	if err != nil {
		return 1, err
	}
	defer c.Release()
	switch s := c.Status(); s {
	case container.Created:
	case container.Stopped:
		return 1, fmt.Errorf("start container %q: cannot start a container that has stopped", c.ID)
	default:
		return 1, fmt.Errorf("start container %q: cannot start an already running container: it is %s", c.ID, s)
	}
	n, err := openNotify(c)
	if err != nil {
		return 1, err
	}
	pidfd, err := c.State.Open()
	if err != nil {
		return 1, fmt.Errorf("start container %q: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	if err := inv.resume(c, pidfd); err != nil {
		return 1, err
	}
	c.Release() // others may look after it meanwhile
	inv.pass(n, pidfd, c.State.Pid)
	return 0, nil
}

// resume has the process go on that waits in the container.
func (inv *invocation) resume(c *container.Container, pidfd int) error {
	w := &run.Waiting{Pid: c.State.Pid, Pidfd: pidfd, Meets: c.State.Hooks}
	for _, f := range [...]struct {
		name  string
		flags int
		to    **os.File
	}{
		{"exec.fifo", os.O_WRONLY, &w.Out},
		{"started", os.O_RDONLY, &w.In},
		{"page", os.O_RDWR, &w.Page},
	} {
		// Not to hang on a FIFO whose other end has gone this very moment.
		fd, err := unix.Open(c.Path(f.name), f.flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("start container %q: open %s: %w", c.ID, c.Path(f.name), err)
		}
		_ = unix.SetNonblock(fd, false) // before it is a file, which would be polled else
		*f.to = os.NewFile(uintptr(fd), f.name)
		defer (*f.to).Close()
	}
	w.Rest = func() (*plan.Plan, error) {
		b, err := kept(c)
		if err != nil {
			return nil, err
		}
		facts, err := spec.ReadExecFacts(w.Pid, b.spec.Process)
		if err != nil {
			return nil, err
		}
		return spec.CompileRest(&spec.Request{ID: c.ID, Spec: b.spec, Facts: facts, Bundle: b.dir}, c.State.Cgroups)
	}
	err := run.Resume(w, run.Options{})
	for _, name := range [...]string{"exec.fifo", "started", "page"} {
		if e := os.Remove(c.Path(name)); err == nil && e != nil {
			err = e
		}
	}
	if err != nil {
		_ = end(c.State) // what a hook has left too; delete says what can't be ended
	}
	return err
}
