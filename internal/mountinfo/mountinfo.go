// SPDX-License-Identifier: Apache-2.0

// Package mountinfo reads /proc/PID/mountinfo (proc_pid_mountinfo(5)).
//
// It is for programs whose start is counted in microseconds: fields stay parts
// of the text. Not for more than the text says: which mount hides another one
// package inspect/process works out.
package mountinfo

import (
	"iter"
	"strconv"
	"strings"
)

// A Mount is a line. Lists stay as the kernel writes them.
type Mount struct {
	ID, Parent  int
	Device      string // major:minor
	Root        string // which part of the file system
	Point       string // where it is seen, from the process's root
	Options     string // of the mount: "rw,nosuid"
	Propagation string // "shared:2 master:1"; empty for a private one
	Type        string // of the file system
	Source      string
	Super       string // options of the file system: "rw,size=64k"
}

// All are the mounts of a text. Lines that aren't of its form are passed over.
func All(text string) iter.Seq[Mount] {
	return func(yield func(Mount) bool) {
		for line := range strings.Lines(text) {
			if m, ok := parse(strings.TrimSuffix(line, "\n")); ok && !yield(m) {
				return
			}
		}
	}
}

// parse reads a line. A blank divides fields, and is in none of them: an empty
// source is two blanks.
func parse(line string) (m Mount, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return m, false
	}
	var id, parent string
	for _, to := range [...]*string{&id, &parent, &m.Device, &m.Root, &m.Point} {
		if *to, left, ok = strings.Cut(left, " "); !ok {
			return m, false
		}
	}
	m.Options, m.Propagation, _ = strings.Cut(left, " ")
	for _, to := range [...]*string{&m.Type, &m.Source} {
		if *to, right, ok = strings.Cut(right, " "); !ok {
			return m, false
		}
	}
	m.Super = right
	var err1, err2 error
	m.ID, err1 = strconv.Atoi(id)
	m.Parent, err2 = strconv.Atoi(parent)
	for _, s := range [...]*string{&m.Root, &m.Point, &m.Type, &m.Source, &m.Super} {
		*s = unescape(*s)
	}
	return m, err1 == nil && err2 == nil
}

// unescape takes back the kernel's octal spelling of space, tab, newline,
// backslash and number sign (mangle).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
