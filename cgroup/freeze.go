// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long Freeze and Kill wait for the kernel.
const patience = 10 * time.Second

// Freeze stops every process of the container, and waits until they stand
// still. On an error they run on. Without a cgroup of version 2 or a freezer it
// is ErrNoController.
func (d Dirs) Freeze() error {
	if c, ok := d.unified(); ok {
		return c.freezeV2("1")
	}
	c, ok := d.with("freezer")
	if !ok {
		return ErrNoController
	}
	err := until(func() (bool, error) {
		// again and again: a fork in the middle leaves it at FREEZING (freezer-subsystem.rst)
		if err := put(c.Path, "freezer.state", "FROZEN"); err != nil {
			return false, err
		}
		state, err := get(c.Path, "freezer.state")
		return strings.TrimSpace(state) == "FROZEN", err
	})
	if err != nil {
		_ = put(c.Path, "freezer.state", "THAWED")
		return fmt.Errorf("freeze %s: %w", c.Path, err)
	}
	return nil
}

// Thaw lets the processes run on.
func (d Dirs) Thaw() error {
	if c, ok := d.unified(); ok {
		return c.freezeV2("0")
	}
	c, ok := d.with("freezer")
	if !ok {
		return ErrNoController
	}
	return put(c.Path, "freezer.state", "THAWED")
}

// Frozen reports whether the container is frozen, or about to be.
func (d Dirs) Frozen() (bool, error) {
	if c, ok := d.unified(); ok {
		s, err := get(c.Path, "cgroup.freeze")
		return strings.TrimSpace(s) == "1", err
	}
	c, ok := d.with("freezer")
	if !ok {
		return false, nil
	}
	s, err := get(c.Path, "freezer.state")
	return s != "" && strings.TrimSpace(s) != "THAWED", err
}

// freezeV2 writes cgroup.freeze (since Linux 5.2) and waits for the event.
func (c Dir) freezeV2(state string) error {
	if err := put(c.Path, "cgroup.freeze", state); err != nil {
		return err
	}
	err := c.await("frozen " + state)
	if err != nil && state == "1" {
		_ = put(c.Path, "cgroup.freeze", "0")
	}
	return err
}

// await waits for a line in cgroup.events: the kernel says by POLLPRI when
// the file has changed.
func (c Dir) await(line string) error {
	fd, err := openFile(c.Path, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 256)
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Pread(fd, buf, 0)
		if gone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s/cgroup.events: %w", c.Path, err)
		}
		if strings.Contains("\n"+string(buf[:n]), "\n"+line+"\n") {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("wait for %q in %s/cgroup.events: %w", line, c.Path, unix.ETIMEDOUT)
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return err
		}
	}
}

// Kill kills every process of the container, and waits until none is left. A
// cgroup that is gone is no error.
func (d Dirs) Kill() error {
	if c, ok := d.unified(); ok {
		err := put(c.Path, "cgroup.kill", "1") // since Linux 5.14
		if err == nil {
			return c.await("populated 0")
		}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	// Frozen, none can fork away from the signal. They die when they thaw.
	frozen := d.Freeze() == nil
	err := until(func() (bool, error) {
		pids, err := d.Procs()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if frozen {
			frozen = false
			_ = d.Thaw()
		}
		return len(pids) == 0, err
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("kill container: %w", err)
	}
	return nil
}

// until asks again, with pauses that grow, until it is done or patience ends.
func until(done func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return unix.ETIMEDOUT
		}
		time.Sleep(pause)
	}
}
