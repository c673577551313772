// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// OpenProc opens the host's /proc for the child, as the handle plan.Proc, and
// makes sure that it is procfs, and the whole of it (CVE-2019-16884).
type OpenProc struct{}

func (a *OpenProc) Verb() string         { return "open" }
func (a *OpenProc) Line() string         { return "open /proc as " + plan.Proc }
func (a *OpenProc) Shell(s *plan.Script) { s.Handle(plan.Proc, "/proc") }
func (a *OpenProc) Undo() plan.Host      { return nil }

// procRoot is the inode of procfs's own root (linux/proc_fs.h, PROC_ROOT_INO).
const procRoot = 1

func (a *OpenProc) Do(e *plan.Env) error {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := errors.Join(unix.Fstatfs(fd, &fs), unix.Fstat(fd, &st)); err != nil {
		unix.Close(fd)
		return err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC || st.Ino != procRoot {
		unix.Close(fd)
		return errors.New("it is not the root of a procfs")
	}
	e.Handles[plan.Proc] = fd
	return nil
}
