// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Merge returns what holds after a change: what the change names, and for the
// rest what is so now. Neither argument is changed; either may be nil.
//
// What stands for "not set" (see Limits) names nothing: nil, an empty text or
// list, and 0 where that is no limit. Lists are merged by what their entries are
// for (a disk, a page size, an interface); rules for devices, whose order counts,
// only as a whole. No limit of memory means no limit of swap too, unless the
// change has one: version 1 has no smaller one than that of memory.
func Merge(now, change *specs.LinuxResources) *specs.LinuxResources {
	var r specs.LinuxResources
	if now != nil {
		r = *now
	}
	if change == nil {
		return &r
	}
	r.CPU = mergeCPU(r.CPU, change.CPU)
	r.Memory = mergeMemory(r.Memory, change.Memory)
	r.BlockIO = mergeIO(r.BlockIO, change.BlockIO)
	r.Network = mergeNetwork(r.Network, change.Network)
	if change.Pids != nil && change.Pids.Limit != nil {
		r.Pids = change.Pids
	}
	r.HugepageLimits = mergeList(r.HugepageLimits, change.HugepageLimits, func(h specs.LinuxHugepageLimit) string { return h.Pagesize })
	r.Rdma = mergeMap(r.Rdma, change.Rdma)
	r.Unified = mergeMap(r.Unified, change.Unified)
	if len(change.Devices) > 0 {
		r.Devices = change.Devices
	}
	return &r
}

// set replaces a value by one that is given, and not 0.
func set[T comparable](to **T, p *T) {
	if p != nil && *p != *new(T) {
		*to = p
	}
}

// give replaces a value by one that is given; 0 is one too.
func give[T any](to **T, p *T) {
	if p != nil {
		*to = p
	}
}

// merged is a copy of now with the change; one of them may be missing.
func merged[T any](now, change *T, each func(to, c *T)) *T {
	if change == nil {
		return now
	}
	var r T
	if now != nil {
		r = *now
	}
	each(&r, change)
	return &r
}

func mergeCPU(now, change *specs.LinuxCPU) *specs.LinuxCPU {
	return merged(now, change, func(to, c *specs.LinuxCPU) {
		set(&to.Shares, c.Shares)
		set(&to.Quota, c.Quota)
		give(&to.Burst, c.Burst)
		set(&to.Period, c.Period)
		set(&to.RealtimeRuntime, c.RealtimeRuntime)
		set(&to.RealtimePeriod, c.RealtimePeriod)
		give(&to.Idle, c.Idle)
		if c.Cpus != "" {
			to.Cpus = c.Cpus
		}
		if c.Mems != "" {
			to.Mems = c.Mems
		}
	})
}

func mergeMemory(now, change *specs.LinuxMemory) *specs.LinuxMemory {
	return merged(now, change, func(to, c *specs.LinuxMemory) {
		set(&to.Limit, c.Limit)
		set(&to.Reservation, c.Reservation)
		set(&to.Swap, c.Swap)
		if value(c.Limit) == -1 && value(c.Swap) == 0 {
			to.Swap = c.Limit
		}
		give(&to.Swappiness, c.Swappiness)
		give(&to.DisableOOMKiller, c.DisableOOMKiller)
		give(&to.UseHierarchy, c.UseHierarchy)
		give(&to.CheckBeforeUpdate, c.CheckBeforeUpdate)
	})
}

func mergeIO(now, change *specs.LinuxBlockIO) *specs.LinuxBlockIO {
	disk := func(t specs.LinuxThrottleDevice) string { return device(t.LinuxBlockIODevice) }
	return merged(now, change, func(to, c *specs.LinuxBlockIO) {
		set(&to.Weight, c.Weight)
		set(&to.LeafWeight, c.LeafWeight)
		to.WeightDevice = mergeList(to.WeightDevice, c.WeightDevice, func(w specs.LinuxWeightDevice) string { return device(w.LinuxBlockIODevice) })
		to.ThrottleReadBpsDevice = mergeList(to.ThrottleReadBpsDevice, c.ThrottleReadBpsDevice, disk)
		to.ThrottleWriteBpsDevice = mergeList(to.ThrottleWriteBpsDevice, c.ThrottleWriteBpsDevice, disk)
		to.ThrottleReadIOPSDevice = mergeList(to.ThrottleReadIOPSDevice, c.ThrottleReadIOPSDevice, disk)
		to.ThrottleWriteIOPSDevice = mergeList(to.ThrottleWriteIOPSDevice, c.ThrottleWriteIOPSDevice, disk)
	})
}

func mergeNetwork(now, change *specs.LinuxNetwork) *specs.LinuxNetwork {
	return merged(now, change, func(to, c *specs.LinuxNetwork) {
		give(&to.ClassID, c.ClassID)
		to.Priorities = mergeList(to.Priorities, c.Priorities, func(p specs.LinuxInterfacePriority) string { return p.Name })
	})
}

// mergeList replaces the entries of the same key, and appends the others.
func mergeList[T any](now, change []T, key func(T) string) []T {
	if len(change) == 0 {
		return now
	}
	all := slices.DeleteFunc(slices.Clone(now), func(e T) bool {
		return slices.ContainsFunc(change, func(c T) bool { return key(c) == key(e) })
	})
	return append(all, change...)
}

func mergeMap[T any](now, change map[string]T) map[string]T {
	if len(change) == 0 {
		return now
	}
	all := make(map[string]T, len(now)+len(change))
	maps.Copy(all, now)
	maps.Copy(all, change)
	return all
}
