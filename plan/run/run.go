// SPDX-License-Identifier: Apache-2.0

// Package run executes plans: host steps in Go, child steps as raw system
// calls of a sealed program that the child executes (see sealed.go).
//
// Start goes through the list once. Before a host step that can be taken back,
// its inverse is written to the container's folder (see Undo); at the clone the
// child is born; from then on child and host each do their own steps, and
// talk over a socket pair whose far end the exec closes:
//
//	host                      child
//	----                      -----
//	clone3            ──────▶ born; executes the sealed program
//	host steps, while         waits
//	  'g'             ──────▶ goes on: child steps
//	                  ◀────── 'p' (the first process of two: the second's PID is on the page)
//	                  ◀────── 'c' and a descriptor (the console)
//	                  ◀────── 'd' (a step is done: before a step to meet at, and in strict mode)
//	                  ◀────── 'w' (waits to be started: see Start and Resume)
//	  'g'             ──────▶ and does so though the host ends
//	                  ◀────── 'f' (a step failed: step, call, errno are on the page; waits)
//	end of file       ◀────── exec
//
// If the host dies, the child reads an end of file and exits.
//
// Precondition: the caller's goroutine is locked to its thread, if the plan has
// a step that binds the child's life to the parent's (PR_SET_PDEATHSIG goes by thread).
package run

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Options say how a plan is executed.
type Options struct {
	// Undo is where the inverses of host steps are written to. Nil: nowhere.
	Undo *UndoList
	// Handles are descriptors that the plan's steps call by name.
	Handles map[string]int
	// Before is called before each step, with the child (if there is one
	// yet) waiting. Setting it makes the execution strictly one by one.
	Before func(step int, pid int) error
	// Meanwhile is called when the host has done its steps and only waits for
	// the child, which is still at its own: what is done here costs no time.
	Meanwhile func(pid int) error
	// Trace has the times of all steps kept.
	Trace bool
	// Folder is where the program that sets the child up is put, in a file
	// without a name, on systems that execute nothing from memory
	// (vm.memfd_noexec=2). Empty: nowhere, so such a start fails.
	Folder string
	// Page is the file for the memory that host and child share, for Resume to
	// find it. Nil: no file.
	Page *os.File
	// Console is called with the terminal's other side as soon as it is there.
	// Nil: it is kept in Child.
	Console func(*os.File) error

	// For tests: Fail makes steps fail with an error before they do anything;
	// After is called after each step, when all is at rest.
	Fail  map[int]unix.Errno
	After func(step int, pid int)
}

func (o *Options) strict() bool { return o.Before != nil || o.After != nil }

// A Child is a container's first process, after its exec.
type Child struct {
	Pid     int
	Pidfd   int      // -1 where the kernel gave none
	Waiting bool     // it waits for Resume
	Console *os.File // the terminal's other side, if the plan made one
	Spans   []Span   // with Options.Trace
}

// execution is the state of one Start.
type execution struct {
	p     *plan.Plan
	o     Options
	calls []plan.Call // see lowered
	env   plan.Env
	m     *machine
	in    int // what the child says, -1 before the clone
	out   int // what it hears
	child Child
	spans []Span
	born  int
	last  int  // the child's last step
	ran   bool // the container's program runs
	// resumed is the child that was waiting, if this is Resume's. The plan is
	// the rest of it then, and empty as long as nobody has asked for it.
	resumed *Waiting
}

// Start executes a plan. When it returns without an error, the container's
// program runs, or, in a plan with a step plan.Await, waits there for Resume.
// If a step fails, the error is a *Fault; the child is gone then, and the
// caller is to have the undo list undone.
func Start(p *plan.Plan, o Options) (*Child, error) {
	x := &execution{p: p, o: o, in: -1, out: -1, born: p.Born(), last: p.Last()}
	x.child.Pidfd = -1
	x.env.Handles = make(map[string]int)
	for name, fd := range o.Handles {
		x.env.Handles[name] = fd
	}
	defer x.close()
	wait := p.Waits()
	err := x.steps(0, min(wait+1, len(p.Steps)))
	if err == nil {
		err = x.meanwhile()
	}
	switch {
	case err != nil:
	case wait < len(p.Steps):
		x.child.Waiting = true
		if err = x.hear('w'); err == nil {
			err = x.leave()
		}
	default:
		err = x.await()
	}
	if err != nil {
		x.kill()
		return nil, err
	}
	x.child.Spans = x.trace()
	return &x.child, nil
}

// leave lets go of a child that waits: Options.Meanwhile has been called, so
// it can be found without us.
func (x *execution) leave() error {
	if _, err := unix.Write(x.out, []byte{'g'}); err != nil {
		return x.ended('w')
	}
	return nil
}

// meanwhile calls Options.Meanwhile, once.
func (x *execution) meanwhile() error {
	f := x.o.Meanwhile
	if f == nil {
		return nil
	}
	x.o.Meanwhile = nil
	return f(x.child.Pid)
}

func (x *execution) steps(from, to int) error {
	for i := from; i < to; i++ {
		s := &x.p.Steps[i]
		if err := x.meet(i); err != nil {
			return err
		}
		if x.o.Before != nil {
			if err := x.o.Before(i, x.child.Pid); err != nil {
				return err
			}
		}
		var err error
		began := x.now()
		switch a := s.Action.(type) {
		case *plan.Clone:
			err = x.clone(i, a)
		case plan.Host:
			err = x.host(i, a)
		default:
			err = x.let(i)
		}
		if err != nil {
			return err
		}
		if x.o.Trace && s.IsHost() {
			x.spans = append(x.spans, Span{Step: i, Start: began, End: x.now()})
		}
		if x.o.After != nil {
			x.o.After(i, x.child.Pid)
		}
	}
	return nil
}

// now is the time by CLOCK_MONOTONIC, if somebody wants to know it.
func (x *execution) now() int64 {
	if !x.o.Trace {
		return 0
	}
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// host does one host step.
func (x *execution) host(i int, a plan.Host) error {
	if errno, ok := x.o.Fail[i]; ok {
		return x.fault(i, errno)
	}
	mark := 0
	if undo := a.Undo(); undo != nil && x.o.Undo != nil {
		var err error
		if mark, err = x.o.Undo.add(undo); err != nil {
			return x.fault(i, fmt.Errorf("write undo list: %w", err))
		}
	}
	err := a.Do(&x.env)
	x.adopt()
	if err != nil {
		if mark > 0 {
			x.o.Undo.drop(mark) // it did not happen: what is there is somebody else's
		}
		return x.fault(i, err)
	}
	return nil
}

// meet waits for the child where host step i needs what it has done.
func (x *execution) meet(i int) error {
	switch {
	case !x.p.Steps[i].IsHost() || x.out < 0:
		return nil
	case i > x.last:
		if err := x.meanwhile(); err != nil {
			return err
		}
		return x.await()
	case meets(x.p, i) && !x.o.strict():
		return x.hear('d')
	}
	return nil
}

// let allows the child to do step i: in strict mode each, else the first after host steps.
func (x *execution) let(i int) error {
	strict := x.o.strict()
	if !strict && (i > 0 || x.resumed == nil) && !x.p.Steps[i-1].IsHost() {
		return nil
	}
	if _, err := unix.Write(x.out, []byte{'g'}); err != nil {
		return x.await() // it is gone: hear why
	}
	_, waits := x.p.Steps[i].Action.(*plan.Await)
	switch {
	case !strict || waits:
		return nil
	case i == x.last:
		return x.await()
	}
	return x.hear('d')
}

// meets reports whether the child tells the host that its steps before host step i are done.
func meets(p *plan.Plan, i int) bool {
	return p.Steps[i].Meet && i > 0 && !p.Steps[i-1].IsHost()
}

// await waits for the exec, if it has not been yet.
func (x *execution) await() error {
	if x.ran {
		return nil
	}
	err := x.hear(0)
	x.ran = err == nil
	return err
}

// hear reads what the child says until it says what is waited for; 0 waits for
// the end of file, which is the exec.
func (x *execution) hear(want byte) error {
	if x.in < 0 {
		return errors.New("execute plan: it has no clone step")
	}
	for {
		b, oob, err := x.receive()
		switch {
		case err == unix.EINTR:
			continue
		case err != nil && err != unix.ECONNRESET:
			return fmt.Errorf("hear from child: %w", err)
		case err != nil || b == 0:
			return x.ended(want)
		case b == 'c':
			err = x.console(oob)
		case b == 'f':
			if err := x.known(); err != nil {
				return err
			}
			return x.childFault()
		case b == want:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// known has the plan at hand, to say what has failed.
func (x *execution) known() error {
	if len(x.p.Steps) > 0 {
		return nil
	}
	return x.rest()
}

// receive reads a byte, and the message about a descriptor that may be with it;
// 0 is the end of file. What the child says after it was resumed comes through a FIFO.
func (x *execution) receive() (b byte, oob []byte, err error) {
	var buf [1]byte
	if x.resumed != nil {
		n, err := unix.Read(x.in, buf[:])
		if n == 0 {
			return 0, nil, err
		}
		return buf[0], nil, err
	}
	oob = make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(x.in, buf[:], oob, unix.MSG_CMSG_CLOEXEC)
	if n == 0 {
		return 0, nil, err
	}
	return buf[0], oob[:oobn], err
}

// console keeps the terminal's other side, or hands it over.
func (x *execution) console(oob []byte) (err error) {
	if x.child.Console, err = received(oob); err != nil || x.o.Console == nil {
		return err
	}
	defer func() { x.child.Console.Close(); x.child.Console = nil }()
	return x.o.Console(x.child.Console)
}

var errKilled = errors.New("the child was killed")

// ended tells an exec from a death before it.
func (x *execution) ended(want byte) error {
	i := x.m.index(x.m.page.step)
	if i == x.last && (want == 0 || want == 'd') {
		return nil
	}
	if err := x.known(); err != nil {
		return err
	}
	return x.fault(max(i, 0), errKilled)
}

func received(oob []byte) (*os.File, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("receive console: %d messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive console: %d descriptors, %v", len(fds), err)
	}
	_ = unix.SetNonblock(fds[0], true) // for the poller: a read must end when the file is closed
	return os.NewFile(uintptr(fds[0]), "console"), nil
}

// kill ends a child that did not become a container, and reaps it.
func (x *execution) kill() {
	if x.child.Console != nil {
		x.child.Console.Close()
	}
	if x.child.Pid == 0 {
		return
	}
	_ = unix.Kill(x.child.Pid, unix.SIGKILL)
	wait(x.child.Pid)
	if x.child.Pidfd >= 0 {
		unix.Close(x.child.Pidfd)
	}
}

func wait(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// close gives back what only the start needed.
func (x *execution) close() {
	if x.in >= 0 {
		unix.Close(x.in)
	}
	for name, fd := range x.env.Handles {
		if _, given := x.o.Handles[name]; !given && name != plan.Sync {
			unix.Close(fd)
		}
	}
	if x.m != nil {
		x.m.unmap()
	}
	runtime.KeepAlive(x)
}

// Wait waits for the container's end and returns how it ended.
func (c *Child) Wait() (unix.WaitStatus, unix.Rusage, error) {
	var ws unix.WaitStatus
	var ru unix.Rusage
	for {
		_, err := unix.Wait4(c.Pid, &ws, 0, &ru)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return ws, ru, fmt.Errorf("wait for process %d: %w", c.Pid, err)
		}
		return ws, ru, nil
	}
}

// Signal sends a signal to the container's first process, never to a later
// process with its number. Signal 0 asks whether it is there.
func (c *Child) Signal(sig unix.Signal) error {
	if c.Pidfd < 0 {
		return unix.Kill(c.Pid, sig)
	}
	return unix.PidfdSendSignal(c.Pidfd, sig, nil, 0)
}

// unknownHandle is a mistake in a plan: a step uses what no step has made.
type unknownHandle struct{ name string }

func (e *unknownHandle) Error() string { return fmt.Sprintf("no step before has opened %q", e.name) }

// Span is when a step was done.
type Span struct {
	Step       int
	Start, End int64 // nanoseconds of CLOCK_MONOTONIC
}

// Duration is how long the step took.
func (s Span) Duration() time.Duration { return time.Duration(s.End - s.Start) }

// trace puts the times of host and child together, in the order of the plan.
func (x *execution) trace() []Span {
	if !x.o.Trace {
		return nil
	}
	end := x.now()
	spans := x.spans
	open := -1 // the child's last step with a time
	for i := x.born + 1; i < len(x.p.Steps); i++ {
		if x.p.Steps[i].IsHost() {
			continue
		}
		began := x.m.began(i)
		if began == 0 {
			continue // after the filter: part of the step before
		}
		if open >= 0 && spans[open].End == end {
			spans[open].End = began
		}
		spans = append(spans, Span{Step: i, Start: began, End: end})
		open = len(spans) - 1
	}
	return spans
}
