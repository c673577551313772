// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The return values carry 16 bits of data; of an errno the kernel takes at most
// MAX_ERRNO (linux/err.h) and would silently lower the rest.
const (
	maxErrno = 4095
	maxData  = unix.SECCOMP_RET_DATA
)

const (
	retNosys   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	retBadArch = unix.SECCOMP_RET_KILL_THREAD
)

// actions says what each action returns, and how much data it may carry.
var actions = [...]struct {
	name specs.LinuxSeccompAction
	ret  uint32
	data uint
}{
	{specs.ActAllow, unix.SECCOMP_RET_ALLOW, 0},
	{specs.ActErrno, unix.SECCOMP_RET_ERRNO, maxErrno},
	{specs.ActKill, unix.SECCOMP_RET_KILL_THREAD, 0},
	{specs.ActKillThread, unix.SECCOMP_RET_KILL_THREAD, 0},
	{specs.ActKillProcess, unix.SECCOMP_RET_KILL_PROCESS, 0},
	{specs.ActTrap, unix.SECCOMP_RET_TRAP, 0},
	{specs.ActTrace, unix.SECCOMP_RET_TRACE, maxData},
	{specs.ActLog, unix.SECCOMP_RET_LOG, 0},
	{specs.ActNotify, unix.SECCOMP_RET_USER_NOTIF, 0},
}

// parseAction returns the filter's return value for an action. An absent errno
// means EPERM; one given to an action that has no use for it is an error, as
// the specification demands.
func parseAction(act specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	for _, a := range actions {
		if a.name != act {
			continue
		}
		switch {
		case a.data == 0 && errno != nil:
			return 0, fmt.Errorf("action %s takes no errno, got %d", act, *errno)
		case a.data == 0:
			return a.ret, nil
		case errno == nil:
			return a.ret | uint32(unix.EPERM), nil
		case *errno > a.data:
			return 0, fmt.Errorf("errno %d of action %s is above %d", *errno, act, a.data)
		}
		return a.ret | uint32(*errno), nil
	}
	return 0, fmt.Errorf("unknown action %q", act)
}

// lenient reports whether a default action lets calls through. A tracer is
// expected to deal with unknown calls itself.
func lenient(ret uint32) bool {
	switch ret & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return true
	}
	return false
}

// flagTsync is no flag of the specification, but runc knows it, so profiles
// have it. The child that installs a filter has one thread: there is nothing to
// synchronize.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// flags says what each flag of a section sets.
var flags = [...]struct {
	name   specs.LinuxSeccompFlag
	bit    uint
	notify bool // the kernel takes it together with NEW_LISTENER only
}{
	{specs.LinuxSeccompFlagLog, unix.SECCOMP_FILTER_FLAG_LOG, false},
	{specs.LinuxSeccompFlagSpecAllow, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, false},
	{flagTsync, 0, false},
	{specs.LinuxSeccompFlagWaitKillableRecv, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, true},
}

// parseFlags returns the flags of seccomp(2). A section without any list gets
// SPEC_ALLOW, as in runc: the mitigation that it turns off costs every
// container much, and since Linux 5.16 is off by default.
func parseFlags(list []specs.LinuxSeccompFlag, notify bool) (uint, error) {
	var bits uint
	if list == nil {
		bits = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	if notify {
		bits |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
next:
	for _, name := range list {
		for _, f := range flags {
			if f.name != name {
				continue
			}
			if notify || !f.notify {
				bits |= f.bit
			}
			continue next
		}
		return 0, fmt.Errorf("unknown flag %q", name)
	}
	return bits, nil
}

// Action names a filter's return value as a person would: "allow",
// "errno EPERM", "kill thread".
func Action(ret uint32) string {
	data := ret & unix.SECCOMP_RET_DATA
	switch ret & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW:
		return "allow"
	case unix.SECCOMP_RET_ERRNO:
		if name := unix.ErrnoName(unix.Errno(data)); name != "" {
			return "errno " + name
		}
		return "errno " + strconv.Itoa(int(data))
	case unix.SECCOMP_RET_KILL_THREAD:
		return "kill thread"
	case unix.SECCOMP_RET_KILL_PROCESS:
		return "kill process"
	case unix.SECCOMP_RET_TRAP:
		return "trap"
	case unix.SECCOMP_RET_TRACE:
		return "trace " + strconv.Itoa(int(data))
	case unix.SECCOMP_RET_LOG:
		return "log"
	case unix.SECCOMP_RET_USER_NOTIF:
		return "notify"
	}
	// The kernel treats what it doesn't know as the strictest action.
	return "kill process (unknown action 0x" + strconv.FormatUint(uint64(ret), 16) + ")"
}
