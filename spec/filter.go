// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
	"vitro/seccomp"
)

// listenerFd is the specification's name for the descriptor of a filter's
// listener, in the container process state.
const listenerFd = "seccompFd"

// filter loads the filter of the seccomp section, if there is one. If it asks an
// agent, the agent gets its end before the child makes another call that it may
// be asked about.
func (c *compiler) filter(why string) error {
	s := c.linux.Seccomp
	if s == nil {
		return nil
	}
	if s.ListenerMetadata != "" && s.ListenerPath == "" {
		return errors.New("compile config.json: linux.seccomp: listenerMetadata without listenerPath: there is nobody to get it")
	}
	f, err := seccomp.Compile(s, seccomp.Native())
	if err != nil {
		return fmt.Errorf("compile config.json: linux.seccomp: %w", err)
	}
	if f == nil {
		return nil // the section says nothing
	}
	c.plan.Add(why, &plan.Seccomp{Filter: f.Bytes(), Flags: f.Flags, Count: len(f.Prog)})
	if f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		c.plan.Meet("who answers what the filter asks: linux.seccomp.listenerPath", c.listener(s))
	}
	return nil
}

// lateListener reports whether a filter with a listener is loaded behind the
// wait for the start.
func lateListener(s *specs.Spec) bool {
	if s.Process == nil || !s.Process.NoNewPrivileges || s.Linux == nil || s.Linux.Seccomp == nil {
		return false
	}
	return slices.ContainsFunc(s.Linux.Seccomp.Syscalls, func(c specs.LinuxSyscall) bool { return c.Action == specs.ActNotify })
}

// listener is what the agent is told. The PIDs are filled in when they are known.
func (c *compiler) listener(s *specs.LinuxSeccomp) *host.Listener {
	status := specs.StateCreating
	if c.inside != nil {
		status = specs.StateRunning
	}
	state := c.state(status)
	l := &host.Listener{Path: s.ListenerPath, First: c.inside == nil}
	if c.inside != nil {
		state.Pid = c.inside.PID
	}
	l.State = specs.ContainerProcessState{Version: state.Version, Fds: []string{listenerFd}, Metadata: s.ListenerMetadata, State: *state}
	return l
}
