// SPDX-License-Identifier: Apache-2.0

package run

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// The child is a fork of a many-threaded Go program that has one thread: locks
// may be held by threads that it doesn't have, and the garbage collector, the
// scheduler and the growing of stacks don't work in it. So it runs this file's
// interpreter, and that does system calls and nothing else. The rules, which
// are those of syscall.forkAndExecInChild1:
//
//   - no allocation, no lock, no map, no interface, no string building;
//   - nosplit: the compiler checks that the stack doesn't have to grow;
//   - everything that a call points to was made before the fork, and is kept
//     alive by the parent;
//   - norace, since the race detector's own calls need a runtime.
//
// The three functions below are how package syscall tells the runtime that it
// forks. The Go team keeps them stable for others (go.dev/issue/67401).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// The kinds of instruction.
const (
	opCall  = iota // a system call
	opWait         // until the host says go on
	opDone         // tell the host that a step is done
	opFork         // go on in a child of our own, beside us
	opFail         // a test makes this step fail
	opAwait        // hear and tell another process from now on, through FIFOs
)

// op is an instruction: a system call with everything in place.
type op struct {
	nr      uintptr
	arg     [6]uintptr
	reg     [6]uint16 // where not 0: the register that the argument comes from
	out     uint16    // where not 0: the register for the result
	step    uint16
	call    uint16 // its place among the plan's calls
	skipErr uint16
	skipOK  uint16
	allow   [3]uint8 // errors that are no failure
	kind    uint8
	untimed bool
}

// page is the memory that child and host share. The child writes, the host
// reads when the child has told it to or has ended.
type page struct {
	step  uint32 // where the child is, and on failure: was
	call  uint32 // the one that failed; noCall if it is none of the plan's
	errno uint32
	pid   uint32 // the child's PID, after opFork

	// For Resume, written by the host before the fork:
	steps, calls           uint32 // how many there are
	resumeStep, resumeCall uint32 // the first ones after plan.Await
}

const noCall = 0xffff

// machine is all that the interpreter works with. It and what it points to is
// made before the fork.
type machine struct {
	ops   []op
	regs  []uintptr
	page  *page
	times unsafe.Pointer // int64 for each step: when it began, CLOCK_MONOTONIC
	errs  unsafe.Pointer // uint16 for each call: its errno
	in    uintptr        // where the host is heard
	out   uintptr        // and told: a socket, later two FIFOs
	mem   []byte         // what page, times and errs lie in
	// The first step and call of the plan, among those of the page: not 0 in Resume.
	step0, call0 int
	clock        [2]int64
	buf          [8]byte
	args         cloneArgs
	pidfd        int32 // of the child, for the host: the kernel writes it here
	// open lets the host look at the child after a failure, through /proc:
	// after a change of user the kernel hides a process from its own user.
	open bool
}

// cloneArgs is struct clone_args, of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// interpret runs the instructions. It returns when one fails, or at the end of
// a list that doesn't end in an exec.
//
//go:nosplit
//go:norace
func (m *machine) interpret() {
	last := uint32(0xffffffff)
	for i := 0; i < len(m.ops); i++ {
		o := &m.ops[i]
		if step := uint32(o.step); step != last {
			last = step
			m.page.step = step
			if !o.untimed {
				syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&m.clock)), 0)
				*(*int64)(unsafe.Add(m.times, 8*step)) = m.clock[0]*1e9 + m.clock[1]
			}
		}
		var e syscall.Errno
		var r uintptr
		switch o.kind {
		case opCall:
			a0, a1, a2, a3, a4, a5 := o.arg[0], o.arg[1], o.arg[2], o.arg[3], o.arg[4], o.arg[5]
			if o.reg[0] != 0 {
				a0 = m.regs[o.reg[0]]
			}
			if o.reg[1] != 0 {
				a1 = m.regs[o.reg[1]]
			}
			if o.reg[2] != 0 {
				a2 = m.regs[o.reg[2]]
			}
			r, _, e = syscall.RawSyscall6(o.nr, a0, a1, a2, a3, a4, a5)
		case opWait:
			m.buf[0] = 0
			r, _, e = syscall.RawSyscall(unix.SYS_READ, m.in, uintptr(unsafe.Pointer(&m.buf)), 1)
			if e == 0 && r != 1 { // the host is gone
				exit(1)
			}
		case opDone:
			m.tell('d')
		case opFork:
			r, _, e = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&m.args)), unsafe.Sizeof(m.args), 0)
			if e == 0 && r != 0 {
				m.page.pid = uint32(r)
				m.tell('p')
				exit(0)
			}
		case opAwait:
			m.in, m.out = o.arg[0], o.arg[1]
		case opFail:
			e = syscall.Errno(o.arg[0])
		}
		if e == 0 {
			if o.out != 0 {
				m.regs[o.out] = r
			}
			i += int(o.skipOK)
			continue
		}
		if o.call != noCall {
			*(*uint16)(unsafe.Add(m.errs, 2*uintptr(o.call))) = uint16(e)
		}
		if n := uint8(e); n != o.allow[0] && n != o.allow[1] && n != o.allow[2] {
			m.page.call = uint32(o.call)
			m.page.errno = uint32(e)
			return
		}
		i += int(o.skipErr)
	}
}

// tell sends the host one byte.
//
//go:nosplit
//go:norace
func (m *machine) tell(b byte) {
	m.buf[0] = b
	syscall.RawSyscall(unix.SYS_WRITE, m.out, uintptr(unsafe.Pointer(&m.buf)), 1)
}

//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// fail tells the host, and waits for it to have looked: the host finds out why
// an exec failed in the container's tree, which is there as long as the child is.
//
//go:nosplit
//go:norace
func (m *machine) fail() {
	if m.open {
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0)
	}
	m.tell('f')
	for { // what the host has sent before it heard is no leave to go
		r, _, e := syscall.RawSyscall(unix.SYS_READ, m.in, uintptr(unsafe.Pointer(&m.buf)), 1)
		if r != 1 && e != syscall.EINTR {
			exit(1)
		}
	}
}

// fork gives birth to the child by clone3(2), and has it run m. Signals are
// blocked from beforeFork on, so that no handler of the Go runtime runs in the child.
//
// A kernel filter may answer clone3 with ENOSYS, so that programs fall back to
// clone(2), whose flags a filter can read: Docker's does. Then clone is used,
// which knows neither pidfd-less cgroups nor time namespaces: see Start.
//
//go:noinline
//go:norace
func fork(m *machine, args *cloneArgs) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if err == syscall.ENOSYS && args.cgroup == 0 && args.flags&unix.CLONE_NEWTIME == 0 {
		pid, err = rawClone(uintptr(args.flags&^unix.CLONE_PIDFD) | uintptr(args.exitSignal))
	}
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	m.interpret()
	m.fail()
	return 0, 0
}

// rawClone is clone(2) without a new stack.
//
//go:nosplit
//go:norace
func rawClone(flags uintptr) (uintptr, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	return r, e
}

// linker turns calls into instructions. What they point to is kept in keep,
// which has to live until the child has executed its program.
type linker struct {
	handles map[string]int
	strings []byte // all strings, each ended by a NUL; it never grows
	keep    []any
}

// link makes the machine's instructions of a plan's calls.
//
// The child waits for the host wherever host steps stand before its own; in
// strict mode before each step, and tells the host after each.
func (l *linker) link(m *machine, p *plan.Plan, calls []plan.Call, o *Options) error {
	born, next := p.Born(), 0
	m.ops = make([]op, 0, len(calls)+2*len(p.Steps))
	l.strings = make([]byte, 0, stringSize(calls))
	maxReg := 0
	strict := o.strict()
	for i := born + 1; i < len(p.Steps); i++ {
		if p.Steps[i].IsHost() {
			continue
		}
		if strict || p.Steps[i-1].IsHost() {
			m.ops = append(m.ops, op{kind: opWait, step: uint16(max(i-1, born)), call: noCall, untimed: true})
		}
		if errno, ok := o.Fail[i]; ok {
			m.ops = append(m.ops, op{kind: opFail, step: uint16(i), call: noCall, arg: [6]uintptr{uintptr(errno)}})
		}
		for ; next < len(calls) && calls[next].Step == i; next++ {
			instr, err := l.instruction(&calls[next])
			if err != nil {
				return err
			}
			instr.call = uint16(next)
			maxReg = max(maxReg, calls[next].Out)
			m.ops = append(m.ops, instr)
		}
		a, waits := p.Steps[i].Action.(*plan.Await)
		switch {
		case waits:
			m.page.resumeStep, m.page.resumeCall = uint32(i+1), uint32(next)
			m.ops = append(m.ops, op{kind: opAwait, step: uint16(i), call: noCall, untimed: true, arg: [6]uintptr{uintptr(l.handles[a.In]), uintptr(l.handles[a.Out])}})
			if i+1 < len(p.Steps) && !p.Steps[i+1].IsHost() && !strict { // else the next step brings its own
				m.ops = append(m.ops, op{kind: opWait, step: uint16(i), call: noCall, untimed: true})
			}
		case strict || i+1 < len(p.Steps) && meets(p, i+1):
			m.ops = append(m.ops, op{kind: opDone, step: uint16(i), call: noCall, untimed: true})
		}
	}
	m.regs = make([]uintptr, maxReg+1)
	return nil
}

func (l *linker) instruction(c *plan.Call) (op, error) {
	o := op{nr: c.Sys.Nr(), out: uint16(c.Out), step: uint16(c.Step), skipErr: uint16(c.SkipErr), skipOK: uint16(c.SkipOK), untimed: c.Untimed}
	for i := range c.Args {
		if c.Args[i].Kind == plan.Register {
			o.reg[i] = uint16(c.Args[i].Num)
			continue
		}
		v, err := l.value(&c.Args[i])
		if err != nil {
			return o, err
		}
		o.arg[i] = v
	}
	for i, e := range c.Allow {
		o.allow[i] = uint8(e)
	}
	return o, nil
}

// stringSize is what all strings of the calls take.
func stringSize(calls []plan.Call) (n int) {
	for i := range calls {
		for k := range calls[i].Args {
			switch a := &calls[i].Args[k]; a.Kind {
			case plan.String:
				n += len(a.Text) + 1
			case plan.Pointers:
				for _, p := range a.Mem.Ptrs {
					n += len(p.Text) + 1
				}
			case plan.Bytes:
				n += relocatedSize(a.Mem)
			}
		}
	}
	return n
}

// relocatedSize is what the strings take that a block of memory points to.
func relocatedSize(m *plan.Mem) (n int) {
	for i := range m.Rel {
		switch to := &m.Rel[i].To; to.Kind {
		case plan.String:
			n += len(to.Text) + 1
		case plan.Bytes:
			n += relocatedSize(to.Mem)
		}
	}
	return n
}

// value is an argument as the kernel takes it.
func (l *linker) value(a *plan.Arg) (uintptr, error) {
	switch a.Kind {
	case plan.Number:
		return uintptr(a.Num), nil
	case plan.Handle:
		fd, ok := l.handles[a.Text]
		if !ok {
			return 0, &unknownHandle{a.Text}
		}
		return uintptr(fd), nil
	case plan.String:
		start := len(l.strings)
		l.strings = append(append(l.strings, a.Text...), 0)
		return uintptr(unsafe.Pointer(&l.strings[start])), nil
	case plan.Bytes:
		return l.bytes(a.Mem)
	case plan.Pointers:
		ptrs := make([]uintptr, len(a.Mem.Ptrs)+1)
		for i := range a.Mem.Ptrs {
			ptrs[i], _ = l.value(&a.Mem.Ptrs[i])
		}
		l.keep = append(l.keep, ptrs)
		return uintptr(unsafe.Pointer(&ptrs[0])), nil
	}
	return 0, nil
}

// bytes puts the pointers into a block of memory; the calls keep it.
func (l *linker) bytes(m *plan.Mem) (uintptr, error) {
	if len(m.Data) == 0 {
		return 0, nil
	}
	for i := range m.Rel {
		to, err := l.value(&m.Rel[i].To)
		if err != nil {
			return 0, err
		}
		*(*uintptr)(unsafe.Pointer(&m.Data[m.Rel[i].Offset])) = to
	}
	return uintptr(unsafe.Pointer(&m.Data[0])), nil
}

// newMachine makes the memory that is shared with the child, in a file if there is one.
func newMachine(file *os.File, steps, calls int) (*machine, error) {
	size := pageSize(steps, calls)
	fd, flags := -1, unix.MAP_SHARED|unix.MAP_ANONYMOUS
	if file != nil {
		if err := file.Truncate(int64(size)); err != nil {
			return nil, err
		}
		fd, flags = int(file.Fd()), unix.MAP_SHARED
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, err
	}
	m := mapped(mem, steps)
	m.page.steps, m.page.calls = uint32(steps), uint32(calls)
	return m, nil
}

const pageHead = int(unsafe.Sizeof(page{}))

func pageSize(steps, calls int) int { return pageHead + 8*(steps+1) + 2*(calls+1) }

func mapped(mem []byte, steps int) *machine {
	return &machine{
		mem:   mem,
		page:  (*page)(unsafe.Pointer(&mem[0])),
		times: unsafe.Pointer(&mem[pageHead]),
		errs:  unsafe.Pointer(&mem[pageHead+8*(steps+1)]),
	}
}

// openMachine is the machine of a child that waits to be resumed, as far as the
// host may know it: what the file says is not believed, since another may have written it.
func openMachine(file *os.File) (*machine, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < int64(pageHead) || st.Size() > 1<<24 {
		return nil, errForeignPage
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	head := *(*page)(unsafe.Pointer(&mem[0]))
	m := mapped(mem, 0)
	if pageSize(int(head.steps), int(head.calls)) != len(mem) || head.resumeStep >= head.steps || head.resumeCall > head.calls {
		m.unmap()
		return nil, errForeignPage
	}
	m = mapped(mem, int(head.steps))
	m.step0, m.call0 = int(head.resumeStep), int(head.resumeCall)
	return m, nil
}

// left is how many steps of the plan are the machine's.
func (m *machine) left() int { return int(m.page.steps) - m.step0 }

func (m *machine) unmap() { _ = unix.Munmap(m.mem) }

// index is the place in the plan of a step that the page has the number of.
func (m *machine) index(step uint32) int { return int(step) - m.step0 }

// call is the place among the plan's calls of the one that failed.
func (m *machine) call() int { return int(m.page.call) - m.call0 }

// began is when a step of the child began, in nanoseconds of CLOCK_MONOTONIC;
// 0 if it did not, or was not timed.
func (m *machine) began(step int) int64 {
	return *(*int64)(unsafe.Add(m.times, 8*(step+m.step0)))
}

// errnoOf is the error of a call of the child, 0 if it succeeded or wasn't made.
func (m *machine) errnoOf(call int) unix.Errno {
	return unix.Errno(*(*uint16)(unsafe.Add(m.errs, 2*(call+m.call0))))
}

// addressOf is a pointer as clone3 takes it.
func addressOf(p *int32) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
