// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
)

// A Limit is the tightest one that a process of ours is under, of those that
// can be seen: a container sees no further up than its own cgroup.
type Limit struct {
	File  string  // that says so: /sys/fs/cgroup/a/cpu.max
	Text  string  // what it says
	Value float64 // processors, bytes or processes
}

func (l *Limit) dir() string { return path.Dir(l.File) }

// file is one file that limits a controller.
type file struct {
	name  string
	value func(dir, text string) (float64, bool)
}

// files are the limits of each controller, of version 1 and 2.
var files = [...]struct {
	controller string // of version 1
	v1, v2     file
}{
	{"cpu", file{"cpu.cfs_quota_us", quotaV1}, file{"cpu.max", quotaV2}},
	{"memory", file{"memory.limit_in_bytes", number}, file{"memory.max", number}},
	{"pids", file{"pids.max", number}, file{"pids.max", number}},
}

// none is what version 1 says of memory without a limit: the largest number of whole pages.
const none = math.MaxInt64 - 1<<20

// number reads a file that holds one number, or max.
func number(_, text string) (float64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return float64(n), err == nil && n >= 0 && n < none
}

// quotaV2 reads "50000 100000": microseconds, in each period of so many.
func quotaV2(_, text string) (float64, bool) {
	var quota, period float64
	_, err := fmt.Sscanf(text, "%f %f", &quota, &period)
	return quota / period, err == nil && period > 0
}

func quotaV1(dir, text string) (float64, bool) {
	quota, err := strconv.ParseFloat(text, 64)
	period, err2 := strconv.ParseFloat(read(dir+"/cpu.cfs_period_us"), 64)
	return quota / period, err == nil && err2 == nil && quota > 0 && period > 0
}

// read is a file's text, "" if it can't be read.
func read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// limit finds the tightest limit of a controller; nil if there is none to be seen.
func limit(controller string) *Limit {
	var best *Limit
	for _, h := range places(controller) {
		for _, f := range files {
			if f.controller != controller {
				continue
			}
			is := f.v1
			if h.V2 {
				is = f.v2
			}
			for _, dir := range upwards(h) {
				text := read(dir + "/" + is.name)
				if v, ok := is.value(dir, text); ok && (best == nil || v < best.Value) {
					best = &Limit{dir + "/" + is.name, text, v}
				}
			}
		}
	}
	return best
}

// places are the hierarchies that a controller may be limited in.
func places(controller string) []cgroup.Hierarchy {
	l, err := cgroup.Detect()
	if err != nil {
		return nil // no cgroups to be seen: no limits to be named
	}
	var list []cgroup.Hierarchy
	for _, h := range l.Hierarchies {
		for _, c := range h.Controllers {
			if c == controller {
				list = append(list, h)
			}
		}
		if h.V2 {
			list = append(list, h)
		}
	}
	return list
}

// upwards are the folders from our own cgroup to the top.
func upwards(h cgroup.Hierarchy) []string {
	var dirs []string
	for p := path.Clean("/" + h.Own); ; p = path.Dir(p) {
		dirs = append(dirs, path.Join(h.Mount, p))
		if p == "/" {
			return dirs
		}
	}
}

// counter is a number in a file of lines "name number", of the cgroup that
// l is in.
func (l *Limit) counter(file, name string) (int64, bool) {
	for line := range strings.Lines(read(l.dir() + "/" + file)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// ulimits are the limits of a process that refuse what we burn, by their names in sh.
var ulimits = [...]struct {
	resource int
	name     string
}{
	{unix.RLIMIT_AS, "RLIMIT_AS (ulimit -v)"},
	{unix.RLIMIT_NPROC, "RLIMIT_NPROC (ulimit -u)"},
	{unix.RLIMIT_FSIZE, "RLIMIT_FSIZE (ulimit -f)"},
}

// ulimit describes a limit of this process, "" if there is none.
func ulimit(resource int) string {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil || r.Cur == unix.RLIM_INFINITY {
		return ""
	}
	for _, u := range ulimits {
		if u.resource == resource {
			return fmt.Sprintf("%s = %d", u.name, r.Cur)
		}
	}
	return ""
}
