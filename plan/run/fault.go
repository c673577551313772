// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A Fault is a step that failed: what was attempted, the kernel's answer, and
// what is usually the cause.
type Fault struct {
	Step   plan.Step
	Index  int    // in the plan, from 0
	Of     int    // how many steps the plan has
	Call   string // the system call, as strace(1) shows it; empty for host steps
	Err    error  // the kernel's answer
	Cause  string // why it usually is so; may be empty
	Remedy string // what to do about it; may be empty: see Hint
}

// Error says what was attempted and what the kernel said.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s: %v", f.Step.Action.Line(), f.Err)
}

func (f *Fault) Unwrap() error { return f.Err }

// Detail is the place of the fault in the plan, for people who look deeper.
func (f *Fault) Detail() string {
	s := fmt.Sprintf("step %d of %d, in the %s", f.Index+1, f.Of, f.Step.Where())
	if f.Call != "" {
		s += ": " + f.Call
	}
	var errno unix.Errno
	if errors.As(f.Err, &errno) {
		s += " = " + unix.ErrnoName(errno)
	}
	return s
}

func (x *execution) fault(i int, err error) *Fault {
	f := &Fault{Step: x.p.Steps[i], Index: i, Of: len(x.p.Steps), Err: err}
	f.diagnose(x)
	return f
}

// childFault reads from the page what the child was about.
func (x *execution) childFault() *Fault {
	i, n := x.m.index(x.m.page.step), x.m.call()
	f := &Fault{Step: x.p.Steps[i], Index: i, Of: len(x.p.Steps), Err: unix.Errno(x.m.page.errno)}
	if calls := x.lowered(); n >= 0 && n < len(calls) && calls[n].Step == i {
		f.Call = calls[n].Text()
	}
	f.diagnose(x)
	return f
}

// lowered are the calls of the plan. The linker has had them step by step, and
// keeps none: they are needed as a whole to say what has failed.
func (x *execution) lowered() []plan.Call {
	if x.calls == nil {
		x.calls = x.p.Lower()
	}
	return x.calls
}

// errnos are the errors of all calls of a step: of the paths that the exec has tried.
func (x *execution) errnos(step int) []unix.Errno {
	var errs []unix.Errno
	calls := x.lowered()
	for k := range calls {
		if calls[k].Step == step {
			errs = append(errs, x.m.errnoOf(k))
		}
	}
	return errs
}
