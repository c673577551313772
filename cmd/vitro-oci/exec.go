// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
	"vitro/hook"
	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// execFailed is the exit status if the process can't be run: the others are its own.
const execFailed = 255

// execContainer runs one more process in a running container.
func execContainer(inv *invocation) (int, error) {
	if len(inv.args) == 0 {
		return execFailed, errors.New("exec: want a container's ID, and a command or --process")
	}
	c, err := inv.store().Look(inv.args[0])
	if err != nil {
		return execFailed, err
	}
	code, err := inv.exec(c)
	if errors.Is(err, unix.EBUSY) && inv.get("cgroup") != "" {
		err = fmt.Errorf("adding pid of the new process to cgroups: %w", err)
	}
	if err != nil {
		return execFailed, fmt.Errorf("exec in container %q: %w", c.ID, err)
	}
	return code, nil
}

func (inv *invocation) exec(c *container.Container) (int, error) {
	switch c.Status() {
	case container.Creating:
		return 0, errors.New("it is still being made")
	case container.Stopped:
		return 0, errors.New("cannot exec in a stopped container")
	case container.Paused:
		if !inv.has("ignore-paused") {
			return 0, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
		}
	}
	b, err := kept(c)
	if err != nil {
		return 0, err
	}
	proc, err := inv.process(b)
	if err != nil {
		return 0, err
	}
	detach := inv.has("detach")
	if err := inv.checkTerminal(proc.Terminal, detach); err != nil {
		return 0, err
	}
	pidfd, err := c.State.Open()
	if err != nil {
		return 0, err
	}
	defer unix.Close(pidfd)
	streams := &monitor.Streams{Terminal: proc.Terminal, Interactive: true, Inherit: true}
	p, err := inv.execPlan(c, b, proc, streams)
	if err != nil {
		return 0, err
	}
	inv.debugPlan(p)
	o := run.Options{Folder: c.Dir, Handles: map[string]int{hook.Container: pidfd}, Console: inv.sendConsole()}
	if !detach {
		return inv.execForeground(p, streams, o)
	}
	child, err := run.Start(p, o)
	if err != nil {
		return 0, err
	}
	return 0, inv.tell(child)
}

func (inv *invocation) execForeground(p *plan.Plan, streams *monitor.Streams, o run.Options) (int, error) {
	if err := streams.Open(); err != nil {
		return 0, err
	}
	job := monitor.Job{Plan: p, Streams: streams, Options: o}
	var late error
	job.Started = func(child *run.Child) {
		if late = inv.tell(child); late != nil {
			_ = child.Signal(killSignal)
		}
	}
	exit, err := job.Run()
	return exit.Code, errors.Join(err, late)
}

// execPlan decides what is done.
func (inv *invocation) execPlan(c *container.Container, b *bundle, proc *specs.Process, streams *monitor.Streams) (*plan.Plan, error) {
	preserve, err := inv.preserve(proc)
	if err != nil {
		return nil, err
	}
	dirs, err := inv.subCgroup(c.State.Cgroups)
	if err != nil {
		return nil, err
	}
	facts, err := spec.ReadExecFacts(c.State.Pid, proc)
	if err != nil {
		return nil, err
	}
	inside, err := spec.ReadInside(c.State.Pid, dirs)
	if err != nil {
		return nil, err
	}
	if inv.get("cgroup") != "" {
		inside.Full = "" // the one that is named, or none
	}
	return spec.CompileExec(&spec.ExecRequest{
		ID: c.ID, Bundle: b.dir, Spec: b.spec, Process: proc, Facts: facts, Inside: inside, Cgroups: dirs, Stdio: streams.Names(), LineFeeds: !inv.has("detach"), Preserve: preserve,
	})
}

// process is what is to be run: the file that --process names, or the
// container's own process with the flags' changes.
func (inv *invocation) process(b *bundle) (*specs.Process, error) {
	if file := inv.get("process"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read process: %w", err)
		}
		p, err := ocijson.DecodeProcess(data)
		if err == nil && b.spec.Process != nil {
			inherit(p, b.spec.Process)
		}
		return p, err
	}
	if b.spec.Process == nil {
		return nil, errors.New("config.json has no process to take the environment from: give --process")
	}
	p := *b.spec.Process
	p.Args = inv.args[1:]
	if len(p.Args) > 0 && p.Args[0] == "--" {
		p.Args = p.Args[1:]
	}
	if len(p.Args) == 0 {
		return nil, errors.New("want a command, or --process")
	}
	p.Terminal, p.ConsoleSize = inv.has("tty"), nil
	p.Env = append(slices.Clone(p.Env), inv.options["env"]...)
	for o, to := range map[string]*string{"cwd": &p.Cwd, "apparmor": &p.ApparmorProfile, "process-label": &p.SelinuxLabel} {
		if v := inv.get(o); v != "" {
			*to = v
		}
	}
	if v := inv.get("no-new-privs"); v != "" {
		p.NoNewPrivileges = v == "true"
	}
	p.Capabilities = addCaps(p.Capabilities, inv.options["cap"])
	return &p, inv.user(&p)
}

// inherit gives a process what it doesn't say of itself and the container's own
// process has, as runc does: a file of three lines is to be enough, and no way
// around what confines the container.
func inherit(p, own *specs.Process) {
	if p.Capabilities == nil {
		p.Capabilities = own.Capabilities
	}
	if len(p.Rlimits) == 0 {
		p.Rlimits = own.Rlimits
	}
	if p.ApparmorProfile == "" {
		p.ApparmorProfile = own.ApparmorProfile
	}
	if p.SelinuxLabel == "" {
		p.SelinuxLabel = own.SelinuxLabel
	}
	if p.Scheduler == nil {
		p.Scheduler = own.Scheduler
	}
	if p.IOPriority == nil {
		p.IOPriority = own.IOPriority
	}
	if p.ExecCPUAffinity == nil {
		p.ExecCPUAffinity = own.ExecCPUAffinity
	}
}

// addCaps adds capabilities to those that the process has anyway. If some are
// inherited by what it executes, so are the new ones that may be: ambient are
// those that are inheritable too.
func addCaps(c *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	if len(more) == 0 {
		return c
	}
	sum := new(specs.LinuxCapabilities)
	if c != nil {
		*sum = *c
	}
	for i, name := range more {
		if more[i] = strings.ToUpper(name); !strings.HasPrefix(more[i], "CAP_") {
			more[i] = "CAP_" + more[i]
		}
	}
	for _, set := range []*[]string{&sum.Bounding, &sum.Effective, &sum.Permitted} {
		*set = append(slices.Clone(*set), more...)
	}
	for _, name := range more {
		if slices.Contains(sum.Inheritable, name) {
			sum.Ambient = append(slices.Clone(sum.Ambient), name)
		}
	}
	return sum
}

// user reads --user UID[:GID] and --additional-gids.
func (inv *invocation) user(p *specs.Process) error {
	if v := inv.get("user"); v != "" {
		uid, gid, both := strings.Cut(v, ":")
		for _, id := range []struct {
			text string
			to   *uint32
			want bool
		}{{uid, &p.User.UID, true}, {gid, &p.User.GID, both}} {
			if !id.want {
				continue
			}
			n, err := strconv.ParseUint(id.text, 10, 32)
			if err != nil {
				return fmt.Errorf("read option --user: want UID or UID:GID as numbers, not %q", v)
			}
			*id.to = uint32(n)
		}
	}
	for _, v := range inv.options["additional-gids"] {
		for g := range strings.SplitSeq(v, ",") {
			n, err := strconv.ParseUint(g, 10, 32)
			if err != nil {
				return fmt.Errorf("read option --additional-gids: want a number, not %q", g)
			}
			p.User.AdditionalGids = append(slices.Clone(p.User.AdditionalGids), uint32(n))
		}
	}
	return nil
}

// subCgroup has the process join a cgroup below the container's: --cgroup
// PATH, or for version 1 CONTROLLER[,CONTROLLER]:PATH.
func (inv *invocation) subCgroup(dirs cgroup.Dirs) (cgroup.Dirs, error) {
	sub := slices.Clone(dirs)
	for _, v := range inv.options["cgroup"] {
		controllers, below, named := strings.Cut(v, ":")
		if !named {
			controllers, below = "", v
		}
		if p := path.Clean(below); p == ".." || strings.HasPrefix(p, "../") {
			return nil, fmt.Errorf("join cgroup %q: bad sub cgroup path: it leads out of the container's", below)
		}
		found := false
		for i := range sub {
			if named && !slices.ContainsFunc(strings.Split(controllers, ","), func(c string) bool { return slices.Contains(sub[i].Controllers, c) }) {
				continue
			}
			sub[i].Path, found = path.Join(dirs[i].Path, path.Clean("/"+below)), true
			if _, err := os.Stat(sub[i].Path); err != nil {
				return nil, fmt.Errorf("adding pid of the new process to cgroups: join %q: %w", below, err)
			}
		}
		if !found {
			return nil, fmt.Errorf("join cgroup %q: unknown controller %q: the container has no cgroup of it", below, controllers)
		}
	}
	return sub, nil
}
