// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/plan"
)

// aMount is an entry of the config.json's mounts, understood.
type aMount struct {
	*specs.Mount
	target string
	as     string // its handle, if it isn't the target
	opt    options
	taken  bool // the bind mount is made already
}

// readMounts reads the mounts, before there is a child: some of them take the
// host's privileges.
func (c *compiler) readMounts() error {
	c.listed = make([]aMount, len(c.Spec.Mounts))
	for i := range c.Spec.Mounts {
		m := aMount{Mount: &c.Spec.Mounts[i]}
		m.target = path.Clean("/" + m.Destination)
		var err error
		if m.opt, err = readOptions(m.Mount); err != nil {
			return err
		}
		if m.opt.bind && !m.opt.remount {
			m.opt.exact(c.ns.inUser() || c.Facts.InUserNS)
		}
		switch {
		case strings.ContainsRune(m.Destination+m.Source+m.Type, 0):
			return fmt.Errorf("mount %q: its destination, source or type holds a NUL byte", m.Destination)
		case m.target == "/" && !m.opt.remount:
			return fmt.Errorf("mount %s: the root is not a place to mount on", m.Destination)
		}
		if !m.opt.remount {
			m.as = c.handle(m.target)
		}
		if err := c.hostMount(&m); err != nil {
			return err
		}
		if m.opt.remount && !m.opt.bind && !c.owned(i, m.target) {
			if len(m.opt.fs) > 0 {
				return fmt.Errorf("mount %s: remount with %q: the file system there is the host's, and would change for the host too", m.Destination, m.opt.fs)
			}
			m.opt.bind = true // what can be had is had: the mount changes, the host's file system doesn't
		}
		c.listed[i] = m
	}
	return nil
}

// owned reports whether the file system at a place is one that the container's
// own mounts, those before the n-th, have made.
func (c *compiler) owned(n int, target string) bool {
	for i := n - 1; i >= 0; i-- {
		if m := &c.listed[i]; m.target == target && !m.opt.remount {
			return !m.opt.bind && m.Type != "cgroup" && m.Type != "cgroup2"
		}
	}
	return false
}

// handle is the name for a mount where its target's own is another mount's
// already, which this one is going to cover; else empty.
func (c *compiler) handle(target string) string {
	n := c.handles[target]
	c.handles[target]++
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s#%d", target, n+1)
}

func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

func (c *compiler) hasMount(target string) bool {
	return slices.ContainsFunc(c.Spec.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == target })
}

// mounts makes the container's mounts, each attached to nothing yet.
func (c *compiler) mounts() error {
	c.sharedBinds()
	own := c.ns.new(unix.CLONE_NEWNS)
	if own {
		c.plan.Add("no mount of the container gets out to the host", &plan.Propagation{Flag: unix.MS_REC | unix.MS_SLAVE})
	}
	c.plan.Add("modes as they are asked for, until the command's own mask is set", &plan.Umask{Mask: 0})
	switch {
	case !own:
		c.plan.Add("the container's root, which the host has mounted", &plan.OpenRoot{At: c.At})
	case c.Root != nil:
		c.plan.Append(c.Root...)
	default:
		c.plan.Add("the root file system, as a mount of its own", &plan.Bind{Source: absolute(c.Bundle, c.Spec.Root.Path), Target: "/", Recursive: true, Share: c.rootSharing()})
	}
	if own {
		c.plan.Add("pivot_root(2) wants its new root to be a mount point", &plan.SetRoot{At: c.At})
	}
	for i := range c.listed {
		c.mount(&c.listed[i])
	}
	if err := c.devices(); err != nil {
		return err
	}
	if len(c.linux.MaskedPaths) > 0 {
		c.plan.Add("the host's /dev/null, for it can't have been tampered with", &plan.MaskSource{})
	}
	return nil
}

// sharedBinds takes the bind mounts that stay peers of the host's, so that mounts
// travel both ways: shared ones, if the root is to be shared too. All that is
// taken later is a slave of the host's.
func (c *compiler) sharedBinds() {
	if propagation(c.linux.RootfsPropagation)&^unix.MS_REC != unix.MS_SHARED {
		return
	}
	for i := range c.listed {
		m := &c.listed[i]
		o := &m.opt
		if o.bind && !o.remount && !o.idmap && !c.byHost(m) && o.share&^unix.MS_REC == unix.MS_SHARED {
			c.take(m)
			m.taken = true
		}
	}
}

// rootSharing is how the root's mounts travel while the rest is put together. A
// root that is to be a slave stays what it is in the child's namespace, a slave
// of the host's; every other is on its own.
func (c *compiler) rootSharing() uintptr {
	if propagation(c.linux.RootfsPropagation)&^unix.MS_REC == unix.MS_SLAVE {
		return unix.MS_SLAVE | unix.MS_REC
	}
	return unix.MS_PRIVATE | unix.MS_REC
}

// mount makes one mount ready, and keeps its second half for later.
func (c *compiler) mount(m *aMount) {
	c.covers(m.target)
	switch {
	case m.opt.remount:
		c.later("what is mounted there, in another way", &plan.Remount{Target: m.target, Set: m.opt.set, Clear: m.opt.clear,
			Options: m.opt.fs, Bind: m.opt.bind, Share: m.opt.share})
	case m.opt.idmap, m.opt.copyUp:
		c.made(m)
	case m.opt.bind:
		c.bind(m)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		c.cgroupMount(m)
	default:
		c.fs(m)
	}
}

// covers forgets what is known of a place, and of all below it: a mount comes
// on top.
func (c *compiler) covers(target string) {
	for t := range c.fresh {
		if t == target || strings.HasPrefix(t, target+"/") {
			delete(c.fresh, t)
		}
	}
}

func (c *compiler) bind(m *aMount) {
	if c.byHost(m) {
		c.made(m)
		return
	}
	if !m.taken {
		c.take(m)
	}
	c.put(m, c.Facts.Files[path.Join(absolute(c.Bundle, m.Source), m.opt.below)])
}

// take takes a part of the host, attached to nothing yet.
func (c *compiler) take(m *aMount) {
	o := &m.opt
	src := absolute(c.Bundle, m.Source)
	b := &plan.Bind{Source: src, Target: m.target, As: m.as, Recursive: o.rec, Set: o.set, Clear: o.clear, Share: o.sharing(), File: c.Facts.Files[path.Join(src, o.below)], Below: o.below}
	both := o.recSet|o.recClear != 0
	if both {
		b.Set, b.Clear, b.AttrRec = o.recSet, o.recClear, true
	}
	c.plan.Add(whyBind(m.target), b)
	if both && (o.set != o.recSet || o.clear != o.recClear) {
		c.attr("and what is asked for the mount itself, not for those below it", m)
	}
}

// sharing is how a bind mount's events travel: to and from nowhere, if nothing is said.
func (o *options) sharing() uintptr {
	if o.share == 0 {
		return unix.MS_PRIVATE | unix.MS_REC
	}
	return o.share
}

// attr sets attributes of a mount that is made already.
func (c *compiler) attr(why string, m *aMount) {
	c.plan.Add(why, &plan.MountFlags{Handle: m.name(), Target: m.target, Set: m.opt.set, Clear: m.opt.clear})
}

// put keeps the second half of a mount for later.
func (c *compiler) put(m *aMount, file bool) {
	c.later("", &plan.Attach{Target: m.target, As: m.as, File: file, Strict: strict(m.Type) && !m.opt.bind, Under: c.under(m.target)})
}

func whyBind(target string) string {
	switch target {
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf":
		return "names that the engine knows and the image can't"
	}
	return "a part of the host, at the user's wish"
}

// whys are the reasons for the usual file systems.
var whys = [...]struct{ target, why string }{
	{"/proc", "processes, as the new pid namespace numbers them"},
	{"/dev", "a /dev of its own: the host's has its disks in it"},
	{"/dev/pts", "terminals of its own"},
	{"/dev/shm", "shared memory of its own (shm_open)"},
	{"/dev/mqueue", "message queues of the new ipc namespace"},
	{"/sys", "the kernel's objects, as the new network namespace sees them"},
}

func whyFS(target string) string {
	for _, w := range whys {
		if w.target == target {
			return w.why
		}
	}
	return "a file system of the container's own"
}

// owners are the file systems that show a namespace: the kernel lets the root
// of a user namespace mount them only if that namespace is its own too. Else
// the host's is shown.
var owners = [...]struct {
	fstype string
	flag   uint64
	source string
}{
	{"proc", unix.CLONE_NEWPID, "/proc"},
	{"sysfs", unix.CLONE_NEWNET, "/sys"},
	{"mqueue", unix.CLONE_NEWIPC, "/dev/mqueue"},
}

func (c *compiler) fs(m *aMount) {
	o := &m.opt
	for _, w := range owners {
		if m.Type == w.fstype && c.foreign(w.flag) {
			c.plan.Add("the host's, since the namespace that it shows is the host's", &plan.Bind{Source: w.source, Target: m.target, As: m.as, Recursive: true, Set: o.set, Clear: o.clear, AttrRec: o.set != 0, Share: o.sharing()})
			c.later("", &plan.Attach{Target: m.target, As: m.as, Strict: strict(m.Type)})
			return
		}
	}
	options, attr := c.labelled(m), o.set
	if mode, ok := c.Facts.Modes[m.target]; ok && m.Type == "tmpfs" && c.Root == nil && !hasOption(options, "mode") {
		options = append(slices.Clone(options), fmt.Sprintf("mode=%o", mode))
	}
	if attr&unix.MOUNT_ATTR_RDONLY != 0 && m.Type == "tmpfs" && c.holds(m.target) {
		attr &^= unix.MOUNT_ATTR_RDONLY
		c.seals = append(c.seals, m.name())
	}
	c.plan.Add(whyFS(m.target), &plan.NewFS{Type: m.Type, Source: m.Source, Options: options, Attr: attr, Target: m.target, As: m.as})
	c.share(m)
	c.put(m, false)
	c.fresh[m.target] = m.Type == "tmpfs" && m.as == ""
}

// holds reports whether something is going to be made below a place: a mount,
// or the devices of /dev.
func (c *compiler) holds(target string) bool {
	return target == "/dev" || slices.ContainsFunc(c.listed, func(m aMount) bool { return m.target != target && below(m.target, target) })
}

func hasOption(options []string, key string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, key+"=") })
}

// share sets how the events of a file system of the container's own travel.
func (c *compiler) share(m *aMount) {
	if m.opt.share != 0 && m.opt.share&^unix.MS_REC != unix.MS_PRIVATE {
		c.plan.Add("how mounts in it travel", &plan.MountFlags{Handle: m.name(), Target: m.target, Share: m.opt.share})
	}
}

// foreign reports whether a namespace belongs to another user namespace than
// the child's.
func (c *compiler) foreign(flag uint64) bool {
	return (c.ns.new(unix.CLONE_NEWUSER) || c.Facts.InUserNS) && !c.ns.private(flag)
}

func strict(fstype string) bool { return fstype == "proc" || fstype == "sysfs" }

// later keeps a step for after the pivot.
func (c *compiler) later(why string, a plan.Action) {
	if why == "" {
		switch a.(type) {
		case *plan.Attach:
			why = "made above, and now put in its place: no path leads out of the container any more"
		case *plan.Symlink:
			why = "a name that programs expect"
		case *plan.Seal:
			why = "all is in it that is to be in it"
		}
	}
	c.attach = append(c.attach, plan.Step{Action: a, Why: why})
}

// under is the mount that a place is directly in, if that is a file system
// fresh from the kernel: nothing is in it but what we have put there.
func (c *compiler) under(target string) string {
	if dir := path.Dir(target); c.fresh[dir] {
		return dir
	}
	return ""
}

// pivot moves the child into its root, and attaches what was made ready.
func (c *compiler) pivot() error {
	early := c.hasCreateHooks()
	if early {
		c.plan.Add("paths begin at the container's root: the hooks are to find its mounts in place", &plan.EnterRoot{})
		c.plan.Append(c.attach...)
		if err := c.createHooks(); err != nil {
			return err
		}
	}
	if c.ns.new(unix.CLONE_NEWNS) {
		c.plan.Add("the container's root becomes all that there is: the host's tree is gone", &plan.Pivot{Move: c.NoPivot})
	} else {
		c.plan.Add("paths begin at the container's root; the host's tree stays, as others are in this mount namespace", &plan.Chroot{})
	}
	if !early {
		c.plan.Append(c.attach...)
	}
	return nil
}

// cgroupMount shows the container its cgroups. In a cgroup namespace of its
// own it mounts the file system itself; else it is shown its part of the host's.
func (c *compiler) cgroupMount(m *aMount) {
	target, o := m.target, &m.opt
	hs := c.Facts.Cgroups.Hierarchies
	own := c.ns.new(unix.CLONE_NEWCGROUP)
	switch {
	case len(hs) == 0:
		return
	case len(hs) == 1 && hs[0].V2:
		c.cgroupTree(0, target, m.as, own, o.set)
		c.share(m)
		return
	}
	c.plan.Add("a folder for the trees of cgroups, one for each controller", &plan.NewFS{Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}, Attr: o.set &^ unix.MOUNT_ATTR_RDONLY, Target: target, As: m.as})
	c.share(m)
	c.later("", &plan.Attach{Target: target, As: m.as})
	c.fresh[target] = m.as == ""
	for i := range hs {
		name := path.Base(hs[i].Mount)
		c.cgroupTree(i, target+"/"+name, c.handle(target+"/"+name), own, o.set)
		for _, ctl := range hs[i].Controllers {
			if word := strings.TrimPrefix(ctl, "name="); word != name && strings.Contains(name, ",") {
				c.later("", &plan.Symlink{Target: name, Path: target + "/" + word, Under: c.under(target + "/" + word)})
			}
		}
	}
	if o.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.later("", &plan.Seal{Target: m.name()})
	}
}

func (c *compiler) cgroupTree(i int, target, as string, own bool, set plan.Attr) {
	h := &c.Facts.Cgroups.Hierarchies[i]
	const why = "what it uses and may use, from its own cgroup on"
	switch {
	case own && h.V2:
		c.plan.Add(why, &plan.NewFS{Type: "cgroup2", Source: "cgroup", Attr: set, Target: target, As: as})
	case h.V2:
		c.plan.Add("the host's tree, in which /proc/self/cgroup says where the container is", &plan.Bind{Source: h.Mount, Target: target, As: as, Set: set, Share: unix.MS_PRIVATE})
	default:
		// The container's part of the host's tree: in a cgroup namespace it looks
		// like a mount of the container's own, and is cheaper to make.
		c.plan.Add(why, &plan.Bind{Source: c.cgroupDir(h), Target: target, As: as, Set: set, Share: unix.MS_PRIVATE})
	}
	c.later("", &plan.Attach{Target: target, As: as, Under: c.under(target)})
}

// cgroupDir is the container's cgroup in a hierarchy; where it has none, the
// one that it stays in, which is ours.
func (c *compiler) cgroupDir(h *cgroup.Hierarchy) string {
	for _, d := range c.cgroups.Dirs {
		if d.Path == h.Mount || strings.HasPrefix(d.Path, h.Mount+"/") {
			return d.Path
		}
	}
	return path.Join(h.Mount, h.Own)
}
