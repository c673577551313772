// SPDX-License-Identifier: Apache-2.0

package run

import "golang.org/x/sys/unix"

// adopt takes the process that a host step has named for the child: a program
// that restores processes has left one behind in its own place. 0 is none: the
// child has ended, and the step has asked for its status.
func (x *execution) adopt() {
	if x.env.Pid == x.child.Pid {
		return
	}
	if x.child.Pidfd >= 0 {
		unix.Close(x.child.Pidfd)
	}
	x.child.Pid, x.child.Pidfd = x.env.Pid, -1
	if x.env.Pid == 0 {
		return
	}
	if fd, err := unix.PidfdOpen(x.env.Pid, 0); err == nil {
		x.child.Pidfd = fd
	}
}
