// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/host"
	"vitro/plan"
)

// Update returns the steps that change the limits of a running container; they
// know the old values, so that a failed one takes the others back. Device rules
// are passed over, as runc does: who asks for other limits sends the old rules
// along.
//
// Only controllers that the container has a cgroup of can be changed (see
// Options.All).
func (l *Layout) Update(d Dirs, res *specs.LinuxResources) ([]plan.Step, error) {
	rows, err := Limits(res)
	if err != nil {
		return nil, err
	}
	var steps []plan.Step
	for _, r := range rows {
		dir, ok := d.with(r.Controller)
		if r.Controller == core {
			dir, ok = d.unified()
		}
		if !ok {
			return nil, &Unsupported{r.Property, r.Controller + " controller in the container's cgroups",
				"limits that are to be changed later have to be set, or every controller asked for, when the container is made"}
		}
		step, err := l.change(dir, r)
		if err != nil {
			return nil, err
		}
		if step != nil {
			steps = append(steps, plan.Step{Action: step, Why: r.Why})
		}
	}
	if res != nil && res.Memory != nil {
		if err := l.checkUsage(d, res.Memory); err != nil {
			return nil, err
		}
		l.orderMemory(d, steps)
	}
	return steps, nil
}

// change is the write for one limit, nil if there is nothing to write.
func (l *Layout) change(dir Dir, r Limit) (*host.Write, error) {
	f := &r.V1
	if dir.V2 {
		f = &r.V2
	}
	if f.Refused != "" {
		return nil, &Unsupported{r.Property, f.Refused, f.Remedy}
	}
	for _, e := range f.Entries {
		file := dir.Path + "/" + e.File
		if !l.FS.Exists(file) {
			continue
		}
		w := &host.Write{Path: file, Value: e.Value}
		// a file of several lines isn't written as it is read
		if old, err := l.FS.Read(file); err == nil && strings.Count(old, "\n") == 1 {
			w.Before = strings.TrimSpace(old)
		}
		return w, nil
	}
	if len(f.Entries) == 0 || f.Optional {
		return nil, nil
	}
	missing, remedy := lack(f.Entries[0].File)
	return nil, &Unsupported{r.Property, missing, remedy}
}

// checkUsage keeps memory.checkBeforeUpdate's promise. In version 1 the kernel
// does that; in version 2 it would kill.
func (l *Layout) checkUsage(d Dirs, m *specs.LinuxMemory) error {
	dir, ok := d.with("memory")
	limit := value(m.Limit)
	if !ok || !dir.V2 || !value(m.CheckBeforeUpdate) || limit <= 0 {
		return nil
	}
	usage, err := l.FS.Read(dir.Path + "/memory.current")
	if err != nil {
		return err
	}
	if n := parseSize(usage); n > uint64(limit) {
		return &Invalid{"memory.limit", itoa(limit), "the container uses " + byteSize(n) + " already"}
	}
	return nil
}

// orderMemory swaps the limit and that of memory and swap together in version
// 1, where the first may at no time be larger than the second.
func (l *Layout) orderMemory(d Dirs, steps []plan.Step) {
	limit, both := -1, -1
	for i, s := range steps {
		switch w := s.Action.(*host.Write); {
		case strings.HasSuffix(w.Path, "/memory.limit_in_bytes"):
			limit = i
		case strings.HasSuffix(w.Path, "/memory.memsw.limit_in_bytes"):
			both = i
		}
	}
	if limit < 0 || both < 0 {
		return
	}
	w := steps[both].Action.(*host.Write)
	if parseSize(w.Before) < parseSize(w.Value) {
		steps[limit], steps[both] = steps[both], steps[limit]
	}
}

// parseSize reads a number of bytes; "-1" and "max" are the largest.
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
