// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup/systemd"
	"vitro/host"
	"vitro/plan"
)

// ErrNoSystemd: a unit is asked for, and the layout has no systemd's Manager.
var ErrNoSystemd = errors.New("make the container a unit of systemd: no systemd has been found to do it")

// AskSystemd finds the Manager: the machine's for root, else the user's own.
func (l *Layout) AskSystemd() (err error) {
	l.Manager, err = systemd.Ask(!l.isMachineRoot())
	return err
}

// A unit is the container's as systemd is asked for it.
type unit struct {
	systemd.Unit
	files   []systemd.File     // the limits, as they are written
	devices []systemd.Property // the rules for devices
}

// askUnit takes the path as a unit's name. Where systemd puts the unit is the
// cgroup's path, in each tree.
func (b *builder) askUnit(cgroupsPath string) (dir string, err error) {
	if b.Manager == nil {
		return "", ErrNoSystemd
	}
	b.unit = new(unit)
	if b.unit.Unit, err = systemd.ParseUnit(cgroupsPath, b.opt.Name, b.Manager.Bus.User); err != nil {
		return "", err
	}
	b.opt.Shared = ""
	return path.Join(b.Manager.ControlGroup, b.unit.Path()), nil
}

// isScope reports whether the container is a scope of systemd's.
func (b *builder) isScope() bool { return b.unit != nil && !b.unit.IsSlice() }

// startUnit adds the step that has systemd make the unit. A slice is made ahead
// of all, and the child is born in it, or joins it; a scope begins with the
// child, and the limits that systemd doesn't know are written then.
func (b *builder) startUnit() {
	ref := systemd.Ref{Bus: b.Manager.Bus, Unit: b.unit.Name, Version: b.Manager.Version, Description: "container " + b.opt.Name}
	properties := b.properties(ref.Description)
	for _, p := range b.opt.Properties {
		if p.Name == "Description" {
			ref.Description = p.Text()
		}
		properties = append(properties, p)
	}
	b.setup.Unit = &ref
	step := plan.Step{Action: &systemd.Start{Ref: ref, Properties: properties},
		Why: "a unit of systemd's, which owns the tree of cgroups: it makes the cgroup, and moves the container in"}
	if b.isScope() {
		b.setup.Born = append([]plan.Step{step}, b.setup.Born...)
	} else {
		step.Why = "a slice of systemd's, which owns the tree of cgroups"
		b.setup.Before = append([]plan.Step{step}, b.setup.Before...)
	}
}

// properties are what every container's unit has, and its limits.
func (b *builder) properties(description string) []systemd.Property {
	list := []systemd.Property{{Name: "Description", Value: quoteText(description)}}
	add := func(since int, name, value string) {
		if b.Manager.Version >= since {
			list = append(list, systemd.Property{Name: name, Value: value})
		}
	}
	if b.isScope() {
		add(0, "Slice", quoteText(b.unit.Slice))
		add(218, "Delegate", "true")
	}
	add(0, "DefaultDependencies", "false") // systemd's own shutdown is not to wait for it
	add(236, "CollectMode", "'inactive-or-failed'")
	add(0, "CPUAccounting", "true")
	add(0, "MemoryAccounting", "true")
	if b.Version() == "v2" {
		add(230, "IOAccounting", "true")
	} else {
		add(0, "BlockIOAccounting", "true")
	}
	add(227, "TasksAccounting", "true")
	list = append(list, systemd.Properties(b.unit.files, b.Manager.Version)...)
	return append(list, b.unit.devices...)
}

// quoteText is a string of a unit's name or an ID as GVariant text.
func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// v1Managed are the controllers of version 1 that a delegated unit of systemd's
// has a cgroup of, v1Half those that it has one of only if it has a property
// for them. An empty cgroup of such a controller systemd removes, when it starts
// a unit that doesn't need it. v2Managed are those of version 2.
var (
	v1Managed = [...]string{systemdTree, "cpu", "blkio", "memory", "pids"}
	v1Half    = [...]string{"devices", "cpuacct"}
	v2Managed = [...]string{"cpu", "cpuset", "io", "memory", "pids"}
)

// systemdTree is the tree of version 1 that systemd keeps its units apart by.
const systemdTree = "name=systemd"

// managed reports whether systemd makes the scope's cgroup in this tree, and
// moves the process there. A user's systemd has no tree of version 1 but
// systemdTree; that of version 2, in a hybrid layout, may be nobody's.
func (t *tree) managed() bool {
	if !t.isScope() {
		return false
	}
	if t.h.V2 {
		return t.Version() == "v2" || t.FS.Exists(t.h.dir(path.Join(t.Manager.ControlGroup, "init.scope")))
	}
	return slices.ContainsFunc(t.h.Controllers, func(c string) bool {
		return c == systemdTree || !t.Manager.Bus.User && slices.Contains(v1Managed[:], c)
	})
}

// half reports whether systemd may, or may not, make the scope's cgroup.
func (t *tree) half() bool {
	return t.isScope() && !t.Manager.Bus.User && slices.ContainsFunc(t.h.Controllers, func(c string) bool { return slices.Contains(v1Half[:], c) })
}

// scope plans the container's part of a tree in which systemd makes the cgroup,
// or may make it.
func (t *tree) scope() error {
	t.dir = t.h.dir(t.path)
	t.late = true
	defer func() { t.late = false }()
	if !t.managed() {
		t.host("a cgroup of its own for "+t.purpose()+", unless systemd has made it", &Make{Path: t.dir, Below: t.deepest(path.Dir(t.path)), Adopt: true})
		t.host("systemd moves it to cgroups of its own only", &Enter{Path: t.dir})
	}
	on, sample := t.h.Controllers, func(string) string { return t.deepest(path.Dir(t.path)) }
	if t.h.V2 {
		var err error
		if on, err = t.scopeControllers(); err != nil {
			return err
		}
		sample = t.sampleV2(t.deepest(path.Dir(t.path)))
	}
	if err := t.write(sample); err != nil {
		return err
	}
	switch {
	case t.devices && t.h.V2:
		t.host("which devices it may open and make", &AttachDevices{Path: t.dir, Rules: t.builder.devices})
	case t.devices:
		if _, err := devicesV1(t.builder.devices); err != nil {
			return err
		}
		t.host("which devices it may open and make", &ListDevices{Path: t.dir, Rules: t.builder.devices})
	}
	if t.h.V2 {
		t.delegate()
	}
	t.added(on)
	return nil
}

// scopeControllers are those that the scope will have: all that systemd knows
// and has itself, since the scope is delegated; the others are handed down by
// us, when it has made the cgroups on the way.
func (t *tree) scopeControllers() ([]string, error) {
	on, grants, err := t.controllers(t.path)
	if err != nil {
		return nil, err
	}
	for _, c := range t.fields(t.h.dir(t.Manager.ControlGroup) + "/cgroup.controllers") {
		if slices.Contains(v2Managed[:], c) && !slices.Contains(on, c) {
			on = append(on, c)
		}
	}
	for _, g := range grants {
		if others := minus(g.controllers, v2Managed[:]); len(others) > 0 && !g.evacuate {
			t.host("systemd doesn't know these controllers, and hands down only its own",
				&host.Write{Path: g.dir + "/cgroup.subtree_control", Value: "+" + strings.Join(others, " +")})
		}
	}
	return on, nil
}

// tellDevices has systemd know the device rules, where they are version 1's: it
// writes its own there anew with each daemon-reload. The filter of version 2 it
// leaves alone, and would only put another one beside it.
func (b *builder) tellDevices() {
	if b.home("devices") == nil {
		return
	}
	var unsaid []string
	if b.unit.devices, unsaid = b.deviceProperties(b.devices); len(unsaid) > 0 {
		b.note("systemd is not told of the devices %s: no driver in /proc/devices has the number", strings.Join(unsaid, ", "))
	}
}

// deviceProperties are rules in systemd's words. It has none for what is denied
// out of all: then it is told to let the devices be.
func (l *Layout) deviceProperties(rules []Device) (list []systemd.Property, unsaid []string) {
	policy := "'auto'"
	var allow []string
	lines, err := devicesV1(rules)
	if err == nil && len(lines) > 0 && lines[0] == (Entry{"devices.deny", "a"}) {
		policy = "'strict'"
		for _, e := range lines[1:] {
			f := strings.Fields(e.Value) // "c 1:3 rwm"
			if path := l.devicePath(f[0], f[1]); path != "" {
				allow = append(allow, "("+quoteText(path)+", "+quoteText(f[2])+")")
			} else {
				unsaid = append(unsaid, f[1])
			}
		}
	}
	list = []systemd.Property{
		{Name: "DevicePolicy", Value: policy},
		{Name: "DeviceAllow", Value: "@a(ss) []"}, // what was said before
	}
	if len(allow) > 0 {
		list = append(list, systemd.Property{Name: "DeviceAllow", Value: "@a(ss) [" + strings.Join(allow, ", ") + "]"})
	}
	return list, unsaid
}

// devicePath is a device, or a group of them, as systemd names it: a path with
// its number, or the driver's name in /proc/devices.
func (l *Layout) devicePath(kind, number string) string {
	dir, group, section := "/dev/char/", "char-", "Character devices:"
	if kind == "b" {
		dir, group, section = "/dev/block/", "block-", "Block devices:"
	}
	major, minor, _ := strings.Cut(number, ":")
	switch {
	case major == "*":
		return group + "*"
	case minor != "*":
		return dir + number
	}
	text, _ := l.FS.Read("/proc/devices")
	in := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if strings.HasSuffix(strings.TrimSpace(line), ":") {
			in = strings.TrimSpace(line) == section
		} else if in && len(f) == 2 && f[0] == major {
			return group + f[1]
		}
	}
	return ""
}

// UpdateUnit is Update for a container that is a unit of systemd's. A step in
// front tells systemd of the new limits: it would bring the old ones back with
// its next daemon-reload. Of device rules it is told last, in version 1, where
// it denies them all for a moment.
func (l *Layout) UpdateUnit(unit *systemd.Ref, d Dirs, now, change *specs.LinuxResources) (*Change, error) {
	c, err := l.Update(d, now, change)
	if err != nil {
		return nil, err
	}
	var is, was []systemd.File
	for i, s := range c.Steps {
		switch a := s.Action.(type) {
		case *host.Write:
			l.said(d, a, &is, &was)
		case *ChangeDevices:
			if !a.V2 {
				set := &systemd.Set{Ref: *unit}
				set.Properties, _ = l.deviceProperties(a.After)
				set.Before, _ = l.deviceProperties(a.Before)
				c.Steps = append(c.Steps, plan.Step{Action: set, Why: whySet})
				c.Properties = append(c.Properties, c.Properties[i])
			}
		}
	}
	set := &systemd.Set{Ref: *unit, Properties: systemd.Properties(is, unit.Version), Before: systemd.Properties(was, unit.Version)}
	if len(set.Properties) > 0 {
		c.Steps = append([]plan.Step{{Action: set, Why: whySet}}, c.Steps...)
		c.Properties = append([]string{strings.Join(c.Properties, ", ")}, c.Properties...)
	}
	return c, nil
}

const whySet = "systemd would bring the old ones back at its next daemon-reload"

// said adds what a write changes to what systemd is told, and the old value to
// what it has been told.
func (l *Layout) said(d Dirs, w *host.Write, is, was *[]systemd.File) {
	dir, name := path.Split(w.Path)
	i := slices.IndexFunc(d, func(c Dir) bool { return c.Path == path.Clean(dir) })
	f := systemd.File{V2: i >= 0 && d[i].V2, Name: name}
	if strings.HasPrefix(name, "cpu.cfs_") { // one property of systemd's for two files
		for _, f.Name = range [...]string{"cpu.cfs_quota_us", "cpu.cfs_period_us"} {
			if f.Name != name && !slices.ContainsFunc(*is, func(o systemd.File) bool { return o.Name == f.Name }) {
				f.Value, _ = l.FS.Read(dir + f.Name)
				*is, *was = append(*is, f), append(*was, f)
			}
		}
		f.Name = name
	}
	f.Value = w.Value
	*is = append(*is, f)
	if f.Value = w.Before; w.Before != "" {
		*was = append(*was, f)
	}
}
