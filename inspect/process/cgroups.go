// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"vitro/cgroup"
)

// A Cgroup is the process's in one hierarchy.
type Cgroup struct {
	V2          bool     `json:"v2,omitempty"`
	Controllers []string `json:"controllers,omitempty"`
	Path        string   `json:"path"`          // below the root of our cgroup namespace
	Dir         string   `json:"dir,omitempty"` // its folder, "" if the hierarchy is not mounted here
	Values      []Value  `json:"values,omitempty"`
}

// A Value is what one file of the cgroup says. A limit may be set further up:
// then From is the folder of the cgroup that has it.
type Value struct {
	Name  string `json:"name"` // as config.json has it: "memory.limit"
	File  string `json:"file"`
	Value string `json:"value"`
	Use   string `json:"use,omitempty"` // how much of it is used
	From  string `json:"from,omitempty"`
}

// gauges are the limits, with what they limit: where either version has them,
// what stands there for no limit, and the file that says how much is used. The
// first of several names is the one that is there.
var gauges = [...]struct {
	name       string
	v1, v2     string
	none       string // what stands there for none, besides "max" and -1
	use1, use2 string
	least      bool // of limits further up the least one holds
}{
	{name: "memory.limit", v1: "memory.limit_in_bytes", v2: "memory.max", none: "9223372036854771712", use1: "memory.usage_in_bytes", use2: "memory.current", least: true},
	{name: "memory.reservation", v1: "memory.soft_limit_in_bytes", v2: "memory.low", none: "9223372036854771712 0"},
	{name: "memory.swap", v1: "memory.memsw.limit_in_bytes", v2: "memory.swap.max", none: "9223372036854771712", use1: "memory.memsw.usage_in_bytes", use2: "memory.swap.current", least: true},
	{name: "pids.limit", v1: "pids.max", v2: "pids.max", use1: "pids.current", use2: "pids.current", least: true},
	{name: "cpu.quota", v1: "cpu.cfs_quota_us", least: true},
	{name: "cpu.period", v1: "cpu.cfs_period_us", none: "100000"},
	{name: "cpu.max", v2: "cpu.max", none: "max 100000"},
	{name: "cpu.shares", v1: "cpu.shares", none: "1024"},
	{name: "cpu.weight", v2: "cpu.weight", none: "100"},
	{name: "cpu.time", use1: "cpuacct.usage", use2: "cpu.stat"},
	{name: "cpuset.cpus", v1: "cpuset.cpus", v2: "cpuset.cpus"},
	{name: "cpuset.mems", v1: "cpuset.mems", v2: "cpuset.mems"},
	{name: "io.weight", v1: "blkio.weight", v2: "io.weight", none: "500 default 100"},
	{name: "io.bfq.weight", v1: "blkio.bfq.weight", v2: "io.bfq.weight", none: "100 default 100"},
	{name: "io.readBps", v1: "blkio.throttle.read_bps_device"},
	{name: "io.writeBps", v1: "blkio.throttle.write_bps_device"},
	{name: "io.readIOps", v1: "blkio.throttle.read_iops_device"},
	{name: "io.writeIOps", v1: "blkio.throttle.write_iops_device"},
	{name: "io.max", v2: "io.max"},
	{name: "devices", v1: "devices.list", none: "a *:* rwm"},
	{name: "frozen", v1: "freezer.state", v2: "cgroup.freeze", none: "THAWED 0"},
}

func readCgroups(p *Process, dir string) {
	data, err := os.ReadFile(dir + "/cgroup")
	p.miss("its cgroups", err)
	layout, err := cgroup.Detect()
	if err != nil {
		p.miss("the machine's cgroups", err)
		layout = &cgroup.Layout{}
	}
	for line := range strings.Lines(string(data)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		c := Cgroup{V2: part[0] == "0" && part[1] == "", Path: part[2]}
		if part[1] != "" {
			c.Controllers = strings.Split(part[1], ",")
		}
		mount := mountOf(layout, &c)
		if mount != "" {
			c.Dir = path.Join(mount, c.Path)
			c.read(mount)
		}
		p.Cgroups = append(p.Cgroups, c)
	}
}

// mountOf is where a hierarchy is mounted.
func mountOf(l *cgroup.Layout, c *Cgroup) string {
	for _, h := range l.Hierarchies {
		if h.V2 && c.V2 || !h.V2 && !c.V2 && slices.Equal(h.Controllers, c.Controllers) {
			return h.Mount
		}
	}
	return ""
}

// read reads the files of the gauges that the cgroup has.
func (c *Cgroup) read(mount string) {
	if c.V2 {
		if text, ok := oneFile(c.Dir, "cgroup.controllers"); ok {
			c.Controllers = strings.Fields(text)
		}
	}
	for _, g := range gauges {
		limit, use := g.v1, g.use1
		if c.V2 {
			limit, use = g.v2, g.use2
		}
		v := Value{Name: g.name, File: limit}
		found := false
		for dir := c.Dir; limit != "" && within(dir, mount); dir = path.Dir(dir) {
			text, ok := oneFile(dir, limit)
			if !ok || strings.HasPrefix(limit, "cpuset.") && inherited(dir, mount, limit, text) {
				break
			}
			if dir == c.Dir {
				v.Value, found = text, true
			}
			if !isNone(text, g.none) {
				if dir != c.Dir {
					v.Value, v.From = text, dir
				}
				break
			}
			if !g.least {
				break
			}
		}
		if use != "" {
			if text, ok := oneFile(c.Dir, use); ok {
				v.Use, found = usage(use, text), true
			}
		}
		if found {
			c.Values = append(c.Values, v)
		}
	}
}

// inherited reports whether a set of processors or memory nodes is the one
// that the cgroup above has, and so no choice.
func inherited(dir, mount, file, text string) bool {
	if dir == mount || text == "" {
		return true
	}
	above, ok := oneFile(path.Dir(dir), file)
	return ok && above == text
}

func within(dir, mount string) bool { return dir == mount || strings.HasPrefix(dir, mount+"/") }

// isNone reports whether a value is no limit.
func isNone(value, none string) bool {
	switch value {
	case "max", "-1", "":
		return true
	}
	return value == none || strings.Contains(" "+none+" ", " "+value+" ")
}

// IsSet reports whether a gauge has a limit, and not what a fresh cgroup has.
func (v *Value) IsSet() bool {
	for _, g := range gauges {
		if g.name == v.Name {
			return v.File != "" && !isNone(v.Value, g.none)
		}
	}
	return false
}

func usage(file, text string) string {
	if file != "cpu.stat" {
		return text
	}
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, _ := strconv.ParseUint(strings.TrimSpace(n), 10, 64)
			return strconv.FormatUint(us*1000, 10)
		}
	}
	return ""
}

// oneFile reads a file of a cgroup; one that isn't there is not one.
func oneFile(dir, name string) (string, bool) {
	data, err := os.ReadFile(path.Join(dir, name))
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(string(data)), true
}

// Value is what a gauge of any of the process's cgroups says; ok is false if
// none has it.
func (p *Process) Value(name string) (v Value, ok bool) {
	for _, c := range p.Cgroups {
		for _, v := range c.Values {
			if v.Name == name && v.File != "" {
				return v, true
			}
		}
	}
	return Value{}, false
}
