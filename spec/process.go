// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// rlimits are the resource limits by the specification's names, with those of prlimit(1).
var rlimits = [...]struct {
	typ, name string
	num       int
}{
	{"RLIMIT_AS", "as", unix.RLIMIT_AS},
	{"RLIMIT_CORE", "core", unix.RLIMIT_CORE},
	{"RLIMIT_CPU", "cpu", unix.RLIMIT_CPU},
	{"RLIMIT_DATA", "data", unix.RLIMIT_DATA},
	{"RLIMIT_FSIZE", "fsize", unix.RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", "locks", unix.RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", "memlock", unix.RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", "msgqueue", unix.RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", "nice", unix.RLIMIT_NICE},
	{"RLIMIT_NOFILE", "nofile", unix.RLIMIT_NOFILE},
	{"RLIMIT_NPROC", "nproc", unix.RLIMIT_NPROC},
	{"RLIMIT_RSS", "rss", unix.RLIMIT_RSS},
	{"RLIMIT_RTPRIO", "rtprio", unix.RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", "rttime", unix.RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", "sigpending", unix.RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", "stack", unix.RLIMIT_STACK},
}

// limits sets the limits of the process itself, from outside.
func (c *compiler) limits() error {
	nofile := false
	for n, l := range c.proc.Rlimits {
		i := slices.IndexFunc(rlimits[:], func(r struct {
			typ, name string
			num       int
		}) bool {
			return r.typ == l.Type
		})
		switch {
		case i < 0:
			return fmt.Errorf("compile config.json: process.rlimits: unknown type %q", l.Type)
		case slices.ContainsFunc(c.proc.Rlimits[:n], func(o specs.POSIXRlimit) bool { return o.Type == l.Type }):
			return fmt.Errorf("compile config.json: process.rlimits: %s is there twice", l.Type)
		case l.Soft > l.Hard:
			return fmt.Errorf("compile config.json: process.rlimits: %s: soft limit %d is above the hard one, %d", l.Type, l.Soft, l.Hard)
		}
		nofile = nofile || l.Type == "RLIMIT_NOFILE"
		const why = "a limit for each process: process.rlimits"
		if need := c.descriptors(); l.Type == "RLIMIT_NOFILE" && l.Soft < need {
			c.late = append(c.late, plan.Step{Action: &plan.Nofile{Soft: l.Soft, Hard: l.Hard}, Why: why + "; only now, since the set-up needs more"})
			if l.Soft = need; l.Hard < need {
				continue
			}
		}
		c.plan.Add(why, &host.Rlimit{Name: rlimits[i].name, Type: rlimits[i].num, Soft: l.Soft, Hard: l.Hard})
	}
	if f := c.Facts; !nofile && f.Nofile != 0 {
		c.plan.Add("the limit that we were started with: the Go runtime has raised it for itself", &host.Nofile{Soft: max(f.Nofile, c.descriptors())})
	}
	if adj := c.proc.OOMScoreAdj; adj != nil {
		c.plan.Add("how soon the kernel ends it when memory runs out", &host.Write{Path: "/proc/$PID/oom_score_adj", Value: strconv.Itoa(*adj)})
	}
	return nil
}

// descriptors is a bound for how many the set-up itself opens.
func (c *compiler) descriptors() uint64 {
	need := 100 // those of ours, /dev, the terminal
	for i := range c.Spec.Mounts {
		need += 4 + strings.Count(c.Spec.Mounts[i].Destination, "/")
	}
	for i := range c.linux.Devices {
		need += 4 + strings.Count(c.linux.Devices[i].Path, "/")
	}
	return uint64(need + 5*len(c.linux.MaskedPaths) + 2*len(c.linux.ReadonlyPaths) + len(c.linux.Sysctl))
}

// console gives the container its standard streams.
func (c *compiler) console() error {
	if !c.proc.Terminal {
		if c.Stdio != [3]string{} {
			c.plan.Add("the container's standard streams", &plan.Stdio{Handles: c.Stdio})
		}
		return nil
	}
	con := &plan.Console{Pts: "/dev/pts", Target: "/dev/console", UID: c.proc.User.UID, LineFeeds: c.LineFeeds}
	switch {
	case c.inside != nil:
		con.Found, con.Target = true, ""
	case !c.hasMount("/dev/pts"):
		return errors.New("compile config.json: process.terminal: no devpts is mounted at /dev/pts")
	}
	if s := c.proc.ConsoleSize; s != nil {
		con.Rows, con.Cols = uint16(s.Height), uint16(s.Width)
	}
	c.plan.Add("a terminal of the container's own, so that ours is out of its reach", con)
	return nil
}

// capSets reads process.capabilities. What we do not have we can't give: it is
// left out, unless the container is in a user namespace, where root has it all.
func (c *compiler) capSets() (bounding plan.CapSet, sets *plan.Capabilities, missing plan.CapSet) {
	have := c.Facts.Bounding & c.Facts.Caps
	if c.ns.inUser() {
		have = c.Facts.Bounding | (plan.CapSet(1)<<(c.Facts.LastCap+1) - 1)
	}
	known := plan.CapSet(1)<<(c.Facts.LastCap+1) - 1
	parse := func(names []string) (set plan.CapSet) {
		for _, n := range names {
			b, _ := plan.ParseCap(n)
			if b&known == 0 {
				c.note("process.capabilities: left out, since this kernel has none of this name: %q", n)
			}
			set |= b & known
		}
		missing |= set &^ have
		return set & have
	}
	caps := c.proc.Capabilities
	if caps == nil {
		caps = &specs.LinuxCapabilities{}
	}
	sets = &plan.Capabilities{
		Effective: parse(caps.Effective), Permitted: parse(caps.Permitted),
		Inheritable: parse(caps.Inheritable), Ambient: parse(caps.Ambient),
	}
	bounding = parse(caps.Bounding)
	// The kernel's rules: ambient is a part of both, effective of permitted.
	if not := sets.Ambient &^ (sets.Permitted & sets.Inheritable); not != 0 {
		for _, name := range not.Names() {
			c.warnings = append(c.warnings, "can't raise ambient capability "+name+": it is not both permitted and inheritable")
		}
		sets.Ambient &^= not
	}
	sets.Effective &= sets.Permitted
	return bounding, sets, missing
}

// note keeps a warning: what the specification has us leave out rather than fail.
func (c *compiler) note(format string, args ...any) {
	if c.cgroups == nil { // a further process: the container's own start has said it
		return
	}
	if n := fmt.Sprintf(format, args...); !slices.Contains(c.cgroups.Notes, n) {
		c.cgroups.Notes = append(c.cgroups.Notes, n)
	}
}

// privileges takes from the child all that set-up needed and the container must not have.
func (c *compiler) privileges() error {
	if !path.IsAbs(c.proc.Cwd) {
		return fmt.Errorf("compile config.json: process.cwd: %q is not an absolute path", c.proc.Cwd)
	}
	umask := uint32(0o022)
	if c.proc.User.Umask != nil {
		umask = *c.proc.User.Umask
	}
	c.plan.Add("the mask for new files", &plan.Umask{Mask: umask})
	c.plan.Add("no descriptor of ours gets into the container", &plan.CloseOthers{From: 3 + c.Preserve})
	if c.Await != "" {
		c.plan.Add("a command that is not there is an error of the making, not of the start", &plan.Lookup{Exec: *c.program()})
	}
	c.plan.Add("where the command starts", &plan.Chdir{Path: path.Clean("/" + c.proc.Cwd), UID: c.proc.User.UID})
	if c.inside == nil {
		if err := c.clocks(); err != nil {
			return err
		}
	}
	if err := c.traits(); err != nil {
		return err
	}
	c.labels()
	if c.proc.NoNewPrivileges {
		c.plan.Add("no setuid program gives more than there is: process.noNewPrivileges", &plan.NoNewPrivs{})
	} else if err := c.filter("system calls that no container needs; before the privilege to load it goes"); err != nil {
		return err
	}
	bounding, sets, missing := c.capSets()
	why := "capabilities that no program of the container can get back"
	if missing != 0 {
		why += fmt.Sprintf(" (left out, since this process doesn't have them: %s)", missing)
		c.note("process.capabilities: left out, since this process doesn't have them: %s", missing)
	}
	c.plan.Add(why, &plan.BoundingSet{Keep: bounding, Last: c.Facts.LastCap})
	c.plan.Append(c.late...)
	u := c.proc.User
	keep := c.fixedGroups()
	if keep { // nor can the group that it has anyhow be told again
		u.AdditionalGids = slices.DeleteFunc(slices.Clone(u.AdditionalGids), func(g uint32) bool { return g == u.GID })
	}
	if keep && len(u.AdditionalGids) > 0 {
		return errors.New("compile config.json: process.user.additionalGids: this user namespace forbids setgroups(2)")
	}
	c.plan.Add("the user of the command, in its groups and in none of ours", &plan.User{UID: u.UID, GID: u.GID, Groups: u.AdditionalGids, KeepGroups: keep})
	c.plan.Add("root's powers, in pieces: these are left", sets)
	if c.Bound {
		c.plan.Add("no container without somebody who looks after it", &plan.DieWith{})
	}
	if c.inside != nil {
		return c.seal()
	}
	return nil
}

// fixedGroups reports whether the container's user namespace forbids setgroups(2).
func (c *compiler) fixedGroups() bool {
	switch {
	case c.inside != nil:
		return c.inside.FixedGroup
	case c.ns.user != nil:
		return c.ns.user.keepGroups || c.Facts.SetgroupsOff
	case c.ns.inUser():
		return c.Facts.JoinedFixed
	}
	return c.Facts.SetgroupsOff
}

// await is the wait for the start: all is ready then, and it is known that the
// program is there.
func (c *compiler) await() error {
	if c.Await == "" {
		return nil
	}
	c.plan.Add("the container is made; it runs when it is started", &plan.Await{In: "exec.fifo", Out: "started"})
	return nil
}

// seal loads the filter, if no privilege is needed for that: as late as it can be.
func (c *compiler) seal() error {
	if !c.proc.NoNewPrivileges {
		return nil
	}
	return c.filter("system calls that no container needs; the last thing before the command")
}

// exec is the end of the plan: the container's command.
func (c *compiler) exec() error {
	e := c.program()
	for _, s := range slices.Concat(e.Env, e.Args) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("compile config.json: process: %q holds a NUL byte", s)
		}
	}
	c.plan.Add("the command becomes the process", e)
	return nil
}

// program is the command, where it is looked for, and its environment.
func (c *compiler) program() *plan.Exec {
	env := lastOfEach(c.proc.Env)
	if !hasEnv(env, "HOME") {
		home := c.Facts.Home
		if home == "" {
			home = "/"
			if c.proc.User.UID == 0 {
				home = "/root"
			}
		}
		env = append(slices.Clone(env), "HOME="+home)
	}
	return &plan.Exec{Paths: c.candidates(env), Args: c.proc.Args, Env: env, Cwd: path.Clean("/" + c.proc.Cwd)}
}

// lastOfEach leaves of variables that are given more than once the last: programs
// differ in which of two they see. A HOME without a value is none.
func lastOfEach(env []string) []string {
	last := make(map[string]int, len(env))
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		last[name] = i
	}
	i, empty := last["HOME"]
	if empty = empty && env[i] == "HOME="; len(last) == len(env) && !empty {
		return env
	}
	var all []string
	for i, e := range env {
		if name, _, _ := strings.Cut(e, "="); last[name] == i && e != "HOME=" {
			all = append(all, e)
		}
	}
	return all
}

// candidates are the paths that the program may be at.
func (c *compiler) candidates(env []string) []string {
	if c.file != "" {
		return []string{c.file}
	}
	return candidates(c.proc.Args[0], env)
}

// candidates are the paths that a command may be at, as execvp(3) looks it up.
func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	dirs := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	var paths []string
	for dir := range strings.SplitSeq(dirs, ":") {
		if !path.IsAbs(dir) {
			continue // "." in PATH: what runs would depend on where
		}
		paths = append(paths, path.Join(dir, name))
	}
	if len(paths) == 0 {
		return []string{"/" + name}
	}
	return paths
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
