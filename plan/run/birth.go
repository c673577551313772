// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// clone gives birth to the child.
func (x *execution) clone(i int, a *plan.Clone) error {
	if errno, ok := x.o.Fail[i]; ok {
		return x.fault(i, errno)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return x.fault(i, err)
	}
	x.in, x.out = pair[0], pair[0]
	defer unix.Close(pair[1])
	x.env.Handles[plan.Sync] = pair[1]
	s, err := x.prepare(i, a, pair[1])
	if err == nil {
		defer x.m.closeFile()
		err = x.bear(s)
	}
	if err != nil {
		f := x.fault(i, err)
		if refused := (*notExecuted)(nil); errors.As(err, &refused) {
			f.Cause, f.Remedy = refused.because(), refused.Hint()
		}
		return f
	}
	if a.Joins() {
		return x.second(i)
	}
	return nil
}

// A newborn is a child that is about to be: its image, and what passes the
// exec of it.
type newborn struct {
	*delivery
	pieces [][]byte
	carry  bool // the capabilities
}

// prepare makes the child's program.
func (x *execution) prepare(i int, a *plan.Clone, sock int) (*newborn, error) {
	s := &newborn{delivery: newDelivery()}
	l := newLinker(x.env.Handles, x.p)
	l.hidden = a.Joins()
	if err := l.link(x.p, &x.o); err != nil {
		return nil, err
	}
	m, err := newMachine(&x.o, len(x.p.Steps), l.calls, l.regs)
	if err != nil {
		return nil, err
	}
	x.m = m
	m.page.step = uint32(i)
	m.page.resumeStep, m.page.resumeCall = uint32(l.resumeStep), uint32(l.resumeCall)
	s.clone.exitSignal = uint64(unix.SIGCHLD)
	born := &s.clone // the arguments of the child's birth
	if a.Joins() {
		born = new(cloneArgs)
		born.flags = unix.CLONE_PARENT // the signal at its end is the first process's (clone(2), CLONE_PARENT)
	}
	born.flags |= a.Flags
	if a.Into != "" {
		born.flags |= unix.CLONE_INTO_CGROUP
		born.cgroup = uint64(x.env.Handles[a.Into])
		l.pass(int(born.cgroup))
	}
	h := head{sock: l.pass(sock)}
	if !a.Joins() {
		h.open = 1
	}
	first, err := x.beginning(i, a, l, s, born)
	if err != nil {
		return nil, err
	}
	s.pieces, err = l.pieces(h, m, first)
	return s, err
}

// beginning makes the instructions that begin the program. The first puts the
// child out of sight of the processes whose namespaces it enters (CVE-2016-9962).
func (x *execution) beginning(i int, a *plan.Clone, l *linker, s *newborn, born *cloneArgs) ([]op, error) {
	steps := l.ops
	defer func() { l.ops = steps }()
	l.ops = make([]op, 0, 16+len(stubborn)+len(l.fds)+2*len(a.Join))
	if a.Joins() {
		l.call(i, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	}
	l.call(i, unix.SYS_PRCTL, unix.PR_SET_NAME, l.text(imageName))
	l.call(i, unix.SYS_CLOSE, uint64(x.m.fd))
	var enter []op
	for _, j := range a.Join {
		enter = append(enter, *setns(i, l.pass(x.env.Handles[j.Handle]), plan.NamespaceFlag(j.Kind)))
	}
	if e := a.Enter; e != nil {
		enter = append(enter, *setns(i, l.pass(x.env.Handles[e.Pidfd]), e.Flags))
	}
	s.passes(l, i, x.m.fd)
	if err := s.carries(l, i); err != nil {
		return nil, err
	}
	var mask unix.Sigset_t // of this thread; the child is born with all signals blocked
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil {
		return nil, err
	}
	hears(l, i)
	l.call(i, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, l.words(mask.Val[0]), 0, 8)
	if a.Joins() {
		l.ops = append(l.ops, enter...)
		l.fork(i, born)
	}
	return l.ops, nil
}

// stubborn are the signals that a program of Go's leaves ignored if its caller
// has had them ignored: below nohup(1), or in the background of a shell without
// job control. Of all others it has a handler, which no exec passes.
var stubborn = [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, 32}

// hears has the child ignore none of them: what its program is to ignore is its
// own to say, and a shell could never trap it again.
func hears(l *linker, step int) {
	for _, s := range stubborn {
		if ignored(s) {
			l.call(step, unix.SYS_RT_SIGACTION, uint64(s), l.words(0, 0, 0, 0), 0, 8)
		}
	}
}

func setns(step int, fd, kind uint64) *op {
	return &op{nr: unix.SYS_SETNS, step: uint16(step), call: noCall, arg: [6]uint64{fd, kind}}
}

// fork adds the birth of the child that enters the namespaces of others by its
// parent. Where a filter refuses clone3, clone does: see deliver.
func (l *linker) fork(step int, args *cloneArgs) {
	l.align()
	at := l.end()
	l.data = append(l.data, args.bytes()...)
	l.add(op{kind: opFork, step: uint16(step), nr: unix.SYS_CLONE3, arg: [6]uint64{at, uint64(cloneArgsSize)}})
	if args.cgroup == 0 && args.flags&unix.CLONE_NEWTIME == 0 {
		o := &l.ops[len(l.ops)-1]
		o.allow[0], o.skipOK = uint8(unix.ENOSYS), 1
		l.add(op{kind: opFork, step: uint16(step), nr: unix.SYS_CLONE, arg: [6]uint64{args.flags}})
	}
}

// words puts a block of memory into the image that holds numbers.
func (l *linker) words(w ...uint64) uint64 {
	l.align()
	at := l.end()
	for _, v := range w {
		l.data = binary.NativeEndian.AppendUint64(l.data, v)
	}
	return at
}

// carries has the capabilities that the child is born with pass the exec of
// the sealed program. That takes them from whoever is not root, as the child is
// not yet in its new user namespace, but for those that are ambient; and gives
// root all. Then the program has exactly what the child was born with.
func (s *newborn) carries(l *linker, step int) error {
	own, err := ownCaps()
	if err != nil {
		return err
	}
	s.caps = own
	if s.clone.flags&unix.CLONE_NEWUSER != 0 { // it is born with all there are
		own.data = [2][3]uint32{{^uint32(0), ^uint32(0), 0}, {^uint32(0), ^uint32(0), 0}}
		s.caps = own
		s.carry = true
	} else {
		s.carry = unix.Geteuid() != 0 && own.data[0][1]|own.data[1][1] != 0
	}
	for k := range s.caps.data {
		s.caps.data[k][2] |= s.caps.data[k][1]
	}
	if s.carry {
		l.call(step, unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0)
	}
	l.align()
	at := l.end()
	l.data = append(l.data, own.bytes()...)
	l.call(step, unix.SYS_CAPSET, at, at+8).allow[0] = uint8(unix.EPERM) // more than there are
	return nil
}

// passes has the descriptors that the program uses, and that of the shared
// memory, pass its exec, and has them be closed at the next one. What the
// caller has open for all programs is left so.
func (s *newborn) passes(l *linker, step, page int) {
	s.fds = make([]int32, 0, len(l.fds)+2)
	for _, fd := range l.fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC != 0 {
			l.call(step, unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, unix.FD_CLOEXEC)
			s.fds = append(s.fds, fd)
		}
	}
	s.fds = append(s.fds, int32(page), -1)
}

// bear makes the child, from the first store that its image can be executed from.
func (x *execution) bear(s *newborn) error {
	refused := new(notExecuted)
	for _, st := range stores {
		err := x.bearFrom(st, s)
		if err == nil {
			return nil
		}
		if born := (*notBorn)(nil); errors.As(err, &born) {
			return born.errno
		}
		refused.errs = append(refused.errs, fmt.Errorf("from a %s: %w", st.name, err))
	}
	return refused
}

// notBorn: there is no child, and the image is not to blame.
type notBorn struct{ errno unix.Errno }

func (e *notBorn) Error() string { return e.errno.Error() }

func (x *execution) bearFrom(st store, s *newborn) error {
	image, err := st.make(x.o.Folder, s.pieces)
	if err != nil {
		return err
	}
	defer unix.Close(image)
	x.m.page.exec = 0
	pid, errno := s.deliver(image, x.m.page, s.carry)
	runtime.KeepAlive(s)
	if errno != 0 {
		return &notBorn{errno}
	}
	if e := x.m.page.exec; e != 0 {
		wait(pid)
		if s.pidfd >= 0 {
			unix.Close(int(s.pidfd))
		}
		return unix.Errno(e)
	}
	x.child.Pid, x.child.Pidfd, x.env.Pid = pid, int(s.pidfd), pid
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
