// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Host executes a plan of host steps only: a change of something that is there,
// without a child. If a step fails, those before it are taken back, the last
// first; the error is a *Fault, joined with what could not be taken back.
//
// Nothing is written down: a process that is killed in the middle leaves what it
// has done.
func Host(p *plan.Plan) error {
	x, i, err := hostSteps(p, nil)
	if err != nil {
		return errors.Join(x.fault(i, err), x.back(i))
	}
	return nil
}

// HostNoting executes a plan of host steps only, as Host does, but writes each
// inverse down before its step is done. If a step fails, what is to be taken
// back stands in the list: see Undo.
func HostNoting(p *plan.Plan, u *UndoList) error {
	x, i, err := hostSteps(p, u)
	if err != nil {
		return x.fault(i, err)
	}
	return nil
}

// hostSteps does the steps up to the first that fails, which it returns with the error.
func hostSteps(p *plan.Plan, u *UndoList) (x *execution, i int, err error) {
	x = &execution{p: p, in: -1, out: -1, born: len(p.Steps)}
	x.child.Pidfd = -1
	x.env.Handles = make(map[string]int)
	for i, s := range p.Steps {
		a, ok := s.Action.(plan.Host)
		if !ok {
			return x, i, errors.New("not an action of the host")
		}
		if back := a.Undo(); back != nil && u != nil {
			if _, err := u.add(back); err != nil {
				return x, i, err
			}
		}
		if err := a.Do(&x.env); err != nil {
			return x, i, err
		}
	}
	return x, len(p.Steps), nil
}

// back takes the steps before step n back.
func (x *execution) back(n int) error {
	var errs []error
	for i := n - 1; i >= 0; i-- {
		undo := x.p.Steps[i].Action.(plan.Host).Undo()
		if undo == nil {
			continue
		}
		// ENODEV, ENOENT: the container has ended, and its cgroup is gone
		if err := undo.Do(&x.env); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("undo %s: %w", undo.Line(), err))
		}
	}
	return errors.Join(errs...)
}
