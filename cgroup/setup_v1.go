// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// v1 plans the container's cgroup in a hierarchy of version 1.
func (t *tree) v1() error {
	cgroup := t.path
	if !path.IsAbs(cgroup) {
		cgroup = path.Join(t.h.Own, cgroup)
	}
	if err := t.make(cgroup); err != nil {
		return err
	}
	if slices.Contains(t.h.Controllers, "cpuset") {
		t.host("a cpuset starts empty, and takes no process before it has CPUs and memory", &Inherit{Path: t.dir, Mount: t.h.Mount})
	}
	if len(t.rows) > 0 {
		sample := t.deepest(path.Dir(cgroup))
		if err := t.write(func(string) string { return sample }); err != nil {
			return err
		}
	}
	if t.devices {
		if _, err := devicesV1(t.builder.devices); err != nil {
			return err
		}
		t.host("which devices it may open and make", &ListDevices{Path: t.dir, Rules: t.builder.devices})
	}
	file, handle := t.dir+"/tasks", "cgroup."+t.h.name()
	t.open("for the child, which moves itself there", file, handle, unix.O_WRONLY)
	t.setup.Join = append(t.setup.Join, plan.Step{
		Action: &plan.JoinCgroup{Handle: handle, Path: file},
		Why:    "from here on this cgroup holds it, for " + t.purpose(),
	})
	t.added(t.h.Controllers)
	return nil
}
