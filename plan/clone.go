// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace kinds as clone(2) flags, with the words of /proc/PID/ns, unshare(1)
// and nsenter(1).
var namespaces = [...]struct {
	Flag           uint64
	Name, Kernel   string // /proc/PID/ns, CLONE_*
	Unshare, Enter string
}{
	{unix.CLONE_NEWUSER, "user", "CLONE_NEWUSER", "--user --keep-caps", "--user"},
	{unix.CLONE_NEWPID, "pid", "CLONE_NEWPID", "--pid", "--pid"},
	{unix.CLONE_NEWNS, "mnt", "CLONE_NEWNS", "--mount --propagation unchanged", "--mount"},
	{unix.CLONE_NEWNET, "net", "CLONE_NEWNET", "--net", "--net"},
	{unix.CLONE_NEWIPC, "ipc", "CLONE_NEWIPC", "--ipc", "--ipc"},
	{unix.CLONE_NEWUTS, "uts", "CLONE_NEWUTS", "--uts", "--uts"},
	{unix.CLONE_NEWCGROUP, "cgroup", "CLONE_NEWCGROUP", "--cgroup", "--cgroup"},
	{unix.CLONE_NEWTIME, "time", "CLONE_NEWTIME", "--time", "--time"},
}

// NamespaceFlag is the clone(2) flag of a kind of namespace, by its name in
// /proc/PID/ns; 0 if there is no such kind.
func NamespaceFlag(name string) uint64 {
	for _, n := range namespaces {
		if n.Name == name {
			return n.Flag
		}
	}
	return 0
}

func cloneFlags(flags uint64) string {
	var words []string
	for _, n := range namespaces {
		if flags&n.Flag != 0 {
			words = append(words, n.Kernel)
		}
	}
	return strings.Join(words, "|")
}

func unshareCommand(flags uint64) string {
	cmd := "unshare"
	for _, n := range namespaces {
		if flags&n.Flag != 0 {
			cmd += " " + n.Unshare
		}
	}
	return cmd
}

// Join is an existing namespace to enter.
type Join struct {
	Kind   string `json:"kind"` // as in /proc/PID/ns: "net"
	Handle string `json:"handle"`
	Path   string `json:"path"`
}

// Enter is a process whose namespaces are to be entered: setns(2) on its pidfd.
type Enter struct {
	Flags uint64 `json:"flags"` // CLONE_NEW*: which of them
	Pidfd string `json:"pidfd"` // handle
	PID   int    `json:"pid"`   // for people
}

// Joins reports whether namespaces are entered that are there already: then a
// process is born in between (see Clone).
func (a *Clone) Joins() bool { return len(a.Join) > 0 || a.Enter != nil }

// JoinsUser reports whether one of them is a user namespace.
func (a *Clone) JoinsUser() bool {
	for _, j := range a.Join {
		if j.Kind == "user" {
			return true
		}
	}
	return a.Enter != nil && a.Enter.Flags&unix.CLONE_NEWUSER != 0
}

// Clone gives birth to the child: clone3(2) with new namespaces. If there are
// namespaces to join, the process that is born first enters those with
// setns(2), gives birth to the child beside itself (CLONE_PARENT), and ends:
// the pid namespace that a process enters is its children's only.
type Clone struct {
	Flags uint64 `json:"flags"` // CLONE_NEW*
	Join  []Join `json:"join,omitempty"`
	// Enter has the child enter another process's namespaces, all in one call.
	Enter *Enter `json:"enter,omitempty"`
	// Into is the handle of the cgroup (version 2) that the child is born in.
	Into string `json:"into,omitempty"`
}

func (a *Clone) Verb() string { return "clone" }
func (a *Clone) Line() string {
	var words []string
	for _, j := range a.Join {
		words = append(words, "setns "+j.Path)
	}
	if a.Enter != nil {
		words = append(words, fmt.Sprintf("setns [pidfd of %d] %s", a.Enter.PID, cloneFlags(a.Enter.Flags)))
	}
	call := strings.TrimSuffix("clone3 "+cloneFlags(a.Flags), " ")
	if a.Into != "" {
		call += " into " + a.Into
	}
	return strings.Join(append(words, call), ", ")
}

func (a *Clone) Shell(s *Script) {
	if dir := s.handles[a.Into]; dir != "" { // a shell can't be born in a cgroup
		s.Born(`echo "$PID" >%s`, Quote(dir+"/cgroup.procs"))
	}
	cmd := ""
	for _, j := range a.Join {
		for _, n := range namespaces {
			if n.Name == j.Kind {
				cmd += " " + n.Enter + "=" + Quote(j.Path)
			}
		}
	}
	if a.Enter != nil {
		cmd = fmt.Sprintf(" --target %d", a.Enter.PID)
		for _, n := range namespaces {
			if a.Enter.Flags&n.Flag != 0 {
				cmd += " " + n.Enter
			}
		}
	}
	if cmd != "" {
		cmd = "nsenter --no-fork --preserve-credentials" + cmd + " -- "
	}
	s.Clone(cmd + unshareCommand(a.Flags) + " --fork --kill-child")
}

// Unshare moves the child into further new namespaces: the cgroup namespace,
// whose root is the cgroup that the process is in at this moment.
type Unshare struct {
	Flags uint64 `json:"flags"`
}

func (a *Unshare) Verb() string    { return "unshare" }
func (a *Unshare) Line() string    { return "unshare " + cloneFlags(a.Flags) }
func (a *Unshare) Shell(s *Script) { s.Reexec(unshareCommand(a.Flags)) }
func (a *Unshare) Lower(asm *Asm) {
	asm.Do(SysUnshare, Namespaces.As(a.Flags))
}

// JoinCgroup moves the child, by itself, into a cgroup of version 1.
//
// Writing 0 to the file "tasks" moves the writing thread, which is the whole
// child: it has no other. That spares the kernel's lock on all forks of the
// machine, whose price is an RCU grace period (cgroup_procs_write_start in
// kernel/cgroup/cgroup.c), milliseconds for each controller.
type JoinCgroup struct {
	Handle string `json:"handle"` // the open file
	Path   string `json:"path"`   // its path, for people
}

func (a *JoinCgroup) Verb() string    { return "cgroup" }
func (a *JoinCgroup) Line() string    { return "write 0 to " + a.Path }
func (a *JoinCgroup) Shell(s *Script) { s.Run("echo 0 >%s", Quote(a.Path)) }
func (a *JoinCgroup) Lower(asm *Asm) {
	asm.Do(SysWrite, asm.Use(a.Handle), Str("0"), Int(1))
}
