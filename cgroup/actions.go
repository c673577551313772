// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup/systemd"
	"vitro/host"
	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list, by its verb.
func Actions(verb string) plan.Host {
	if verb == "rmcgroup" {
		return new(Remove)
	}
	return systemd.Actions(verb)
}

// Make makes a cgroup, and its missing parents below the folder Below, which
// other containers may share. One that is there already is taken over if no
// process is in it; else it is an error (ErrInUse).
type Make struct {
	Path  string `json:"path"`
	Below string `json:"below"`
	Adopt bool   `json:"adopt,omitempty"` // one that is there is the container's, with whoever is in it
}

func (a *Make) mkdir() *host.Mkdir   { return &host.Mkdir{Path: a.Path, Mode: 0o755, Below: a.Below} }
func (a *Make) Verb() string         { return "mkcgroup" }
func (a *Make) Line() string         { return a.mkdir().Line() }
func (a *Make) Shell(s *plan.Script) { a.mkdir().Shell(s) }
func (a *Make) Undo() plan.Host      { return &Remove{Path: a.Path, Below: a.Below} }
func (a *Make) Do(e *plan.Env) error {
	err := unix.Mkdir(a.Path, 0o755)
	if err == unix.ENOENT {
		// The plan found Below there. If it has gone, with the container that made
		// it, then so has what the plan found enabled in it.
		stale := path.Dir(a.Path) == a.Below || unix.Access(a.Below, unix.F_OK) == unix.ENOENT
		if err = a.mkdir().Do(e); err == nil && stale {
			err = regrant(a.Below)
		}
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if a.Adopt {
		return nil
	}
	procs, err := get(a.Path, "cgroup.procs")
	if err == nil && procs != "" {
		err = fmt.Errorf("make cgroup %s: %w by process %s", a.Path, ErrInUse, strings.Fields(procs)[0])
	}
	return err
}

// regrant has a cgroup of version 2 hand on the controllers that it gets.
func regrant(dir string) error {
	names, err := get(path.Dir(dir), "cgroup.subtree_control")
	if err != nil || strings.TrimSpace(names) == "" {
		return nil // version 1, or nothing to hand on
	}
	return put(dir, "cgroup.subtree_control", "+"+strings.Join(strings.Fields(names), " +"))
}

// Remove removes a cgroup with those that the container has made below it, and
// then its empty parents below the folder Below. It ends no process: if there
// are any, the cgroup is busy, and after two seconds that is an error that names one.
type Remove struct {
	Path  string `json:"path"`
	Below string `json:"below"`
}

func (a *Remove) rmdir() *host.Rmdir { return &host.Rmdir{Path: a.Path, Below: a.Below} }
func (a *Remove) Verb() string       { return "rmcgroup" }
func (a *Remove) Line() string       { return "rmdir " + a.Path + " and the cgroups below" }
func (a *Remove) Shell(s *plan.Script) {
	s.Run("find %s -depth -type d -exec rmdir {} +", plan.Quote(a.Path))
}
func (a *Remove) Undo() plan.Host { return nil }
func (a *Remove) Texts() []plan.Text {
	return []plan.Text{{Name: "path", Value: &a.Path}, {Name: "below", Value: &a.Below}}
}
func (a *Remove) Do(e *plan.Env) error {
	// most have none, and then this is the only call
	if err := unix.Rmdir(a.Path); err != nil && err != unix.ENOENT {
		for _, dir := range below(a.Path) {
			if err := (&host.Rmdir{Path: dir}).Do(e); err != nil {
				return busy(dir, err)
			}
		}
	}
	return a.rmdir().Do(e)
}

// busy says who keeps a cgroup from being removed, if it is a process.
func busy(dir string, err error) error {
	pids, _ := procs(dir)
	if err != unix.EBUSY || len(pids) == 0 {
		return err
	}
	name, _ := readFile("/proc/" + strconv.Itoa(pids[0]) + "/comm")
	err = fmt.Errorf("%w: process %d (%s) is in %s", err, pids[0], strings.TrimSpace(name), dir)
	if n := len(pids) - 1; n > 0 {
		err = fmt.Errorf("%w, and %d more", err, n)
	}
	return err
}

// Enter moves the container's first process into a cgroup. The child moves
// itself where it can: see plan.JoinCgroup.
type Enter struct {
	Path string `json:"path"`
}

func (a *Enter) Verb() string         { return "enter" }
func (a *Enter) Line() string         { return "write the child's PID to " + a.Path + "/cgroup.procs" }
func (a *Enter) Undo() plan.Host      { return nil }
func (a *Enter) Shell(s *plan.Script) { s.Run(`echo "$PID" >%s`, plan.Quote(a.Path+"/cgroup.procs")) }
func (a *Enter) Do(e *plan.Env) error { return put(a.Path, "cgroup.procs", strconv.Itoa(e.Pid)) }

// Inherit gives a new cpuset, and those of its parents that were made along
// with it, the CPUs and memory nodes of the cgroup above. Those that have some
// keep them.
type Inherit struct {
	Path  string `json:"path"`
	Mount string `json:"mount"`
}

func (a *Inherit) Verb() string    { return "inherit" }
func (a *Inherit) Line() string    { return "copy cpuset.cpus and cpuset.mems from above to " + a.Path }
func (a *Inherit) Undo() plan.Host { return nil }
func (a *Inherit) Shell(s *plan.Script) {
	for _, dir := range a.dirs() {
		for _, f := range cpusetFiles {
			s.Run("[ -n \"$(cat %s)\" ] || cat %s >%s", plan.Quote(dir+"/"+f), plan.Quote(path.Dir(dir)+"/"+f), plan.Quote(dir+"/"+f))
		}
	}
}

var cpusetFiles = [...]string{"cpuset.cpus", "cpuset.mems"}

// dirs are the cgroups from below the mount to the new one.
func (a *Inherit) dirs() []string {
	var dirs []string
	for dir := a.Path; len(dir) > len(a.Mount); dir = path.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	return dirs
}

// Do goes up to the nearest cgroup that has CPUs, and from there down.
func (a *Inherit) Do(*plan.Env) error {
	for _, dir := range a.dirs() {
		for _, f := range cpusetFiles {
			have, err := get(dir, f)
			if err != nil {
				return err
			}
			if strings.TrimSpace(have) != "" {
				continue
			}
			from, err := get(path.Dir(dir), f)
			if err == nil {
				err = put(dir, f, strings.TrimSpace(from))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leaf is the cgroup that processes move to, away from the one that shares out
// controllers.
const leaf = "init"

// Evacuate moves every process of a cgroup into one below it, so that it may
// enable controllers ("no internal processes"). It is not taken back: the next
// container needs it as well.
type Evacuate struct {
	Path string `json:"path"`
	Leaf string `json:"leaf"`
}

func (a *Evacuate) Verb() string { return "evacuate" }
func (a *Evacuate) Line() string {
	return "move all processes of " + a.Path + " to " + a.Leaf + " below it"
}
func (a *Evacuate) Undo() plan.Host { return nil }
func (a *Evacuate) Shell(s *plan.Script) {
	dir := plan.Quote(a.Path + "/" + a.Leaf)
	s.Run("mkdir -p %s", dir)
	s.Run("for p in $(cat %s); do echo $p >%s/cgroup.procs; done", plan.Quote(a.Path+"/cgroup.procs"), dir)
}

// Do repeats until none is left: processes fork while they are moved.
func (a *Evacuate) Do(*plan.Env) error {
	to := a.Path + "/" + a.Leaf
	if err := unix.Mkdir(to, 0o755); err != nil && err != unix.EEXIST {
		return fmt.Errorf("mkdir %s: %w", to, err)
	}
	for range 100 {
		procs, err := get(a.Path, "cgroup.procs")
		if err != nil {
			return err
		}
		if procs == "" {
			return nil
		}
		for pid := range strings.FieldsSeq(procs) {
			// ESRCH: it has ended in the meantime
			if err := put(to, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return &InternalProcesses{Path: a.Path}
}
