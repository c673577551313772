// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidfdInfo is struct pidfd_info of linux/pidfd.h, in its first size.
type pidfdInfo struct {
	mask, cgroup     uint64
	pid, tgid, ppid  uint32
	ruid, rgid, euid uint32
	egid, suid, sgid uint32
	fsuid, fsgid     uint32
	status           int32
}

const (
	pidfdGetInfo  = 0xc040ff0b // PIDFD_GET_INFO, of Linux 6.13
	pidfdInfoExit = 1 << 3     // PIDFD_INFO_EXIT, of Linux 6.15
)

// exitOf is the exit status of a process that is not our child, once its
// parent has reaped it. Older kernels tell it to nobody but the parent.
func exitOf(pidfd int) (code int, ok bool) {
	for deadline := time.Now().Add(200 * time.Millisecond); ; time.Sleep(time.Millisecond) {
		info := pidfdInfo{mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.mask&pidfdInfoExit != 0 {
			return exitCode(unix.WaitStatus(info.status)), true
		}
		if errno != 0 && errno != unix.ESRCH || time.Now().After(deadline) {
			return 0, false
		}
	}
}
