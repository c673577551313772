// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"vitro/container"
	"vitro/monitor"
	"vitro/network"
)

// What becomes of containers whose process beside them was killed: whoever
// looks at one next, be it ps, has it mended.

// adopt takes over a container whose monitor has been killed.
func (l *life) adopt() (*monitor.Watch, error) {
	s := l.c.State
	if s == nil {
		return nil, container.ErrStopped
	}
	w := monitor.NewWatch(l.c.Dir)
	w.Hold, w.Pid = int(l.hold.Fd()), s.Pid
	w.Begin(s.Created, s.Age())
	var err error
	if w.Orders, err = monitor.ReadOrders(l.c.Dir); err != nil {
		if s.Alive() {
			return nil, fmt.Errorf("adopt container: %w", err)
		}
		w.Orders = &monitor.Orders{ID: l.c.ID} // they may have made room for SaveExit
	}
	w.Reopen(l.c.Dir)
	if err := l.holdNet(s.Pid); err != nil {
		l.warn(err)
	}
	if w.Pidfd, err = s.Open(); err != nil {
		w.Miss()
		return w, nil
	}
	if err := l.regain(w); err != nil {
		l.warn(err)
	}
	l.readopt(w)
	return w, w.Bind(l.c.Dir)
}

// readopt takes over what the killed process had on networks: the sockets that
// keep its ports, and those for questions. What can't be had is said.
func (l *life) readopt(w *monitor.Watch) {
	at, err := network.ReadAttachments(l.c.Dir)
	if err == nil {
		err = at.Hold()
	}
	if err == nil && slices.ContainsFunc(at.Endpoints, func(p network.Endpoint) bool { return p.DNS }) {
		err = w.AnswerIn(w.Pid)
	}
	if err != nil {
		l.warn(err)
	}
}

// mend looks after a container that has lost the process beside it: one that
// runs is given another, what is left of one that doesn't is taken back. It
// reports whether there was something to do.
func (e *Engine) mend(c *container.Container) (bool, error) {
	if err := e.mendUserNet(); err != nil {
		return false, err
	}
	if c.Holder() != 0 {
		return false, nil
	}
	if c.State == nil { // it was never started, or that start was killed
		return e.mendStart(c)
	}
	conn, err := e.Launch(Launch{ID: c.ID, Adopt: true})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	err = monitor.AwaitStart(conn, e.Warn)
	if c.Holder() != 0 {
		err = nil // ours, or somebody else's who was faster
	}
	if !c.State.Alive() { // it is being taken down
		e.awaitRest(c)
	}
	return true, err
}

// held reports whether somebody is beside a container. One that has lost its
// process, and runs, gets another.
func (e *Engine) held(c *container.Container) bool {
	if c.Holder() != 0 {
		return true
	}
	now, err := e.Containers.Look(c.ID)
	if err != nil {
		return false
	}
	_, err = e.mend(now)
	if err == nil || errors.Is(err, monitor.ErrLost) { // the other was killed, too
		return c.Holder() != 0 || now.State != nil && now.State.Alive()
	}
	return false
}

// awaitRest waits until a container that has ended is taken down; where its
// restart policy wants it again, the process beside it stays.
func (e *Engine) awaitRest(c *container.Container) {
	for end := time.Now().Add(time.Minute); !c.AwaitRelease(time.Now().Add(20*time.Millisecond)) && time.Now().Before(end); {
		s, err := e.Containers.See(c.ID)
		if err != nil {
			return
		}
		if i, err := e.look(c.ID, s); err != nil || i.Status == Running || i.Status == Restarting {
			return
		}
	}
}

// mendStart takes back what a start has done that was killed in the middle.
func (e *Engine) mendStart(c *container.Container) (bool, error) {
	if _, err := os.Lstat(c.Path("undo")); err != nil {
		return false, nil
	}
	c, err := e.Containers.Lock(c.ID)
	if err != nil {
		return false, err
	}
	defer c.Release()
	if c.Holder() != 0 || c.State != nil { // somebody is at it
		return false, nil
	}
	return true, clear(c)
}
