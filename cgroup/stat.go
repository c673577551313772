// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Stats are what a container uses. What no cgroup counts is in Missing.
type Stats struct {
	CPU         uint64 // ns, since the start
	Memory      uint64 // bytes, without the file cache that can be dropped at once
	MemoryLimit uint64 // bytes; math.MaxUint64: none
	Pids        uint64 // processes and threads
	Missing     []string
}

// Stats asks the cgroups of the container.
func (d Dirs) Stats() (Stats, error) {
	s := Stats{MemoryLimit: math.MaxUint64}
	for _, part := range [...]struct {
		name string
		ask  func(*Stats) error
	}{{"cpu", d.statCPU}, {"memory", d.statMemory}, {"pids", d.statPids}} {
		err := part.ask(&s)
		if errors.Is(err, ErrNoController) {
			s.Missing = append(s.Missing, part.name)
		} else if err != nil {
			return s, err
		}
	}
	return s, nil
}

// CPU is the processor time that the container has used, in ns.
func (d Dirs) CPU() (uint64, error) {
	var s Stats
	err := d.statCPU(&s)
	return s.CPU, err
}

// statCPU: version 2 counts CPU time in every cgroup, whether or not it has the
// controller.
func (d Dirs) statCPU(s *Stats) (err error) {
	if c, ok := d.with("cpuacct"); ok {
		s.CPU, err = number64(c.Path, "cpuacct.usage")
		return err
	}
	c, ok := d.unified()
	if !ok {
		return ErrNoController
	}
	us, err := field(c.Path, "cpu.stat", "usage_usec")
	s.CPU = us * 1000
	return err
}

func (d Dirs) statMemory(s *Stats) (err error) {
	c, ok := d.with("memory")
	if !ok {
		return ErrNoController
	}
	usage, limit, cache := "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"
	if c.V2 {
		usage, limit, cache = "memory.current", "memory.max", "inactive_file"
	}
	if s.Memory, err = number64(c.Path, usage); err != nil {
		return err
	}
	inactive, err := field(c.Path, "memory.stat", cache)
	if err != nil {
		return err
	}
	s.Memory -= min(inactive, s.Memory)
	s.MemoryLimit, err = number64(c.Path, limit)
	if s.MemoryLimit >= math.MaxInt64&^0xffff { // version 1's "no limit", rounded to a page of up to 64 KiB
		s.MemoryLimit = math.MaxUint64
	}
	return err
}

// statPids counts for itself where the controller is not at hand.
func (d Dirs) statPids(s *Stats) (err error) {
	if c, ok := d.with("pids"); ok {
		s.Pids, err = number64(c.Path, "pids.current")
		return err
	}
	c, ok := d.tracker()
	if !ok {
		return ErrNoController
	}
	file := "tasks"
	if c.V2 {
		file = "cgroup.threads"
	}
	for _, dir := range below(c.Path) {
		text, err := get(dir, file)
		if err != nil && !gone(err) {
			return err
		}
		s.Pids += uint64(strings.Count(text, "\n"))
	}
	return nil
}

// OOMKills is how many of the container's processes the kernel has killed for
// want of memory, in cgroups below its own too. ErrNoController: nobody counts.
func (d Dirs) OOMKills() (int, error) {
	c, ok := d.with("memory")
	if !ok {
		return 0, ErrNoController
	}
	if c.V2 {
		n, err := field(c.Path, "memory.events", "oom_kill")
		return int(n), err
	}
	total := 0
	for _, dir := range below(c.Path) { // version 1 counts each for itself, since Linux 4.13
		n, err := field(dir, "memory.oom_control", "oom_kill")
		if err != nil && (dir == c.Path || !gone(err)) {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}

// number64 reads a file with one number, or "max".
func number64(dir, file string) (uint64, error) {
	text, err := glance(dir, file)
	if err != nil {
		return 0, err
	}
	text = strings.TrimSpace(text)
	if text == "max" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// field reads a number from a file of lines "key number"; a key that is not
// there counts 0.
func field(dir, file, key string) (uint64, error) {
	text, err := glance(dir, file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseUint(v, 10, 64)
		}
	}
	return 0, nil
}

// BlockIO is what the container has read from disks and written to them, in
// bytes; 0 where nobody counts.
func (d Dirs) BlockIO() (read, written int64) {
	var u Usage
	if c, ok := d.with("blkio"); ok {
		(&counts{dir: c.Path, read: glance}).blkio(&u)
	} else if c, ok := d.unified(); ok {
		(&counts{dir: c.Path, read: glance}).io(&u)
	}
	for _, e := range u.IO.ServiceBytes {
		switch e.Op {
		case "Read":
			read += int64(e.Value)
		case "Write":
			written += int64(e.Value)
		}
	}
	return read, written
}
