// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Limit is one property of config.json's linux.resources, checked, in the
// spelling of both versions.
type Limit struct {
	Property   string // below linux.resources: "memory.limit"
	Controller string // by its name in version 2, where it has one
	Why        string // for people: "at most 10 MiB of memory"
	V1, V2     Form
}

// A Form is how one version takes a limit: what to write. Where files have
// changed their names, there are alternatives: the first that exists is used.
type Form struct {
	Entries []Entry
	// Optional: where no file is there, nothing is lost that the limit
	// promises; Note says what a person should know then.
	Optional bool
	Note     string
	// Refused is set where the version has no such thing.
	Refused string
	Remedy  string
}

// An Entry is a value for a file.
type Entry struct{ File, Value string }

func file(name, value string) Form { return Form{Entries: []Entry{{name, value}}} }

// or adds an alternative.
func (f Form) or(name, value string) Form {
	f.Entries = append(f.Entries, Entry{name, value})
	return f
}

func (f Form) optional(note string) Form { f.Optional, f.Note = true, note; return f }

func refused(missing, remedy string) Form { return Form{Refused: missing, Remedy: remedy} }

// limits collects the rows and the first error.
type limits struct {
	rows []Limit
	err  error
}

func (l *limits) add(property, controller, why string, v1, v2 Form) {
	l.rows = append(l.rows, Limit{property, controller, why, v1, v2})
}

func (l *limits) bad(property, value, cause string) {
	if l.err == nil {
		l.err = &Invalid{property, value, cause}
	}
}

// Limits turns config.json's resources into limits, in the order in which they
// are to be written. A value that no kernel takes is an *Invalid error. Device
// rules are not among them: see Devices.
//
// Zero stands for "not set" where it does for runc: cpu.shares, quota, period,
// the realtime pair, and memory's sizes. -1 stands for "no limit".
func Limits(r *specs.LinuxResources) ([]Limit, error) {
	l := read(r)
	if l.err != nil {
		return nil, l.err
	}
	return l.rows, nil
}

// read is Limits with the rows that are good even if others are not.
func read(r *specs.LinuxResources) *limits {
	l := new(limits)
	if r == nil {
		return l
	}
	if r.CPU != nil {
		l.cpu(r.CPU)
		l.cpuset(r.CPU)
	}
	if r.Memory != nil {
		l.memory(r.Memory)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		l.pids(*r.Pids.Limit)
	}
	if r.BlockIO != nil {
		l.blockIO(r.BlockIO)
	}
	for _, h := range r.HugepageLimits {
		l.hugetlb(h)
	}
	if r.Network != nil {
		l.network(r.Network)
	}
	l.rdma(r.Rdma)
	l.unified(r.Unified)
	return l
}

// lack says what a kernel lacks that doesn't have a file, and what would help.
// The first row whose prefix fits is used.
func lack(file string) (missing, remedy string) {
	for _, r := range [...]struct{ prefix, missing, remedy string }{
		{"memory.memsw.", "swap accounting", "boot with swapaccount=1, or leave the limit of swap out"},
		{"memory.swap.", "swap accounting", "boot with swapaccount=1, or leave the limit of swap out"},
		{"memory.", "", "boot with cgroup_enable=memory"},
		{"blkio.leaf_weight", "CFQ disk scheduler (it left the kernel with 5.0)", "use weight and weightDevice instead"},
		{"blkio.", "BFQ disk scheduler", "modprobe bfq, and choose it in /sys/block/*/queue/scheduler"},
		{"io.bfq", "BFQ disk scheduler", "modprobe bfq, and choose it in /sys/block/*/queue/scheduler"},
		{"io.weight", "weights for disks", "modprobe bfq, or a kernel with CONFIG_BLK_CGROUP_IOCOST"},
		{"io.max", "limits for disks", "a kernel with CONFIG_BLK_DEV_THROTTLING"},
		{"cpu.cfs_burst", "bursts of CPU time", "Linux 5.14 or newer"},
		{"cpu.max.burst", "bursts of CPU time", "Linux 5.14 or newer"},
		{"cpu.idle", "idle cgroups", "Linux 5.15 or newer"},
		{"cpu.rt_", "realtime limits", "a kernel with CONFIG_RT_GROUP_SCHED"},
		{"cpu.cfs_", "quotas of CPU time", "a kernel with CONFIG_CFS_BANDWIDTH"},
		{"cpu.max", "quotas of CPU time", "a kernel with CONFIG_CFS_BANDWIDTH"},
		{"hugetlb.", "huge pages of that size", "choose a size of /sys/kernel/mm/hugepages"},
	} {
		if strings.HasPrefix(file, r.prefix) && r.missing != "" {
			return r.missing + " (" + file + ")", r.remedy
		}
	}
	return "file " + file + " in this kernel", ""
}

// without says how to get a controller that no hierarchy has.
func without(controller string) (missing, remedy string) {
	switch controller {
	case "memory":
		remedy = "boot with cgroup_enable=memory"
	case "cpu":
		remedy = "a kernel with CONFIG_CGROUP_SCHED, and no realtime process outside of the root cgroup"
	case "io":
		remedy = "a kernel with CONFIG_BLK_CGROUP"
	case "net_cls", "net_prio":
		remedy = "modprobe cls_cgroup netprio_cgroup, and mount it: cgroups of version 1 only"
	default:
		remedy = "a kernel with the controller, mounted or not disabled by cgroup_disable="
	}
	return controller + " controller", remedy
}
