// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"io/fs"
	"strings"
)

// A tree of files, as a test writes it down. A path that ends in a slash is a
// folder. Paths with "ro " in front can't be written to.
type fakeFS map[string]string

func (f fakeFS) find(path string) (string, string, bool) {
	for _, name := range []string{path, "ro " + path, path + "/", "ro " + path + "/"} {
		if s, ok := f[name]; ok {
			return s, name, true
		}
	}
	for name := range f {
		if strings.HasPrefix(strings.TrimPrefix(name, "ro "), path+"/") {
			return "", path + "/", true
		}
	}
	return "", "", false
}

func (f fakeFS) Read(path string) (string, error) {
	s, name, ok := f.find(path)
	if !ok || strings.HasSuffix(name, "/") {
		return "", fs.ErrNotExist
	}
	return s, nil
}

func (f fakeFS) Exists(path string) bool { _, _, ok := f.find(path); return ok }
func (f fakeFS) Writable(path string) bool {
	_, name, ok := f.find(path)
	return ok && !strings.HasPrefix(name, "ro ")
}

const rootMap = "         0          0 4294967295\n"

func list(files fakeFS, dir, names, value string) {
	for n := range strings.FieldsSeq(names) {
		files[dir+"/"+n] = value
	}
}

// v1Layout is Debian 9 or Ubuntu 20.04 without version 2: some controllers
// share a tree, and this process is in /user.slice of each.
func v1Layout() *Layout {
	files := fakeFS{"/proc/self/uid_map": rootMap}
	l := &Layout{Systemd: true, FS: files}
	for _, t := range []struct{ controllers, files string }{
		{"cpuset", "cpuset.cpus cpuset.mems"},
		{"cpu,cpuacct", "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpuacct.usage"},
		{"memory", "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.swappiness memory.oom_control"},
		{"devices", "devices.allow devices.deny"},
		{"freezer", "freezer.state"},
		{"blkio", "blkio.weight blkio.weight_device blkio.leaf_weight blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device"},
		{"pids", "pids.max"},
		{"hugetlb", "hugetlb.2MB.limit_in_bytes"},
		{"net_cls,net_prio", "net_cls.classid net_prio.ifpriomap"},
		{"name=systemd", ""},
	} {
		mount := usual + "/" + strings.TrimPrefix(t.controllers, "name=")
		for _, dir := range []string{mount, mount + "/user.slice"} {
			list(files, dir, "tasks cgroup.procs "+t.files, "")
		}
		l.Hierarchies = append(l.Hierarchies, Hierarchy{Mount: mount, Own: "/user.slice", Controllers: strings.Split(t.controllers, ",")})
	}
	return l
}

const v2Files = "cgroup.type cpu.weight cpu.max cpu.max.burst cpu.idle cpuset.cpus cpuset.mems memory.max memory.low memory.high memory.swap.max " +
	"io.max io.weight pids.max hugetlb.2MB.max hugetlb.2MB.rsvd.max rdma.max"

// v2Dir adds a cgroup of version 2.
func v2Dir(files fakeFS, dir, controllers, subtree, procs string, ro ...string) {
	list(files, dir, v2Files, "")
	files[dir+"/cgroup.type"] = "domain\n"
	files[dir+"/cgroup.controllers"] = controllers
	files[dir+"/cgroup.subtree_control"] = subtree
	files[dir+"/cgroup.procs"] = procs
	for _, name := range ro {
		if name == "." {
			files["ro "+dir+"/"] = ""
			continue
		}
		files["ro "+dir+"/"+name] = files[dir+"/"+name]
		delete(files, dir+"/"+name)
	}
}

const everyController = "cpuset cpu io memory hugetlb pids rdma misc"

// v2Layout is root's view of a machine with systemd and version 2.
func v2Layout() *Layout {
	files := fakeFS{
		"/proc/self/uid_map":                rootMap,
		"/sys/kernel/cgroup/delegate":       "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group\n",
		usual + "/cgroup.controllers":       everyController,
		usual + "/cgroup.subtree_control":   "memory pids",
		usual + "/cgroup.procs":             "2\n3\n",
		usual + "/system.slice/memory.high": "max",
	}
	v2Dir(files, usual+"/system.slice", "memory pids", "memory pids", "")
	v2Dir(files, usual+"/system.slice/ssh.service", everyController, "", "812\n")
	return &Layout{Systemd: true, FS: files, Hierarchies: []Hierarchy{{V2: true, Mount: usual, Own: "/system.slice/ssh.service"}}}
}

const userService = "/user.slice/user-1000.slice/user@1000.service"

// userLayout is a user's view of it, in a scope that systemd delegates.
func userLayout() *Layout {
	l := v2Layout()
	files := l.FS.(fakeFS)
	v2Dir(files, usual+"/user.slice", "memory pids", "memory pids", "", ".", "cgroup.procs", "cgroup.subtree_control")
	v2Dir(files, usual+"/user.slice/user-1000.slice", "memory pids", "memory pids", "", ".", "cgroup.procs", "cgroup.subtree_control")
	v2Dir(files, usual+userService, "memory pids", "memory pids", "")
	v2Dir(files, usual+userService+"/run-1.scope", "memory pids", "", "4000\n")
	for _, f := range []string{"/cgroup.subtree_control", "/cgroup.procs"} {
		files["ro "+usual+f] = files[usual+f]
		delete(files, usual+f)
	}
	files["ro "+usual+"/"] = ""
	files["/proc/self/uid_map"] = rootMap
	l.UID, l.GID = 1000, 1000
	l.Hierarchies[0].Own = userService + "/run-1.scope"
	return l
}

// innerLayout is a container with a cgroup namespace: all its processes are in
// what it sees as the root.
func innerLayout() *Layout {
	files := fakeFS{"/proc/self/uid_map": rootMap}
	v2Dir(files, usual, "cpu memory pids", "", "1\n17\n")
	return &Layout{FS: files, Hierarchies: []Hierarchy{{V2: true, Mount: usual, Own: "/"}}}
}

// hybridLayout has the controllers in version 1, and hugetlb in version 2.
func hybridLayout() *Layout {
	files := fakeFS{"/proc/self/uid_map": rootMap, usual + "/unified/cgroup.controllers": "hugetlb",
		usual + "/unified/cgroup.subtree_control": "", usual + "/unified/cgroup.procs": "1\n"}
	list(files, usual+"/cpu", "tasks cpu.shares cpu.cfs_quota_us cpu.cfs_period_us", "")
	list(files, usual+"/memory", "tasks memory.limit_in_bytes memory.memsw.limit_in_bytes", "")
	list(files, usual+"/devices", "tasks devices.allow devices.deny", "")
	list(files, usual+"/freezer", "tasks", "")
	list(files, usual+"/pids", "tasks", "")
	l := &Layout{FS: files}
	for _, c := range []string{"cpu", "memory", "devices", "freezer", "pids"} {
		l.Hierarchies = append(l.Hierarchies, Hierarchy{Mount: usual + "/" + c, Own: "/", Controllers: []string{c}})
	}
	l.Hierarchies = append(l.Hierarchies, Hierarchy{V2: true, Mount: usual + "/unified", Own: "/"})
	return l
}
