// SPDX-License-Identifier: Apache-2.0

// Package spec turns an OCI config.json and the facts of a host into a plan.
//
// Compile is a pure function: every decision about a container is made in it
// or in what it calls, and nothing is done. The order of things that the
// kernel demands stands in one place, Compile's table of stages.
//
// Not for building a config.json from flags and an image: that is package
// engine. Not for executing: package plan/run.
package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/cgroup/systemd"
	"vitro/checkpoint"
	"vitro/host"
	"vitro/plan"
)

// A Request is all that a plan is made of.
type Request struct {
	ID     string // the container's
	Spec   *specs.Spec
	Facts  *Facts
	Title  string // for people
	Bundle string // the folder that relative paths of the config.json start from

	// Root makes the handle "/", the container's root, attached to nothing
	// yet. Nil: the folder root.path of the config.json, as it is.
	Root []plan.Step
	// At is a folder of the host for the root to be mounted on, in the child's
	// own mount namespace. Empty: root.path.
	At string

	Before []plan.Step // of the host, before anything else
	After  []plan.Step // of the host, when the child is born: its network

	// Stdio are handles for the standard streams; empty ones are inherited.
	Stdio [3]string
	// LineFeeds has the container's terminal end lines with a line feed alone: its
	// output goes to the caller's terminal, which adds the carriage return, or into a file.
	LineFeeds bool
	// Bound: the container ends when the process that started it ends.
	Bound bool
	// Preserve is how many descriptors from 3 on the container inherits.
	Preserve int
	// Await has the container's first process wait for a start of its own: the
	// folder of the FIFOs for it. Empty: the program runs at once.
	Await string
	// NoPivot moves the root over the host's in place of pivot_root(2), for
	// hosts that run from an initial ramdisk. It is weaker.
	NoPivot bool
	// Keyring has the container get a session keyring of its own.
	Keyring bool
	// AllCgroups: every controller gets a cgroup, not only those with a limit.
	AllCgroups bool
	// Shared is the cgroup that holds only our containers' cgroups.
	Shared string
	// SystemdCgroup: systemd makes the cgroup, as a unit, and linux.cgroupsPath
	// is "slice:prefix:name". Facts.Cgroups.AskSystemd comes first.
	SystemdCgroup bool
}

// compiler holds what the stages share.
type compiler struct {
	*Request
	plan    *plan.Plan
	linux   *specs.Linux
	proc    *specs.Process
	ns      namespaces
	cgroups *cgroup.Setup
	attach  []plan.Step     // the second halves of the mounts
	late    []plan.Step     // of the child, when it opens nothing any more
	seals   []string        // mounts to be read-only when all is in them
	fresh   map[string]bool // mounts with nothing in them but what we put there
	listed  []aMount        // the config.json's
	handles map[string]int  // how many mounts have had a target's name
	dirs    cgroup.Dirs
	// warnings are for people to see; notes, of setupCgroups and others, for who looks deeper.
	warnings []string
	inside   *Inside // of a further process: what it enters
	file     string  // the program, where it is not process.args[0]
	restore  *checkpoint.Restore
}

// stages are the parts of a plan, in the order that the kernel demands:
//
//   - the cgroup before the clone, so that not a single instruction of the
//     container runs without its limits;
//   - the ID maps before the child becomes root, which it needs to be to mount;
//   - the cgroup namespace when the child is in its cgroup, which becomes its root;
//   - mounts made ready while the host's tree is in view, attached after the
//     pivot, when no path can lead out;
//   - kernel parameters before /proc/sys is made read-only;
//   - the bounding set before the user changes, the user before the capabilities;
//   - the filter as late as it can be: without no_new_privs loading one takes
//     CAP_SYS_ADMIN, so it comes before capabilities are dropped. Paths are
//     resolved before it: profiles that are older than openat2(2) deny that.
var stages = [...]func(*compiler) error{
	(*compiler).hostBefore,
	(*compiler).clone,
	(*compiler).maps,
	(*compiler).enter,
	(*compiler).mounts,
	(*compiler).pivot,
	(*compiler).network,
	(*compiler).names,
	(*compiler).sysctls,
	(*compiler).console,
	(*compiler).hide,
	(*compiler).privileges,
	(*compiler).await,
}

// restStages are the parts behind the wait for the start.
var restStages = [...]func(*compiler) error{
	(*compiler).startHooks,
	(*compiler).seal,
	(*compiler).exec,
	(*compiler).poststart,
}

// A Result is a plan, and where the container's cgroups are.
type Result struct {
	*plan.Plan
	Cgroups cgroup.Dirs
	Unit    *systemd.Ref // with Request.SystemdCgroup: for cgroup.Layout.UpdateUnit
	Notes   []string     // what was left out, and why
	// Warnings are of what the config.json contradicts itself in.
	Warnings []string
}

// Compile makes the plan. What the config.json asks for and can't be had is an
// error that names the property.
func Compile(r *Request) (*Result, error) {
	s := r.Spec
	if s.Process == nil || len(s.Process.Args) == 0 {
		return nil, errors.New("compile config.json: process.args is empty: there is nothing to run")
	}
	if s.Root == nil || s.Root.Path == "" {
		return nil, errors.New("compile config.json: root.path is missing")
	}
	c, err := newCompiler(r)
	if err != nil {
		return nil, err
	}
	for _, stages := range [...][]func(*compiler) error{stages[:], restStages[:]} {
		for _, stage := range stages {
			if err := stage(c); err != nil {
				return nil, err
			}
		}
	}
	return &Result{Plan: c.plan, Cgroups: c.dirs, Unit: c.cgroups.Unit, Notes: c.cgroups.Notes, Warnings: c.warnings}, nil
}

// CompileRest makes the part of a container's plan that comes behind the wait
// for its start. Of the facts it needs those of ReadExecFacts.
func CompileRest(r *Request, dirs cgroup.Dirs) (*plan.Plan, error) {
	c, err := newCompiler(r)
	if err != nil {
		return nil, err
	}
	c.dirs = dirs
	for _, stage := range restStages {
		if err := stage(c); err != nil {
			return nil, err
		}
	}
	return c.plan, nil
}

func newCompiler(r *Request) (*compiler, error) {
	s := r.Spec
	if s.Linux == nil { // all is the host's then
		full, again := *s, *r
		full.Linux, again.Spec = &specs.Linux{}, &full
		s, r = &full, &again
	}
	c := &compiler{Request: r, plan: &plan.Plan{Title: r.Title}, linux: s.Linux, proc: s.Process, fresh: make(map[string]bool), handles: make(map[string]int)}
	if c.At == "" {
		c.At = absolute(r.Bundle, s.Root.Path)
	}
	var err error
	if c.ns, err = readNamespaces(c.linux); err != nil {
		return nil, err
	}
	if c.ns.new(unix.CLONE_NEWUSER) {
		if c.ns.user, err = readMaps(c.linux, r.Facts); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// hostBefore is what the host does before there is a child.
func (c *compiler) hostBefore() error {
	c.plan.Append(c.Before...)
	setup, err := c.setupCgroups()
	if err != nil {
		return err
	}
	c.cgroups, c.dirs = setup, setup.Dirs
	if c.Facts.UID != 0 && len(c.dirs) == 0 && c.Await != "" && !c.ns.private(unix.CLONE_NEWPID) {
		c.warnings = append(c.warnings, "neither a cgroup nor a PID namespace holds the container's processes together, so not all of them can be ended. Such configuration is strongly discouraged")
	}
	c.plan.Append(setup.Before...)
	if c.Await != "" {
		c.plan.Add("how another process has the container start", &host.FIFO{Path: c.Await + "/exec.fifo", As: "exec.fifo"})
		c.plan.Add("and how it hears of that", &host.FIFO{Path: c.Await + "/started", As: "started"})
	}
	return nil
}

// network brings the container's network up: the host's half runs while the
// child mounts.
func (c *compiler) network() error {
	c.plan.Append(c.After...)
	if c.ns.new(unix.CLONE_NEWNET) {
		c.plan.Add("the loopback interface is there in a new network namespace, but down", &plan.LinkUp{Name: "lo"})
	}
	return nil
}

func (c *compiler) names() error {
	s := c.Spec
	if s.Hostname == "" && s.Domainname == "" {
		return nil
	}
	if !c.ns.private(unix.CLONE_NEWUTS) {
		return errors.New("compile config.json: hostname and domainname need a uts namespace of the container's own: the host's name would change")
	}
	if s.Hostname != "" {
		c.plan.Add("the name that the container goes by, for itself only", &plan.Hostname{Name: s.Hostname})
	}
	if s.Domainname != "" {
		c.plan.Add("the NIS domain that goes with it", &plan.Domainname{Name: s.Domainname})
	}
	return nil
}

// sysctlSpaces are the parameters that belong to a namespace, by prefix.
var sysctlSpaces = [...]struct {
	prefix string
	flag   uint64
	name   string
}{
	{"net.", unix.CLONE_NEWNET, "network"},
	{"fs.mqueue.", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.msgmax", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.msgmnb", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.msgmni", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.sem", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.shm", unix.CLONE_NEWIPC, "ipc"},
	{"kernel.domainname", unix.CLONE_NEWUTS, "uts"},
}

// sysctls writes kernel parameters, those of the container's own namespaces
// only: any other would be the whole machine's.
func (c *compiler) sysctls() error {
	for _, key := range sortedKeys(c.linux.Sysctl) {
		name := strings.ReplaceAll(key, "/", ".")
		private := false
		space := ""
		for _, s := range sysctlSpaces {
			if strings.HasPrefix(name, s.prefix) {
				space, private = s.name, c.ns.private(s.flag)
			}
		}
		switch {
		case name == "kernel.hostname":
			return fmt.Errorf("set sysctl %q: hostname of config.json is for that", key)
		case space == "":
			return fmt.Errorf("set sysctl %q: it belongs to no namespace, so the whole machine would change", key)
		case !private:
			return fmt.Errorf("set sysctl %q: it belongs to the %s namespace, which is not the container's own", key, space)
		case !c.hasMount("/proc"):
			return fmt.Errorf("set sysctl %q: no proc is mounted at /proc", key)
		}
		p := strings.ReplaceAll(key, ".", "/")
		if strings.Contains(key, "/") { // the other spelling, for names with dots in them
			p = key
		}
		if p != path.Clean(p) || strings.HasPrefix(p, "..") {
			return fmt.Errorf("set sysctl %q: not a name of a parameter", key)
		}
		c.plan.Add("a kernel parameter of the container's own", &plan.Sysctl{Path: p, Value: c.linux.Sysctl[key], Proc: "/proc"})
	}
	return nil
}

// hide takes away what of the kernel's interfaces is not the container's
// business, and makes the rest read-only.
func (c *compiler) hide() error {
	if cwd := c.proc.Cwd; cwd != "/" {
		c.plan.Add("the working directory", &plan.Dir{Path: path.Clean("/" + cwd), Mode: 0o755})
	}
	for _, p := range c.linux.ReadonlyPaths {
		c.plan.Add("what is written here changes the machine, not the container", &plan.ReadOnly{Path: p, Under: c.kernelMount(p)})
	}
	for i, p := range c.linux.MaskedPaths {
		if slices.Contains(c.linux.MaskedPaths[:i], p) { // engines append to lists of others
			continue
		}
		c.plan.Add("what is read here tells about the machine, or acts on it", &plan.Mask{Path: p, Under: c.kernelMount(p)})
	}
	for _, s := range c.seals {
		c.plan.Add("all is in it that is to be in it: the option ro", &plan.Seal{Target: s})
	}
	if c.Spec.Root.Readonly {
		c.plan.Add("nothing of the root may change: root.readonly", &plan.Seal{Target: "/"})
	}
	if flag := propagation(c.linux.RootfsPropagation); flag != 0 {
		c.plan.Add("how mounts in the container travel: linux.rootfsPropagation", &plan.RootPropagation{Propagation: plan.Propagation{Flag: flag}})
	}
	return nil
}

// kernelMount is the proc or sysfs that a path is in, which can be found without
// a path; "" if it is in none, or if two mounts have the same place: one covers
// the other then.
func (c *compiler) kernelMount(p string) (in string) {
	for i := range c.Spec.Mounts {
		m := &c.Spec.Mounts[i]
		target := path.Clean("/" + m.Destination)
		if strict(m.Type) && c.handles[target] == 1 && strings.HasPrefix(p, target+"/") && len(target) > len(in) {
			in = target
		}
	}
	return in
}
