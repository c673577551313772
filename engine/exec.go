// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/hook"
	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// ExecFlags are what `vitro exec` is given.
type ExecFlags struct {
	Command                                   []string
	Interactive, Terminal, Detach, Privileged bool
	Env, EnvFiles                             []string
	Workdir, User                             string
	Size                                      [2]uint16 // of the caller's terminal
	DetachKeys                                []byte    // leave the process to itself, if it has a terminal
}

// Exec runs one more process in a running container, with this process as its
// parent, to its end, or until the user leaves it, which is
// monitor.ErrDetached; or, detached, only starts it.
func (e *Engine) Exec(name string, f *ExecFlags) (exit monitor.Exit, err error) {
	c, err := e.find(name)
	if err != nil {
		return exit, err
	}
	switch c.Status() {
	case container.Running:
	case container.Paused:
		return exit, hint(fmt.Errorf("exec in container %q: it is paused", name), "vitro unpause %s", name)
	default:
		return exit, hint(fmt.Errorf("exec in container %q: it is not running", name), "vitro start %s", name)
	}
	data, err := os.ReadFile(c.Path("config.json"))
	if err != nil {
		return exit, err
	}
	s, err := ocijson.DecodeSpec(data)
	if err != nil {
		return exit, err
	}
	proc, err := f.process(s, c.State.Pid)
	if err != nil {
		return exit, err
	}
	pidfd, err := c.State.Open()
	if err != nil {
		return exit, err
	}
	defer unix.Close(pidfd)
	streams := &monitor.Streams{Terminal: f.Terminal, Interactive: f.Interactive, DetachKeys: f.DetachKeys,
		Keep: e.keepTerminal}
	if f.Detach {
		streams = nil
	}
	p, err := execPlan(c, s, proc, streams)
	if err != nil {
		return exit, err
	}
	o := run.Options{Folder: c.Dir, Handles: map[string]int{hook.Container: pidfd}}
	defer hearAll()()
	if f.Detach {
		return exit, detached(p, o)
	}
	if err := streams.Open(); err != nil {
		return exit, err
	}
	return (&monitor.Job{Plan: p, Streams: streams, Options: o}).Run()
}

// detached starts a process that nobody waits for, with nothing to read, and
// nobody to hear it.
func detached(p *plan.Plan, o run.Options) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	o.Handles = maps.Clone(o.Handles)
	for _, name := range monitor.Handles(false) {
		o.Handles[name] = int(null.Fd())
	}
	child, err := run.Start(p, o)
	if err == nil && child.Console != nil {
		err = child.Console.Close()
	}
	return err
}

// execPlan decides what is done. Without streams the process gets the null device.
func execPlan(c *container.Container, s *specs.Spec, proc *specs.Process, streams *monitor.Streams) (*plan.Plan, error) {
	facts, err := spec.ReadExecFacts(c.State.Pid, proc)
	if err != nil {
		return nil, err
	}
	inside, err := spec.ReadInside(c.State.Pid, c.State.Cgroups)
	if err != nil {
		return nil, err
	}
	stdio := monitor.Handles(proc.Terminal)
	if streams != nil {
		stdio = streams.Names()
	}
	return spec.CompileExec(&spec.ExecRequest{ID: c.ID, Bundle: c.Dir, Spec: s, Process: proc, Facts: facts, Inside: inside, Cgroups: c.State.Cgroups, Stdio: stdio})
}

// process is the container's own process with the flags' changes.
func (f *ExecFlags) process(s *specs.Spec, pid int) (*specs.Process, error) {
	if len(f.Command) == 0 {
		return nil, errors.New("exec in container: no command")
	}
	p := *s.Process
	p.Args, p.Terminal, p.ConsoleSize = f.Command, f.Terminal, nil
	if f.Terminal && f.Size != [2]uint16{} {
		p.ConsoleSize = &specs.Box{Height: uint(f.Size[0]), Width: uint(f.Size[1])}
	}
	if f.Workdir != "" {
		if !path.IsAbs(f.Workdir) {
			return nil, fmt.Errorf("use %q as working directory: not an absolute path", f.Workdir)
		}
		p.Cwd = path.Clean(f.Workdir)
	}
	files, err := readEnvFiles(f.EnvFiles)
	if err != nil {
		return nil, err
	}
	env, err := readEnv(f.Env)
	if err != nil {
		return nil, err
	}
	p.Env = slices.Clone(p.Env)
	if f.Terminal && !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm")
	}
	if f.User != "" {
		if err := f.user(&p, pid); err != nil {
			return nil, err
		}
	}
	p.Env = merge(merge(p.Env, files), env)
	f.capabilities(&p)
	return &p, nil
}

// user looks the user up in the container's files, as they are now.
func (f *ExecFlags) user(p *specs.Process, pid int) error {
	d := &draft{Flags: &Flags{}, layers: []string{fmt.Sprintf("/proc/%d/root", pid)}}
	u, err := d.lookUp(f.User)
	if err != nil {
		return err
	}
	u.Umask, p.User = p.User.Umask, u
	p.Env = merge(p.Env, []string{"HOME=" + d.home(u.UID)})
	return nil
}

// capabilities are the container's: of root all at work, of others only a bound.
func (f *ExecFlags) capabilities(p *specs.Process) {
	var names []string
	if p.Capabilities != nil {
		names = p.Capabilities.Bounding
	}
	if f.Privileged {
		names = plan.AllCaps.Names()
	}
	caps := &specs.LinuxCapabilities{Bounding: names}
	if p.User.UID == 0 || f.Privileged {
		caps.Permitted, caps.Effective = names, names
	}
	p.Capabilities = caps
}
