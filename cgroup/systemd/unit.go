// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"path"
	"strings"
)

// A Unit is a scope or a slice by its name, and the slice that it is in.
type Unit struct {
	Name  string // "docker-abc.scope"
	Slice string // "system.slice", or "-.slice", the root of all
}

// maxName is how long a unit's name may be (UNIT_NAME_MAX, less the zero).
const maxName = 255

// ParseUnit reads a cgroupsPath as runc has it with systemd: "slice:prefix:name".
//
//	"system.slice:docker:abc"   docker-abc.scope in system.slice
//	"a-b.slice::abc"            abc.scope in a-b.slice, which is in a.slice
//	"::pod.slice"               the slice pod.slice itself
//	""                          vitro-ID.scope
//
// Without a slice it is system.slice; a user's manager has user.slice for it.
// Bytes that no unit's name may have become \xNN, as systemd-escape(1) does it.
func ParseUnit(cgroupsPath, id string, user bool) (Unit, error) {
	u := Unit{Slice: "system.slice"}
	if user {
		u.Slice = "user.slice"
	}
	slice, prefix, name := "", "vitro", id
	if cgroupsPath != "" {
		parts := strings.SplitN(cgroupsPath, ":", 3)
		if len(parts) != 3 {
			return u, fmt.Errorf(`read cgroupsPath %q: with systemd it has the form "slice:prefix:name"`, cgroupsPath)
		}
		slice, prefix, name = parts[0], parts[1], parts[2]
	}
	if slice != "" {
		u.Slice = slice
	}
	if err := checkSlice(u.Slice); err != nil {
		return u, err
	}
	switch {
	case strings.HasSuffix(name, ".slice"):
		u.Name = name
		return u, u.checkNested()
	case name == "":
		return u, fmt.Errorf("read cgroupsPath %q: the unit has no name", cgroupsPath)
	case prefix != "":
		name = prefix + "-" + name
	}
	u.Name = escape(name) + ".scope"
	if len(u.Name) > maxName {
		return u, fmt.Errorf("name unit %q: %d bytes, of at most %d", u.Name, len(u.Name), maxName)
	}
	return u, nil
}

// IsSlice reports whether the unit is a slice itself, which holds units and
// starts without a process.
func (u Unit) IsSlice() bool { return strings.HasSuffix(u.Name, ".slice") }

// Path is the unit's cgroup below that of its manager: a slice "a-b.slice" is
// in "a.slice", whatever its units ask for.
func (u Unit) Path() string {
	if u.IsSlice() {
		return expand(u.Name)
	}
	return path.Join(expand(u.Slice), u.Name)
}

// expand is the cgroup of a slice whose name has been checked.
func expand(slice string) string {
	name := strings.TrimSuffix(slice, ".slice")
	if name == "-" {
		return "/"
	}
	dir := "/"
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '-' {
			dir = path.Join(dir, name[:i]+".slice")
		}
	}
	return dir
}

// checkSlice refuses what is no slice's name (systemd.slice(5)).
func checkSlice(slice string) error {
	name, ok := strings.CutSuffix(slice, ".slice")
	cause := ""
	switch {
	case !ok:
		cause = `it does not end in ".slice"`
	case name == "-":
		return nil
	case name == "" || name[0] == '-' || strings.HasSuffix(name, "-") || strings.Contains(name, "--"):
		cause = "a part between dashes is empty"
	case escape(name) != name || strings.Contains(name, "@"):
		cause = "characters in it that no slice has"
	case len(slice) > maxName:
		cause = fmt.Sprintf("%d bytes, of at most %d", len(slice), maxName)
	default:
		return nil
	}
	return fmt.Errorf("use slice %q: %s", slice, cause)
}

// checkNested checks a unit that is a slice: its name says where it is.
func (u Unit) checkNested() error {
	if err := checkSlice(u.Name); err != nil {
		return err
	}
	if u.Name == "-.slice" {
		return fmt.Errorf("use slice %q: it is the root of all", u.Name)
	}
	return nil
}

// escape replaces the bytes that no unit's name has.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		valid := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`:-_.\@`, c) >= 0
		if !valid || c == '.' && i == 0 {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
