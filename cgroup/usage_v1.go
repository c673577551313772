// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strconv"
	"strings"
)

// tick is what cpuacct.stat counts in: USER_HZ is 100 on all of our
// architectures (time(7)).
const tick = 1_000_000_000 / 100

func (r *counts) throttlingV1(u *Usage) {
	for key, n := range r.pairs("cpu.stat") {
		switch key {
		case "nr_periods":
			u.CPU.Throttling.Periods = n
		case "nr_throttled":
			u.CPU.Throttling.ThrottledPeriods = n
		case "throttled_time":
			u.CPU.Throttling.ThrottledTime = n
		}
	}
}

func (r *counts) cpuacct(u *Usage) {
	t := &u.CPU.Usage
	t.Total = r.number("cpuacct.usage")
	for key, n := range r.pairs("cpuacct.stat") {
		switch key {
		case "user":
			t.User = n * tick
		case "system":
			t.Kernel = n * tick
		}
	}
	t.Percpu, t.PercpuKernel, t.PercpuUser = nil, nil, nil
	for n := range strings.FieldsSeq(r.text("cpuacct.usage_percpu")) {
		t.Percpu = append(t.Percpu, r.parse("cpuacct.usage_percpu", n))
	}
	const all = "cpuacct.usage_all" // "cpu user system", then a line each
	for line := range strings.Lines(r.text(all)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] != "cpu" {
			t.PercpuUser = append(t.PercpuUser, r.parse(all, f[1]))
			t.PercpuKernel = append(t.PercpuKernel, r.parse(all, f[2]))
		}
	}
}

func (r *counts) cpusetV1(u *Usage) {
	c := &u.CPUSet
	c.CPUs, c.Mems = r.list("cpuset.cpus"), r.list("cpuset.mems")
	for _, f := range [...]struct {
		file string
		to   *uint64
	}{
		{"cpuset.cpu_exclusive", &c.CPUExclusive},
		{"cpuset.mem_hardwall", &c.MemHardwall},
		{"cpuset.mem_exclusive", &c.MemExclusive},
		{"cpuset.memory_migrate", &c.MemoryMigrate},
		{"cpuset.memory_spread_page", &c.MemorySpreadPage},
		{"cpuset.memory_spread_slab", &c.MemorySpreadSlab},
		{"cpuset.memory_pressure", &c.MemoryPressure},
		{"cpuset.sched_load_balance", &c.SchedLoadBalance},
	} {
		*f.to = r.number(f.file)
	}
	// -1 is its usual value, and stands for "as the machine has it"
	c.SchedRelaxDomainLevel, _ = strconv.ParseInt(strings.TrimSpace(r.text("cpuset.sched_relax_domain_level")), 10, 64)
}

func (r *counts) memoryV1(u *Usage) {
	m := &u.Memory
	m.Raw = make(map[string]uint64, 48)
	for key, n := range r.pairs("memory.stat") {
		m.Raw[key] = n
	}
	m.Cache = m.Raw["cache"]
	for _, k := range [...]struct {
		name string
		to   *MemoryCount
	}{{"memory", &m.Usage}, {"memory.memsw", &m.Swap}, {"memory.kmem", &m.Kernel}, {"memory.kmem.tcp", &m.KernelTCP}} {
		*k.to = MemoryCount{
			Usage:   r.number(k.name + ".usage_in_bytes"),
			Max:     r.number(k.name + ".max_usage_in_bytes"),
			Failcnt: r.number(k.name + ".failcnt"),
			Limit:   r.number(k.name + ".limit_in_bytes"),
		}
	}
}

// blkio takes each number from the first file that has any: that of BFQ, that of
// CFQ (before Linux 5.0), those of the throttle, which counts always.
func (r *counts) blkio(u *Usage) {
	for _, k := range [...]struct {
		name     string
		throttle bool
		to       *[]IOEntry
	}{
		{"io_service_bytes", true, &u.IO.ServiceBytes},
		{"io_serviced", true, &u.IO.Serviced},
		{"io_queued", false, &u.IO.Queued},
		{"io_service_time", false, &u.IO.ServiceTime},
		{"io_wait_time", false, &u.IO.WaitTime},
		{"io_merged", false, &u.IO.Merged},
		{"time", false, &u.IO.Time},
		{"sectors", false, &u.IO.Sectors},
	} {
		files := []string{"blkio.bfq." + k.name + "_recursive", "blkio." + k.name + "_recursive"}
		if k.throttle {
			files = append(files, "blkio.throttle."+k.name+"_recursive", "blkio.throttle."+k.name)
		}
		*k.to = nil
		for _, file := range files {
			if *k.to = r.entries(file); *k.to != nil {
				break
			}
		}
	}
}

// entries reads lines "8:0 Read 4096", or "8:0 4096". The sum of all disks,
// "Total 4096", is left out.
func (r *counts) entries(file string) (all []IOEntry) {
	for line := range strings.Lines(r.text(file)) {
		f := strings.Fields(line)
		if len(f) < 2 || len(f) > 3 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		e := IOEntry{Major: r.parse(file, major), Minor: r.parse(file, minor), Value: r.parse(file, f[len(f)-1])}
		if len(f) == 3 {
			e.Op = f[1]
		}
		all = append(all, e)
	}
	return all
}

func (r *counts) hugetlbV1(u *Usage) {
	r.hugePages(u, ".usage_in_bytes", func(prefix, _ string) HugetlbPage {
		return HugetlbPage{r.number(prefix + ".usage_in_bytes"), r.number(prefix + ".max_usage_in_bytes"), r.number(prefix + ".failcnt")}
	})
}
