// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// traitReasons are about what the process is to the kernel, and about what is
// moved or copied for it.
var traitReasons = [...]reason{
	{"scheduler", errs{unix.EPERM}, realTime,
		"real time takes CAP_SYS_NICE in the machine's first user namespace, and a cgroup with a share of it where the kernel shares it out (CONFIG_RT_GROUP_SCHED); and of SCHED_DEADLINE process scheduler can't be used together with AllowedCPUs, since it takes all processors",
		"run as root, and set linux.resources.cpu.realtimeRuntime; of SCHED_DEADLINE without linux.resources.cpu.cpus"},
	{"scheduler", errs{unix.EPERM, unix.EACCES}, nil, "a nice value below our own takes CAP_SYS_NICE in the machine's first user namespace", "ask for a higher nice value, or run as root"},
	{"scheduler", errs{unix.EBUSY}, nil, "the processors have no time left to promise: kernel.sched_rt_runtime_us of each kernel.sched_rt_period_us is all", "ask for less runtime in a period"},
	{"scheduler", errs{unix.EOPNOTSUPP}, nil, "this kernel has no utilization clamps (CONFIG_UCLAMP_TASK)", "leave out SCHED_FLAG_UTIL_CLAMP_MIN and SCHED_FLAG_UTIL_CLAMP_MAX"},
	{"scheduler", errs{unix.EINVAL}, nil, "the kernel doesn't take these values together", "see sched_setattr(2): a deadline's runtime is at least 1024 ns, its period at most a few seconds"},
	{"io-priority", errs{unix.EPERM}, nil, "IOPRIO_CLASS_RT takes CAP_SYS_NICE in the machine's first user namespace", "ask for IOPRIO_CLASS_BE with priority 0, or run as root"},
	{"memory-policy", errs{unix.ENOSYS}, nil, "this kernel is built without memory policies (CONFIG_NUMA)", "leave out linux.memoryPolicy"},
	{"memory-policy", errs{unix.EINVAL}, nil, "the machine, or the container's cpuset, has none of the nodes, or the kernel doesn't know {mode}", "see which nodes there are: cat /sys/devices/system/node/has_memory"},
	{"affinity", errs{unix.EINVAL}, nil, "none of the processors {cpus} is there, or in the cpuset of the process", "see which there are: cat /sys/devices/system/cpu/online"},

	{"label", errs{unix.ENOENT}, isProfile, "AppArmor has no such profile loaded", "load it: sudo apparmor_parser -r FILE; sudo aa-status shows those that are"},
	{"label", errs{unix.EINVAL}, nil, "the policy that is loaded has no such label", "check the spelling; seinfo and semanage show what there is"},
	{"label", errs{unix.EACCES, unix.EPERM}, nil, "the policy doesn't let this process become what the label says", "run unconfined, or allow it in the policy"},

	{"write", errs{unix.ERANGE}, isOffsets, "a clock would be before zero, or beyond what the kernel counts", "mend linux.timeOffsets: uptime shows how far back a clock can go"},
	{"write", errs{unix.EACCES, unix.EPERM}, isOffsets, "setting clocks takes CAP_SYS_TIME over the time namespace", "run as root, or in a user namespace of the container's own"},
	{"write", errs{unix.EINVAL}, isSchemata, "the processor, or the class as it is, doesn't take these lines", "see why: cat /sys/fs/resctrl/info/last_cmd_status"},

	{"net-device", errs{unix.EINVAL}, nil, "{name} can't leave its network namespace, as bridges, tunnels and the loopback interface can't", "choose another device"},
	{"net-device", errs{unix.EPERM}, nil, "moving a device takes CAP_NET_ADMIN in both network namespaces", "run as root"},
	{"net-device", errs{unix.EEXIST}, nil, "the container's network namespace has a device of this name already", "give it another name: linux.netDevices"},
	{"copy-up", errs{unix.ENOSPC}, nil, "what the root has at {target} is more than the tmpfs holds", "give the mount a larger size: the option size=64m, for example"},
	{"mapped-bind", errs{unix.ENOENT}, nil, "there is no {source} on the host", "check the spelling, or make it: mkdir -p {source}"},
	{"remount", errs{unix.ENOENT}, nil, "the container has no {target}", "check the spelling: remount changes what an earlier entry of mounts has made"},
	{"remount", errs{unix.EINVAL}, func(s *scene) bool { return !s.called(plan.SysFsconfig) }, "nothing is mounted on {target}", "mount something there before"},
	{"remount", errs{unix.EINVAL}, func(s *scene) bool { return s.option() != "" }, "the file system doesn't take the option {option} while it is in use", "give it when the file system is mounted"},
	{"remount", errs{unix.EPERM}, inUser, "in a user namespace an option can't be taken off that the mount has on the host", "add the options that it has there"},
}

func realTime(s *scene) bool {
	switch s.number("policy") {
	case unix.SCHED_FIFO, unix.SCHED_RR, unix.SCHED_DEADLINE:
		return true
	}
	return false
}

func isProfile(s *scene) bool  { return strings.HasPrefix(s.value("value"), "exec ") }
func isOffsets(s *scene) bool  { return strings.HasSuffix(s.value("path"), "/timens_offsets") }
func isSchemata(s *scene) bool { return strings.HasSuffix(s.value("path"), "/schemata") }
