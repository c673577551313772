// SPDX-License-Identifier: Apache-2.0

package plan

import "golang.org/x/sys/unix"

// Sys is a system call that a child step may use: a row of the table below.
type Sys uint8

// The calls. All of them exist on every architecture that vitro is built for,
// which is why the older forms (open, mkdir, dup2) are not among them.
const (
	_ Sys = iota
	SysCapset
	SysChdir
	SysChroot
	SysClone3
	SysCloseRange
	SysDup3
	SysExecve
	SysExecveat
	SysExitGroup
	SysFaccessat2
	SysFchdir
	SysFchmodat
	SysFchownat
	SysFsconfig
	SysFsmount
	SysFsopen
	SysFspick
	SysIoctl
	SysIoprioSet
	SysKeyctl
	SysMkdirat
	SysMknodat
	SysMount
	SysMountSetattr
	SysMoveMount
	SysOpenat
	SysOpenat2
	SysOpenTree
	SysPersonality
	SysPivotRoot
	SysPpoll
	SysPrctl
	SysPrlimit64
	SysSchedSetaffinity
	SysSchedSetattr
	SysSeccomp
	SysSendmsg
	SysSetMempolicy
	SysSetdomainname
	SysSetgroups
	SysSethostname
	SysSetns
	SysSetresgid
	SysSetresuid
	SysSetsid
	SysSocket
	SysSymlinkat
	SysUmask
	SysUmount2
	SysUnshare
	SysWrite
)

// sysTable is the table of calls: the name for people, the number for the
// kernel that the program is built for.
var sysTable = [...]struct {
	name string
	nr   uintptr
}{
	SysCapset:           {"capset", unix.SYS_CAPSET},
	SysChdir:            {"chdir", unix.SYS_CHDIR},
	SysChroot:           {"chroot", unix.SYS_CHROOT},
	SysClone3:           {"clone3", unix.SYS_CLONE3},
	SysCloseRange:       {"close_range", unix.SYS_CLOSE_RANGE},
	SysDup3:             {"dup3", unix.SYS_DUP3},
	SysExecve:           {"execve", unix.SYS_EXECVE},
	SysExecveat:         {"execveat", unix.SYS_EXECVEAT},
	SysExitGroup:        {"exit_group", unix.SYS_EXIT_GROUP},
	SysFaccessat2:       {"faccessat2", unix.SYS_FACCESSAT2},
	SysFchdir:           {"fchdir", unix.SYS_FCHDIR},
	SysFchmodat:         {"fchmodat", unix.SYS_FCHMODAT},
	SysFchownat:         {"fchownat", unix.SYS_FCHOWNAT},
	SysFsconfig:         {"fsconfig", unix.SYS_FSCONFIG},
	SysFsmount:          {"fsmount", unix.SYS_FSMOUNT},
	SysFsopen:           {"fsopen", unix.SYS_FSOPEN},
	SysFspick:           {"fspick", unix.SYS_FSPICK},
	SysIoctl:            {"ioctl", unix.SYS_IOCTL},
	SysIoprioSet:        {"ioprio_set", unix.SYS_IOPRIO_SET},
	SysKeyctl:           {"keyctl", unix.SYS_KEYCTL},
	SysMkdirat:          {"mkdirat", unix.SYS_MKDIRAT},
	SysMknodat:          {"mknodat", unix.SYS_MKNODAT},
	SysMount:            {"mount", unix.SYS_MOUNT},
	SysMountSetattr:     {"mount_setattr", unix.SYS_MOUNT_SETATTR},
	SysMoveMount:        {"move_mount", unix.SYS_MOVE_MOUNT},
	SysOpenat:           {"openat", unix.SYS_OPENAT},
	SysOpenat2:          {"openat2", unix.SYS_OPENAT2},
	SysOpenTree:         {"open_tree", unix.SYS_OPEN_TREE},
	SysPersonality:      {"personality", unix.SYS_PERSONALITY},
	SysPivotRoot:        {"pivot_root", unix.SYS_PIVOT_ROOT},
	SysPpoll:            {"ppoll", unix.SYS_PPOLL},
	SysPrctl:            {"prctl", unix.SYS_PRCTL},
	SysPrlimit64:        {"prlimit64", unix.SYS_PRLIMIT64},
	SysSchedSetaffinity: {"sched_setaffinity", unix.SYS_SCHED_SETAFFINITY},
	SysSchedSetattr:     {"sched_setattr", unix.SYS_SCHED_SETATTR},
	SysSeccomp:          {"seccomp", unix.SYS_SECCOMP},
	SysSendmsg:          {"sendmsg", unix.SYS_SENDMSG},
	SysSetMempolicy:     {"set_mempolicy", unix.SYS_SET_MEMPOLICY},
	SysSetdomainname:    {"setdomainname", unix.SYS_SETDOMAINNAME},
	SysSetgroups:        {"setgroups", unix.SYS_SETGROUPS},
	SysSethostname:      {"sethostname", unix.SYS_SETHOSTNAME},
	SysSetns:            {"setns", unix.SYS_SETNS},
	SysSetresgid:        {"setresgid", unix.SYS_SETRESGID},
	SysSetresuid:        {"setresuid", unix.SYS_SETRESUID},
	SysSetsid:           {"setsid", unix.SYS_SETSID},
	SysSocket:           {"socket", unix.SYS_SOCKET},
	SysSymlinkat:        {"symlinkat", unix.SYS_SYMLINKAT},
	SysUmask:            {"umask", unix.SYS_UMASK},
	SysUmount2:          {"umount2", unix.SYS_UMOUNT2},
	SysUnshare:          {"unshare", unix.SYS_UNSHARE},
	SysWrite:            {"write", unix.SYS_WRITE},
}

// String is the call's name in the kernel's table.
func (s Sys) String() string { return sysTable[s].name }

// Nr is the call's number on this architecture.
func (s Sys) Nr() uintptr { return sysTable[s].nr }
