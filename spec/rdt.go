// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/host"
	"vitro/plan"
)

// Resctrl is what a plan depends on of the resctrl file system, and of the
// class of service that the container is to be in.
type Resctrl struct {
	Path     string // where it is mounted
	Exists   bool   // the class is there
	Schemata string // and says this
}

// NoResctrlError says that linux.intelRdt has nothing to work with.
type NoResctrlError struct{}

func (e *NoResctrlError) Error() string {
	return "compile config.json: linux.intelRdt: no resctrl file system is mounted"
}

// Hint says how to get one.
func (e *NoResctrlError) Hint() string {
	return "on a processor that has it (rdt_a in /proc/cpuinfo): mount -t resctrl resctrl /sys/fs/resctrl; else leave the property out"
}

// class is the folder of the class of service, below resctrl's own.
func class(rdt *specs.LinuxIntelRdt, id string) string {
	if rdt.ClosID != "" {
		return path.Clean("/" + rdt.ClosID)
	}
	return "/" + id
}

// schemata are the lines to write, in the specification's order.
func schemata(rdt *specs.LinuxIntelRdt) (lines []string) {
	for _, l := range append([]string{rdt.L3CacheSchema, rdt.MemBwSchema}, rdt.Schemata...) {
		if l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func checkRdt(rdt *specs.LinuxIntelRdt, id string) error {
	name := rdt.ClosID
	if name == "" {
		name = id
	}
	switch {
	case name != "/" && (name == "." || name == ".." || strings.ContainsAny(name, "/\n\x00")):
		return fmt.Errorf("closID %q is not the name of a folder", name)
	case slices.ContainsFunc(schemata(rdt), func(l string) bool { return strings.ContainsAny(l, "\n\x00") }):
		return errors.New("a line of the schemata holds a line break or a NUL byte")
	case rdt.MemBwSchema != "" && !strings.HasPrefix(rdt.MemBwSchema, "MB:"):
		return fmt.Errorf("memBwSchema is %q, and has to begin with \"MB:\"", rdt.MemBwSchema)
	}
	return nil
}

// rdt makes the container's class of service and its monitoring group, before
// the container is born.
func (c *compiler) rdt() error {
	rdt := c.linux.IntelRdt
	if rdt == nil {
		return nil
	}
	f := c.Facts.Resctrl
	if f == nil {
		return &NoResctrlError{}
	}
	if err := checkRdt(rdt, c.ID); err != nil {
		return fmt.Errorf("compile config.json: linux.intelRdt: %w", err)
	}
	dir, lines := path.Join(f.Path, class(rdt, c.ID)), schemata(rdt)
	switch {
	case f.Exists && rdt.ClosID == "":
		return fmt.Errorf("compile config.json: linux.intelRdt: %s is there already, and closID is not set", dir)
	case f.Exists && len(lines) > 0:
		if l := differs(f.Schemata, lines); l != "" {
			return fmt.Errorf("compile config.json: linux.intelRdt: class %s is there already, and its schemata doesn't say %q", dir, l)
		}
	case f.Exists:
	case len(lines) == 0 && rdt.ClosID != "":
		return fmt.Errorf("compile config.json: linux.intelRdt: there is no class %s, and no schemata to make it with", dir)
	default:
		c.makeClass(dir, rdt.ClosID != "", lines)
	}
	if rdt.EnableMonitoring {
		c.plan.Add("what the container uses is counted apart: linux.intelRdt.enableMonitoring", &host.Mkdir{Path: path.Join(dir, "mon_groups", c.ID), Mode: 0o755})
	}
	return nil
}

func (c *compiler) makeClass(dir string, stays bool, lines []string) {
	var mk plan.Action = &host.Mkdir{Path: dir, Mode: 0o755}
	if stays {
		mk = &host.Class{Path: dir}
	}
	c.plan.Add("a class of service for caches and memory: linux.intelRdt", mk)
	if len(lines) > 0 {
		c.plan.Add("what the class may use", &host.Write{Path: dir + "/schemata", Value: strings.Join(lines, "\n") + "\n"})
	}
}

// differs is the first of the lines that a schemata file doesn't have.
func differs(schemata string, lines []string) string {
	var have []string
	for l := range strings.Lines(schemata) {
		have = append(have, strings.TrimSpace(l))
	}
	for _, l := range lines {
		if !slices.Contains(have, strings.TrimSpace(l)) {
			return l
		}
	}
	return ""
}

// rdtTasks puts the child into its class and group.
func (c *compiler) rdtTasks() {
	rdt := c.linux.IntelRdt
	if rdt == nil {
		return
	}
	dir := path.Join(c.Facts.Resctrl.Path, class(rdt, c.ID))
	c.plan.Add("the container is of this class", &host.Tasks{Path: dir + "/tasks"})
	if rdt.EnableMonitoring {
		c.plan.Add("and of this group", &host.Tasks{Path: path.Join(dir, "mon_groups", c.ID, "tasks")})
	}
}
