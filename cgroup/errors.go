// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Setup. What a caller shows as a hint is the method Hint of the
// typed ones.
var (
	// ErrNone: no cgroups are mounted.
	ErrNone = errors.New("no cgroup file system is mounted")
	// ErrOutside: this process's own cgroup is not below its cgroup namespace's root.
	ErrOutside = errors.New("the own cgroup is outside of the cgroup namespace")
	// ErrFrozen: the cgroup is there already, and frozen: nothing would run in it.
	ErrFrozen = errors.New("container's cgroup unexpectedly frozen")
	// ErrInUse: the cgroup is there already, with processes in it.
	ErrInUse = errors.New("container's cgroup is not empty")
)

// Invalid is a value that no machine would take.
type Invalid struct {
	Property string // below linux.resources: "cpu.period"
	Value    string // as given
	Cause    string
}

func (e *Invalid) Error() string {
	return fmt.Sprintf("set %s to %q: %s", e.Property, e.Value, e.Cause)
}

// Unsupported is a limit that this machine can't keep.
type Unsupported struct {
	Property string // below linux.resources: "memory.swap"
	Missing  string // what the machine lacks: "swap accounting"
	Remedy   string // what to do, a sentence without a full stop; may be empty
}

func (e *Unsupported) Error() string {
	if strings.HasPrefix(e.Property, "unified.") { // the words are runc's
		return fmt.Sprintf("set %s: invalid configuration: no %s", e.Property, e.Missing)
	}
	return fmt.Sprintf("set %s: no %s", e.Property, e.Missing)
}

// Hint is what to do about it.
func (e *Unsupported) Hint() string { return e.Remedy }

// NotDelegated: this user may not make, or not control, cgroups where the
// container's would have to be.
type NotDelegated struct {
	Path        string   // the folder or file that can't be written to
	Controllers []string // those that the limits need
	UID         int
	V2, Systemd bool
}

func (e *NotDelegated) Error() string {
	what := "limits"
	if len(e.Controllers) > 0 {
		what = strings.Join(e.Controllers, ", ")
	}
	rule := ""
	if e.UID != 0 { // the words are runc's
		rule = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: "
	}
	return fmt.Sprintf("control %s by cgroup: %s%s is not writable for uid %d", what, rule, e.Path, e.UID)
}

// Hint is what to do about it.
func (e *NotDelegated) Hint() string {
	switch {
	case e.UID == 0:
		return "mount the cgroup file system read-write, as `--privileged` does for a container"
	case !e.V2:
		return "cgroups of version 1 can't be delegated to users safely: run as root, boot with systemd.unified_cgroup_hierarchy=1, or leave the limits out"
	case e.Systemd:
		return "run it as `systemd-run --user --scope -p Delegate=yes ...`, or over a login that `loginctl enable-linger` keeps; " +
			"cpu, cpuset and io need Delegate=yes for user@.service (`systemctl edit user@.service`)"
	}
	return "give the user a cgroup: as root, mkdir one, chown it and the files in /sys/kernel/cgroup/delegate, and start the program in it"
}

// InternalProcesses: a cgroup of version 2 that holds processes can't give its
// controllers to cgroups below it (the "no internal processes" rule).
type InternalProcesses struct {
	Path string
	// Foreign: some of them can't be seen from this PID namespace, so they
	// can't be moved either.
	Foreign bool
}

func (e *InternalProcesses) Error() string {
	if e.Foreign {
		return fmt.Sprintf("enable controllers below %s: it holds processes of another PID namespace", e.Path)
	}
	return fmt.Sprintf("enable controllers below %s: it holds processes itself", e.Path)
}

// Hint is what to do about it.
func (e *InternalProcesses) Hint() string {
	return "choose a cgroup path whose parent holds no processes, or move them into a cgroup below it"
}

// Threaded: the parent cgroup is in threaded mode, where no process can be
// born into a cgroup.
type Threaded struct{ Path, Type string }

func (e *Threaded) Error() string {
	return fmt.Sprintf("make a cgroup in %s: its type is %q", e.Path, e.Type)
}

// Hint is what to do about it.
func (e *Threaded) Hint() string { return "choose a cgroup path outside of the threaded cgroups" }
