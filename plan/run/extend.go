// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"os"

	"vitro/plan"
)

// OpenUndo opens the undo list of a container that has been made, to write
// more to its end. It has to be there.
func OpenUndo(path string) (*UndoList, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &UndoList{file: f, size: int(st.Size())}, nil
}

// Extend does host steps for a container that runs, whose first process is
// given. If one fails, those before it are taken back, and the error is a *Fault.
//
// The container may end meanwhile, and its undo list be done and removed: with
// the process alive after Extend, the list holds what Extend has written.
//
// Precondition: nobody else writes to the list.
func Extend(p *plan.Plan, pid int, undo *UndoList) error {
	x := &execution{p: p, o: Options{Undo: undo}, in: -1, out: -1}
	x.env = plan.Env{Pid: pid, Handles: make(map[string]int)}
	x.child = Child{Pid: pid, Pidfd: -1}
	defer x.close()
	begin := undo.size
	for i, s := range p.Steps {
		a, ok := s.Action.(plan.Host)
		err := errors.New("only host steps can be done for a container that runs")
		if ok {
			err = x.host(i, a)
		}
		if err == nil {
			continue
		}
		if back := takeBack(p.Steps[:i]); back != nil {
			return errors.Join(err, back) // the list has what is left to do
		}
		undo.drop(begin + 1)
		return err
	}
	return nil
}

// takeBack does the inverses of steps, the last first.
func takeBack(steps []plan.Step) error {
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if a, ok := steps[i].Action.(plan.Host); ok {
			if undo := a.Undo(); undo != nil {
				errs = append(errs, undo.Do(&plan.Env{}))
			}
		}
	}
	return errors.Join(errs...)
}

// TakeBack does the inverses of the plan's host steps: for who has extended a
// container that has ended meanwhile.
func TakeBack(p *plan.Plan) error { return takeBack(p.Steps) }
