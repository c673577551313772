// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/monitor"
)

// Signal sends a signal to a running container's first process.
func (e *Engine) Signal(name string, sig unix.Signal) error {
	c, err := e.find(name)
	if err != nil {
		return err
	}
	if err := signal(c, sig); err != nil {
		return fmt.Errorf("kill container %q: %w", name, err)
	}
	return e.told(c, "kill", "signal", strconv.Itoa(int(sig)))
}

// told writes an event of a container that was only looked at.
func (e *Engine) told(c *container.Container, action string, more ...string) error {
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	e.tell(r, action, more...)
	return nil
}

func signal(c *container.Container, sig unix.Signal) error {
	if c.State == nil {
		return container.ErrStopped
	}
	fd, err := c.State.Open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if err == unix.ESRCH {
			return container.ErrStopped
		}
		return err
	}
	// A frozen process of version 1 doesn't even die.
	if frozen, err := c.State.Cgroups.Frozen(); sig == unix.SIGKILL && err == nil && frozen {
		return c.State.Cgroups.Thaw()
	}
	return nil
}

// A StopRequest is how a container is asked to end; nil and zero values are
// what the container was made with.
type StopRequest struct {
	Signal  unix.Signal
	Timeout *int // seconds; negative is for ever
}

// Stop asks a container to end, kills it if it doesn't in time, and returns
// when all of it is taken down. It is no error if it doesn't run.
func (e *Engine) Stop(name string, s StopRequest) error {
	id, err := e.Containers.Resolve(name)
	if err != nil {
		return nearName(err)
	}
	if err := e.want(id, container.WantStop); err != nil {
		return err
	}
	return e.stop(id, s)
}

// want writes down what the user wants, which no monitor is to overlook.
func (e *Engine) want(id string, w container.Wanted) error {
	c, err := e.Containers.Lock(id)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Want(w)
}

func (e *Engine) stop(id string, s StopRequest) error {
	c, err := e.Containers.Look(id)
	if err != nil {
		return err
	}
	if _, err := e.mend(c); err != nil {
		return err
	}
	if c.State == nil || !c.State.Alive() {
		c.AwaitRelease(time.Time{})
		return nil
	}
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	sig, err := r.stopSignal()
	if err != nil {
		return err
	}
	if s.Signal != 0 {
		sig = s.Signal
	}
	wait := r.stopTimeout()
	if s.Timeout != nil {
		wait = time.Duration(*s.Timeout) * time.Second
	}
	fd, err := c.State.Open()
	if err != nil {
		c.AwaitRelease(time.Time{})
		return nil
	}
	defer unix.Close(fd)
	if err := endProcess(c, fd, sig, wait); err != nil {
		return fmt.Errorf("stop container %q: %w", id, err)
	}
	c.AwaitRelease(time.Time{})
	e.tell(r, "stop")
	return nil
}

// endProcess asks the first process to end, and kills it when its time is over.
func endProcess(c *container.Container, pidfd int, sig unix.Signal, wait time.Duration) error {
	if err := signal(c, sig); err != nil {
		if errors.Is(err, container.ErrStopped) {
			return nil
		}
		return err
	}
	if frozen, err := c.State.Cgroups.Frozen(); err == nil && frozen {
		if err := c.State.Cgroups.Thaw(); err != nil {
			return err
		}
	}
	if ended(pidfd, wait) {
		return nil
	}
	if err := signal(c, unix.SIGKILL); err != nil && !errors.Is(err, container.ErrStopped) {
		return err
	}
	if !ended(pidfd, 10*time.Second) {
		return errors.New("its first process does not end, though it was killed")
	}
	return nil
}

// ended waits for a process's end; for a negative time as long as it takes.
func ended(pidfd int, wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		ms := -1
		if wait >= 0 {
			ms = int(max(0, time.Until(deadline).Milliseconds()))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, ms)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// Running reports whether a container runs, paused or not.
func (e *Engine) Running(name string) (bool, error) {
	c, err := e.find(name)
	if err != nil {
		return false, err
	}
	return c.State != nil && c.State.Alive(), nil
}

// Remove removes a container; with force even one that runs, and with volumes
// those of its volumes that have no name.
func (e *Engine) Remove(name string, force, volumes bool) error {
	id, err := e.Containers.Resolve(name)
	if err != nil {
		return nearName(err)
	}
	err = e.remove(name, id, force, volumes)
	_, gone := e.Containers.Look(id)
	// Its lock goes before its folder: it is removing itself, or who was at that has been killed.
	for end := time.Now().Add(2 * time.Second); force && errors.Is(err, container.ErrNotFound) && gone == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_ = e.Containers.Sweep()
		_, gone = e.Containers.Look(id)
	}
	if force && errors.Is(gone, container.ErrNotFound) {
		return nil // removed it is, by itself or by somebody else, whatever we met on the way
	}
	return err
}

func (e *Engine) remove(name, id string, force, volumes bool) error {
	c, err := e.Containers.Look(id)
	if err != nil {
		return err
	}
	if c.State != nil && c.State.Alive() || c.Holder() != 0 {
		if !force {
			return hint(fmt.Errorf("remove container %q: it is running", name), "vitro stop %[1]s first, or vitro rm -f %[1]s", name)
		}
		if err := e.want(id, container.WantStop); err != nil {
			return err
		}
		if err := e.stop(id, StopRequest{Signal: unix.SIGKILL}); err != nil {
			return err
		}
	}
	if c, err = e.Containers.Lock(id); err != nil {
		return err
	}
	if c.State != nil && c.State.Alive() {
		c.Release()
		return fmt.Errorf("remove container %q: somebody has started it again", name)
	}
	r, err := loadRecord(c.Dir)
	if errors.Is(err, os.ErrNotExist) {
		r = &Record{ID: id}
	} else if err != nil {
		c.Release()
		return err
	}
	if volumes || r.Flags.Rm {
		err = e.dropVolumes(c.Dir)
	}
	return errors.Join(err, e.erase(c, r))
}

// Rename gives a container another name.
func (e *Engine) Rename(name, to string) error {
	c, err := e.lock(name)
	if err != nil {
		return err
	}
	defer c.Release()
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	old := r.Name
	if old == to {
		return hint(fmt.Errorf("rename container %q: that is its name", name), "give another")
	}
	if err := e.Containers.Name(to, c.ID); err != nil {
		return err
	}
	r.Name = to
	if err := saveRecord(c, r); err != nil {
		return errors.Join(err, e.Containers.Unname(to, c.ID))
	}
	e.tell(r, "rename", "oldName", "/"+old)
	return e.Containers.Unname(old, c.ID)
}

// Pause has all processes of a container stand still, or go on.
func (e *Engine) Pause(name string, still bool) error {
	c, err := e.lock(name)
	if err != nil {
		return err
	}
	defer c.Release()
	verb, act, want := "pause", container.Paused, container.Running
	if !still {
		verb, act, want = "unpause", container.Running, container.Paused
	}
	switch got := c.Status(); {
	case got == act:
		return fmt.Errorf("%s container %q: it is %s already", verb, name, got)
	case got != want || c.State == nil:
		return hint(fmt.Errorf("%s container %q: it is not %s", verb, name, want), "vitro ps -a shows how it is")
	}
	if still {
		err = c.State.Cgroups.Freeze()
	} else {
		err = c.State.Cgroups.Thaw()
	}
	if err != nil {
		return fmt.Errorf("%s container %q: %w", verb, name, err)
	}
	return e.told(c, verb)
}

// Connect connects to the process beside a running container.
func (e *Engine) Connect(name string) (*os.File, *Record, error) {
	c, err := e.find(name)
	if err != nil {
		return nil, nil, err
	}
	if c.State == nil || !c.State.Alive() {
		return nil, nil, hint(fmt.Errorf("attach to container %q: it is not running", name), "vitro start %s", name)
	}
	if _, err := e.mend(c); err != nil {
		return nil, nil, err
	}
	r, err := loadRecord(c.Dir)
	if err != nil {
		return nil, nil, err
	}
	conn, err := monitor.Dial(c.Dir)
	if err == nil {
		e.tell(r, "attach")
	}
	return conn, r, err
}

// Wait waits until a container doesn't run, and returns how it ended.
func (e *Engine) Wait(name string) (container.Exit, error) {
	c, err := e.find(name)
	if err != nil {
		return container.Exit{}, err
	}
	for {
		_, err := e.mend(c)
		lost := errors.Is(err, monitor.ErrLost) // the process that was to mend it: there will be another
		if err != nil && !lost {
			return container.Exit{}, err
		}
		if !lost && (c.State == nil || !c.State.Alive()) {
			break
		}
		conn, err := monitor.Dial(c.Dir)
		if err == nil {
			exit, err := (&monitor.Attachment{}).Attach(conn)
			if !errors.Is(err, monitor.ErrLost) {
				return container.Exit{Code: exit.Code, OOM: exit.OOM}, err
			}
		} else { // the process beside it is new, or about to end
			c.AwaitRelease(time.Now().Add(20 * time.Millisecond))
		}
		if c, err = e.Containers.Look(c.ID); err != nil {
			return container.Exit{}, err
		}
	}
	c.AwaitRelease(time.Time{})
	exit, err := c.LoadExit()
	if errors.Is(err, os.ErrNotExist) {
		return container.Exit{}, nil
	}
	if err != nil {
		return container.Exit{}, err
	}
	return *exit, nil
}

// Startable is the record of a container that can be started. It fails with
// ErrRunning if it runs.
func (e *Engine) Startable(name string) (*Record, error) {
	c, err := e.find(name)
	if err != nil {
		return nil, err
	}
	switch c.Status() {
	case container.Running:
		if _, err := e.mend(c); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("start container %q: %w", name, ErrRunning)
	case container.Paused:
		return nil, hint(fmt.Errorf("start container %q: it is paused", name), "vitro unpause %s", name)
	}
	if _, err := e.mend(c); err != nil { // it has ended, and nobody has seen it
		return nil, err
	}
	if !c.AwaitRelease(time.Now().Add(10 * time.Second)) {
		if again, _ := e.find(name); again != nil && again.State != nil && again.State.Alive() {
			return nil, fmt.Errorf("start container %q: %w", name, ErrRunning)
		}
		return nil, hint(fmt.Errorf("start container %q: it is being restarted", name), "vitro stop %s ends that", name)
	}
	return loadRecord(c.Dir)
}
