// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// TestTraitReasons has a case for each row of traitReasons: what fails how, and
// a part of what is said then.
func TestTraitReasons(t *testing.T) {
	fifo := &plan.Scheduler{Policy: unix.SCHED_FIFO, Priority: 1}
	remount := &plan.Remount{Target: "/x", Options: []string{"size=1"}}
	offsets := &host.Write{Path: "/proc/$PID/timens_offsets"}
	cases := 0
	for _, c := range []struct {
		action plan.Action
		call   string
		err    error
		cause  string
	}{
		{fifo, "sched_setattr", unix.EPERM, traitReasons[0].cause},
		{&plan.Scheduler{Nice: -1}, "sched_setattr", unix.EACCES, traitReasons[1].cause},
		{fifo, "sched_setattr", unix.EBUSY, traitReasons[2].cause},
		{fifo, "sched_setattr", unix.EOPNOTSUPP, traitReasons[3].cause},
		{fifo, "sched_setattr", unix.EINVAL, traitReasons[4].cause},
		{&plan.IOPriority{Class: 1}, "ioprio_set", unix.EPERM, traitReasons[5].cause},
		{&plan.MemoryPolicy{Mode: "MPOL_LOCAL"}, "set_mempolicy", unix.ENOSYS, traitReasons[6].cause},
		{&plan.MemoryPolicy{Mode: "MPOL_BIND", Nodes: "9"}, "set_mempolicy", unix.EINVAL, "the machine, or the container's cpuset, has none of the nodes, or the kernel doesn't know MPOL_BIND"},
		{&plan.Affinity{CPUs: "99"}, "sched_setaffinity", unix.EINVAL, "none of the processors 99 is there, or in the cpuset of the process"},
		{&plan.Label{File: "attr/apparmor/exec", Value: "exec x"}, "write", unix.ENOENT, traitReasons[9].cause},
		{&plan.Label{File: "attr/exec", Value: "x"}, "write", unix.EINVAL, traitReasons[10].cause},
		{&plan.Label{File: "attr/exec", Value: "x"}, "write", unix.EACCES, traitReasons[11].cause},
		{offsets, "", unix.ERANGE, traitReasons[12].cause},
		{offsets, "", unix.EPERM, traitReasons[13].cause},
		{&host.Write{Path: "/sys/fs/resctrl/c/schemata"}, "", unix.EINVAL, traitReasons[14].cause},
		{&host.NetDevice{Name: "br0"}, "", unix.EINVAL, "br0 can't leave its network namespace, as bridges, tunnels and the loopback interface can't"},
		{&host.NetDevice{Name: "br0"}, "", unix.EPERM, traitReasons[16].cause},
		{&host.NetDevice{Name: "br0"}, "", unix.EEXIST, traitReasons[17].cause},
		{&host.CopyUp{Target: "/var"}, "", unix.ENOSPC, "what the root has at /var is more than the tmpfs holds"},
		{&host.MappedBind{Source: "/srv"}, "", unix.ENOENT, "there is no /srv on the host"},
		{remount, "openat2", unix.ENOENT, "the container has no /x"},
		{remount, "fspick", unix.EINVAL, "nothing is mounted on /x"},
		{remount, `"size"`, unix.EINVAL, "the file system doesn't take the option size=1 while it is in use"},
		{remount, "mount_setattr", unix.EPERM, traitReasons[len(traitReasons)-1].cause},
	} {
		f := &Fault{Step: plan.Step{Action: c.action}, Err: c.err}
		s := &scene{fault: f, pid: 7, call: callOf(c.action, c.call), host: &fakeLook{}, inUser: true}
		if c.call != "" && s.call == nil {
			t.Fatalf("%s: no call %s", c.action.Line(), c.call)
		}
		s.explain()
		if f.Cause != c.cause || f.Remedy == "" {
			t.Errorf("%s, %v: %q; want %q", c.action.Line(), c.err, f.Cause, c.cause)
		}
		cases++
	}
	if cases != len(traitReasons) {
		t.Errorf("%d cases for %d rows", cases, len(traitReasons))
	}
}
