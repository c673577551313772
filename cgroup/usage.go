// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Usage is all that a container's cgroups count. In JSON it is what callers of
// OCI runtimes read: runc's `events --stats` (types/events.go there), with its
// names and its rules for what is left out.
//
// What version 2 has no word for is 0, as it is there: failcnt, the flags of
// cpuset, the single CPUs. What no cgroup of the container counts is 0 as well.
type Usage struct {
	CPU     CPUUsage               `json:"cpu"`
	CPUSet  CPUSetUsage            `json:"cpuset"`
	Memory  MemoryUsage            `json:"memory"`
	Pids    PidsUsage              `json:"pids"`
	IO      IOUsage                `json:"blkio"`
	Hugetlb map[string]HugetlbPage `json:"hugetlb"` // by page size: "2MB"
}

// CPUUsage is CPU time, all in nanoseconds.
type CPUUsage struct {
	Usage      CPUTime    `json:"usage"`
	Throttling Throttling `json:"throttling"`
	PSI        *Pressure  `json:"psi,omitempty"`
}

// CPUTime is CPU time since the container's start; the single CPUs' are counted
// by version 1 only.
type CPUTime struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

// Throttling is what the quota of CPU time has done.
type Throttling struct {
	Periods          uint64 `json:"periods,omitempty"`          // in which the container ran
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"` // in which it was stopped
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`    // ns
}

// CPUSetUsage is the CPUs and memory nodes that the container may use, and
// version 1's flags for them (cpuset(7)).
type CPUSetUsage struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

// MemoryUsage is memory, in bytes. Swap is memory and swap together, in either
// version.
type MemoryUsage struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     MemoryCount       `json:"usage"`
	Swap      MemoryCount       `json:"swap"`
	Kernel    MemoryCount       `json:"kernel"`
	KernelTCP MemoryCount       `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"` // memory.stat, as it is
	PSI       *Pressure         `json:"psi,omitempty"`
}

// A MemoryCount is one kind of memory. A Limit of version 2 that is none is
// math.MaxUint64; one of version 1 is the largest number of bytes in whole
// pages.
type MemoryCount struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"` // the most that it ever was
	Failcnt uint64 `json:"failcnt"`       // how often it came to the limit
}

// PidsUsage is processes and threads. A Limit of 0 is none.
type PidsUsage struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

// IOUsage is what went to and came from disks, in the container's cgroup and
// those below it.
type IOUsage struct {
	ServiceBytes []IOEntry `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []IOEntry `json:"ioServicedRecursive,omitempty"`
	Queued       []IOEntry `json:"ioQueueRecursive,omitempty"`
	ServiceTime  []IOEntry `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime     []IOEntry `json:"ioWaitTimeRecursive,omitempty"`
	Merged       []IOEntry `json:"ioMergedRecursive,omitempty"`
	Time         []IOEntry `json:"ioTimeRecursive,omitempty"`
	Sectors      []IOEntry `json:"sectorsRecursive,omitempty"`
	PSI          *Pressure `json:"psi,omitempty"`
}

// An IOEntry is one number of a disk: Op is "Read", "Write", or another word of
// version 1's.
type IOEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// A HugetlbPage is what one size of huge pages counts, in bytes.
type HugetlbPage struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// Pressure is how long the container's processes have waited for something that
// was short (Documentation/accounting/psi.rst): Some of them, or all at once.
type Pressure struct {
	Some PressureTime `json:"some"`
	Full PressureTime `json:"full"`
}

// PressureTime is a share of the last 10, 60 and 300 seconds, in percent, and
// the sum since the start, in microseconds.
type PressureTime struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// Usage asks the container's cgroups for all they count. ErrNoController: there
// are none.
func (d Dirs) Usage() (*Usage, error) {
	c, ok := d.tracker()
	if !ok {
		return nil, ErrNoController
	}
	if !exists(c.Path) {
		return nil, fmt.Errorf("read statistics of %s: %w", c.Path, unix.ENOENT)
	}
	u := &Usage{Hugetlb: make(map[string]HugetlbPage)}
	var errs []error
	for _, c := range d {
		r := &counts{dir: c.Path, read: get}
		r.all(u, c)
		errs = append(errs, r.err)
	}
	if _, ok := d.with("pids"); !ok { // then they are counted one by one
		var s Stats
		errs = append(errs, d.statPids(&s))
		u.Pids.Current = s.Pids
	}
	return u, errors.Join(errs...)
}

// all reads what one cgroup counts.
func (r *counts) all(u *Usage, c Dir) {
	if c.V2 {
		r.v2(u, c.Controllers)
	}
	for _, name := range c.Controllers {
		for _, part := range counters {
			if part.controller == name && part.v2 == c.V2 {
				part.read(r, u)
			}
		}
	}
}

// counters are the readers of each controller's files, by its name in its
// version.
var counters = [...]struct {
	controller string
	v2         bool
	read       func(*counts, *Usage)
}{
	{"cpu", false, (*counts).throttlingV1},
	{"cpuacct", false, (*counts).cpuacct},
	{"cpuset", false, (*counts).cpusetV1},
	{"memory", false, (*counts).memoryV1},
	{"pids", false, (*counts).pids},
	{"blkio", false, (*counts).blkio},
	{"hugetlb", false, (*counts).hugetlbV1},
	{"cpuset", true, (*counts).cpusetV2},
	{"memory", true, (*counts).memoryV2},
	{"pids", true, (*counts).pids},
	{"io", true, (*counts).io},
	{"hugetlb", true, (*counts).hugetlbV2},
}
