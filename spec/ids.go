// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// idMaps are the maps of a new user namespace.
type idMaps struct {
	uid, gid   []host.Range
	uidTool    string // newuidmap, where the kernel lets only it write the map
	gidTool    string
	keepGroups bool // setgroups(2) has to be forbidden
}

var errNoMaps = errors.New("compile config.json: linux.uidMappings and gidMappings are missing, for a new user namespace")

// readMaps decides how the maps are written. The kernel lets an ordinary user
// map one ID, its own, and only with setgroups(2) forbidden; for more there are
// the setuid programs newuidmap(1) and newgidmap(1) (user_namespaces(7)).
func readMaps(l *specs.Linux, f *Facts) (*idMaps, error) {
	m := &idMaps{uid: ranges(l.UIDMappings), gid: ranges(l.GIDMappings)}
	if len(m.uid) == 0 || len(m.gid) == 0 {
		return nil, errNoMaps
	}
	for _, r := range [...]struct {
		name   string
		ranges []host.Range
	}{{"uidMappings", m.uid}, {"gidMappings", m.gid}} {
		if err := checkRanges(r.ranges); err != nil {
			return nil, fmt.Errorf("compile config.json: linux.%s: %w", r.name, err)
		}
	}
	if !own(m.uid, f.UID) && !f.Caps.Has(unix.CAP_SETUID) {
		if m.uidTool = f.Newuidmap; m.uidTool == "" {
			return nil, &MissingTool{"newuidmap"}
		}
	}
	if f.Caps.Has(unix.CAP_SETGID) {
		return m, nil
	}
	if own(m.gid, f.GID) {
		m.keepGroups = true
		return m, nil
	}
	if m.gidTool = f.Newgidmap; m.gidTool == "" {
		return nil, &MissingTool{"newgidmap"}
	}
	return m, nil
}

// MissingTool is a program that a range of IDs can't be mapped without.
type MissingTool struct{ Name string }

func (e *MissingTool) Error() string { return "map IDs: " + e.Name + " is not installed" }

// Hint says where to get it.
func (e *MissingTool) Hint() string {
	return "install the package uidmap (Debian, Ubuntu) or shadow-utils; or map a single ID, with no ranges"
}

// maxRanges is how many ranges a map may have (user_namespaces(7); Linux 4.15).
const maxRanges = 340

// checkRanges says what the kernel would answer to with EINVAL alone: a range
// is empty or goes beyond the last ID, or two have an ID in common.
func checkRanges(m []host.Range) error {
	if len(m) > maxRanges {
		return fmt.Errorf("%d ranges, and the kernel takes %d", len(m), maxRanges)
	}
	for i, a := range m {
		const end = 1<<32 - 1 // the last one, -1, stands for none
		if a.Size == 0 || uint64(a.Container)+uint64(a.Size) > end || uint64(a.Host)+uint64(a.Size) > end {
			return fmt.Errorf("%d IDs from %d inside and %d outside are not a range", a.Size, a.Container, a.Host)
		}
		for _, b := range m[:i] {
			if overlap(a.Container, a.Size, b.Container, b.Size) || overlap(a.Host, a.Size, b.Host, b.Size) {
				return fmt.Errorf("the ranges from %d and from %d inside have an ID in common", b.Container, a.Container)
			}
		}
	}
	return nil
}

func overlap(a, an, b, bn uint32) bool {
	return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
}

// hostID is the ID outside that an ID inside is; false if it is none.
func hostID(m []host.Range, id uint32) (uint32, bool) {
	for _, r := range m {
		if id >= r.Container && id-r.Container < r.Size {
			return r.Host + (id - r.Container), true
		}
	}
	return 0, false
}

// own reports whether the map is of one ID, the process's own.
func own(m []host.Range, id int) bool {
	return len(m) == 1 && m[0].Size == 1 && m[0].Host == uint32(id)
}

func ranges(ms []specs.LinuxIDMapping) []host.Range {
	var out []host.Range
	for _, m := range ms {
		out = append(out, host.Range{Container: m.ContainerID, Host: m.HostID, Size: m.Size})
	}
	return out
}

// steps write the maps, with the child waiting.
func (m *idMaps) steps() []plan.Step {
	var p plan.Plan
	if m.keepGroups {
		p.Add("the kernel's condition for a group map by an ordinary user: groups can't be dropped", &host.Write{Path: "/proc/$PID/setgroups", Value: "deny"})
	}
	p.Add("which user outside each user inside is", &host.IDMap{Kind: "uid", Ranges: m.uid, Tool: m.uidTool})
	p.Add("which group outside each group inside is", &host.IDMap{Kind: "gid", Ranges: m.gid, Tool: m.gidTool})
	return p.Steps
}

// MapIDs are the steps that map ranges of IDs, for the user euid with the group
// egid: root writes the maps, as everybody may that of the own ID alone.
func MapIDs(uid, gid []specs.LinuxIDMapping, euid, egid int) []plan.Step {
	m := idMaps{uid: ranges(uid), gid: ranges(gid)}
	switch {
	case euid == 0:
	case own(m.uid, euid) && own(m.gid, egid):
		m.keepGroups = true
	default:
		m.uidTool, m.gidTool = "newuidmap", "newgidmap"
	}
	return m.steps()
}

// maps writes the maps, and sets what of the child's limits takes privileges
// outside of its namespace.
func (c *compiler) maps() error {
	if c.ns.user != nil {
		c.plan.Append(c.ns.user.steps()...)
	}
	if err := c.limits(); err != nil {
		return err
	}
	c.rdtTasks()
	return c.netDevices()
}
