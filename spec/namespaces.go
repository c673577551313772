// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/cgroup/systemd"
	"vitro/host"
	"vitro/plan"
)

// namespaces is linux.namespaces, understood.
type namespaces struct {
	flags uint64 // the new ones
	join  []plan.Join
	user  *idMaps // of a new user namespace
}

// new reports whether the container gets a namespace of its own, freshly made.
func (n *namespaces) new(flag uint64) bool { return n.flags&flag != 0 }

// private reports whether the namespace is not the host's: new or joined.
func (n *namespaces) private(flag uint64) bool { return n.new(flag) || n.joined(flag) }

func (n *namespaces) joined(flag uint64) bool {
	return slices.ContainsFunc(n.join, func(j plan.Join) bool { return plan.NamespaceFlag(j.Kind) == flag })
}

// joinFlags are the clone(2) flags of the namespaces that are joined.
func (n *namespaces) joinFlags() (flags uint64) {
	for _, j := range n.join {
		flags |= plan.NamespaceFlag(j.Kind)
	}
	return flags
}

// inUser reports whether the child works in a user namespace other than ours.
func (n *namespaces) inUser() bool { return n.private(unix.CLONE_NEWUSER) }

// kinds translates the specification's words into those of /proc/PID/ns.
var kinds = [...]struct {
	typ  specs.LinuxNamespaceType
	kind string
}{
	{specs.UserNamespace, "user"}, // joined first: it owns the right to the others
	{specs.PIDNamespace, "pid"},
	{specs.NetworkNamespace, "net"},
	{specs.IPCNamespace, "ipc"},
	{specs.UTSNamespace, "uts"},
	{specs.CgroupNamespace, "cgroup"},
	{specs.TimeNamespace, "time"},
	{specs.MountNamespace, "mnt"}, // joined last: paths change with it
}

// readNamespaces reads linux.namespaces, and orders what is to be joined.
func readNamespaces(l *specs.Linux) (n namespaces, err error) {
	for i, a := range l.Namespaces {
		if !slices.ContainsFunc(kinds[:], func(k struct {
			typ  specs.LinuxNamespaceType
			kind string
		}) bool {
			return k.typ == a.Type
		}) {
			return n, fmt.Errorf("compile config.json: linux.namespaces: unknown type %q", a.Type)
		}
		for _, b := range l.Namespaces[:i] {
			if a.Type == b.Type {
				return n, fmt.Errorf("compile config.json: linux.namespaces: %q is there twice", a.Type)
			}
		}
	}
	for _, k := range kinds {
		for _, ns := range l.Namespaces {
			if ns.Type != k.typ {
				continue
			}
			if ns.Path != "" && !path.IsAbs(ns.Path) {
				return n, fmt.Errorf("compile config.json: linux.namespaces: %s: path %q is not absolute", ns.Type, ns.Path)
			}
			if ns.Path == "" {
				n.flags |= plan.NamespaceFlag(k.kind)
			} else {
				n.join = append(n.join, plan.Join{Kind: k.kind, Handle: "ns-" + k.kind, Path: ns.Path})
			}
		}
	}
	if !n.new(unix.CLONE_NEWNS) && n.private(unix.CLONE_NEWUSER) {
		return n, fmt.Errorf("compile config.json: linux.namespaces: a user namespace without a new mount namespace has no right to mount anything")
	}
	return n, nil
}

// mountsElsewhere reports whether a config.json's container has no mount
// namespace of its own, and names the one that it shares; "" is ours.
func mountsElsewhere(l *specs.Linux) (namespace string, shared bool) {
	if l == nil {
		return "", true
	}
	for _, ns := range l.Namespaces {
		if ns.Type == specs.MountNamespace {
			return ns.Path, ns.Path != ""
		}
	}
	return "", true
}

// clone is the birth. The cgroup namespace is left for later: its root is the
// cgroup that the process is in when it is made.
func (c *compiler) clone() error {
	for _, early := range [...]func() error{c.readMounts, c.openProc, c.rdt} {
		if err := early(); err != nil {
			return err
		}
	}
	if _, _, err := c.affinity(); err != nil { // it is for further processes; this one only reads it
		return err
	}
	offsets, err := c.timeOffsets()
	if err != nil {
		return err
	}
	late := uint64(unix.CLONE_NEWCGROUP)
	if offsets != "" {
		late |= unix.CLONE_NEWTIME // they are written before anybody is in it
	}
	c.joinOrder()
	if namespace, shared := mountsElsewhere(c.linux); shared {
		c.warnings = append(c.warnings, "linux.namespaces has no new mount namespace: the root is a chroot(2), which CAP_SYS_CHROOT leads out of, and its mounts are others' to see")
		c.plan.Add("the root file system, as a mount of its own; what comes below goes with it", &host.RootMount{Path: c.At, Namespace: namespace, Over: c.Facts.RootMount})
	}
	for _, j := range c.ns.join {
		c.plan.Add("the container shares this namespace", &host.Open{Path: j.Path, Flags: unix.O_RDONLY, As: j.Handle})
	}
	c.plan.Add("the container's first process, in namespaces of its own", &plan.Clone{
		Flags: c.ns.flags &^ late, Join: c.ns.join, Into: c.cgroups.Into,
	})
	return nil
}

// unpin takes back that we are kept to some processors: the container runs on
// those of its cgroup.
func (c *compiler) unpin() {
	if c.Facts.Pinned != "" {
		c.plan.Add("on all processors that its cgroup has, though we are kept to some", &plan.Affinity{CPUs: c.Facts.Pinned})
	}
}

// makers are the user and group in the container's user namespace that the set-up
// works as: 0, or else the process's own, if there is no root.
func (c *compiler) makers() (uid, gid uint32) {
	pick := func(m []specs.LinuxIDMapping, own uint32) uint32 {
		if _, ok := hostID(ranges(m), 0); ok || len(m) == 0 {
			return 0
		}
		return own
	}
	return pick(c.linux.UIDMappings, c.proc.User.UID), pick(c.linux.GIDMappings, c.proc.User.GID)
}

// joinOrder has the machine's root join a user namespace behind the others: it
// has a right to all of them, and that namespace's root only to those that belong
// to it.
func (c *compiler) joinOrder() {
	if c.Facts.UID != 0 || c.Facts.InUserNS || len(c.ns.join) < 2 || c.ns.join[0].Kind != "user" {
		return
	}
	c.ns.join = append(slices.Clone(c.ns.join[1:]), c.ns.join[0])
}

// enter makes the child root of its namespaces, in its cgroup.
func (c *compiler) enter() error {
	c.plan.Append(c.cgroups.Born...)
	c.plan.Append(c.cgroups.Join...)
	c.unpin()
	if c.ns.inUser() {
		uid, gid := c.makers()
		c.plan.Add("root in the new user namespace: no more than an ordinary user outside", &plan.EnterIDs{
			KeepGroups: c.fixedGroups(), Joined: c.ns.user == nil, UID: uid, GID: gid})
	}
	if c.ns.new(unix.CLONE_NEWCGROUP) {
		c.plan.Add("from here on, the container's cgroup looks like the root of all", &plan.Unshare{Flags: unix.CLONE_NEWCGROUP})
	}
	if c.Keyring {
		c.keyLabel()
	}
	c.plan.Add("a session and a keyring of its own: no signal of our terminal, none of our keys", &plan.Session{Keyring: c.Keyring})
	return nil
}

// setupCgroups has the container's cgroup decided. If its root is a user of
// its own, the cgroup is that user's (/sys/kernel/cgroup/delegate).
func (c *compiler) setupCgroups() (*cgroup.Setup, error) {
	opt := cgroup.Options{Name: c.ID, All: c.AllCgroups, Shared: c.Shared, Systemd: c.SystemdCgroup}
	if c.SystemdCgroup {
		var err error
		if opt.Properties, err = systemd.Annotated(c.Spec.Annotations); err != nil {
			return nil, err
		}
	}
	if u := c.ns.user; u != nil && c.Facts.UID == 0 {
		opt.Owner = &cgroup.Owner{UID: int(u.uid[0].Host), GID: int(u.gid[0].Host)}
	}
	res := c.linux.Resources
	if res != nil && len(res.Devices) > 0 { // a list of rules goes without saying what the specification promises
		all := *res
		all.Devices = append(slices.Clone(res.Devices), cgroup.DefaultDevices()...)
		res = &all
	}
	return c.Facts.Cgroups.Setup(c.linux.CgroupsPath, res, opt)
}
