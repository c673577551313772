// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kernel's bounds (kernel/sched/core.c, kernel/sched/sched.h).
const (
	minShares, maxShares = 2, 1 << 18
	minPeriod, maxPeriod = 1000, 1_000_000 // µs
	minQuota             = 1000            // µs
	defaultPeriod        = 100_000         // µs
)

func (l *limits) cpu(c *specs.LinuxCPU) {
	if s := value(c.Shares); s != 0 {
		v1 := file("cpu.shares", utoa(s))
		if s < minShares || s > maxShares { // the kernel would clamp it without a word
			v1 = refused(fmt.Sprintf("%d shares: the kernel takes %d to %d", s, minShares, maxShares), "choose a number in between")
		}
		l.add("cpu.shares", "cpu", fmt.Sprintf("when CPUs are short, gets %s times what a cgroup gets by default", ratio(s, 1024)),
			v1, file("cpu.weight", utoa(SharesToWeight(s))))
	}
	if c.Idle != nil { // after the shares: an idle cgroup takes none
		if *c.Idle != 0 && *c.Idle != 1 {
			l.bad("cpu.idle", itoa(*c.Idle), "neither 0 nor 1")
		}
		why := "an ordinary share of the CPUs, not an idle one"
		if *c.Idle == 1 {
			why = "runs only when nobody else wants a CPU"
		}
		l.add("cpu.idle", "cpu", why, file("cpu.idle", itoa(*c.Idle)), file("cpu.idle", itoa(*c.Idle)))
	}
	l.bandwidth(c)
	l.realtime(c)
}

// bandwidth is the quota for each period. The burst comes last: it may not be
// larger than the quota.
func (l *limits) bandwidth(c *specs.LinuxCPU) {
	quota, period := value(c.Quota), value(c.Period)
	if period != 0 && (period < minPeriod || period > maxPeriod) {
		l.bad("cpu.period", utoa(period), "the kernel takes 1000 to 1000000 µs")
	}
	if quota > 0 && quota < minQuota {
		l.bad("cpu.quota", itoa(quota), "the kernel takes 1000 µs and more")
	}
	max := "max"
	if quota > 0 {
		max = itoa(quota)
	}
	per := period
	if per == 0 {
		per = defaultPeriod
	}
	why := "as much CPU time as there is"
	if quota > 0 {
		why = "at most " + cpus(quota, per)
	}
	inMax := file("cpu.max", max+" "+utoa(per))
	if period != 0 {
		v2 := inMax
		if quota != 0 {
			v2 = Form{} // the quota's line has it
		}
		l.add("cpu.period", "cpu", fmt.Sprintf("the quota of CPU time is renewed every %s ms", ratio(period, 1000)),
			file("cpu.cfs_period_us", utoa(period)), v2)
	}
	if quota != 0 {
		q := quota
		if q < 0 {
			q = -1
		}
		l.add("cpu.quota", "cpu", why, file("cpu.cfs_quota_us", itoa(q)), inMax)
	}
	if c.Burst != nil {
		if *c.Burst > 0 && quota > 0 && *c.Burst > uint64(quota) {
			l.bad("cpu.burst", utoa(*c.Burst), "larger than the quota")
		}
		l.add("cpu.burst", "cpu", fmt.Sprintf("may use %s ms more at once of CPU time that it has saved up", ratio(*c.Burst, 1000)),
			file("cpu.cfs_burst_us", utoa(*c.Burst)), file("cpu.max.burst", utoa(*c.Burst)))
	}
}

func (l *limits) realtime(c *specs.LinuxCPU) {
	none := refused("realtime limits in cgroups of version 2", "leave realtimeRuntime and realtimePeriod out; RLIMIT_RTTIME limits a process")
	if p := value(c.RealtimePeriod); p != 0 {
		l.add("cpu.realtimePeriod", "cpu", fmt.Sprintf("realtime CPU time is counted every %s ms", ratio(p, 1000)),
			file("cpu.rt_period_us", utoa(p)), none)
	}
	if r := value(c.RealtimeRuntime); r != 0 {
		l.add("cpu.realtimeRuntime", "cpu", fmt.Sprintf("at most %s ms of each period with realtime priority", ratio(uint64(r), 1000)),
			file("cpu.rt_runtime_us", itoa(r)), none)
	}
}

func (l *limits) cpuset(c *specs.LinuxCPU) {
	for _, s := range [...]struct{ property, file, value, what string }{
		{"cpu.cpus", "cpuset.cpus", c.Cpus, "CPUs"},
		{"cpu.mems", "cpuset.mems", c.Mems, "memory nodes"},
	} {
		if s.value == "" {
			continue
		}
		if !isList(s.value) {
			l.bad(s.property, s.value, "not a list such as 0-3,7")
		}
		l.add(s.property, "cpuset", fmt.Sprintf("runs on the %s %s only", s.what, s.value), file(s.file, s.value), file(s.file, s.value))
	}
}

// isList reports whether s is a list of numbers and ranges: "0-3,7" (cpuset(7),
// List Format).
func isList(s string) bool {
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return false
		}
		if isRange {
			stride := ""
			to, stride, _ = strings.Cut(to, ":")
			b, err := strconv.ParseUint(to, 10, 16)
			if err != nil || b < a || strings.Trim(stride, "0123456789/") != "" {
				return false
			}
		}
	}
	return true
}

// SharesToWeight converts version 1's CPU shares (by default 1024) to version
// 2's weight (by default 100, from 1 to 10000) by a straight line: what counts is
// how two containers' shares relate, and 2048, 512 and 80 are to be 77, 19 and 3
// percent on either version.
//
// runc and crun have had a curve since 2025, through the least, the default and
// the most of both scales (https://github.com/opencontainers/cgroups/pull/20);
// there 4 to 1 becomes 3 to 1. The price of the line is at its ends: less than 11
// shares, and more than 102400, are all the same. 0, not set, stays 0.
func SharesToWeight(shares uint64) uint64 {
	if shares == 0 {
		return 0
	}
	return min(max((shares*100+512)/1024, 1), 10000)
}

// cpus says how much CPU time a quota is, as a person would.
func cpus(quota int64, period uint64) string {
	switch n := float64(quota) / float64(period); {
	case n == 0.5:
		return "half of one CPU's time"
	case n == 1:
		return "one CPU's time"
	case n < 1:
		return fmt.Sprintf("%s %% of one CPU's time", ratio(uint64(quota)*100, period))
	}
	return fmt.Sprintf("the time of %s CPUs", ratio(uint64(quota), period))
}

// ratio is a/b with at most three digits after the point.
func ratio(a, b uint64) string {
	s := strconv.FormatFloat(float64(a)/float64(b), 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func itoa(n int64) string  { return strconv.FormatInt(n, 10) }
func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
