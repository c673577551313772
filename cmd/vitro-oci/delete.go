// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
)

const killSignal = unix.SIGKILL

// deleteContainer removes a container that has ended; with --force, whatever
// state it is in, and without complaint if there is none.
func deleteContainer(inv *invocation) (int, error) {
	c, err := inv.lock()
	if errors.Is(err, container.ErrNotFound) {
		inv.sweepNew() // its maker may have been killed
		if inv.has("force") {
			return 0, nil
		}
	}
	if err != nil {
		return 1, err
	}
	switch s := c.Status(); {
	case s == container.Stopped || s == container.Created || s == container.Creating || inv.has("force"):
	default:
		c.Release()
		return 1, fmt.Errorf("delete container %q: cannot delete container that is not stopped: it is %s", c.ID, s)
	}
	var b *bundle
	if c.State != nil && c.State.Hooks {
		if b, err = kept(c); err != nil {
			inv.warn("poststop hooks of container %q: %v", c.ID, err)
		}
	}
	return 0, inv.remove(c, b)
}

// sweepNew removes what nobody knows by a name.
func (inv *invocation) sweepNew() {
	if err := inv.store().SweepNew(); err != nil {
		inv.warn("clean up after a container that was killed in the making: %v", err)
	}
}

// remove ends what is left of a container, takes it back, and calls the hooks
// for that. The lock is let go of.
func (inv *invocation) remove(c *container.Container, b *bundle) error {
	if err := end(c.State); err != nil {
		c.Release()
		return fmt.Errorf("end container %q: %w", c.ID, err)
	}
	if err := c.Remove(); err != nil {
		return err
	}
	if b != nil {
		inv.poststop(c.ID, b)
	}
	return nil
}

// end kills the container's first process, and whatever is in its cgroups, and
// waits for the end.
func end(s *container.State) error {
	if s == nil {
		return nil // it was never made
	}
	fd, err := s.Open()
	if err == nil {
		defer unix.Close(fd)
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err != nil && !errors.Is(err, container.ErrStopped) && err != unix.ESRCH {
		return err
	}
	if err := s.Cgroups.Kill(); err != nil && !errors.Is(err, cgroup.ErrNoController) {
		return err
	}
	if fd < 0 {
		return nil
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	if err == nil && n == 0 {
		err = errors.New("its first process does not end")
	}
	return err
}
