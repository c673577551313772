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
}

var errForeignPage = errors.New("the memory that the child shares is not of this plan")

// Resume has a waiting child go on. The plan is the rest of the one that Start
// was given: the steps after plan.Await. When it returns without an error, the
// container's program runs. The files stay the caller's.
//
// After an error the child is killed. It is not ours to reap.
func Resume(p *plan.Plan, w *Waiting, o Options) error {
	x := &execution{p: p, o: o, calls: p.Lower(), born: -1, last: p.Last()}
	x.child.Pid, x.child.Pidfd = w.Pid, w.Pidfd
	x.env = plan.Env{Pid: w.Pid, Handles: make(map[string]int)}
	m, err := openMachine(w.Page, len(p.Steps), len(x.calls))
	if err != nil {
		return fmt.Errorf("resume process %d: %w", w.Pid, err)
	}
	defer func() { m.unmap(); runtime.KeepAlive(x) }()
	x.m, x.resumed = m, true
	x.in, x.out = int(w.In.Fd()), int(w.Out.Fd())
	err = x.steps(0, len(p.Steps))
	if err == nil {
		err = x.await()
	}
	if err != nil {
		_ = unix.PidfdSendSignal(w.Pidfd, unix.SIGKILL, nil, 0)
	}
	return err
}
