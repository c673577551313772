// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// devices adds the change of device rules, if they differ.
func (u *updater) devices(now, change *specs.LinuxResources) error {
	if change == nil || len(change.Devices) == 0 {
		return nil
	}
	var old []Device
	var err error
	if now != nil {
		if old, err = withDefaults(now.Devices); err != nil {
			return err
		}
	}
	rules, err := withDefaults(change.Devices)
	if err != nil || slices.Equal(old, rules) {
		return err
	}
	if !u.mayFilterDevices() {
		return &Unsupported{"devices", "right to change device rules: only the machine's root has it", "leave linux.resources.devices out"}
	}
	dir, ok := u.dirs.with("devices")
	if !ok {
		dir, ok = u.dirs.unified()
	}
	if !ok {
		missing, remedy := without("devices")
		return &Unsupported{"devices", missing + " in the container's cgroups", remedy}
	}
	a := &ChangeDevices{Path: dir.Path, V2: dir.V2, Before: old, After: rules}
	if !dir.V2 {
		if _, err := a.lines(); err != nil {
			return err
		}
	}
	u.add("devices", "which devices it may open and make", a)
	return nil
}

// withDefaults are the rules as Setup is given them: config.json's, and then
// those that every container has. No rules are none.
func withDefaults(rules []specs.LinuxDeviceCgroup) ([]Device, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	all, err := Devices(append(slices.Clone(rules), DefaultDevices()...))
	if err != nil || allowsAll(all) {
		return nil, err
	}
	return all, nil
}

// ChangeDevices changes the device rules of a cgroup in use. No rules allow
// everything.
//
// In version 1 what differs is written, so that what others have added stays,
// and nothing is denied meanwhile that is allowed before and after. In version 2
// the filter is replaced.
type ChangeDevices struct {
	Path   string   `json:"path"`
	V2     bool     `json:"v2,omitempty"`
	Before []Device `json:"before,omitempty"`
	After  []Device `json:"after,omitempty"`
}

func (a *ChangeDevices) Verb() string { return "devices" }
func (a *ChangeDevices) Undo() plan.Host {
	return &ChangeDevices{Path: a.Path, V2: a.V2, Before: a.After, After: a.Before}
}

func (a *ChangeDevices) Line() string {
	if a.V2 {
		return fmt.Sprintf("replace device filter (%d rules, %d instructions) of %s", len(a.After), len(DeviceProgram(a.After)), a.Path)
	}
	var words []string
	lines, _ := a.lines()
	for _, l := range lines {
		words = append(words, l.File+" "+l.Value)
	}
	return "write " + strings.Join(words, ", ") + " in " + a.Path
}

// Shell only tells, in version 2: no tool compiles rules.
func (a *ChangeDevices) Shell(s *plan.Script) {
	if a.V2 {
		(&AttachDevices{a.Path, a.After}).Shell(s)
		return
	}
	lines, _ := a.lines()
	for _, l := range lines {
		s.Run("echo %s >%s", plan.Quote(l.Value), plan.Quote(a.Path+"/"+l.File))
	}
}

// Do is as AttachDevices and ListDevices, for a container that runs.
func (a *ChangeDevices) Do(*plan.Env) error {
	if a.V2 {
		return a.replace()
	}
	lines, err := a.lines()
	for _, l := range lines {
		if err == nil {
			err = put(a.Path, l.File, l.Value)
		}
	}
	return err
}

// lines are the writes for version 1 from the old rules to the new ones.
func (a *ChangeDevices) lines() ([]Entry, error) {
	was, old, err := exceptions(orAll(a.Before))
	if err != nil {
		return nil, err
	}
	is, except, err := exceptions(orAll(a.After))
	if err != nil {
		return nil, err
	}
	if was != is {
		lines := deviceLines(is, except)
		if is {
			lines = append([]Entry{{"devices.allow", "a"}}, lines...)
		}
		return lines, nil
	}
	more, less := "devices.allow", "devices.deny"
	if is {
		more, less = less, more
	} else {
		widen(old)
		widen(except)
	}
	return append(beyond(except, old, more), beyond(old, except, less)...), nil
}

// orAll is a rule that allows everything in place of none.
func orAll(rules []Device) []Device {
	if len(rules) > 0 {
		return rules
	}
	return []Device{{Allow: true, Major: anyNumber, Minor: anyNumber, Access: fullAccess}}
}

// beyond are the accesses of the first list that the second doesn't have.
func beyond(list, other []Device, file string) (lines []Entry) {
	for _, d := range list {
		for _, o := range other {
			if o.Type == d.Type && o.Major == d.Major && o.Minor == d.Minor {
				d.Access &^= o.Access
			}
		}
		if d.Access != 0 {
			lines = append(lines, Entry{file, d.String()})
		}
	}
	return lines
}

// replace puts the new filter in the old one's place.
func (a *ChangeDevices) replace() error {
	dir, err := unix.Open(a.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", a.Path, err)
	}
	defer unix.Close(dir)
	old, err := attachedProgram(dir)
	if err != nil {
		return fmt.Errorf("look for the device filter of %s: %w", a.Path, err)
	}
	if old >= 0 {
		defer unix.Close(old)
	}
	if len(a.After) == 0 {
		if old >= 0 {
			if err := detachProgram(dir, old); err != nil {
				return fmt.Errorf("detach device filter of %s: %w", a.Path, err)
			}
		}
		return nil
	}
	prog, err := loadProgram(DeviceProgram(a.After))
	if err != nil {
		return err
	}
	defer unix.Close(prog)
	if old < 0 {
		err = attachProgram(dir, prog)
	} else {
		err = replaceProgram(dir, old, prog)
	}
	if err != nil {
		return fmt.Errorf("attach device filter to %s: %w", a.Path, err)
	}
	return nil
}
