// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/hook"
	"vitro/host"
	"vitro/internal/smallfile"
	"vitro/plan"
)

// An ExecRequest is all that the plan of a further process of a running
// container is made of.
type ExecRequest struct {
	ID      string      // the container's
	Bundle  string      // and its bundle, for whom the seccomp filter asks
	Spec    *specs.Spec // the container's
	Process *specs.Process
	Facts   *Facts
	Inside  *Inside
	Cgroups cgroup.Dirs
	// Stdio, LineFeeds and Preserve are as in Request.
	Stdio     [3]string
	LineFeeds bool
	Preserve  int
}

// Inside is what a running container's first process shows of its namespaces.
type Inside struct {
	PID        int
	Namespaces uint64 // CLONE_NEW*: those that are not ours
	FixedGroup bool   // its user namespace forbids setgroups(2)
	// Full is the cgroup of version 2, if it may hold no processes itself since
	// the container has divided it among cgroups of its own; Leaf is where its
	// first process is then.
	Full, Leaf string
}

// ReadInside looks at a container's first process.
func ReadInside(pid int, dirs cgroup.Dirs) (*Inside, error) {
	in := &Inside{PID: pid}
	for _, k := range kinds {
		var own, its unix.Stat_t
		if unix.Stat("/proc/self/ns/"+k.kind, &own) != nil {
			continue // the kernel has no such namespaces
		}
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, k.kind), &its); err != nil {
			return nil, fmt.Errorf("look at the container's %s namespace: %w", k.kind, err)
		}
		if own.Ino != its.Ino || own.Dev != its.Dev {
			in.Namespaces |= plan.NamespaceFlag(k.kind)
		}
	}
	if in.Namespaces&unix.CLONE_NEWUSER != 0 {
		in.FixedGroup = groupsFixed(fmt.Sprintf("/proc/%d/setgroups", pid))
	}
	for _, d := range dirs {
		if !d.V2 {
			continue
		}
		data, err := smallfile.Read(d.Path + "/cgroup.subtree_control")
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has moved, and somebody has removed the cgroup
			in.Full, in.Leaf = d.Path, elsewhere(pid, d.Path)
		case err == nil && len(strings.TrimSpace(string(data))) > 0:
			in.Full, in.Leaf = d.Path, leafOf(pid, d.Path)
		}
	}
	return in, nil
}

// leafOf is the cgroup of version 2 that a process is in, at or below dir.
func leafOf(pid int, dir string) string {
	data, err := smallfile.Read(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return dir
	}
	return memberIn(string(data), dir)
}

// memberIn finds a process's cgroup below dir in the text of /proc/PID/cgroup (cgroups(7)).
func memberIn(text, dir string) string {
	for line := range strings.Lines(text) {
		p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		// The end of dir is the beginning of p, wherever the tree is mounted.
		for up := dir; up != "/" && up != "."; up = path.Dir(up) {
			if tail := strings.TrimPrefix(dir, path.Dir(up)); strings.HasPrefix(p+"/", tail+"/") {
				return dir + strings.TrimPrefix(p, tail)
			}
		}
	}
	return dir
}

// elsewhere is the cgroup of version 2 that a process is in, wherever that is in
// the tree that dir was in.
func elsewhere(pid int, dir string) string {
	root := ""
	for up := path.Dir(dir); up != "/"; up = path.Dir(up) {
		var st unix.Statfs_t
		if unix.Statfs(up, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			root = up
		}
	}
	data, err := smallfile.Read(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && err == nil && root != "" {
			return path.Join(root, p)
		}
	}
	return dir
}

func groupsFixed(file string) bool {
	data, err := smallfile.Read(file)
	return err == nil && strings.TrimSpace(string(data)) == "deny"
}

// ReadExecFacts finds out what CompileExec has to know.
func ReadExecFacts(pid int, proc *specs.Process) (*Facts, error) {
	f := &Facts{UID: os.Geteuid(), GID: os.Getegid()}
	if err := f.readKernel(); err != nil {
		return nil, err
	}
	if err := f.readCaps(); err != nil {
		return nil, err
	}
	f.readModules(proc, nil)
	f.Nofile, f.Pinned = StartNofile(), pinned()
	f.readHome(proc, fmt.Sprintf("/proc/%d/root", pid))
	return f, nil
}

// execStages are the parts of a plan for a further process.
var execStages = [...]func(*compiler) error{
	(*compiler).join,
	(*compiler).limits,
	(*compiler).console,
	(*compiler).privileges,
	(*compiler).exec,
}

// CompileExec makes the plan for a further process of a running container. It
// enters all of the container's namespaces with one setns(2), on the descriptor
// with the handle hook.Container.
func CompileExec(r *ExecRequest) (*plan.Plan, error) {
	if len(r.Process.Args) == 0 {
		return nil, errors.New("run process: process.args is empty: there is nothing to run")
	}
	s := *r.Spec
	if s.Linux == nil {
		s.Linux = new(specs.Linux)
	}
	s.Process = r.Process
	c := &compiler{
		Request: &Request{ID: r.ID, Bundle: r.Bundle, Spec: &s, Facts: r.Facts, Stdio: r.Stdio, LineFeeds: r.LineFeeds, Preserve: r.Preserve},
		plan:    &plan.Plan{Title: "exec: " + strings.Join(r.Process.Args, " ")},
		linux:   s.Linux, proc: r.Process, inside: r.Inside, dirs: r.Cgroups,
	}
	for _, k := range kinds {
		if flag := plan.NamespaceFlag(k.kind); r.Inside.Namespaces&flag != 0 {
			c.ns.join = append(c.ns.join, plan.Join{Kind: k.kind})
		}
	}
	for _, stage := range execStages {
		if err := stage(c); err != nil {
			return nil, err
		}
	}
	return c.plan, nil
}

// execPlan is the plan of a hook that is the container's own program.
func (c *compiler) execPlan(proc *specs.Process, file string) (*plan.Plan, error) {
	in := &Inside{Namespaces: c.ns.flags | c.ns.joinFlags()}
	if c.ns.user != nil {
		in.FixedGroup = c.ns.user.keepGroups
	}
	s := *c.Spec
	s.Process = proc
	e := &compiler{
		Request: &Request{ID: c.ID, Bundle: c.Bundle, Spec: &s, Facts: c.Facts, Stdio: [3]string{hook.State, hook.Output, hook.Output}},
		plan:    &plan.Plan{Title: "startContainer hook"},
		linux:   c.linux, proc: proc, inside: in, dirs: c.dirs, file: file,
	}
	for _, k := range kinds {
		if flag := plan.NamespaceFlag(k.kind); in.Namespaces&flag != 0 {
			e.ns.join = append(e.ns.join, plan.Join{Kind: k.kind})
		}
	}
	for _, stage := range execStages {
		if err := stage(e); err != nil {
			return nil, err
		}
	}
	return e.plan, nil
}

// join is the birth of a process in the container's namespaces and cgroups. It
// is born in the cgroup of version 2; those of version 1 it joins itself, by
// files that were opened before.
func (c *compiler) join() error {
	initial, final, err := c.affinity()
	if err != nil {
		return err
	}
	if err := c.openProc(); err != nil {
		return err
	}
	var into string
	var steps []plan.Step
	for i, d := range c.dirs {
		if d.V2 {
			if into = "cgroup"; d.Path == c.inside.Full {
				d.Path = c.inside.Leaf
			}
			c.plan.Add("the container's cgroup, for the process to be born in", &host.Open{Path: d.Path, Flags: unix.O_PATH | unix.O_DIRECTORY, As: into})
			continue
		}
		h := fmt.Sprintf("cgroup-%d", i)
		c.plan.Add("the container's cgroup", &host.Open{Path: d.Path + "/tasks", Flags: unix.O_WRONLY, As: h})
		steps = append(steps, plan.Step{Action: &plan.JoinCgroup{Handle: h, Path: d.Path + "/tasks"}, Why: "the container's limits are this process's too"})
	}
	if initial != "" {
		c.plan.Add("where the process is born: process.execCPUAffinity.initial", &host.Affinity{CPUs: initial})
	}
	flags := c.inside.Namespaces
	if into != "" {
		flags &^= unix.CLONE_NEWCGROUP
	}
	c.plan.Add("a process in the container's namespaces, joined in one call", &plan.Clone{Into: into,
		Enter: &plan.Enter{Flags: flags, Pidfd: hook.Container, PID: c.inside.PID}})
	if flags != c.inside.Namespaces {
		c.plan.Add("its cgroup namespace too, now that the process is in its cgroup", &plan.EnterCgroup{Pidfd: hook.Container, PID: c.inside.PID})
	}
	if initial != "" {
		c.plan.Add("and we are where we were", &host.Affinity{})
	}
	c.plan.Append(steps...)
	if _, shared := mountsElsewhere(c.linux); shared && c.Spec.Root != nil {
		c.plan.Add("the container's root, in a mount namespace that it shares", &plan.OpenRoot{At: absolute(c.Bundle, c.Spec.Root.Path)})
		c.plan.Add("paths begin there", &plan.Chroot{})
	}
	if final != "" {
		c.plan.Add("where the process runs: process.execCPUAffinity.final", &plan.Affinity{CPUs: final})
	} else if initial == "" {
		c.unpin()
	}
	if c.ns.inUser() {
		uid, gid := c.makers()
		c.plan.Add("root in the container's user namespace", &plan.EnterIDs{KeepGroups: c.inside.FixedGroup, UID: uid, GID: gid})
	}
	if c.Keyring {
		c.keyLabel()
	}
	c.plan.Add("a session of its own", &plan.Session{Keyring: c.Keyring})
	return nil
}
