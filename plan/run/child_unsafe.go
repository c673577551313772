// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The child is born as by vfork(2): it has our memory, and this thread sleeps
// until it has executed the sealed program. In between it is a process that the
// Go runtime knows nothing of, so it runs no Go: bear, in assembler, makes a few
// system calls in it, which need no stack. All that they point to was made
// before, in memory that doesn't move, and is kept alive by the caller.
//
// The two functions below are how package syscall tells the runtime that it
// forks: no signal handler runs in between, and no stack moves. The Go team
// keeps them stable for others (go.dev/issue/67401).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// birth is what bear works with.
type birth struct {
	nr    uintptr    // clone3 or clone,
	arg   [2]uintptr // and its first arguments
	fds   uintptr    // int32s, ended by -1: they pass the exec
	caps  uintptr    // 0, or what capset(2) takes: the capabilities that pass the exec
	image uintptr    // the sealed program's descriptor
	path  uintptr    // "", its argv and its environment
	argv  uintptr
	envp  uintptr
	page  uintptr // where the errno goes if the exec fails
}

// bear makes the child, and has it execute the image.
//
//go:noescape
func bear(b *birth) (pid, errno uintptr)

// sealedText is where sealed is.
func sealedText() (start, end uintptr)

// interpreter is the machine code of sealed.
func interpreter() []byte {
	start, end := sealedText()
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), start)), int(end-start))
}

// cloneArgs is struct clone_args, of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

const cloneArgsSize = int(unsafe.Sizeof(cloneArgs{}))

// bytes is the struct as it lies in memory.
func (a *cloneArgs) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(a)), cloneArgsSize) }

// capSets is what capget(2) and capset(2) take: effective, permitted and
// inheritable capabilities, the lower 32 of each and then the higher.
type capSets struct {
	version uint32
	pid     int32
	data    [2][3]uint32
}

// ownCaps are the capabilities of this thread.
func ownCaps() (c capSets, err error) {
	c.version = unix.LINUX_CAPABILITY_VERSION_3
	_, _, e := syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&c.version)), uintptr(unsafe.Pointer(&c.data)), 0)
	if e != 0 {
		return c, e
	}
	return c, nil
}

// bytes is the struct as it lies in memory.
func (c *capSets) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), int(unsafe.Sizeof(*c)))
}

// delivery is a birth with all that it points to.
type delivery struct {
	birth
	clone cloneArgs
	caps  capSets
	fds   []int32
	pidfd int32 // of the child: the kernel writes it here
	empty [1]byte
	name  [len(imageName) + 1]byte
	argv  [2]uintptr
	envp  [1]uintptr
}

// newDelivery makes one in the heap, where nothing moves.
//
//go:noinline
func newDelivery() *delivery { return new(delivery) }

// deliver gives birth to the child, which executes the image. Why it could not
// is on the page.
//
// The memory is shared until then, but for a child in a new time namespace,
// where the kernel wants it to be a copy (EINVAL). A kernel filter may answer
// clone3 with ENOSYS, so that programs fall back to clone(2), whose flags a
// filter can read: Docker's does. Then clone is used, which knows neither
// cgroups nor time namespaces, and gives us no pidfd.
//
//go:noinline
//go:norace
func (d *delivery) deliver(image int, p *page, carry bool) (pid int, errno unix.Errno) {
	d.pidfd = -1
	d.clone.pidfd = uint64(uintptr(unsafe.Pointer(&d.pidfd)))
	d.clone.flags |= unix.CLONE_VFORK | unix.CLONE_PIDFD
	if d.clone.flags&unix.CLONE_NEWTIME == 0 {
		d.clone.flags |= unix.CLONE_VM
	}
	copy(d.name[:], imageName)
	d.argv[0] = uintptr(unsafe.Pointer(&d.name))
	d.birth = birth{
		nr: unix.SYS_CLONE3, arg: [2]uintptr{uintptr(unsafe.Pointer(&d.clone)), uintptr(cloneArgsSize)},
		fds: uintptr(unsafe.Pointer(&d.fds[0])), image: uintptr(image),
		path: uintptr(unsafe.Pointer(&d.empty)), argv: uintptr(unsafe.Pointer(&d.argv)), envp: uintptr(unsafe.Pointer(&d.envp)),
		page: uintptr(unsafe.Pointer(p)),
	}
	if carry {
		d.birth.caps = uintptr(unsafe.Pointer(&d.caps))
	}
	beforeFork()
	r, e := bear(&d.birth)
	if unix.Errno(e) == unix.ENOSYS && d.clone.cgroup == 0 && d.clone.flags&unix.CLONE_NEWTIME == 0 {
		d.nr, d.arg = unix.SYS_CLONE, [2]uintptr{uintptr(d.clone.flags&^unix.CLONE_PIDFD) | uintptr(d.clone.exitSignal), 0}
		r, e = bear(&d.birth)
	}
	afterFork()
	return int(r), unix.Errno(e)
}

// bytesOf are instructions as they lie in memory.
func bytesOf(ops []op) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(ops))), len(ops)*int(unsafe.Sizeof(op{})))
}

const headSize = int(unsafe.Sizeof(head{}))

// putHead writes head as it lies in memory.
func putHead(b []byte, h *head) {
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(h)), headSize))
}

// machine is the memory that host and child share, as the host sees it: page,
// registers, times, errors.
type machine struct {
	mem         []byte
	page        *page
	fd          int // of the file that the memory is of, -1 when it is closed
	steps, regs int // how many there are
	// The first step and call of the plan, among those of the page: not 0 in Resume.
	step0, call0 int
}

// newMachine makes the memory, in a file if there is one for it.
func newMachine(o *Options, steps, calls, regs int) (*machine, error) {
	size := pageSize(steps, calls, regs)
	fd, err := -1, error(nil)
	if o.Page != nil {
		fd, err = unix.FcntlInt(o.Page.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	} else if fd, err = memfd(0, unix.MFD_NOEXEC_SEAL); err != nil && o.Folder != "" {
		fd, err = unnamed(o.Folder, 0o600)
	}
	if err != nil {
		return nil, &notExecuted{[]error{fmt.Errorf("share memory with it: %w", err)}}
	}
	m, err := mapMachine(fd, size, true)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	m.fd, m.steps, m.regs = fd, steps, regs
	m.page.steps, m.page.calls, m.page.regs = uint32(steps), uint32(calls), uint32(regs)
	return m, nil
}

func mapMachine(fd, size int, fresh bool) (*machine, error) {
	if fresh {
		if err := unix.Ftruncate(fd, int64(size)); err != nil {
			return nil, err
		}
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &machine{mem: mem, page: (*page)(unsafe.Pointer(&mem[0])), fd: -1}, nil
}

const pageHead = int(unsafe.Sizeof(page{}))

func pageSize(steps, calls, regs int) int { return pageHead + 8*regs + 8*(steps+1) + 2*(calls+1) }

// Where in the memory things begin.
func (m *machine) regsAt() int  { return pageHead }
func (m *machine) timesAt() int { return m.regsAt() + 8*m.regs }
func (m *machine) errsAt() int  { return m.timesAt() + 8*(m.steps+1) }

// openMachine is the memory of a child that waits to be resumed: what the file
// says is not believed, since another may have written it.
func openMachine(file *os.File) (*machine, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < int64(pageHead) || st.Size() > 1<<24 {
		return nil, errForeignPage
	}
	m, err := mapMachine(int(file.Fd()), int(st.Size()), false)
	if err != nil {
		return nil, err
	}
	p := *m.page
	if p.steps > noCall || p.calls > noCall || p.regs > noCall ||
		pageSize(int(p.steps), int(p.calls), int(p.regs)) != len(m.mem) || p.resumeStep >= p.steps || p.resumeCall > p.calls {
		m.unmap()
		return nil, errForeignPage
	}
	m.steps, m.regs = int(p.steps), int(p.regs)
	m.step0, m.call0 = int(p.resumeStep), int(p.resumeCall)
	return m, nil
}

// left is how many steps of the plan are the machine's.
func (m *machine) left() int { return m.steps - m.step0 }

func (m *machine) unmap() {
	m.closeFile()
	_ = unix.Munmap(m.mem)
}

// closeFile closes the file; the memory stays.
func (m *machine) closeFile() {
	if m.fd >= 0 {
		unix.Close(m.fd)
	}
	m.fd = -1
}

// index is the place in the plan of a step that the page has the number of.
func (m *machine) index(step uint32) int { return int(step) - m.step0 }

// call is the place among the plan's calls of the one that failed.
func (m *machine) call() int { return int(m.page.call) - m.call0 }

// began is when a step of the child began, in nanoseconds of CLOCK_MONOTONIC;
// 0 if it did not, or was not timed.
func (m *machine) began(step int) int64 {
	return *(*int64)(unsafe.Pointer(&m.mem[m.timesAt()+8*(step+m.step0)]))
}

// errnoOf is the error of a call of the child, 0 if it succeeded or wasn't made.
func (m *machine) errnoOf(call int) unix.Errno {
	return unix.Errno(*(*uint16)(unsafe.Pointer(&m.mem[m.errsAt()+2*(call+m.call0)])))
}

// endedBy is the signal that has ended a child of ours, which stays to be
// waited for; 0 if it is none, or was ended by none. One that is known to end
// may still be at it.
func endedBy(pid int, ends bool) int {
	var info struct { // siginfo_t of SIGCHLD: waitid(2)
		signo, errno, code, _ int32
		pid, uid, status      int32
		_                     [25]int32
	}
	flags := unix.WEXITED | unix.WNOWAIT
	if !ends {
		flags |= unix.WNOHANG
	}
	err := unix.Waitid(unix.P_PID, pid, (*unix.Siginfo)(unsafe.Pointer(&info)), flags, nil)
	if err != nil || info.code != cldKilled && info.code != cldDumped {
		return 0
	}
	return int(info.status)
}

const cldKilled, cldDumped = 2, 3 // CLD_*

// ignored reports whether this process ignores a signal.
func ignored(s unix.Signal) bool {
	var action [4]uintptr // struct sigaction, the handler first
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	return errno == 0 && action[0] == sigIgn
}

const sigIgn = 1 // SIG_IGN
