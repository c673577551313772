// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

const (
	allowByArmor = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile with the rule `userns,` in /etc/apparmor.d"
	subordinates = `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$USER"`
)

type errs = []unix.Errno

// namespaceReasons are about the child's birth and the maps of its IDs.
var namespaceReasons = [...]reason{
	// The kernel's switches. Ubuntu's lets the namespace be made, and takes
	// its capabilities: what needs one fails, and the map is what comes first.
	{"clone unshare uid-map gid-map write become-root propagation", errs{unix.EPERM, unix.EACCES}, restrictedByArmor,
		"AppArmor keeps user namespaces of ordinary users from any privilege (Ubuntu 23.10 and newer): kernel.apparmor_restrict_unprivileged_userns is 1",
		allowByArmor},
	{"clone unshare", errs{unix.EPERM, unix.EACCES}, forbiddenByDebian,
		"user namespaces are forbidden to ordinary users: kernel.unprivileged_userns_clone is 0",
		"sudo sysctl -w kernel.unprivileged_userns_clone=1"},
	{"clone unshare", errs{unix.EPERM, unix.EACCES, unix.ENOSPC}, forbiddenByLimit,
		"user namespaces are forbidden: user.max_user_namespaces is 0",
		"sudo sysctl -w user.max_user_namespaces=15000"},
	{"clone unshare", errs{unix.ENOSPC, unix.EUSERS}, nil,
		"a limit on namespaces is reached, the lowest of which is {lowest} here, or they are nested 32 deep",
		"raise the limit: sudo sysctl -w user.max_..._namespaces=N; or remove containers"},

	// Joining others'.
	{"clone", errs{unix.EPERM}, joins,
		"entering another's namespaces takes CAP_SYS_ADMIN in the user namespace that they belong to",
		"enter as the user that made them, or as root"},
	{"clone", errs{unix.EINVAL}, joins,
		"one of the files is no namespace of its kind, or it is the user namespace that this process is in already",
		"look at what they are: ls -l /proc/PID/ns, or lsns"},
	{"clone", errs{unix.ENOMEM}, joinsPid,
		"the pid namespace takes no process any more: its first process has ended",
		"start its container again"},
	{"open", errs{unix.ENOENT}, isNamespace,
		"there is no {path}: the process or container that has the namespace is gone",
		"start it again, or leave the namespace out"},

	// A new one.
	{"clone unshare", errs{unix.EPERM}, (*scene).filtered,
		"a seccomp filter around this process forbids new namespaces, as the one of Docker's containers does",
		"run the container around with --security-opt seccomp=unconfined, or --privileged"},
	{"clone unshare", errs{unix.EPERM}, newUser,
		"the kernel gives no user namespace to a process in a chroot, or to one whose own IDs are not mapped",
		"run outside of the chroot; of a container around, with --privileged"},
	{"clone unshare", errs{unix.EPERM}, nil,
		"namespaces take CAP_SYS_ADMIN where no user namespace comes with them",
		"run as root, or have a user namespace made (rootless)"},
	{"clone", errs{unix.EACCES, unix.EPERM}, intoCgroup,
		"this user may not move processes from the cgroup that it is in to the container's",
		"run it in a cgroup of the user's own: systemd-run --user --scope -p Delegate=yes ..."},
	{"clone", errs{unix.EBUSY, unix.EOPNOTSUPP}, intoCgroup,
		"the container's cgroup gives controllers to cgroups below it, or is threaded: no process can be born in it",
		"choose another cgroup path"},
	{"clone unshare", errs{unix.EINVAL}, nil,
		"this kernel is built without {lacking}", "run a kernel that has them, or share the host's"},
	{"clone unshare", errs{unix.ENOSYS}, nil,
		"a seccomp filter around this process hides clone3, which alone can make a time namespace or a process in a cgroup",
		"run the container around with --security-opt seccomp=unconfined"},
	{"clone", errs{unix.EAGAIN}, nil,
		"a limit on processes is reached: pids.max of a cgroup, RLIMIT_NPROC of the user, or kernel.threads-max",
		"raise it (ulimit -u; --pids-limit; systemctl set-property user-$(id -u).slice TasksMax=infinity), or end processes"},

	// The maps.
	{"uid-map gid-map", nil, func(s *scene) bool { return s.said("not allowed") },
		"/etc/subuid and /etc/subgid don't give this user all of the IDs that the map asks for",
		subordinates},
	{"uid-map gid-map", nil, func(s *scene) bool { return s.value("tool") != "" && s.barred() },
		"no program gets privileges by its setuid bit here: no_new_privs is set on this process",
		"start it from a shell of the machine, not from a sandbox or a service with NoNewPrivileges"},
	{"uid-map gid-map", nil, func(s *scene) bool { return s.value("tool") != "" && s.host.mode(s.value("tool"))&unix.S_ISUID == 0 },
		"{tool} has no setuid bit: unless it has the capability as a file, it may write no map",
		"sudo chmod u+s {tool}, or install the package uidmap (shadow-utils) again"},
	{"uid-map gid-map", nil, func(s *scene) bool { return s.value("tool") != "" && s.said("ermitted") },
		"{tool} may not write the map: a container or a sandbox around keeps it from its privilege, or its file system is mounted nosuid",
		"run outside of it, or map a single ID"},
	{"uid-map gid-map", errs{unix.EPERM}, nil,
		"the kernel lets an ordinary user map no ID but its own, and root none that its own user namespace lacks (user_namespaces(7))",
		"install newuidmap (package uidmap) and " + subordinates},
	{"uid-map gid-map", errs{unix.EINVAL}, nil,
		"the ranges of the map overlap, are empty, or are more than 340",
		"mend linux.uidMappings and linux.gidMappings"},
	{"write", errs{unix.EPERM, unix.EACCES}, func(s *scene) bool { return strings.HasSuffix(s.value("path"), "/setgroups") },
		"setgroups can only be forbidden before the group map is written, by who has made the namespace",
		"run with nothing around that changes the namespace"},
	{"become-root", errs{unix.EINVAL}, nil,
		"user or group 0 is not mapped in the user namespace: its maps are {uid_map} and {gid_map}",
		"map container ID 0 in linux.uidMappings and linux.gidMappings"},
	{"become-root", errs{unix.EPERM}, nil,
		"the user namespace forbids setgroups(2), or this process has no rights in it",
		"have the maps written by newuidmap and newgidmap"},
}

// The switches that forbid user namespaces.

func restrictedByArmor(s *scene) bool {
	ours := s.fault.Step.Action.Verb() != "write" || strings.HasPrefix(s.value("path"), "/proc/")
	return ours && s.rootless() && s.host.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
}

func forbiddenByDebian(s *scene) bool {
	return s.rootless() && s.host.read("/proc/sys/kernel/unprivileged_userns_clone") == "0"
}

func forbiddenByLimit(s *scene) bool {
	return newUser(s) && s.host.read("/proc/sys/user/max_user_namespaces") == "0"
}

func newUser(s *scene) bool { return s.number("flags")&unix.CLONE_NEWUSER != 0 }

func joins(s *scene) bool {
	a, ok := s.fault.Step.Action.(*plan.Clone)
	return ok && len(a.Join) > 0
}

func joinsPid(s *scene) bool {
	a, ok := s.fault.Step.Action.(*plan.Clone)
	return ok && slices.ContainsFunc(a.Join, func(j plan.Join) bool { return j.Kind == "pid" })
}

func isNamespace(s *scene) bool { return strings.HasPrefix(s.value("as"), "ns-") }

func intoCgroup(s *scene) bool { return s.value("into") != "" }

// filtered reports whether a seccomp filter is on this process (proc_pid_status(5)).
func (s *scene) filtered() bool {
	return strings.Contains(s.host.read("/proc/self/status"), "\nSeccomp:\t2")
}

// barred reports whether no program gives this process new privileges.
func (s *scene) barred() bool {
	return strings.Contains(s.host.read("/proc/self/status"), "\nNoNewPrivs:\t1")
}
