// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strings"

	"vitro/internal/mountinfo"
)

// A membership is a line of /proc/PID/cgroup (cgroups(7)).
type membership struct {
	v2          bool
	controllers []string
	path        string
}

// parseMemberships reads /proc/PID/cgroup: "4:memory:/a/b". Lines that are not
// of that form are passed over: a newer kernel may have others.
func parseMemberships(text string) []membership {
	var all []membership
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		id, rest, ok := strings.Cut(line, ":")
		names, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(path, "/") {
			continue
		}
		m := membership{path: path}
		switch {
		case names != "":
			m.controllers = strings.Split(names, ",")
		case id == "0":
			m.v2 = true
		default: // a tree without controllers and without a name can't be found again
			continue
		}
		all = append(all, m)
	}
	return all
}

// A cgroupMount is a mount of a cgroup file system.
type cgroupMount struct {
	v2      bool
	root    string // the cgroup that is mounted, "/" for the whole tree
	mount   string
	options []string // the file system's own: "rw", "cpu", "cpuacct"
}

// parseMounts finds the mounts of cgroup file systems in the text of
// /proc/PID/mountinfo.
func parseMounts(text string) []cgroupMount {
	var all []cgroupMount
	for m := range mountinfo.All(text) {
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			all = append(all, cgroupMount{v2: m.Type == "cgroup2", root: m.Root, mount: m.Point, options: strings.Split(m.Super, ",")})
		}
	}
	return all
}
