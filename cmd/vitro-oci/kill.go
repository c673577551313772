// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
)

// killContainer sends a signal to the container's first process; with --all to all of them.
func killContainer(inv *invocation) (int, error) {
	if len(inv.args) < 1 || len(inv.args) > 2 {
		return 1, errors.New("kill container: want its ID, and the signal if it isn't SIGTERM")
	}
	sig := unix.SIGTERM
	if len(inv.args) == 2 {
		var err error
		if sig, err = container.ParseSignal(inv.args[1]); err != nil {
			return 1, err
		}
	}
	c, err := inv.store().Look(inv.args[0])
	if err != nil {
		return 1, err
	}
	if c.State == nil {
		return 1, fmt.Errorf("kill container %q: it is still being made", c.ID)
	}
	if inv.has("all") {
		err = killAll(c.State, sig)
	} else {
		err = killFirst(c.State, sig)
	}
	if err != nil {
		return 1, fmt.Errorf("kill container %q: %w", c.ID, err)
	}
	return 0, nil
}

// killFirst signals the first process. If that is to end, and has no PID
// namespace whose end is the end of all in it, the others are ended too.
func killFirst(s *container.State, sig unix.Signal) error {
	fd, err := s.Open()
	if errors.Is(err, container.ErrStopped) && sig == unix.SIGKILL {
		if left, e := s.Cgroups.Procs(); e == nil && len(left) > 0 { // without a PID namespace they outlive the first one
			return s.Cgroups.Kill()
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if err == unix.ESRCH {
			return container.ErrStopped
		}
		return err
	}
	if sig != unix.SIGKILL {
		return nil
	}
	if sharesPIDs(s.Pid) {
		if err := s.Cgroups.Kill(); err != nil && !errors.Is(err, cgroup.ErrNoController) {
			return err
		}
		return nil
	}
	// A frozen process of version 1 doesn't even die.
	if frozen, err := s.Cgroups.Frozen(); err == nil && frozen {
		return s.Cgroups.Thaw()
	}
	return nil
}

// sharesPIDs reports whether a process is in our PID namespace.
func sharesPIDs(pid int) bool {
	var own, its unix.Stat_t
	return unix.Stat("/proc/self/ns/pid", &own) == nil &&
		unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/pid", &its) == nil && own.Ino == its.Ino
}

// killAll signals every process in the container's cgroups. It may have
// processes when its first one has ended.
func killAll(s *container.State, sig unix.Signal) error {
	if sig == unix.SIGKILL {
		err := s.Cgroups.Kill()
		if errors.Is(err, cgroup.ErrNoController) {
			return killFirst(s, sig)
		}
		return err
	}
	pids, err := s.Cgroups.Procs()
	if errors.Is(err, cgroup.ErrNoController) {
		return killFirst(s, sig)
	}
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
