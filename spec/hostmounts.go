// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// hostMount makes what only the host can: a mount with mapped owners, one of what
// a user namespace's root can't reach, and a tmpfs with a copy in it. The child
// inherits them.
func (c *compiler) hostMount(m *aMount) error {
	switch {
	case m.opt.idmap:
		return c.mapped(m)
	case m.opt.copyUp:
		return c.copyUp(m)
	case c.byHost(m):
		c.plan.Add("a part of the host that the container's root has no way to",
			&host.Tree{Source: absolute(c.Bundle, m.Source), Target: m.target, As: m.name(), Recursive: m.opt.rec})
	}
	return nil
}

// byHost reports whether a bind mount's source is to be taken by the host.
func (c *compiler) byHost(m *aMount) bool {
	return m.opt.bind && !m.opt.remount && m.opt.below == "" && c.ns.inUser() && c.Facts.Hidden[absolute(c.Bundle, m.Source)]
}

// name is the handle of a mount.
func (m *aMount) name() string {
	if m.as != "" {
		return m.as
	}
	return m.target
}

// PrivilegeError is a mount option that takes a privilege which this process lacks.
type PrivilegeError struct {
	Destination, Option, Reason, Remedy string
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("mount %s: option %s: %s", e.Destination, e.Option, e.Reason)
}

// Hint says what to do about it.
func (e *PrivilegeError) Hint() string { return e.Remedy }

// mapped is a bind mount with mapped owners: by its own maps, or else by those
// of the container's new user namespace.
func (c *compiler) mapped(m *aMount) error {
	b := &host.MappedBind{Source: absolute(c.Bundle, m.Source), Below: m.opt.below, Target: m.target, As: m.name(),
		Recursive: m.opt.rec, MapRecursive: m.opt.mapRec && m.opt.rec, UID: ranges(m.UIDMappings), GID: ranges(m.GIDMappings)}
	switch {
	case len(b.UID) == 0 && c.ns.user != nil:
		b.UID, b.GID = c.ns.user.uid, c.ns.user.gid
	case len(b.UID) == 0:
		return fmt.Errorf("mount %s: option idmap: neither the mount has uidMappings and gidMappings, nor has the container a user namespace of its own", m.Destination)
	}
	for _, r := range [...]struct {
		name   string
		ranges []host.Range
	}{{"uidMappings", b.UID}, {"gidMappings", b.GID}} {
		if err := checkRanges(r.ranges); err != nil {
			return fmt.Errorf("mount %s: %s: %w", m.Destination, r.name, err)
		}
	}
	if !c.Facts.Caps.Has(unix.CAP_SYS_ADMIN) {
		return &PrivilegeError{m.Destination, "idmap", "mapping the owners of a mount takes CAP_SYS_ADMIN where its file system was mounted",
			"run as root, or leave the option out"}
	}
	c.plan.Add("a part of the host, with other owners", b)
	return nil
}

// copyUp is a tmpfs that starts with a copy of what the root has at its place.
func (c *compiler) copyUp(m *aMount) error {
	switch {
	case c.Root != nil:
		return &PrivilegeError{m.Destination, "tmpcopyup", "the root is put together of layers, in the container only", "leave the option out, or copy in the container's own command"}
	case !c.Facts.Caps.Has(unix.CAP_SYS_ADMIN):
		return &PrivilegeError{m.Destination, "tmpcopyup", "making a tmpfs ahead of the container takes CAP_SYS_ADMIN", "run as root, or leave the option out"}
	}
	opts, err := c.outside(m, c.labelled(m))
	if err != nil {
		return err
	}
	c.plan.Add("memory that starts with what the root has there: tmpcopyup", &host.CopyUp{
		Root: absolute(c.Bundle, c.Spec.Root.Path), Target: m.target, As: m.name(), Options: opts, Attr: m.opt.set})
	return nil
}

// outside translates the IDs in a tmpfs's options into the host's, where it is made.
func (c *compiler) outside(m *aMount, opts []string) ([]string, error) {
	if c.ns.user == nil {
		return opts, nil
	}
	opts = slices.Clone(opts)
	for i, o := range opts {
		key, value, _ := strings.Cut(o, "=")
		ranges := c.ns.user.uid
		switch key {
		case "uid":
		case "gid":
			ranges = c.ns.user.gid
		default:
			continue
		}
		id, err := strconv.ParseUint(value, 10, 32)
		at, ok := hostID(ranges, uint32(id))
		if err != nil || !ok {
			return nil, fmt.Errorf("mount %s: option %q: not an ID of the container's", m.Destination, o)
		}
		opts[i] = key + "=" + strconv.FormatUint(uint64(at), 10)
	}
	return opts, nil
}

// made puts what the host has made in its place.
func (c *compiler) made(m *aMount) {
	file := m.opt.bind && c.Facts.Files[path.Join(absolute(c.Bundle, m.Source), m.opt.below)]
	switch {
	case m.opt.copyUp:
		c.share(m)
	default:
		o := &m.opt
		a := &plan.MountFlags{Handle: m.name(), Target: m.target, Set: o.set, Clear: o.clear, Share: o.sharing()}
		if o.recSet|o.recClear != 0 {
			a.Set, a.Clear, a.Recursive = o.recSet, o.recClear, true
		}
		c.plan.Add("as the container may use it", a)
		if a.Recursive && (o.set != o.recSet || o.clear != o.recClear) {
			c.attr("and what is asked for the mount itself, not for those below it", m)
		}
	}
	c.put(m, file)
}
