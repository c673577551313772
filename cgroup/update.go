// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/host"
	"vitro/plan"
)

// A Change is what it takes to change a running container's limits.
type Change struct {
	// Steps are host steps, in the order in which the kernel takes them. They
	// know the old values: done backwards, their inverses set all back.
	Steps []plan.Step
	// Properties say of each step what it is for: "memory.limit".
	Properties []string
	// Resources are what holds when the steps are done: worth keeping with the
	// container, for the next change.
	Resources *specs.LinuxResources
}

// Conflict is a limit that can't be changed without another.
type Conflict struct {
	Property string // below linux.resources: "memory.limit"
	Value    string // as given
	Cause    string
	Remedy   string
}

func (e *Conflict) Error() string { return (&Invalid{e.Property, e.Value, e.Cause}).Error() }

// Hint is what to do about it.
func (e *Conflict) Hint() string { return e.Remedy }

// Update decides how to change the limits of a running container: now is what
// it has, and change what it is to have. What the change doesn't name stays (see
// Merge), and is not written again, but where it is one number for the kernel
// with something that is: the swap of version 2 is what is left of memory and
// swap, and its quota stands in one file with the period.
//
// Only controllers that the container has a cgroup of can be changed (see
// Options.All). Rules for devices are changed where they differ from the present
// ones: callers send those along when they ask for other limits, and a device
// that a hook or a plugin has added since then is to stay. With
// memory.checkBeforeUpdate a limit below what is used is an *Invalid; in version
// 1 the kernel refuses that anyway.
func (l *Layout) Update(d Dirs, now, change *specs.LinuxResources) (*Change, error) {
	u := &updater{Layout: l, dirs: d, change: &Change{Resources: Merge(now, change)}}
	rows, err := Limits(u.change.Resources)
	if err != nil {
		return nil, explain(err, change)
	}
	if change != nil && change.Memory != nil {
		rows = killAgain(rows, now, change.Memory)
		if err := u.checkMemory(change.Memory); err != nil {
			return nil, err
		}
	}
	old, named := read(now).rows, read(change).rows
	for _, r := range rows {
		if err := u.row(r, old, named); err != nil {
			return nil, err
		}
	}
	if err := u.devices(now, change); err != nil {
		return nil, err
	}
	u.order()
	return u.change, nil
}

// explain says of values that contradict each other which one to change along.
func explain(err error, change *specs.LinuxResources) error {
	var bad *Invalid
	if !errors.As(err, &bad) || bad.Property != "memory.swap" || change == nil || change.Memory == nil {
		return err
	}
	if m := change.Memory; value(m.Limit) > 0 && value(m.Swap) == 0 {
		return &Conflict{"memory.limit", itoa(*m.Limit), "more than its memory and swap together, " + bad.Value,
			"change memory.swap (--memory-swap) along: as much or more, or -1 for no limit"}
	}
	return err
}

// killAgain takes back disableOOMKiller: Limits has no row for what every new
// cgroup has anyway.
func killAgain(rows []Limit, now *specs.LinuxResources, m *specs.LinuxMemory) []Limit {
	if now == nil || now.Memory == nil || !value(now.Memory.DisableOOMKiller) || m.DisableOOMKiller == nil || *m.DisableOOMKiller {
		return rows
	}
	return append(rows, Limit{"memory.disableOOMKiller", "memory", "without memory its processes are killed", file("memory.oom_control", "0"), Form{}})
}

// updater collects a Change.
type updater struct {
	*Layout
	dirs   Dirs
	change *Change
}

func (u *updater) add(property, why string, a plan.Host) {
	u.change.Steps = append(u.change.Steps, plan.Step{Action: a, Why: why})
	u.change.Properties = append(u.change.Properties, property)
}

// row adds the write for one limit, if it is named or differs from the old one.
func (u *updater) row(r Limit, old, named []Limit) error {
	dir, ok := u.dirs.with(r.Controller)
	if r.Controller == core {
		dir, ok = u.dirs.unified()
	}
	same := func(o Limit) bool {
		return o.Property == r.Property && slices.Equal(formOf(&o, dir).Entries, formOf(&r, dir).Entries)
	}
	either := func(o Limit) bool {
		return o.Property == r.Property && (slices.Equal(o.V1.Entries, r.V1.Entries) || slices.Equal(o.V2.Entries, r.V2.Entries))
	}
	if slices.ContainsFunc(old, same) && !slices.ContainsFunc(named, either) {
		return nil
	}
	if !ok {
		return &Unsupported{r.Property, r.Controller + " controller in the container's cgroups",
			"limits that are to be changed later have to be set, or every controller asked for, when the container is made"}
	}
	w, err := u.write(dir, r)
	if err != nil || w == nil {
		return err
	}
	u.add(r.Property, r.Why, w)
	return nil
}

func formOf(r *Limit, dir Dir) *Form {
	if dir.V2 {
		return &r.V2
	}
	return &r.V1
}

// write is the action for one limit, nil if there is nothing to write.
func (u *updater) write(dir Dir, r Limit) (*host.Write, error) {
	f := formOf(&r, dir)
	if f.Refused != "" {
		return nil, &Unsupported{r.Property, f.Refused, f.Remedy}
	}
	for _, e := range f.Entries {
		path := dir.Path + "/" + e.File
		if !u.FS.Exists(path) {
			continue
		}
		text, err := u.FS.Read(path)
		if err != nil {
			return nil, err
		}
		return &host.Write{Path: path, Value: e.Value, Before: before(e, text)}, nil
	}
	if len(f.Entries) == 0 || f.Optional {
		return nil, nil
	}
	missing, remedy := lack(f.Entries[0].File)
	return nil, &Unsupported{r.Property, missing, remedy}
}

// checkMemory compares a new limit of memory with what is used, if that is asked
// for (in version 2 the kernel would kill), and in version 1 with a limit of
// memory and swap that somebody else has set.
func (u *updater) checkMemory(m *specs.LinuxMemory) error {
	dir, ok := u.dirs.with("memory")
	limit := value(m.Limit)
	if !ok || limit <= 0 {
		return nil
	}
	if dir.V2 {
		if !value(u.change.Resources.Memory.CheckBeforeUpdate) {
			return nil
		}
		usage, err := u.FS.Read(dir.Path + "/memory.current")
		if err != nil {
			return err
		}
		if n := parseSize(usage); n >= uint64(limit) {
			what := "memory"
			if value(m.Swap) > 0 {
				what = "memory+swap"
			}
			return &Invalid{"memory.limit", itoa(limit), "rejecting " + what + " limit: the container uses " + byteSize(n) + " already"}
		}
		return nil
	}
	both, err := u.FS.Read(dir.Path + "/memory.memsw.limit_in_bytes")
	if err == nil && value(m.Swap) == 0 && value(u.change.Resources.Memory.Swap) == 0 && parseSize(both) < uint64(limit) {
		return &Conflict{"memory.limit", itoa(limit), "more than its memory and swap together, " + strings.TrimSpace(both),
			"change memory.swap (--memory-swap) along: as much or more, or -1 for no limit"}
	}
	return nil
}

// parseSize reads a number; "-1" and "max" are the largest.
func parseSize(s string) uint64 {
	n := uint64(0)
	for _, c := range strings.TrimSpace(s) {
		if c < '0' || c > '9' {
			return 1<<64 - 1
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
