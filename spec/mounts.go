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

// options is a mount's list of options, understood: mount(8)'s words.
type options struct {
	set, clear plan.Attr
	attrRec    bool // the r-forms, rro and its kin: for the mounts below as well
	share      uintptr
	bind, rec  bool
	fs         []string // the file system's own
}

// words are mount(8)'s options that are not the file system's own. A new
// option is a row.
var words = [...]struct {
	word       string
	set, clear plan.Attr
	share      uintptr
	bind, rec  bool
}{
	{word: "defaults"},
	{word: "bind", bind: true},
	{word: "rbind", bind: true, rec: true},
	{word: "ro", set: unix.MOUNT_ATTR_RDONLY},
	{word: "rw", clear: unix.MOUNT_ATTR_RDONLY},
	{word: "nosuid", set: unix.MOUNT_ATTR_NOSUID},
	{word: "suid", clear: unix.MOUNT_ATTR_NOSUID},
	{word: "nodev", set: unix.MOUNT_ATTR_NODEV},
	{word: "dev", clear: unix.MOUNT_ATTR_NODEV},
	{word: "noexec", set: unix.MOUNT_ATTR_NOEXEC},
	{word: "exec", clear: unix.MOUNT_ATTR_NOEXEC},
	{word: "noatime", set: unix.MOUNT_ATTR_NOATIME},
	{word: "atime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "relatime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "norelatime", set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "strictatime", set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "nostrictatime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "nodiratime", set: unix.MOUNT_ATTR_NODIRATIME},
	{word: "diratime", clear: unix.MOUNT_ATTR_NODIRATIME},
	{word: "nosymfollow", set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "symfollow", clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "private", share: unix.MS_PRIVATE},
	{word: "rprivate", share: unix.MS_PRIVATE | unix.MS_REC},
	{word: "shared", share: unix.MS_SHARED},
	{word: "rshared", share: unix.MS_SHARED | unix.MS_REC},
	{word: "slave", share: unix.MS_SLAVE},
	{word: "rslave", share: unix.MS_SLAVE | unix.MS_REC},
	{word: "unbindable", share: unix.MS_UNBINDABLE},
	{word: "runbindable", share: unix.MS_UNBINDABLE | unix.MS_REC},
}

// refusedWords are options of the specification that have no step yet.
var refusedWords = [...]string{"idmap", "ridmap", "tmpcopyup", "remount"}

func propagation(word string) uintptr {
	for _, w := range words {
		if w.share != 0 && w.word == word {
			return w.share
		}
	}
	return 0
}

// readOptions sorts a mount's options. Words that aren't in the table are the
// file system's; the r-form of an attribute word ("rro") goes for the whole tree.
func readOptions(m *specs.Mount) (o options, err error) {
	o.bind = m.Type == "bind"
	for _, w := range m.Options {
		if slices.Contains(refusedWords[:], w) {
			return o, fmt.Errorf("mount %s: vitro has no option %q yet", m.Destination, w)
		}
		i := slices.IndexFunc(words[:], func(x struct {
			word       string
			set, clear plan.Attr
			share      uintptr
			bind, rec  bool
		}) bool {
			return x.word == w || w == "r"+x.word && (x.set|x.clear) != 0
		})
		if i < 0 {
			o.fs = append(o.fs, w)
			continue
		}
		x := words[i]
		o.set, o.clear = (o.set|x.set)&^x.clear, (o.clear|x.clear)&^x.set
		o.attrRec = o.attrRec || x.word != w
		o.bind, o.rec = o.bind || x.bind, o.rec || x.rec
		if x.share != 0 {
			o.share = x.share
		}
	}
	return o, nil
}

func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

func (c *compiler) hasMount(target string) bool {
	return slices.ContainsFunc(c.Spec.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == target })
}

// mounts makes the container's mounts, each attached to nothing yet.
func (c *compiler) mounts() error {
	c.plan.Add("no mount of the container gets out to the host", &plan.Propagation{Flag: unix.MS_REC | unix.MS_SLAVE})
	c.plan.Add("modes as they are asked for, until the command's own mask is set", &plan.Umask{Mask: 0})
	if c.Root != nil {
		c.plan.Append(c.Root...)
	} else {
		c.plan.Add("the root file system, as a mount of its own", &plan.Bind{Source: absolute(c.Bundle, c.Spec.Root.Path), Target: "/", Recursive: true, Share: unix.MS_PRIVATE | unix.MS_REC})
	}
	c.plan.Add("pivot_root(2) wants its new root to be a mount point", &plan.SetRoot{At: c.At})
	for i := range c.Spec.Mounts {
		if err := c.mount(&c.Spec.Mounts[i]); err != nil {
			return err
		}
	}
	if err := c.devices(); err != nil {
		return err
	}
	if n := len(c.linux.MaskedPaths); n > 0 {
		c.plan.Add("the host's /dev/null, for it can't have been tampered with", &plan.MaskSource{Count: n})
	}
	return nil
}

func (c *compiler) mount(m *specs.Mount) error {
	target := path.Clean("/" + m.Destination)
	if target == "/" {
		return fmt.Errorf("mount %s: the root is not a place to mount on", m.Destination)
	}
	o, err := readOptions(m)
	if err != nil {
		return err
	}
	switch {
	case o.bind:
		c.bind(m, target, o)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		c.cgroupMount(target, o)
	default:
		c.fs(m, target, o)
	}
	return nil
}

func (c *compiler) bind(m *specs.Mount, target string, o options) {
	src := absolute(c.Bundle, m.Source)
	if o.share == 0 {
		o.share = unix.MS_PRIVATE | unix.MS_REC
	}
	file := c.Facts.Files[src]
	delete(c.fresh, target)
	c.plan.Add(whyBind(target), &plan.Bind{Source: src, Target: target, Recursive: o.rec, Set: o.set, Clear: o.clear, AttrRec: o.attrRec, Share: o.share, File: file})
	c.later("", &plan.Attach{Target: target, File: file, Under: c.under(target)})
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

func (c *compiler) fs(m *specs.Mount, target string, o options) {
	for _, w := range owners {
		if m.Type == w.fstype && c.foreign(w.flag) {
			c.plan.Add("the host's, since the namespace that it shows is the host's", &plan.Bind{Source: w.source, Target: target, Recursive: true, Set: o.set, Clear: o.clear, AttrRec: o.set != 0, Share: unix.MS_PRIVATE | unix.MS_REC})
			c.later("", &plan.Attach{Target: target, Strict: strict(m.Type)})
			return
		}
	}
	c.plan.Add(whyFS(target), &plan.NewFS{Type: m.Type, Source: m.Source, Options: o.fs, Attr: o.set, Target: target})
	c.later("", &plan.Attach{Target: target, Strict: strict(m.Type), Under: c.under(target)})
	c.fresh[target] = m.Type == "tmpfs"
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
	c.plan.Add("the container's root becomes all that there is: the host's tree is gone", &plan.Pivot{Move: c.NoPivot})
	if !early {
		c.plan.Append(c.attach...)
	}
	return nil
}

// cgroupMount shows the container its cgroups. In a cgroup namespace of its
// own it mounts the file system itself; else it is shown its part of the host's.
func (c *compiler) cgroupMount(target string, o options) {
	hs := c.Facts.Cgroups.Hierarchies
	own := c.ns.new(unix.CLONE_NEWCGROUP)
	switch {
	case len(hs) == 0:
		return
	case len(hs) == 1 && hs[0].V2:
		c.cgroupTree(0, target, own, o.set)
		return
	}
	c.plan.Add("a folder for the trees of cgroups, one for each controller", &plan.NewFS{Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}, Attr: o.set &^ unix.MOUNT_ATTR_RDONLY, Target: target})
	c.later("", &plan.Attach{Target: target})
	c.fresh[target] = true
	for i := range hs {
		name := path.Base(hs[i].Mount)
		c.cgroupTree(i, target+"/"+name, own, o.set)
		for _, ctl := range hs[i].Controllers {
			if word := strings.TrimPrefix(ctl, "name="); word != name && strings.Contains(name, ",") {
				c.later("", &plan.Symlink{Target: name, Path: target + "/" + word, Under: target})
			}
		}
	}
	if o.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.later("", &plan.Seal{Target: target})
	}
}

func (c *compiler) cgroupTree(i int, target string, own bool, set plan.Attr) {
	h := &c.Facts.Cgroups.Hierarchies[i]
	const why = "what it uses and may use, from its own cgroup on"
	if own && h.V2 {
		c.plan.Add(why, &plan.NewFS{Type: "cgroup2", Source: "cgroup", Attr: set, Target: target})
	} else {
		// The container's part of the host's tree: in a cgroup namespace it looks
		// like a mount of the container's own, and is cheaper to make.
		c.plan.Add(why, &plan.Bind{Source: c.cgroupDir(h), Target: target, Set: set, Share: unix.MS_PRIVATE})
	}
	c.later("", &plan.Attach{Target: target, Under: c.under(target)})
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
