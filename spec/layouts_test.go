// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"io/fs"
	"strings"

	"vitro/cgroup"
)

// files is a machine's cgroup file system, written down: contents by path. A
// path with "ro " in front can't be written to; a folder is there if something
// in it is.
type files map[string]string

func (f files) Read(path string) (string, error) {
	for _, name := range []string{path, "ro " + path} {
		if s, ok := f[name]; ok {
			return s, nil
		}
	}
	return "", fs.ErrNotExist
}

func (f files) Exists(path string) bool {
	if _, err := f.Read(path); err == nil {
		return true
	}
	for name := range f {
		if strings.HasPrefix(strings.TrimPrefix(name, "ro "), path+"/") {
			return true
		}
	}
	return false
}

func (f files) Writable(path string) bool {
	_, ro := f["ro "+path]
	return !ro && f["ro "+path+"/."] != "closed" && f.Exists(path)
}

func (f files) empty(dir, names string) {
	for n := range strings.FieldsSeq(names) {
		f[dir+"/"+n] = ""
	}
}

const (
	cgroupFS  = "/sys/fs/cgroup"
	wholeMap  = "0 0 4294967295\n"
	v2Entries = "cgroup.procs cpu.max cpu.weight cpuset.cpus cpuset.mems io.max io.weight memory.high memory.low memory.max memory.swap.max pids.max"
)

// layouts are the machines' cgroups that the plans below are for, by name.
func layouts(name string) *cgroup.Layout {
	switch name {
	case "v1":
		return v1Layout()
	case "v2":
		return v2Layout()
	case "hybrid":
		l := v1Layout()
		f := l.FS.(files)
		f[cgroupFS+"/unified/cgroup.controllers"] = ""
		f[cgroupFS+"/unified/cgroup.procs"] = "1\n"
		l.Hierarchies = append(l.Hierarchies, cgroup.Hierarchy{V2: true, Mount: cgroupFS + "/unified", Own: "/"})
		return l
	case "user":
		return userLayout(false)
	case "delegated":
		return userLayout(true)
	}
	return &cgroup.Layout{FS: files{}}
}

// v1Layout is a machine with a tree for each controller, or for two.
func v1Layout() *cgroup.Layout {
	f := files{"/proc/self/uid_map": wholeMap}
	l := &cgroup.Layout{FS: f}
	for _, t := range []struct{ controllers, files string }{
		{"cpuset", "cpuset.cpus cpuset.mems"},
		{"cpu,cpuacct", "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us"},
		{"memory", "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes"},
		{"devices", "devices.allow devices.deny"},
		{"freezer", "freezer.state"},
		{"pids", "pids.max"},
		{"name=systemd", ""},
	} {
		mount := cgroupFS + "/" + strings.TrimPrefix(t.controllers, "name=")
		f.empty(mount, "tasks cgroup.procs "+t.files)
		l.Hierarchies = append(l.Hierarchies, cgroup.Hierarchy{Mount: mount, Own: "/", Controllers: strings.Split(t.controllers, ",")})
	}
	return l
}

// v2Layout is root's view of a machine with version 2 alone.
func v2Layout() *cgroup.Layout {
	f := files{
		"/proc/self/uid_map":                   wholeMap,
		"/sys/kernel/cgroup/delegate":          "cgroup.procs\ncgroup.subtree_control\n",
		cgroupFS + "/cgroup.controllers":       "cpuset cpu io memory pids",
		cgroupFS + "/cgroup.subtree_control":   "memory pids",
		cgroupFS + "/cgroup.procs":             "1\n",
		cgroupFS + "/login/cgroup.type":        "domain\n",
		cgroupFS + "/login/cgroup.controllers": "memory pids",
	}
	f.empty(cgroupFS+"/login", v2Entries)
	return &cgroup.Layout{FS: f, Hierarchies: []cgroup.Hierarchy{{V2: true, Mount: cgroupFS, Own: "/login"}}}
}

// userLayout is an ordinary user's view of it: in a cgroup that is the user's
// own, or not.
func userLayout(delegated bool) *cgroup.Layout {
	l := v2Layout()
	l.UID, l.GID = 1000, 1000
	l.Hierarchies[0].Own = "/users/1000/session"
	f := l.FS.(files)
	closed := []string{cgroupFS}
	for _, dir := range []string{cgroupFS + "/users", cgroupFS + "/users/1000", cgroupFS + "/users/1000/session"} {
		f[dir+"/cgroup.type"] = "domain\n"
		f[dir+"/cgroup.controllers"] = "memory pids"
		f[dir+"/cgroup.subtree_control"] = "memory pids"
		f.empty(dir, v2Entries)
		if !delegated || dir == cgroupFS+"/users" {
			closed = append(closed, dir)
		}
	}
	f[cgroupFS+"/users/1000/session/cgroup.subtree_control"] = ""
	f[cgroupFS+"/users/1000/session/cgroup.procs"] = "700\n"
	for _, dir := range closed {
		f["ro "+dir+"/."] = "closed"
		for _, name := range []string{"/cgroup.procs", "/cgroup.subtree_control"} {
			f["ro "+dir+name] = f[dir+name]
			delete(f, dir+name)
		}
	}
	return l
}
