// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/checkpoint"
	"vitro/plan"
)

// restoreStages are the parts of the plan of a container that comes back from a
// checkpoint. Its mounts, names, limits on resources and privileges are in the
// images; its cgroups, its root and its network are made as for any other.
var restoreStages = [...]func(*compiler) error{
	(*compiler).hostBefore,
	(*compiler).guard,
	(*compiler).cloneCriu,
	(*compiler).rootAgain,
	(*compiler).network,
	(*compiler).networkHooks,
	(*compiler).criu,
}

// CompileRestore makes the plan of a container that comes back from a
// checkpoint, ahead of its poststart hooks. Request.At is a folder for its
// root to be mounted on. Hooks that see to mounts (createContainer) or come
// before the program (startContainer) have done their work at the first start.
func CompileRestore(r *Request, criu *checkpoint.Restore) (*Result, error) {
	s := r.Spec
	if s.Process == nil || s.Root == nil || s.Root.Path == "" {
		return nil, errors.New("compile config.json: process or root.path is missing")
	}
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	if err := Checkpointable(s); err != nil {
		return nil, err
	}
	c, err := newCompiler(r)
	if err != nil {
		return nil, err
	}
	c.restore = criu
	for _, stage := range restoreStages {
		if err := stage(c); err != nil {
			return nil, err
		}
	}
	return &Result{Plan: c.plan, Cgroups: c.dirs, Unit: c.cgroups.Unit, Notes: c.cgroups.Notes}, nil
}

// lost are the properties of what neither criu nor the plan of a restore would bring back.
var lost = [...]struct {
	name, why string
	set       func(*specs.Spec) bool
}{
	{"process.terminal", "criu's command line hands on no terminal whose other side is outside the container",
		func(s *specs.Spec) bool { return s.Process != nil && s.Process.Terminal }},
	{"linux.namespaces: user", "it would have to own the others, which are made before it comes back", hasUser},
	{"linux.namespaces: mount", "criu would take the mounts of whoever shares the namespace for the container's", func(s *specs.Spec) bool {
		_, shared := mountsElsewhere(s.Linux)
		return shared
	}},
	{"linux.namespaces: cgroup, time", "criu joins none by path", joinsOdd},
	{"linux.netDevices", "they went back to the host with the network namespace", func(s *specs.Spec) bool { return len(s.Linux.NetDevices) > 0 }},
	{"linux.intelRdt", "criu knows of no such groups", func(s *specs.Spec) bool { return s.Linux.IntelRdt != nil }},
	{"linux.seccomp.listenerPath", "criu can't hand a filter's listener on", func(s *specs.Spec) bool {
		return s.Linux.Seccomp != nil && s.Linux.Seccomp.ListenerPath != ""
	}},
	{"mounts: uidMappings, idmap", "criu mounts what comes from the host with its own owners", hasMapped},
	{"mounts: destination", "there is a character in it that criu's options are divided by", hasOddBind},
}

// Checkpointable refuses containers that can't be written down, or not be brought back.
func Checkpointable(s *specs.Spec) error {
	full := *s
	if full.Linux == nil {
		full.Linux = &specs.Linux{}
	}
	for _, l := range lost {
		if l.set(&full) {
			return fmt.Errorf("checkpoint: %s: %s", l.name, l.why)
		}
	}
	return nil
}

func hasUser(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
}

func joinsOdd(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Path != "" && (n.Type == specs.CgroupNamespace || n.Type == specs.TimeNamespace)
	})
}

func hasMapped(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool {
		o, err := readOptions(&m)
		return err == nil && o.idmap || len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0
	})
}

func hasOddBind(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool { return isBind(&m) && strings.ContainsAny(m.Destination, "]:") })
}

// Outside lists the places in a container that may show something of the host's.
func Outside(s *specs.Spec, bundle string) (list []checkpoint.Outside) {
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if o, err := readOptions(m); err == nil && o.bind && !o.remount {
			place := path.Clean("/" + m.Destination)
			list = append(list, checkpoint.Outside{Place: place, Name: place, Source: absolute(bundle, m.Source), Tree: o.rec})
		}
	}
	if s.Linux == nil {
		return list
	}
	for _, p := range s.Linux.MaskedPaths {
		list = append(list, checkpoint.Outside{Place: path.Clean("/" + p), Name: "/dev/null", Source: "/dev/null", Hidden: true})
	}
	return list
}

// guard is the first step behind the cgroups, so the last before them to be taken back.
func (c *compiler) guard() error {
	if len(c.dirs) > 0 {
		c.plan.Add("half a container is not to be left", &checkpoint.Guard{Dirs: c.dirs})
	}
	return nil
}

// cloneCriu is the birth of the process that becomes criu: in the container's
// cgroups and, if that is new, its network. Criu makes the other namespaces.
func (c *compiler) cloneCriu() error {
	c.plan.Add("criu's process, in the container's cgroup and network; with mounts that are gone when it is",
		&plan.Clone{Flags: unix.CLONE_NEWNS | c.ns.flags&unix.CLONE_NEWNET, Into: c.cgroups.Into})
	c.plan.Append(c.cgroups.Born...)
	c.plan.Append(c.cgroups.Join...)
	return nil
}

// rootAgain mounts the root, and makes the places for mounts in it that are not there.
func (c *compiler) rootAgain() error {
	c.plan.Add("no mount gets out to the host", &plan.Propagation{Flag: unix.MS_REC | unix.MS_SLAVE})
	c.plan.Add("modes as they are asked for", &plan.Umask{Mask: 0})
	c.plan.Add("the root file system, as a mount of its own", &plan.Bind{Source: absolute(c.Bundle, c.Spec.Root.Path), Target: "/", Recursive: true, Share: unix.MS_PRIVATE | unix.MS_REC})
	c.plan.Add("criu wants the root to be a mount point", &plan.SetRoot{At: c.At})
	c.plan.Add("paths begin at the container's root", &plan.EnterRoot{})
	for i := range c.Spec.Mounts {
		m := &c.Spec.Mounts[i]
		target := path.Clean("/" + m.Destination)
		o, err := readOptions(m)
		if err != nil {
			return err
		}
		switch {
		case o.remount || c.covered(target):
		case c.Facts.Files[absolute(c.Bundle, m.Source)] && isBind(m):
			c.plan.Add("a place to mount on, if this root has none", &plan.Touch{Path: target})
		default:
			c.plan.Add("a place to mount on, if this root has none", &plan.Dir{Path: target, Mode: 0o755})
		}
	}
	return nil
}

// covered reports whether a place is in another mount, which comes back with it.
func (c *compiler) covered(target string) bool {
	for i := range c.Spec.Mounts {
		if strings.HasPrefix(target, path.Clean("/"+c.Spec.Mounts[i].Destination)+"/") {
			return true
		}
	}
	return false
}

// networkHooks are those of the runtime's namespaces: engines set the network up by them.
func (c *compiler) networkHooks() error {
	h := c.Spec.Hooks
	if h == nil {
		return nil
	}
	//nolint:staticcheck // see createHooks
	if err := c.hooks("prestart", h.Prestart, specs.StateCreating); err != nil {
		return err
	}
	return c.hooks("createRuntime", h.CreateRuntime, specs.StateCreating)
}

// criu is the end of the plan.
func (c *compiler) criu() error {
	at := &checkpoint.Place{Root: c.At, Outside: Outside(c.Spec, c.Bundle), Cgroups: c.cgroupRoots()}
	for i := range c.Spec.Mounts {
		if m := &c.Spec.Mounts[i]; m.Type == "cgroup" || m.Type == "cgroup2" {
			at.Outside = append(at.Outside, c.cgroupOutside(path.Clean("/"+m.Destination))...)
		}
	}
	if c.ns.new(unix.CLONE_NEWNET) {
		at.Net = "/proc/self/ns/net"
	}
	for _, j := range c.ns.join {
		switch j.Kind {
		case "net":
			at.Net = j.Path
		case "pid":
			at.PID = j.Path
		default:
			at.Join = append(at.Join, j.Kind+":"+j.Path)
		}
	}
	c.plan.Append(c.restore.Steps(at)...)
	return nil
}

// cgroupOutside are the trees of cgroups that are shown by binds: see cgroupMount.
func (c *compiler) cgroupOutside(target string) (list []checkpoint.Outside) {
	hs := c.Facts.Cgroups.Hierarchies
	if len(hs) == 1 && hs[0].V2 {
		if !c.ns.new(unix.CLONE_NEWCGROUP) {
			list = append(list, checkpoint.Outside{Place: target, Name: target, Source: c.cgroupDir(&hs[0])})
		}
		return list
	}
	for i := range hs {
		place := target + "/" + path.Base(hs[i].Mount)
		list = append(list, checkpoint.Outside{Place: place, Name: place, Source: c.cgroupDir(&hs[i])})
	}
	return list
}

// cgroupRoots is where the container's cgroups come back to, a controller each:
// in the one of version 2, and in those that it has none of its own in, as well.
func (c *compiler) cgroupRoots() (roots []string) {
	for i := range c.Facts.Cgroups.Hierarchies {
		h := &c.Facts.Cgroups.Hierarchies[i]
		dir := strings.TrimPrefix(c.cgroupDir(h), h.Mount)
		if dir == "" {
			dir = "/"
		}
		if h.V2 {
			roots = append(roots, dir)
		}
		for _, ctl := range h.Controllers {
			roots = append(roots, ctl+":"+dir)
		}
	}
	return roots
}

// CompilePoststart makes the steps for when the container runs: its poststart hooks.
func CompilePoststart(id, bundle string, s *specs.Spec) ([]plan.Step, error) {
	if s.Hooks == nil {
		return nil, nil
	}
	c := &compiler{Request: &Request{ID: id, Bundle: bundle, Spec: s}, plan: new(plan.Plan), linux: s.Linux, proc: s.Process}
	if err := c.poststart(); err != nil {
		return nil, err
	}
	return c.plan.Steps, nil
}
