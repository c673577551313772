// SPDX-License-Identifier: Apache-2.0

package contrast

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// limits compares what the cgroups limit.
func (c *comparison) limits() {
	for _, l := range [...]struct {
		item, flag string
		value      func(*specs.LinuxResources) string
	}{
		{"memory", "--memory", func(r *specs.LinuxResources) string { return amount(memory(r).Limit) }},
		{"memory and swap", "--memory-swap", func(r *specs.LinuxResources) string { return amount(memory(r).Swap) }},
		{"memory kept", "--memory-reservation", func(r *specs.LinuxResources) string { return amount(memory(r).Reservation) }},
		{"processors", "--cpus", quota},
		{"processor shares", "--cpu-shares", func(r *specs.LinuxResources) string {
			if r.CPU == nil || r.CPU.Shares == nil || *r.CPU.Shares == 0 {
				return "1024"
			}
			return strconv.FormatUint(*r.CPU.Shares, 10)
		}},
		{"on processors", "--cpuset-cpus", func(r *specs.LinuxResources) string {
			if r.CPU == nil || r.CPU.Cpus == "" {
				return "all"
			}
			return r.CPU.Cpus
		}},
		{"on memory nodes", "--cpuset-mems", func(r *specs.LinuxResources) string {
			if r.CPU == nil || r.CPU.Mems == "" {
				return "all"
			}
			return r.CPU.Mems
		}},
		{"processes", "--pids-limit", func(r *specs.LinuxResources) string {
			if r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit <= 0 {
				return "no limit"
			}
			return strconv.FormatInt(*r.Pids.Limit, 10)
		}},
		{"disk weight", "--blkio-weight", func(r *specs.LinuxResources) string {
			if r.BlockIO == nil || r.BlockIO.Weight == nil {
				return "usual"
			}
			return strconv.FormatUint(uint64(*r.BlockIO.Weight), 10)
		}},
		{"disk rates", "", rates},
	} {
		a, b := l.value(c.a.Spec.Linux.Resources), l.value(c.b.Spec.Linux.Resources)
		flag := ""
		switch {
		case l.flag == "":
		case b == "no limit" || b == "all" || b == "usual":
			flag = "without " + l.flag
		default:
			flag = l.flag + " " + shortUnit(b)
		}
		c.differ(l.item, a, b, flag)
	}
}

// shortUnit is an amount as the flags take it: "50m".
func shortUnit(text string) string {
	for _, unit := range [...]string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			return n + strings.ToLower(unit[:1])
		}
	}
	return text
}

func memory(r *specs.LinuxResources) *specs.LinuxMemory {
	if r.Memory == nil {
		return &specs.LinuxMemory{}
	}
	return r.Memory
}

func quota(r *specs.LinuxResources) string {
	if r.CPU == nil || r.CPU.Quota == nil || *r.CPU.Quota <= 0 {
		return "no limit"
	}
	period := uint64(100000)
	if r.CPU.Period != nil && *r.CPU.Period != 0 {
		period = *r.CPU.Period
	}
	return strconv.FormatFloat(float64(*r.CPU.Quota)/float64(period), 'g', 4, 64)
}

func rates(r *specs.LinuxResources) string {
	if r.BlockIO == nil {
		return "no limit"
	}
	var list []string
	for _, t := range [...]struct {
		name string
		list []specs.LinuxThrottleDevice
	}{
		{"read bps", r.BlockIO.ThrottleReadBpsDevice}, {"write bps", r.BlockIO.ThrottleWriteBpsDevice},
		{"read iops", r.BlockIO.ThrottleReadIOPSDevice}, {"write iops", r.BlockIO.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.list {
			list = append(list, fmt.Sprintf("%s %d:%d %d", t.name, d.Major, d.Minor, d.Rate))
		}
	}
	if list == nil {
		return "no limit"
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
