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

// NoFreezer is the answer to freezing a container whose processes can't be
// stopped as one. It is an ErrNoController.
type NoFreezer struct {
	Path string // its cgroup of version 2, where that lacks the file; else empty
}

func (e *NoFreezer) Error() string {
	if e.Path == "" {
		return "freeze container: it is in no cgroup that can be frozen"
	}
	return "freeze container: no file cgroup.freeze in " + e.Path
}

func (e *NoFreezer) Unwrap() error { return ErrNoController }

// Hint is what to do about it.
func (e *NoFreezer) Hint() string {
	if e.Path == "" {
		return "start it where it gets a cgroup: with the freezer of version 1, or in one of version 2 that is delegated to this user"
	}
	return "Linux 5.2 or newer, or the freezer of version 1"
}

// Freeze stops every process of the container and of the cgroups below its own,
// and waits until they stand still. On an error they run on. Where nothing can
// do that it is a *NoFreezer.
func (d Dirs) Freeze() error {
	c, ok := d.freezer()
	if !ok {
		return &NoFreezer{c.Path}
	}
	if c.V2 {
		return c.freezeV2()
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

// freezer is the cgroup that freezes: of version 2 where there is one, since
// nothing there can fork away from it.
func (d Dirs) freezer() (Dir, bool) {
	c, ok := d.unified()
	if ok && exists(c.Path+"/cgroup.freeze") {
		return c, true
	}
	if v1, ok := d.with("freezer"); ok {
		return v1, true
	}
	return c, false
}

// Thaw lets the processes run on. Cgroups below that have been frozen for
// themselves stay so, and so does all if one above is frozen.
func (d Dirs) Thaw() error {
	c, ok := d.freezer()
	switch {
	case !ok:
		return &NoFreezer{c.Path}
	case c.V2:
		return put(c.Path, "cgroup.freeze", "0")
	}
	return put(c.Path, "freezer.state", "THAWED")
}

// Frozen reports whether the container is frozen, or about to be: by itself, not
// because a cgroup above is.
func (d Dirs) Frozen() (bool, error) {
	if c, ok := d.unified(); ok {
		s, err := glance(c.Path, "cgroup.freeze")
		if !gone(err) {
			return strings.TrimSpace(s) == "1", err
		}
	}
	c, ok := d.with("freezer")
	if !ok || c.V2 {
		return false, nil
	}
	s, err := glance(c.Path, "freezer.self_freezing")
	if gone(err) {
		return false, nil
	}
	return strings.TrimSpace(s) == "1", err
}

// freezeV2 writes cgroup.freeze (since Linux 5.2) and waits for the event.
func (c Dir) freezeV2() error {
	err := put(c.Path, "cgroup.freeze", "1")
	if err != nil {
		return err
	}
	if err = c.await("frozen 1"); err != nil {
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
	if pids, err := d.Procs(); err == nil && len(pids) == 0 || gone(err) {
		return nil
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
			d.thawAll()
		}
		return len(pids) == 0, err
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("kill container: %w", err)
	}
	return nil
}

// thawAll thaws the cgroups below too, which the container may have frozen: in
// version 1 a frozen process doesn't even die.
func (d Dirs) thawAll() {
	c, ok := d.freezer()
	if !ok {
		return
	}
	_ = d.Thaw()
	if c.V2 {
		return
	}
	for _, dir := range below(c.Path) {
		_ = put(dir, "freezer.state", "THAWED")
	}
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
