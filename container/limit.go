// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup"
	"vitro/internal/ocijson"
	"vitro/plan"
	"vitro/plan/run"
)

// ResourcesFile is what holds for a container after its last change, in the
// form of linux.resources. As long as there was none, that of its config.json
// holds.
const ResourcesFile = "resources.json"

// Limit changes the limits of a running container. What is not named stays. If
// one can't be changed, none is.
//
// Precondition: the lock is held.
func (c *Container) Limit(change *specs.LinuxResources) error {
	now, err := c.presentResources()
	if err != nil {
		return err
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	todo, err := decideChange(layout, c.State, now, change)
	if err != nil {
		return err
	}
	err = run.Host(&plan.Plan{Title: "update " + c.ID, Steps: todo.Steps})
	var fault *run.Fault
	if errors.As(err, &fault) {
		return fmt.Errorf("set %s: %w", todo.Properties[fault.Index], err)
	}
	if err != nil {
		return err
	}
	return c.Write(ResourcesFile, append(ocijson.AppendLinuxResources(nil, todo.Resources), '\n'))
}

// decideChange has systemd know, if it has made the container's cgroup.
func decideChange(l *cgroup.Layout, s *State, now, change *specs.LinuxResources) (*cgroup.Change, error) {
	if s.Unit == "" {
		return l.Update(s.Cgroups, now, change)
	}
	if err := l.AskSystemd(); err != nil {
		return nil, err
	}
	return l.UpdateUnit(l.Manager.Ref(s.Unit), s.Cgroups, now, change)
}

// presentResources are what the container has.
func (c *Container) presentResources() (*specs.LinuxResources, error) {
	data, err := os.ReadFile(c.Path(ResourcesFile))
	if err == nil {
		return ocijson.DecodeLinuxResources(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if data, err = os.ReadFile(c.Path("config.json")); err != nil {
		return nil, err
	}
	s, err := ocijson.DecodeSpec(data)
	if err != nil || s.Linux == nil {
		return nil, err
	}
	return s.Linux.Resources, nil
}
