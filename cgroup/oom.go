// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// An OOMWatch hears when a container has no memory left, and the kernel kills a
// process of it (or has it wait, if that is how it is configured).
type OOMWatch struct {
	fd    int // readable when something may have happened
	dir   Dir
	kills uint64 // so far; version 2
}

// WatchOOM begins to listen. Version 1 tells by an eventfd that memory.oom_control
// writes to (cgroup-v1/memory.rst, 10), version 2 by inotify on memory.events
// (cgroup-v2.rst). ErrNoController: nobody counts.
//
// Version 1 tells of the limits of the container's cgroup and of those above it,
// version 2 also of those that the container has made below.
func (d Dirs) WatchOOM() (*OOMWatch, error) {
	c, ok := d.with("memory")
	if !ok {
		return nil, ErrNoController
	}
	w := &OOMWatch{fd: -1, dir: c}
	listen := w.listenV1
	if c.V2 {
		listen = w.listenV2
	}
	if err := listen(c.Path); err != nil {
		w.Close()
		return nil, fmt.Errorf("listen for OOM of %s: %w", c.Path, err)
	}
	return w, nil
}

func (w *OOMWatch) listenV1(dir string) error {
	control, err := openFile(dir, "memory.oom_control", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(control) // the kernel keeps what it needs of it
	if w.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	return put(dir, "cgroup.event_control", fmt.Sprintf("%d %d", w.fd, control))
}

func (w *OOMWatch) listenV2(dir string) (err error) {
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	if _, err = unix.InotifyAddWatch(w.fd, dir+"/memory.events", unix.IN_MODIFY); err != nil {
		return &fs.PathError{Op: "watch", Path: dir + "/memory.events", Err: err}
	}
	w.kills, err = field(dir, "memory.events", "oom_kill") // now that none can be missed
	return err
}

// FD becomes readable (poll(2)) when there is something for Next.
func (w *OOMWatch) FD() int { return w.fd }

// Next takes what there is to read from FD, and reports whether there was an OOM
// since the last call; several in a row may be one. It doesn't wait. A container
// whose cgroup is gone has no more of them.
func (w *OOMWatch) Next() (bool, error) {
	buf := make([]byte, 4096)
	n, err := unix.Read(w.fd, buf)
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		return false, fmt.Errorf("listen for OOM of %s: %w", w.dir.Path, err)
	}
	if !w.dir.V2 {
		// the event comes ahead of the kill, and once more when the cgroup is removed
		return n > 0 && exists(w.dir.Path+"/memory.oom_control"), nil
	}
	// memory.events changes for other reasons too
	kills, err := field(w.dir.Path, "memory.events", "oom_kill")
	if err != nil {
		if gone(err) {
			err = nil
		}
		return false, err
	}
	more := kills > w.kills
	w.kills = kills
	return more, nil
}

// Close stops the listening.
func (w *OOMWatch) Close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd = -1
}
