// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// ListDevices writes the rules to a new cgroup of version 1.
type ListDevices struct {
	Path  string   `json:"path"`
	Rules []Device `json:"rules"`
}

func (a *ListDevices) Verb() string    { return "devices" }
func (a *ListDevices) Undo() plan.Host { return nil }
func (a *ListDevices) Line() string {
	lines, _ := devicesV1(a.Rules)
	text, file := "", ""
	for _, l := range lines {
		if l.File != file {
			file = l.File
			text += " " + file
		} else {
			text += ","
		}
		text += " " + l.Value
	}
	return fmt.Sprintf("write%s in %s", text, a.Path)
}

func (a *ListDevices) Shell(s *plan.Script) {
	lines, _ := devicesV1(a.Rules)
	for _, l := range lines {
		s.Run("echo %s >%s", plan.Quote(l.Value), plan.Quote(a.Path+"/"+l.File))
	}
}

// Do opens each file once.
func (a *ListDevices) Do(*plan.Env) error {
	lines, err := devicesV1(a.Rules)
	for len(lines) > 0 && err == nil {
		file := lines[0].File
		var fd int
		if fd, err = openFile(a.Path, file, unix.O_WRONLY); err != nil {
			return err
		}
		for ; len(lines) > 0 && lines[0].File == file && err == nil; lines = lines[1:] {
			if _, werr := unix.Write(fd, []byte(lines[0].Value)); werr != nil {
				err = fmt.Errorf("write %q to %s/%s: %w", lines[0].Value, a.Path, file, werr)
			}
		}
		unix.Close(fd)
	}
	return err
}

// devicesV1 turns rules into writes for version 1.
//
// A devices cgroup there (devcgroup.rst) allows or denies everything, but for
// a list of exceptions. Rules in an order say more than that: a hole in a rule
// with a wildcard can't be written down, and is refused. (Written as is, the
// kernel would ignore it.)
func devicesV1(rules []Device) ([]Entry, error) {
	allow, except, err := exceptions(rules)
	if err != nil {
		return nil, err
	}
	return deviceLines(allow, except), nil
}

// exceptions are what the rules come to: what holds, and but for what.
func exceptions(rules []Device) (allow bool, except []Device, err error) {
	for _, d := range rules {
		if d.everything() {
			allow, except = d.Allow, nil
			continue
		}
		for _, one := range d.types() {
			if one.Allow != allow {
				except = join(except, one)
				continue
			}
			var ok bool
			if except, ok = remove(except, one); !ok {
				return false, nil, &Unsupported{"devices", "way in version 1 to take " + d.String() + " out of a wider rule",
					"order and cut the rules so that none makes a hole in one before it"}
			}
		}
	}
	return allow, except, nil
}

func deviceLines(allow bool, except []Device) []Entry {
	lines := make([]Entry, 0, len(except)+1)
	file := "devices.deny"
	if !allow {
		lines = append(lines, Entry{file, "a"})
		file = "devices.allow"
		widen(except)
	}
	for _, d := range except {
		lines = append(lines, Entry{file, d.String()})
	}
	return lines
}

// widen gives each exception the accesses of those that cover it: the kernel
// wants a single one for all that is asked for at once (read and write).
func widen(except []Device) {
	for i := range except {
		for _, o := range except {
			if e := &except[i]; o.Type == e.Type && covers(o.Major, e.Major) && covers(o.Minor, e.Minor) {
				e.Access |= o.Access
			}
		}
	}
}

// types splits a rule for both types into one for each.
func (d Device) types() []Device {
	if d.Type != 0 {
		return []Device{d}
	}
	b, c := d, d
	b.Type, c.Type = 'b', 'c'
	return []Device{b, c}
}

// join adds an exception.
func join(except []Device, d Device) []Device {
	for i := range except {
		if e := &except[i]; e.Type == d.Type && e.Major == d.Major && e.Minor == d.Minor {
			e.Access |= d.Access
			return except
		}
	}
	return append(except, d)
}

// remove takes accesses out of the exceptions. It is not ok if a wider one
// would need a hole.
func remove(except []Device, d Device) (left []Device, ok bool) {
	for _, e := range except {
		if e.Type == d.Type && e.Access&d.Access != 0 && overlap(e.Major, d.Major) && overlap(e.Minor, d.Minor) {
			if !covers(d.Major, e.Major) || !covers(d.Minor, e.Minor) {
				return nil, false
			}
			e.Access &^= d.Access
		}
		if e.Access != 0 {
			left = append(left, e)
		}
	}
	return left, true
}

func overlap(a, b int64) bool { return a == b || a == anyNumber || b == anyNumber }
func covers(a, b int64) bool  { return a == b || a == anyNumber }
