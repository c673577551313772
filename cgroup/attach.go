// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// AttachDevices loads the filter for the rules and attaches it to a cgroup of
// version 2. It goes with the cgroup: there is nothing to take back.
type AttachDevices struct {
	Path  string   `json:"path"`
	Rules []Device `json:"rules"`
}

func (a *AttachDevices) Verb() string    { return "devices" }
func (a *AttachDevices) Undo() plan.Host { return nil }
func (a *AttachDevices) Line() string {
	return fmt.Sprintf("attach device filter (%d rules, %d instructions) to %s", len(a.Rules), len(DeviceProgram(a.Rules)), a.Path)
}

// Shell only tells: no tool compiles rules.
func (a *AttachDevices) Shell(s *plan.Script) {
	s.Note("a shell can't attach a device filter; the rules, of which the last that matches decides:")
	for _, r := range a.Rules {
		verb := "deny"
		if r.Allow {
			verb = "allow"
		}
		s.Note("  %s %s", verb, r)
	}
}

// Do needs CAP_BPF or CAP_SYS_ADMIN, and CAP_NET_ADMIN, in the machine's first
// user namespace.
func (a *AttachDevices) Do(*plan.Env) error {
	dir, err := unix.Open(a.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Path, err)
	}
	defer unix.Close(dir)
	prog, err := loadProgram(DeviceProgram(a.Rules))
	if err != nil {
		return err
	}
	defer unix.Close(prog)
	if err := attachProgram(dir, prog); err != nil {
		return fmt.Errorf("attach device filter to %s: %w", a.Path, err)
	}
	return nil
}
