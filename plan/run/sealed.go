// SPDX-License-Identifier: Apache-2.0

package run

// The sealed program is what a container's first process is until it becomes
// the container's program: a static ELF image without a file system behind it,
// made for this one start. It holds an interpreter, a page long, and the plan's
// calls with all that they point to.
//
// So there is never a process of ours in reach of a container whose
// /proc/PID/exe is a file of the host (CVE-2019-5736), and none with a copy of
// this program's memory: the child is born with the parent's memory, as by
// vfork(2), and gives that back at once, by executing the image.
//
// The image, as it lies in memory, from low addresses to high:
//
//	imageAt  r-x  ELF header, three program headers, head, the interpreter
//	dataAt   r--  what the calls point to, then the instructions
//	head.page rw  shared with the host: page, registers, times, errors
//
// The interpreter is sealed_GOARCH.s. It is copied out of our own text, so it
// refers to nothing but its registers, constants, and what head points to; it
// uses no stack.

const (
	imageAt = 0x400000
	segment = 0x10000 // segments are apart by the largest page that arm64 has
	dataOff = 0x1000  // of the file: no byte of a config.json lies in a page that is executable
	dataAt  = imageAt + segment + dataOff
	headAt  = imageAt + headOff
	headOff = 64 + 3*56
)

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
	arg      [6]uint64
	nr       uint16
	reg      [3]uint16 // where not 0: the register that the argument comes from
	out      uint16    // where not 0: the register for the result
	step     uint16
	call     uint16 // its place among the plan's calls
	skipErr  uint16
	skipOK   uint16
	allow    [3]uint8 // errors that are no failure
	kind     uint8
	timed    bool // read the clock if the step is a new one
	filtered bool // a seccomp filter may be in force
}

// head is what the interpreter knows of its image.
type head struct {
	ops, count       uint64 // the instructions: address, number
	page, size, file uint64 // the shared memory: address, size, descriptor
	regs             uint64 // in it: uint64 for each register
	times            uint64 // in it: int64 for each step: when it began, CLOCK_MONOTONIC
	errs             uint64 // in it: uint16 for each call: its errno
	sock             uint64 // the socket to the host
	// open lets the host look at the child after a failure, through /proc:
	// after a change of user the kernel hides a process from its own user.
	open uint64
}

// page is the head of the memory that child and host share. The child writes,
// the host reads when the child has told it to or has ended.
type page struct {
	step  uint32 // where the child is, and on failure: was
	call  uint32 // the one that failed; noCall if it is none of the plan's
	errno uint32
	pid   uint32 // the child's PID, after opFork

	exec    uint32 // why the sealed program could not be executed; 0: it could
	started uint32 // 1: it runs

	// For Resume, written by the host before the birth:
	steps, calls, regs     uint32 // how many there are
	resumeStep, resumeCall uint32 // the first ones after plan.Await
	_                      uint32

	in, out uint64 // where the child hears the host, and tells it: a socket, later two FIFOs
	clock   [2]int64
	buf     [8]byte
}

const noCall = 0xffff
