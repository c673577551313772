// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup/systemd"
	"vitro/internal/outside"
)

// usual is where everybody mounts cgroups.
const usual = "/sys/fs/cgroup"

// Detect finds out this machine's layout. It looks at the usual places and at
// /proc/self/cgroup; only if they don't agree does it read the table of
// mounts, which may be long. A machine without cgroups has a Layout without
// hierarchies.
func Detect() (*Layout, error) {
	text, err := readFile("/proc/self/cgroup")
	if err != nil && !errors.Is(err, unix.ENOENT) { // a kernel without cgroups
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	l := &Layout{FS: Kernel{}}
	l.UID, l.GID, _ = outside.IDs()
	l.Systemd = systemd.IsRunning()
	own := parseMemberships(text)
	found, all := usualPlaces(own)
	if !all {
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return nil, fmt.Errorf("detect cgroups: %w", err)
		}
		found = match(own, parseMounts(string(mounts)))
	}
	slices.SortStableFunc(found, func(a, b Hierarchy) int { return b2i(a.V2) - b2i(b.V2) })
	l.Hierarchies = found
	return l, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// usualPlaces looks for each membership's tree below /sys/fs/cgroup. All is
// false if a tree is not there, or does not have our own cgroup: then it may be
// mounted elsewhere, or in part.
func usualPlaces(own []membership) (found []Hierarchy, all bool) {
	if is(usual, unix.CGROUP2_SUPER_MAGIC) {
		for _, m := range own {
			if m.v2 {
				h := Hierarchy{V2: true, Mount: usual, Own: m.path}
				return []Hierarchy{h}, exists(h.dir(m.path))
			}
		}
		return nil, false
	}
	all = true
	for _, m := range own {
		h := Hierarchy{V2: m.v2, Controllers: m.controllers, Own: m.path}
		h.Mount = place(m)
		if h.Mount == "" || m.path != "/" && !exists(h.dir(m.path)) {
			// the kernel lists version 2 even if nobody has mounted it
			all = all && m.v2 && h.Mount == ""
			continue
		}
		found = append(found, h)
	}
	return found, all && len(found) > 0
}

// place is the usual mount point of a tree, "" if it is not there.
func place(m membership) string {
	if m.v2 {
		if is(usual+"/unified", unix.CGROUP2_SUPER_MAGIC) {
			return usual + "/unified"
		}
		return ""
	}
	names := strings.Join(m.controllers, ",")
	for _, n := range []string{strings.TrimPrefix(names, "name="), m.controllers[0]} {
		if dir := path.Join(usual, n); is(dir, unix.CGROUP_SUPER_MAGIC) {
			return dir
		}
	}
	return ""
}

// match finds the mount of each membership in the table of mounts. Where a part
// of a tree is mounted (a container without a cgroup namespace sees its own
// part), the path is taken relative to that.
func match(own []membership, mounts []cgroupMount) []Hierarchy {
	var found []Hierarchy
	for _, m := range own {
		for _, mnt := range mounts {
			if mnt.v2 != m.v2 || !m.v2 && !slices.Contains(mnt.options, m.controllers[0]) {
				continue
			}
			h := Hierarchy{V2: m.v2, Mount: path.Clean(mnt.mount), Controllers: m.controllers, Own: m.path}
			if mnt.root != "/" {
				rest, ok := strings.CutPrefix(m.path, mnt.root)
				if !ok || rest != "" && rest[0] != '/' {
					continue
				}
				h.Own = path.Clean("/" + rest)
			}
			found = append(found, h)
			break
		}
	}
	return found
}

func is(dir string, magic int64) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && int64(st.Type) == magic
}
