// SPDX-License-Identifier: Apache-2.0

// Package config reads the isolation of a running process back into a
// config.json: what a runtime would have to be told to make it again.
//
//	process.Process, Host, the engine's own config.json ──From──▶ Config
//
// From is pure: the facts are read before, by package process and ReadHost.
// What /proc doesn't show is taken from the config.json that the process's
// engine has kept (Origin), or left out and named in Config.Notes: never made
// up without a word.
package config

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/inspect"
	"vitro/inspect/process"
	"vitro/plan"
)

// A Config is a process's isolation, as a runtime is told it.
type Config struct {
	Spec *specs.Spec
	// Layers make the root, the lowest first, where no folder of the host shows
	// it: an overlay that is mounted in the container alone. What the container
	// has written is the last one.
	Layers []string
	Notes  []string // what could not be read back, and what stands in for it
}

// Host is what has to be known of the machine besides.
type Host struct {
	Mounts      []process.Mount   // of our own mount namespace
	Limits      []process.Limit   // ours: more can't be given
	OOMScoreAdj int               // ours: what a container inherits
	Fresh       map[string]string // kernel parameters as new namespaces have them
	Caps        plan.CapSet       // our bounding set
}

// writer is a Config in the making.
type writer struct {
	*Config
	p      *process.Process
	host   *Host
	origin *specs.Spec
	sealed []specs.Mount // the last of all: what is made read-only at the end
}

// From reads a process back. The origin is what its engine was told, nil if it
// isn't known.
func From(p *process.Process, host *Host, origin *specs.Spec) *Config {
	w := &writer{Config: &Config{}, p: p, host: host, origin: origin}
	w.Spec = &specs.Spec{Version: specs.Version, Process: &specs.Process{}, Root: &specs.Root{}, Linux: &specs.Linux{}}
	for _, chapter := range [...]func(*writer){
		(*writer).program, (*writer).user, (*writer).namespaces, (*writer).root, (*writer).mounts, (*writer).devices,
		(*writer).capabilities, (*writer).limits, (*writer).resources, (*writer).filter, (*writer).parameters,
	} {
		chapter(w)
	}
	for _, m := range p.Missing {
		w.note("%s", m)
	}
	return w.Config
}

func (w *writer) note(format string, args ...any) {
	w.Notes = append(w.Notes, fmt.Sprintf(format, args...))
}

func (w *writer) program() {
	p := w.Spec.Process
	p.Args, p.Env, p.Cwd = w.p.Args, w.p.Env, w.p.Cwd
	if len(p.Args) == 0 {
		p.Args = []string{w.p.Exe}
	}
	if !path.IsAbs(p.Cwd) {
		p.Cwd = "/"
	}
	p.Terminal = w.p.Terminal
	p.NoNewPrivileges = w.p.NoNewPrivs
	if w.p.OOMScoreAdj != w.host.OOMScoreAdj {
		p.OOMScoreAdj = &w.p.OOMScoreAdj
	}
	switch {
	case w.p.LabelOf == "apparmor" && w.p.Label != "unconfined":
		p.ApparmorProfile, _, _ = strings.Cut(w.p.Label, " (")
	case w.p.LabelOf == "" && strings.Count(w.p.Label, ":") >= 3:
		p.SelinuxLabel = w.p.Label
	}
}

func (w *writer) user() {
	own := w.p.NamespaceOf(inspect.User)
	in := func(ranges []inspect.Range, id uint32) uint32 {
		if own == nil || own.Shared {
			return id
		}
		if n, ok := process.Inside(ranges, id); ok {
			return n
		}
		w.note("ID %d has no number inside of the user namespace: it is left out", id)
		return 0
	}
	u := &w.Spec.Process.User
	u.UID, u.GID = in(w.p.UIDMap, w.p.UIDs[1]), in(w.p.GIDMap, w.p.GIDs[1])
	for _, g := range w.p.Groups {
		if g != w.p.GIDs[1] || g == 0 && len(w.p.Groups) > 1 {
			u.AdditionalGids = append(u.AdditionalGids, in(w.p.GIDMap, g))
		}
	}
	if w.p.Umask != 0o022 {
		u.Umask = &w.p.Umask
	}
}

// types are the names of namespaces in a config.json.
var types = [...]specs.LinuxNamespaceType{
	inspect.User: specs.UserNamespace, inspect.Mount: specs.MountNamespace, inspect.PID: specs.PIDNamespace, inspect.Network: specs.NetworkNamespace,
	inspect.IPC: specs.IPCNamespace, inspect.UTS: specs.UTSNamespace, inspect.Cgroup: specs.CgroupNamespace, inspect.Time: specs.TimeNamespace,
}

func (w *writer) namespaces() {
	l := w.Spec.Linux
	for _, n := range w.p.Namespaces {
		if n.Shared && n.Kind == inspect.Mount {
			// Without one a runtime would change the host's mounts, so it refuses.
			w.note("it shares our mount namespace, which a container can't: a copy of that stands for it")
		} else if n.Shared {
			continue
		}
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: types[n.Kind]})
		switch n.Kind {
		case inspect.User:
			l.UIDMappings, l.GIDMappings = mappings(w.p.UIDMap), mappings(w.p.GIDMap)
		case inspect.UTS:
			w.Spec.Hostname, w.Spec.Domainname = w.p.Hostname, w.p.Domainname
		case inspect.Time:
			l.TimeOffsets = make(map[string]specs.LinuxTimeOffset)
			for _, o := range w.p.Offsets {
				l.TimeOffsets[o.Clock] = specs.LinuxTimeOffset{Secs: o.Seconds, Nanosecs: uint32(o.Nanos)}
			}
		case inspect.Network:
			w.cables()
		}
	}
}

func (w *writer) cables() {
	var names []string
	for _, l := range w.p.Links {
		if l.Type != "loopback" && l.Name != "lo" {
			names = append(names, l.Name)
		}
	}
	if names != nil {
		w.note("the network has %s: a config.json has no words for how an engine plugs that in, so there is a loopback alone", strings.Join(names, ", "))
	}
}

func mappings(list []inspect.Range) (out []specs.LinuxIDMapping) {
	for _, r := range list {
		out = append(out, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Size})
	}
	return out
}

func (w *writer) capabilities() {
	c := &w.p.Capabilities
	names := func(s plan.CapSet) []string {
		list := s.Names()
		slices.Sort(list)
		return list
	}
	w.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names(c.Bounding), Effective: names(c.Effective),
		Permitted: names(c.Permitted), Inheritable: names(c.Inheritable), Ambient: names(c.Ambient)}
	if more := (c.Bounding | c.Permitted) &^ w.host.Caps; more != 0 && w.host.Caps != 0 {
		w.note("it has capabilities that we have not, and can't give: %s", more)
	}
}

func (w *writer) limits() {
	for _, l := range w.p.Limits {
		if i := slices.IndexFunc(w.host.Limits, func(o process.Limit) bool { return o.Type == l.Type }); i >= 0 && l.Hard > w.host.Limits[i].Hard {
			w.note("%s is above our own limit: ours stands for it", strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")))
			continue
		}
		w.Spec.Process.Rlimits = append(w.Spec.Process.Rlimits, specs.POSIXRlimit{Type: l.Type, Soft: l.Soft, Hard: l.Hard})
	}
}

// filter is the seccomp filter. The kernel shows how many there are, and not
// which: the engine knows.
func (w *writer) filter() {
	if w.p.Seccomp == 0 {
		return
	}
	if w.origin != nil && w.origin.Linux != nil && w.origin.Linux.Seccomp != nil {
		w.Spec.Linux.Seccomp = w.origin.Linux.Seccomp
		return
	}
	seccomp, err := defaultFilter(w.p.Capabilities.Bounding.Names())
	if err != nil {
		w.note("it has a seccomp filter, which the kernel doesn't show: there is none here: %v", err)
		return
	}
	w.Spec.Linux.Seccomp = seccomp
	w.note("it has a seccomp filter, which the kernel doesn't show, and no engine's config.json for it was found: Docker's usual one stands for it")
}

func (w *writer) parameters() {
	for _, s := range w.p.Sysctl {
		if fresh, ok := w.host.Fresh[s.Name]; ok && fresh != s.Value {
			if w.Spec.Linux.Sysctl == nil {
				w.Spec.Linux.Sysctl = make(map[string]string)
			}
			w.Spec.Linux.Sysctl[s.Name] = s.Value
		}
	}
}

func (w *writer) value(name string) (int64, bool) {
	v, ok := w.p.Value(name)
	if !ok || !v.IsSet() {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	return n, err == nil
}

// resources are the cgroups' limits, of whichever version.
func (w *writer) resources() {
	r := &specs.LinuxResources{}
	m := &specs.LinuxMemory{}
	if n, ok := w.value("memory.limit"); ok {
		m.Limit = &n
	}
	if n, ok := w.value("memory.reservation"); ok {
		m.Reservation = &n
	}
	if n, ok := w.value("memory.swap"); ok {
		if v, _ := w.p.Value("memory.swap"); v.File == "memory.swap.max" && m.Limit != nil {
			n += *m.Limit // version 2 counts swap alone
		}
		m.Swap = &n
	}
	if *m != (specs.LinuxMemory{}) {
		r.Memory = m
	}
	if n, ok := w.value("pids.limit"); ok {
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	w.processors(r)
	w.disks(r)
	w.deviceRules(r)
	w.Spec.Linux.Resources = r
}

func (w *writer) processors(r *specs.LinuxResources) {
	c := &specs.LinuxCPU{}
	if quota, ok := w.value("cpu.quota"); ok {
		period := uint64(100000)
		if v, ok := w.p.Value("cpu.period"); ok {
			period, _ = strconv.ParseUint(v.Value, 10, 64)
		}
		c.Quota, c.Period = &quota, &period
	}
	if v, ok := w.p.Value("cpu.max"); ok && v.IsSet() {
		f := strings.Fields(v.Value)
		if len(f) == 2 && f[0] != "max" {
			quota, _ := strconv.ParseInt(f[0], 10, 64)
			period, _ := strconv.ParseUint(f[1], 10, 64)
			c.Quota, c.Period = &quota, &period
		}
	}
	if n, ok := w.value("cpu.shares"); ok {
		shares := uint64(n)
		c.Shares = &shares
	}
	if n, ok := w.value("cpu.weight"); ok {
		shares := uint64(n) * 1024 / 100 // the inverse of cgroup.SharesToWeight
		c.Shares = &shares
	}
	if v, ok := w.p.Value("cpuset.cpus"); ok {
		c.Cpus = v.Value
	}
	if v, ok := w.p.Value("cpuset.mems"); ok {
		c.Mems = v.Value
	}
	if *c != (specs.LinuxCPU{}) {
		r.CPU = c
	}
}
