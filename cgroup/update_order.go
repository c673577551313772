// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"slices"
	"strings"

	"vitro/host"
)

// bounds are pairs of files whose values the kernel holds against each other at
// each write. The first goes before the second when it rises, and behind it when
// it falls; with falls it is the other way round.
var bounds = [...]struct {
	file, other string
	falls       bool
}{
	{"memory.memsw.limit_in_bytes", "memory.limit_in_bytes", false}, // never less than memory alone
	{"memory.swap.max", "memory.max", false},                        // room for what memory loses
	{"cpu.cfs_period_us", "cpu.cfs_quota_us", false},                // quota by period: never more than above
	{"cpu.rt_period_us", "cpu.rt_runtime_us", false},                // likewise
	{"cpu.cfs_burst_us", "cpu.cfs_quota_us", true},                  // never more than the quota
	{"cpu.max.burst", "cpu.max", true},                              // likewise
	{"cpu.idle", "cpu.shares", true},                                // an idle cgroup takes no share
	{"cpu.idle", "cpu.weight", true},                                // likewise
}

// order moves steps to where the kernel takes them.
func (u *updater) order() {
	for _, b := range bounds {
		i, j := u.find(b.file), u.find(b.other)
		if i < 0 || j < 0 {
			continue
		}
		w := u.change.Steps[i].Action.(*host.Write)
		first := parseSize(w.Value) > parseSize(w.Before)
		if b.falls {
			first = parseSize(w.Value) < parseSize(w.Before)
		}
		if first != (i < j) {
			u.move(i, j)
		}
	}
}

// find is the index of the write to a file, -1 if there is none.
func (u *updater) find(file string) int {
	for i, s := range u.change.Steps {
		if w, ok := s.Action.(*host.Write); ok && path.Base(w.Path) == file {
			return i
		}
	}
	return -1
}

// move takes step i to the place of step j, which makes room.
func (u *updater) move(i, j int) {
	step, property := u.change.Steps[i], u.change.Properties[i]
	u.change.Steps = slices.Insert(slices.Delete(u.change.Steps, i, i+1), j, step)
	u.change.Properties = slices.Insert(slices.Delete(u.change.Properties, i, i+1), j, property)
}

// keyed are the files with a line for each disk, device or interface: what is
// written there is for one of them. Without a line for it, unset takes a value
// back.
var keyed = [...]struct{ file, unset string }{
	{"io.max", "rbps=max wbps=max riops=max wiops=max"},
	{"io.weight", "default"},
	{"io.bfq.weight", "default"},
	{"blkio.weight_device", "0"},
	{"blkio.leaf_weight_device", "0"},
	{"blkio.bfq.weight_device", "0"},
	{"blkio.throttle.read_bps_device", "0"},
	{"blkio.throttle.write_bps_device", "0"},
	{"blkio.throttle.read_iops_device", "0"},
	{"blkio.throttle.write_iops_device", "0"},
	{"rdma.max", "hca_handle=max hca_object=max"},
	{"net_prio.ifpriomap", "0"},
}

// before is what has to be written to get back what the file holds: "" if that
// can't be known.
func before(e Entry, text string) string {
	key, rest, _ := strings.Cut(e.Value, " ")
	for _, k := range keyed {
		if k.file != e.File {
			continue
		}
		if rest == "" { // a weight for all disks: "default 100"
			key = "default"
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, key+" ") {
				return line
			}
		}
		if rest == "" { // where only that is known, it stands alone
			return strings.TrimSpace(text)
		}
		return key + " " + k.unset
	}
	if e.File == "memory.oom_control" { // "oom_kill_disable 0" and others
		_, old, _ := strings.Cut(text, "oom_kill_disable ")
		old, _, _ = strings.Cut(old, "\n")
		return old
	}
	switch strings.Count(text, "\n") {
	case 0, 1:
		if old := strings.TrimSpace(text); old != "" {
			return old
		}
		return "\n" // a cpuset of version 2 that has none of its own
	}
	return ""
}
