// SPDX-License-Identifier: Apache-2.0

// Package run executes plans: host steps in Go, child steps as raw system
// calls in a forked child.
//
// Start goes through the list once. Before a host step that can be taken back,
// its inverse is written to the container's folder (see Undo); at the clone the
// child is born; from then on child and host each do their own steps, and
// talk over a socket pair whose far end the exec closes:
//
//	host                      child
//	----                      -----
//	clone3            ──────▶ born
//	host steps, while         waits
//	  'g'             ──────▶ goes on: child steps
//	                  ◀────── 'p' (the first process of two: the second's PID is on the page)
//	                  ◀────── 'c' and a descriptor (the console)
//	                  ◀────── 'd' (strict mode: a step is done)
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
	Console *os.File // the terminal's other side, if the plan made one
	Spans   []Span   // with Options.Trace
}

// execution is the state of one Start.
type execution struct {
	p     *plan.Plan
	o     Options
	calls []plan.Call
	env   plan.Env
	m     *machine
	link  linker
	mem   []byte
	sock  int // the host's end, -1 before the clone
	child Child
	spans []Span
	born  int
}

// Start executes a plan. When it returns without an error, the container's
// program runs. If a step fails, the error is a *Fault; the child is gone then,
// and the caller is to have the undo list undone.
func Start(p *plan.Plan, o Options) (*Child, error) {
	x := &execution{p: p, o: o, calls: p.Lower(), sock: -1, born: p.Born()}
	x.child.Pidfd = -1
	x.env.Handles = make(map[string]int)
	for name, fd := range o.Handles {
		x.env.Handles[name] = fd
	}
	defer x.close()
	err := x.steps()
	if err == nil && o.Meanwhile != nil {
		err = o.Meanwhile(x.child.Pid)
	}
	if err == nil {
		err = x.await()
	}
	if err != nil {
		x.kill()
		return nil, err
	}
	x.child.Spans = x.trace()
	return &x.child, nil
}

func (x *execution) steps() error {
	for i := range x.p.Steps {
		s := &x.p.Steps[i]
		if x.o.Before != nil {
			if err := x.o.Before(i, x.child.Pid); err != nil {
				return err
			}
		}
		var err error
		began := now()
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
		if s.IsHost() {
			x.spans = append(x.spans, Span{Step: i, Start: began, End: now()})
		}
		if x.o.After != nil {
			x.o.After(i, x.child.Pid)
		}
	}
	return nil
}

func now() int64 {
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
	if err := a.Do(&x.env); err != nil {
		if mark > 0 {
			x.o.Undo.drop(mark) // it did not happen: what is there is somebody else's
		}
		return x.fault(i, err)
	}
	return nil
}

// let allows the child to do step i: in strict mode each, else the first after host steps.
func (x *execution) let(i int) error {
	strict := x.o.strict()
	if !strict && !x.p.Steps[i-1].IsHost() {
		return nil
	}
	if _, err := unix.Write(x.sock, []byte{'g'}); err != nil {
		return x.await() // it is gone: hear why
	}
	switch {
	case !strict:
		return nil
	case i == len(x.p.Steps)-1:
		return x.await()
	}
	return x.hear('d')
}

// clone gives birth to the child.
func (x *execution) clone(i int, a *plan.Clone) error {
	if errno, ok := x.o.Fail[i]; ok {
		return x.fault(i, errno)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return x.fault(i, err)
	}
	x.sock = pair[0]
	defer unix.Close(pair[1])
	x.env.Handles[plan.Sync] = pair[1]
	if err := x.prepare(i, a, pair[1]); err != nil {
		return err
	}
	x.m.pidfd = -1 // not a variable of ours: our stack may move before the call
	args := cloneArgs{flags: unix.CLONE_PIDFD, exitSignal: uint64(unix.SIGCHLD), pidfd: addressOf(&x.m.pidfd)}
	if len(a.Join) == 0 {
		args.flags |= a.Flags
		if a.Into != "" {
			args.flags |= unix.CLONE_INTO_CGROUP
			args.cgroup = uint64(x.env.Handles[a.Into])
		}
	}
	pid, errno := fork(x.m, &args)
	runtime.KeepAlive(x)
	if errno != 0 {
		return x.fault(i, errno)
	}
	x.child.Pid, x.child.Pidfd, x.env.Pid = int(pid), int(x.m.pidfd), int(pid)
	if len(a.Join) > 0 {
		return x.second(i)
	}
	return nil
}

// prepare makes the child's program.
func (x *execution) prepare(i int, a *plan.Clone, sock int) error {
	m, mem, err := newMachine(len(x.p.Steps), len(x.calls)+3*len(x.p.Steps)+len(a.Join)+2)
	if err != nil {
		return x.fault(i, err)
	}
	x.m, x.mem = m, mem
	m.sock = uintptr(sock)
	m.open = len(a.Join) == 0
	x.link.handles = x.env.Handles
	if err := x.link.link(m, x.p, x.calls, &x.o); err != nil {
		return x.fault(i, err)
	}
	// The child has a copy of our end of the socket too: it would never hear that we are gone.
	first := []op{{kind: opCall, nr: unix.SYS_CLOSE, step: uint16(i), arg: [6]uintptr{uintptr(x.sock)}}}
	if len(a.Join) == 0 {
		m.ops = append(first, m.ops...)
		return nil
	}
	for _, j := range a.Join {
		first = append(first, op{kind: opCall, nr: unix.SYS_SETNS, step: uint16(i),
			arg: [6]uintptr{uintptr(x.env.Handles[j.Handle]), uintptr(plan.NamespaceFlag(j.Kind))}})
	}
	m.args = cloneArgs{flags: a.Flags | unix.CLONE_PARENT} // the signal at its end is the first process's (clone(2), CLONE_PARENT)
	if a.Into != "" {
		m.args.flags |= unix.CLONE_INTO_CGROUP
		m.args.cgroup = uint64(x.env.Handles[a.Into])
	}
	m.ops = append(append(first, op{kind: opFork, step: uint16(i)}), m.ops...)
	return nil
}

// second takes over from the process that has joined namespaces: the child is
// its sibling.
func (x *execution) second(i int) error {
	if err := x.hear('p'); err != nil {
		return err
	}
	unix.Close(x.child.Pidfd)
	wait(x.child.Pid)
	x.child.Pid = int(x.m.page.pid)
	x.env.Pid = x.child.Pid
	fd, err := unix.PidfdOpen(x.child.Pid, 0)
	if err != nil {
		return x.fault(i, err)
	}
	unix.CloseOnExec(fd)
	x.child.Pidfd = fd
	return nil
}

// await waits for the exec.
func (x *execution) await() error { return x.hear(0) }

// hear reads what the child says until it says what is waited for; 0 waits for
// the end of file, which is the exec.
func (x *execution) hear(want byte) error {
	if x.sock < 0 {
		return errors.New("execute plan: it has no clone step")
	}
	for {
		var b [1]byte
		oob := make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := unix.Recvmsg(x.sock, b[:], oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil && err != unix.ECONNRESET:
			return fmt.Errorf("hear from child: %w", err)
		case err != nil || n == 0:
			return x.ended(want)
		case b[0] == 'c':
			if x.child.Console, err = received(oob[:oobn]); err != nil {
				return err
			}
		case b[0] == 'f':
			return x.childFault()
		case b[0] == want:
			return nil
		}
	}
}

// ended tells an exec from a death before it.
func (x *execution) ended(want byte) error {
	last := int(x.m.page.step) == len(x.p.Steps)-1
	if last && (want == 0 || want == 'd') {
		return nil
	}
	return x.fault(int(x.m.page.step), errors.New("the child was killed"))
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
	if x.sock >= 0 {
		unix.Close(x.sock)
	}
	for name, fd := range x.env.Handles {
		if _, given := x.o.Handles[name]; !given && name != plan.Sync {
			unix.Close(fd)
		}
	}
	if x.mem != nil {
		_ = unix.Munmap(x.mem)
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
	end := now()
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
