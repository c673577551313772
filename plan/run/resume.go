// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A Waiting child is one that Start has left at its step plan.Await: what
// another process needs to have it go on.
type Waiting struct {
	Pid   int
	Pidfd int
	In    *os.File // what the child says: the FIFO plan.Await.Out
	Out   *os.File // what it hears: the FIFO plan.Await.In
	Page  *os.File // Options.Page of Start
	// Rest makes the rest of the plan that Start was given: the steps after
	// plan.Await. It is called if there are host steps among them (Meets), and
	// to say what has failed.
	Rest  func() (*plan.Plan, error)
	Meets bool
}

var errForeignPage = errors.New("the memory that the child shares is not of this plan")

// Resume has a waiting child go on. When it returns without an error, the
// container's program runs. The files stay the caller's.
//
// After an error the child is killed. It is not ours to reap.
func Resume(w *Waiting, o Options) error {
	m, err := openMachine(w.Page)
	if err != nil {
		return fmt.Errorf("resume process %d: %w", w.Pid, err)
	}
	x := &execution{m: m, p: new(plan.Plan), o: o, resumed: w, in: int(w.In.Fd()), out: int(w.Out.Fd()), born: -1, last: m.left() - 1}
	defer func() { m.unmap(); runtime.KeepAlive(x) }()
	x.child.Pid, x.child.Pidfd = w.Pid, w.Pidfd
	x.env = plan.Env{Pid: w.Pid, Handles: make(map[string]int)}
	if w.Meets {
		err = x.rest()
	}
	switch {
	case err != nil:
	case w.Meets:
		err = x.steps(0, len(x.p.Steps))
	default:
		_, err = unix.Write(x.out, []byte{'g'})
	}
	if err == nil {
		err = x.await()
	}
	if err != nil {
		_ = unix.PidfdSendSignal(w.Pidfd, unix.SIGKILL, nil, 0)
	}
	return err
}

// rest has the plan made that the child is in.
func (x *execution) rest() error {
	p, err := x.resumed.Rest()
	if err != nil {
		return err
	}
	calls := p.Lower()
	if len(p.Steps) != x.m.left() || x.m.call0+len(calls) != int(x.m.page.calls) {
		return errForeignPage
	}
	x.p, x.calls, x.last = p, calls, p.Last()
	return nil
}
