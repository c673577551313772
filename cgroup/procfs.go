// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strconv"
	"strings"
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
// /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func parseMounts(text string) []cgroupMount {
	var all []cgroupMount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fs := strings.Split(right, " ")
		if !ok || len(fs) < 3 || fs[0] != "cgroup" && fs[0] != "cgroup2" {
			continue
		}
		f := strings.Split(left, " ")
		if len(f) < 6 {
			continue
		}
		all = append(all, cgroupMount{
			v2:      fs[0] == "cgroup2",
			root:    unescape(f[3]),
			mount:   unescape(f[4]),
			options: strings.Split(fs[2], ","),
		})
	}
	return all
}

// unescape takes back the kernel's octal spelling of space, tab, newline and
// backslash (mangle_path).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
