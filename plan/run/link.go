// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A linker turns calls into instructions of the sealed program, and what they
// point to into bytes of its image. Addresses are those in the image, so both
// may grow.
type linker struct {
	handles map[string]int
	ops     []op
	data    []byte // lies at dataAt
	arrays  []array
	fds     []int32 // the descriptors that the program uses, in order, each once
	calls   int     // how many of the plan's there are
	regs    int     // how many registers: numbers from 1, and the unused 0
	timed   bool
	hidden  bool // the child is undumpable from the beginning

	resumeStep, resumeCall int // the first ones after plan.Await
}

func newLinker(handles map[string]int, p *plan.Plan) *linker {
	return &linker{handles: handles, ops: make([]op, 0, 8*len(p.Steps)), data: make([]byte, 0, 128*len(p.Steps))}
}

// array is a list of strings that has been put into the image: the argv and
// the environment of an exec that has several paths to try.
type array struct {
	mem *plan.Mem
	at  uint64
}

// tooLarge is a plan with more steps, calls or registers than an instruction
// has numbers for.
type tooLarge struct {
	what string
	n    int
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("%d %s are too many: at most %d", e.n, e.what, noCall-1)
}

// link makes the instructions of a plan, behind those that begin the program.
//
// The child waits for the host wherever host steps stand before its own; in
// strict mode before each step, and tells the host after each.
//
// When no step of the host's is left, which may reach the child by /proc/PID,
// the child makes itself undumpable: no other process of its user can look at
// it any more. That is before a filter, which might forbid it.
func (l *linker) link(p *plan.Plan, o *Options) error {
	if len(p.Steps) >= noCall {
		return &tooLarge{"steps", len(p.Steps)}
	}
	l.timed = o.Trace
	born, strict := p.Born(), o.strict()
	asm := new(plan.Asm)
	hide, hideStep := -1, 0
	for i := born + 1; i < len(p.Steps); i++ {
		if p.Steps[i].IsHost() {
			continue
		}
		quiet, waits := asm.Filtered(), strict || p.Steps[i-1].IsHost()
		if waits {
			l.add(op{kind: opWait, step: uint16(max(i-1, born)), filtered: quiet})
		}
		if (waits || hide < 0) && !quiet {
			hide, hideStep = len(l.ops), i
		}
		if errno, ok := o.Fail[i]; ok {
			l.add(op{kind: opFail, step: uint16(i), filtered: quiet, timed: l.timed && !quiet, arg: [6]uint64{uint64(errno)}})
		}
		calls := asm.Step(p, i)
		for k := range calls {
			if err := l.instruction(&calls[k]); err != nil {
				return err
			}
		}
		if err := l.stepEnd(p, i, strict, quiet); err != nil {
			return err
		}
	}
	if hide >= 0 && !l.hidden {
		l.ops = slices.Insert(l.ops, hide, op{nr: unix.SYS_PRCTL, arg: [6]uint64{unix.PR_SET_DUMPABLE, 0}, step: uint16(hideStep), call: noCall, timed: l.timed})
	}
	l.regs++
	return l.fits()
}

// fits reports whether there are numbers enough for what the plan uses.
func (l *linker) fits() error {
	for _, limit := range []tooLarge{{"calls", l.calls}, {"registers", l.regs}} {
		if limit.n >= noCall {
			return &limit
		}
	}
	return nil
}

// stepEnd adds what the child does after the calls of step i: it waits to be
// started, or tells the host.
func (l *linker) stepEnd(p *plan.Plan, i int, strict, quiet bool) error {
	a, waits := p.Steps[i].Action.(*plan.Await)
	switch {
	case waits:
		in, err := l.handle(a.In)
		if err != nil {
			return err
		}
		out, err := l.handle(a.Out)
		if err != nil {
			return err
		}
		l.resumeStep, l.resumeCall = i+1, l.calls
		// Only now may it outlive its host: whoever finds its state finds it.
		l.add(op{kind: opWait, step: uint16(i), filtered: quiet})
		l.add(op{kind: opAwait, step: uint16(i), filtered: quiet, arg: [6]uint64{in, out}})
		if i+1 < len(p.Steps) && !p.Steps[i+1].IsHost() && !strict { // else the next step brings its own
			l.add(op{kind: opWait, step: uint16(i), filtered: quiet})
		}
	case strict || i+1 < len(p.Steps) && meets(p, i+1):
		l.add(op{kind: opDone, step: uint16(i), filtered: quiet})
	}
	return nil
}

// add adds an instruction that is none of the plan's calls.
func (l *linker) add(o op) {
	o.call = noCall
	l.ops = append(l.ops, o)
}

// call adds a system call that is none of the plan's, and returns it for refinement.
func (l *linker) call(step int, nr uint16, args ...uint64) *op {
	o := op{nr: nr, step: uint16(step)}
	copy(o.arg[:], args)
	l.add(o)
	return &l.ops[len(l.ops)-1]
}

// instruction adds a call of the plan.
func (l *linker) instruction(c *plan.Call) error {
	l.ops = append(l.ops, op{
		nr: uint16(c.Sys.Nr()), out: uint16(c.Out), step: uint16(c.Step), call: uint16(l.calls),
		skipErr: uint16(c.SkipErr), skipOK: uint16(c.SkipOK), timed: l.timed && !c.Untimed, filtered: c.Untimed,
	})
	l.calls++
	l.regs = max(l.regs, c.Out)
	o := &l.ops[len(l.ops)-1]
	for i := range c.Args {
		a := &c.Args[i]
		switch a.Kind {
		case plan.None:
		case plan.Number:
			o.arg[i] = a.Num
		case plan.Register:
			o.reg[i] = uint16(a.Num)
		default:
			v, err := l.value(a)
			if err != nil {
				return err
			}
			o.arg[i] = v
		}
	}
	for i, e := range c.Allow {
		o.allow[i] = uint8(e)
	}
	return nil
}

// value is an argument as the kernel takes it.
func (l *linker) value(a *plan.Arg) (uint64, error) {
	switch a.Kind {
	case plan.Number:
		return a.Num, nil
	case plan.Handle:
		return l.handle(a.Text)
	case plan.String:
		return l.text(a.Text), nil
	case plan.Bytes:
		return l.bytes(a.Mem)
	case plan.Pointers:
		return l.pointers(a.Mem), nil
	}
	return 0, nil
}

// handle is a descriptor, which the program gets.
func (l *linker) handle(name string) (uint64, error) {
	fd, ok := l.handles[name]
	if !ok {
		return 0, &unknownHandle{name}
	}
	return l.pass(fd), nil
}

// pass has a descriptor be open in the program.
func (l *linker) pass(fd int) uint64 {
	if !slices.Contains(l.fds, int32(fd)) {
		l.fds = append(l.fds, int32(fd))
	}
	return uint64(fd)
}

// end is the address of what is put in next.
func (l *linker) end() uint64 { return dataAt + uint64(len(l.data)) }

func (l *linker) align() {
	for len(l.data)%8 != 0 {
		l.data = append(l.data, 0)
	}
}

// text puts a string into the image, ended by a NUL.
func (l *linker) text(s string) uint64 {
	at := l.end()
	l.data = append(append(l.data, s...), 0)
	return at
}

// bytes puts a block of memory into the image, with the pointers in it.
func (l *linker) bytes(m *plan.Mem) (uint64, error) {
	if len(m.Data) == 0 {
		return 0, nil
	}
	l.align()
	at, start := l.end(), len(l.data)
	l.data = append(l.data, m.Data...)
	for i := range m.Rel {
		to, err := l.value(&m.Rel[i].To)
		if err != nil {
			return 0, err
		}
		binary.NativeEndian.PutUint64(l.data[start+m.Rel[i].Offset:], to)
	}
	return at, nil
}

// pointers puts a list of strings into the image.
func (l *linker) pointers(m *plan.Mem) uint64 {
	for _, a := range l.arrays {
		if a.mem == m {
			return a.at
		}
	}
	l.align()
	at, start := l.end(), len(l.data)
	l.data = append(l.data, make([]byte, 8*(len(m.Ptrs)+1))...)
	for i := range m.Ptrs {
		to := l.text(m.Ptrs[i].Text) // first: the block may move
		binary.NativeEndian.PutUint64(l.data[start+8*i:], to)
	}
	l.arrays = append(l.arrays, array{m, at})
	return at
}
