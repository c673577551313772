// SPDX-License-Identifier: Apache-2.0

package run

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupReasons are about the container's cgroups and their limits.
var cgroupReasons = [...]reason{
	// One file, one value.
	{"write", errs{unix.EBUSY}, memoryLimit, "the cgroup's processes use more memory already: {used} bytes", "choose a higher limit"},
	{"write", errs{unix.EINVAL}, swapLimit, "the limit of memory and swap together has to be at least that of memory alone", "raise --memory-swap to that of --memory or more"},
	{"write", errs{unix.EBUSY}, isControl, "the cgroup holds processes, or a cgroup below it uses the controller", "choose a cgroup path whose parent holds no processes"},
	{"write", errs{unix.ENOENT, unix.EINVAL}, isControl, "the cgroup above {dir} doesn't give it all of these controllers: it has {above}", "enable them there: echo {value} >>{dir}/../cgroup.subtree_control"},
	{"write", errs{unix.EINVAL, unix.EACCES, unix.ERANGE, unix.ENODEV}, cpuset, "the cgroup may use no more than the one above it has in {base}, which is {above}", "ask for a part of that, written as a list like 0-2,7"},
	{"write", errs{unix.EINVAL, unix.EACCES, unix.ERANGE, unix.ENODEV}, cpuset, "{value} is no list of what the cgroup above has", "ask for a part of that, written as a list like 0-2,7"},
	{"write", errs{unix.ENOSPC}, cpuset, "the cgroup has processes in it, and would be left without CPUs or memory nodes", "ask for at least one"},
	{"write", errs{unix.EBUSY}, cpuset, "another cgroup beside or below has these for itself, or would lose what it uses", "look at cpuset.cpu_exclusive and at the cgroups below"},
	{"write", errs{unix.ENODEV, unix.ENOENT}, fileIsThere, "there is no such block device: {value}", "see which there are: lsblk -o NAME,MAJ:MIN"},
	{"write", errs{unix.EINVAL, unix.ERANGE}, inCgroup, "the kernel doesn't take {value} for {base}: out of range, or of the wrong form", "see what it holds now: cat {path}"},
	{"write", errs{unix.EOPNOTSUPP}, inCgroup, "the cgroup is threaded, or its controller can't do this here", "choose a cgroup path outside of threaded cgroups: cat {dir}/cgroup.type"},
	{"write open", errs{unix.ENOENT}, inCgroup, "the cgroup has no file {base}: the kernel lacks it, or the controller {controller} is not enabled", "see what there is: cat {dir}/cgroup.controllers, and ls {dir}"},
	{"write open", errs{unix.EACCES, unix.EPERM}, inCgroup, "the cgroup {dir} is not this user's to change", "run it as systemd-run --user --scope -p Delegate=yes ..., or as root"},

	// The cgroup itself.
	{"mkcgroup inherit evacuate devices write chown", errs{unix.EROFS}, inCgroup, "the cgroup file system is mounted read-only", "mount it read-write; of a container around, run it with --privileged"},
	{"mkcgroup inherit evacuate", errs{unix.EACCES, unix.EPERM}, nil, "the cgroup above {path} is not this user's to change", "run it as systemd-run --user --scope -p Delegate=yes ..., or as root"},
	{"mkcgroup", errs{unix.EAGAIN}, nil, "a cgroup above allows no more below it: cgroup.max.descendants or cgroup.max.depth", "raise it, or remove cgroups that are left: find /sys/fs/cgroup -name cgroup.events"},
	{"mkcgroup", errs{unix.ENOSPC, unix.ENOMEM}, nil, "the kernel has no room for another cgroup: 65535 of a kind are the most", "remove cgroups that are left over"},
	{"mkcgroup", errs{unix.ENOENT}, nil, "the cgroup above {path} is not there", "make it, or choose another path: linux.cgroupsPath"},
	{"mkcgroup", errs{unix.EEXIST}, nil, "the cgroup {path} is another container's", "choose another name, or remove that container"},
	{"devices", errs{unix.EPERM, unix.EACCES}, nil, "a filter for devices takes CAP_BPF and CAP_NET_ADMIN in the machine's first user namespace", "run as root; of a container around, with --privileged"},
	{"devices", errs{unix.EINVAL, unix.ENOSYS}, nil, "this kernel has no device filters for cgroups (CONFIG_CGROUP_BPF)", "leave out linux.resources.devices, or use a kernel that has them"},

	// Getting into it.
	{"cgroup", errs{unix.ENOSPC}, nil, "the cpuset has no CPUs or no memory nodes yet: no process can be in it", "write some: cat {dir}/../cpuset.cpus >{dir}/cpuset.cpus, and cpuset.mems likewise"},
	{"cgroup", errs{unix.EBUSY, unix.EOPNOTSUPP}, nil, "the cgroup {dir} gives controllers to cgroups below it, or is threaded: no process can be in it", "choose another cgroup path: linux.cgroupsPath"},
	{"cgroup", errs{unix.EACCES, unix.EPERM}, nil, "this user may not move processes to {dir}", "run as root, or in a cgroup of the user's own"},
	{"cgroup", errs{unix.EINVAL}, nil, "a process with real-time priority gets into no cgroup that has no share of real time", "write one to cpu.rt_runtime_us, or start without the priority"},
	{"cgroup", errs{unix.ENOENT, unix.ENODEV}, nil, "the cgroup {dir} has been removed meanwhile", "try again"},
}

const cgroupRoot = "/sys/fs/cgroup"

func inCgroup(s *scene) bool {
	file := s.value("path")
	return strings.HasPrefix(file, cgroupRoot+"/") || slices.Contains([]string{"cgroup", "cgroup2"}, s.host.fsType(path.Dir(file)))
}

func fileIsThere(s *scene) bool { return inCgroup(s) && s.host.exists(s.value("path")) }

func cgroupFile(s *scene, names ...string) bool {
	return slices.Contains(names, path.Base(s.value("path"))) && inCgroup(s)
}

func memoryLimit(s *scene) bool {
	return cgroupFile(s, "memory.max", "memory.high", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.kmem.limit_in_bytes")
}

func swapLimit(s *scene) bool { return cgroupFile(s, "memory.memsw.limit_in_bytes") }
func isControl(s *scene) bool { return cgroupFile(s, "cgroup.subtree_control") }

func cpuset(s *scene) bool { return cgroupFile(s, "cpuset.cpus", "cpuset.mems") }
