// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// memory writes the limit before the limit of memory and swap together: in
// version 1 the second may not be smaller than the first. Limits of kernel
// memory are passed over, as the specification allows: no kernel since 5.4
// keeps them.
func (l *limits) memory(m *specs.LinuxMemory) {
	limit, swap := value(m.Limit), value(m.Swap)
	if limit != 0 {
		l.size("memory.limit", limit, "at most %s of memory", "no limit of memory", "memory.limit_in_bytes", "memory.max")
	}
	if swap != 0 {
		l.swap(limit, swap)
	}
	if r := value(m.Reservation); r != 0 {
		l.size("memory.reservation", r, "when memory is short, the last %s are taken from it after others'",
			"all its memory is taken after others'", "memory.soft_limit_in_bytes", "memory.low")
	}
	if s := m.Swappiness; s != nil && *s != 1<<64-1 { // -1 has always stood for "not set"
		if *s > 100 {
			l.bad("memory.swappiness", utoa(*s), "the kernel takes 0 to 100")
		}
		l.add("memory.swappiness", "memory", fmt.Sprintf("swaps with an eagerness of %d out of 100", *s), file("memory.swappiness", utoa(*s)),
			refused("swappiness of a cgroup in version 2", "leave memory.swappiness out, or forbid swap by setting memory.swap to memory.limit"))
	}
	if value(m.DisableOOMKiller) {
		l.add("memory.disableOOMKiller", "memory", "without memory its processes wait, instead of being killed", file("memory.oom_control", "1"),
			refused("way to do without the OOM killer in version 2", "leave memory.disableOOMKiller out; oomScoreAdj makes it the last choice"))
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		none := refused("accounting without the cgroups below (it left the kernel with 5.11)", "leave memory.useHierarchy out")
		l.add("memory.useHierarchy", "memory", "", none, none)
	}
}

// size is a number of bytes, -1 for no limit.
func (l *limits) size(property string, n int64, why, unlimited, v1, v2 string) {
	if n < -1 {
		l.bad(property, itoa(n), "negative")
	}
	text, max := fmt.Sprintf(why, byteSize(uint64(n))), itoa(n)
	if n == -1 {
		text, max = unlimited, "max"
	}
	l.add(property, "memory", text, file(v1, itoa(n)), file(v2, max))
}

// swap limits swap. The property means memory and swap together, as version 1
// does; version 2 counts swap alone.
func (l *limits) swap(limit, swap int64) {
	const property = "memory.swap"
	v1 := file("memory.memsw.limit_in_bytes", itoa(swap))
	switch {
	case swap < -1:
		l.bad(property, itoa(swap), "negative")
	case swap == -1: // without swap accounting there is none anyway
		l.add(property, "memory", "no limit of swap", v1.optional(""), file("memory.swap.max", "max").optional(""))
	case limit == 0:
		l.bad(property, itoa(swap), "it counts memory too, and memory.limit is not set")
		l.add(property, "memory", "", v1, Form{})
	case limit == -1:
		l.add(property, "memory", fmt.Sprintf("at most %s of memory and swap", byteSize(uint64(swap))), v1, file("memory.swap.max", itoa(swap)))
	case swap < limit:
		l.bad(property, itoa(swap), "it counts memory too, and is less than memory.limit")
	case swap == limit:
		l.add(property, "memory", "no swap", v1,
			file("memory.swap.max", "0").optional("this kernel does not count swap for each cgroup, so it can't keep the container from it"))
	default:
		l.add(property, "memory", fmt.Sprintf("at most %s of swap", byteSize(uint64(swap-limit))), v1, file("memory.swap.max", itoa(swap-limit)))
	}
}

// byteSize is a number of bytes for people.
func byteSize(n uint64) string {
	units := [...]string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i, div := 0, uint64(1)
	for i < len(units)-1 && n/div >= 1024 {
		i, div = i+1, div*1024
	}
	return ratio(n, div) + " " + units[i]
}
