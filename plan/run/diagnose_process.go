// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// processReasons are about what the process may do, and what it is.
var processReasons = [...]reason{
	{"rlimit", errs{unix.EPERM}, aboveNrOpen,
		"no limit on open files may be above fs.nr_open, which is {nr_open}", "ask for less, or sudo sysctl -w fs.nr_open={asked hard}"},
	{"rlimit", errs{unix.EPERM}, nil,
		"raising a hard limit takes CAP_SYS_RESOURCE; ours for {name} is {hard limit}", "ask for no more than that, or run as root"},
	{"rlimit", errs{unix.EINVAL}, nil, "the soft limit is above the hard one", "ask for a soft limit of no more than the hard one"},
	{"write", errs{unix.EACCES, unix.EPERM}, isOOM,
		"only CAP_SYS_RESOURCE may make a process less likely to be ended than this one, whose own value is {own oom}", "ask for {own oom} or more, or run as root"},
	{"write", errs{unix.EINVAL}, isOOM, "the value has to be from -1000 to 1000", "mend process.oomScoreAdj"},

	{"sysctl", errs{unix.ENOENT}, nil, "this kernel has no parameter {key}, or none in this namespace", "check the spelling; if it is a module's, load the module"},
	{"sysctl", errs{unix.EROFS}, nil, "/proc/sys is mounted read-only", "mount proc without the option ro; of a container around, with --privileged"},
	{"sysctl", errs{unix.EINVAL, unix.ERANGE}, nil, "the kernel doesn't take {value} as a value of {key}", "see what it holds now: sysctl {key}"},
	{"sysctl", errs{unix.EACCES, unix.EPERM}, nil, "{key} can't be written to from this user namespace", "run as root, or leave it out"},
	{"sysctl", errs{unix.EXDEV, unix.ELOOP}, nil, "another file system, or a link, is in the place of /proc/sys/{path}", "take away the mount that covers it"},

	{"hostname domainname", errs{unix.EINVAL}, nil, "the name has {length} bytes, and the kernel takes 64", "choose a shorter one"},
	{"hostname domainname", errs{unix.EPERM}, nil, "the uts namespace belongs to another user namespace", "give the container a uts namespace of its own"},

	{"seccomp", errs{unix.EINVAL}, nil, "the kernel takes no filter of {instructions} instructions (4096 are the most), or not these flags", "shorten the profile, or leave out linux.seccomp.flags"},
	{"seccomp", errs{unix.EACCES}, nil, "without no_new_privs, loading a filter takes CAP_SYS_ADMIN", "set process.noNewPrivileges (--security-opt no-new-privileges)"},
	{"seccomp", errs{unix.ENOMEM}, nil, "the filters of this process and of those around it are too long together: 32768 instructions are the most", "shorten the profile, or run with fewer containers around"},
	{"seccomp", errs{unix.EBUSY}, nil, "a filter around this process has a listener already, and there can be only one", "leave out linux.seccomp.listenerPath"},
	{"seccomp", errs{unix.ENOSYS, unix.EFAULT}, nil, "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", "run without one: --security-opt seccomp=unconfined"},

	{"capabilities", errs{unix.EPERM}, nil, "the process doesn't have {missing caps}, so it can't keep it", "ask for less (--cap-drop), or give it to this process"},
	{"capabilities", errs{unix.EPERM}, nil, "a capability is asked for that the process doesn't have, or whose ambient use is locked", "ask for less (--cap-drop)"},
	{"bounding-set", errs{unix.EPERM}, nil, "taking capabilities out of the bounding set takes CAP_SETPCAP", "run as root, or in a user namespace (rootless)"},

	{"user", errs{unix.EINVAL}, func(s *scene) bool { return s.called(plan.SysSetresuid) },
		"user {uid} is not mapped in the user namespace: its map is {uid_map}", "choose a mapped user, or a larger range in /etc/subuid: " + subordinates},
	{"user", errs{unix.EINVAL}, func(s *scene) bool { return s.called(plan.SysSetgroups) },
		"one of the groups {groups} is not mapped in the user namespace: its map is {gid_map}", "choose mapped groups, or a larger range in /etc/subgid: " + subordinates},
	{"user", errs{unix.EINVAL}, nil,
		"group {gid} is not mapped in the user namespace: its map is {gid_map}", "choose a mapped group, or a larger range in /etc/subgid: " + subordinates},
	{"user", errs{unix.EPERM}, func(s *scene) bool { return s.called(plan.SysSetgroups) },
		"setgroups(2) takes CAP_SETGID, and a user namespace may forbid it altogether", "ask for no additional groups, or have the maps written by newgidmap"},
	{"user", errs{unix.EPERM}, nil, "becoming another user takes CAP_SETUID and CAP_SETGID", "run as root, or in a user namespace (rootless)"},
	{"user", errs{unix.EAGAIN}, nil, "user {uid} has as many processes as RLIMIT_NPROC allows", "raise process.rlimits' RLIMIT_NPROC (--ulimit nproc)"},

	{"chdir", errs{unix.ENOENT}, nil, "the container has no folder {path}", "make it in the image, or choose another: --workdir"},
	{"chdir", errs{unix.ENOTDIR}, nil, "{path} is no folder in the container", "choose another: --workdir"},
	{"chdir", errs{unix.EACCES}, nil, "neither the container's root nor its user may go into {path}: in a user namespace root has no power over a folder whose owner or group is not mapped", "make it accessible in the image, or choose another: --workdir"},
	{"chdir", errs{unix.ELOOP}, nil, "the image's links on the way to {path} lead in a circle, or into the files of a process", "choose another: --workdir"},

	{"console", errs{unix.ENOSPC}, nil, "there are as many terminals as kernel.pty.max allows", "sudo sysctl -w kernel.pty.max=8192, or end programs that hold terminals"},
	{"console", errs{unix.EACCES}, nil, "the container's devpts doesn't let its user open ptmx", "mount /dev/pts with the options newinstance,ptmxmode=0666"},
	{"console", errs{unix.ENOENT}, nil, "the container's devpts has no ptmx: it is not an instance of its own", "mount /dev/pts with the type devpts and the option newinstance"},
	{"console", errs{unix.EINVAL}, func(s *scene) bool { return s.called(plan.SysFchownat) },
		"user {uid}, who is to own the terminal, is not mapped in the user namespace: its map is {uid_map}", "choose a mapped user"},
	{"console", errs{unix.EPERM}, nil, "the terminal belongs to another session already", "run without a terminal"},
	{"stdio", errs{unix.EBADF}, nil, "one of the standard streams has been closed", "start it with its standard streams open"},
	{"link-up", errs{unix.EPERM}, nil, "the network namespace belongs to another user namespace", "give the container a network namespace of its own, or join the user namespace as well"},
	{"link-up", errs{unix.ENODEV}, nil, "the network namespace has no interface {name}", "see which it has: ip link"},
}

func isOOM(s *scene) bool { return strings.HasSuffix(s.value("path"), "/oom_score_adj") }

func aboveNrOpen(s *scene) bool {
	if s.number("type") != unix.RLIMIT_NOFILE {
		return false
	}
	most := s.host.read("/proc/sys/fs/nr_open")
	return most != "" && s.number("hard") > number(most)
}
