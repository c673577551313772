// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"math"
	"slices"
	"strings"
)

// v2 reads what every cgroup of version 2 counts, with or without controllers:
// CPU time (but version 1's cpuacct, where a machine has both, is finer) and
// pressure.
func (r *counts) v2(u *Usage, controllers []string) {
	if u.CPU.Usage.Total == 0 {
		r.cpuV2(u, slices.Contains(controllers, "cpu"))
	}
	u.CPU.PSI, u.Memory.PSI, u.IO.PSI = r.pressure("cpu.pressure"), r.pressure("memory.pressure"), r.pressure("io.pressure")
}

func (r *counts) cpuV2(u *Usage, throttled bool) {
	for key, n := range r.pairs("cpu.stat") {
		switch key {
		case "usage_usec":
			u.CPU.Usage.Total = n * 1000
		case "user_usec":
			u.CPU.Usage.User = n * 1000
		case "system_usec":
			u.CPU.Usage.Kernel = n * 1000
		}
		if !throttled {
			continue
		}
		switch key {
		case "nr_periods":
			u.CPU.Throttling.Periods = n
		case "nr_throttled":
			u.CPU.Throttling.ThrottledPeriods = n
		case "throttled_usec":
			u.CPU.Throttling.ThrottledTime = n * 1000
		}
	}
}

func (r *counts) cpusetV2(u *Usage) {
	u.CPUSet.CPUs, u.CPUSet.Mems = r.list("cpuset.cpus.effective"), r.list("cpuset.mems.effective")
}

// memoryV2 adds memory to swap, as version 1 counts; the most that the two were
// together is not known.
func (r *counts) memoryV2(u *Usage) {
	m := &u.Memory
	m.Raw = make(map[string]uint64, 64)
	for key, n := range r.pairs("memory.stat") {
		m.Raw[key] = n
	}
	m.Cache = m.Raw["file"]
	m.Usage = MemoryCount{Usage: r.number("memory.current"), Limit: r.number("memory.max"), Max: r.number("memory.peak")}
	m.Swap = MemoryCount{Usage: m.Usage.Usage + r.number("memory.swap.current"), Limit: r.number("memory.swap.max")}
	if m.Swap.Limit != math.MaxUint64 {
		if m.Swap.Limit += m.Usage.Limit; m.Swap.Limit < m.Usage.Limit {
			m.Swap.Limit = math.MaxUint64 // no limit of memory, and one of swap
		}
	}
}

// io is "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" for each disk.
func (r *counts) io(u *Usage) {
	const file = "io.stat"
	u.IO.ServiceBytes, u.IO.Serviced = nil, nil
	for line := range strings.Lines(r.text(file)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		for _, word := range f[1:] {
			key, value, _ := strings.Cut(word, "=")
			e := IOEntry{Major: r.parse(file, major), Minor: r.parse(file, minor)}
			var to *[]IOEntry
			switch key {
			case "rbytes":
				e.Op, to = "Read", &u.IO.ServiceBytes
			case "wbytes":
				e.Op, to = "Write", &u.IO.ServiceBytes
			case "rios":
				e.Op, to = "Read", &u.IO.Serviced
			case "wios":
				e.Op, to = "Write", &u.IO.Serviced
			default: // discards, and what BFQ and iocost add
				continue
			}
			e.Value = r.parse(file, value)
			*to = append(*to, e)
		}
	}
}

func (r *counts) hugetlbV2(u *Usage) {
	r.hugePages(u, ".current", func(prefix, size string) HugetlbPage {
		p := HugetlbPage{Usage: r.number(prefix + ".current")}
		for key, n := range r.pairs("hugetlb." + size + ".events") {
			if key == "max" {
				p.Failcnt = n
			}
		}
		return p
	})
}
