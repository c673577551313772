// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"vitro/container"
)

// pauseContainer has all processes of a container stand still.
func pauseContainer(inv *invocation) (int, error) {
	return inv.freeze(container.Running, func(s *container.State) error { return s.Cgroups.Freeze() })
}

// resumeContainer has them go on.
func resumeContainer(inv *invocation) (int, error) {
	return inv.freeze(container.Paused, func(s *container.State) error { return s.Cgroups.Thaw() })
}

// freeze does to a container what takes it out of a status.
func (inv *invocation) freeze(from container.Status, do func(*container.State) error) (int, error) {
	c, err := inv.lock()
	if err != nil {
		return 1, err
	}
	defer c.Release()
	s := c.Status()
	if s != from && (from != container.Running || s != container.Created) {
		err = fmt.Errorf("container not %s: it is %s", from, s)
	} else {
		err = do(c.State)
	}
	if err != nil {
		return 1, fmt.Errorf("%s container %q: %w", inv.command.name, c.ID, err)
	}
	return 0, nil
}
