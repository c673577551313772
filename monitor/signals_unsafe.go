// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"vitro/plan/run"
)

// Package os/signal needs three threads and as many goroutines to tell of a
// signal, and 20 µs to be told of each of the 64: more than all else that a
// monitor does. So signals come to a handler of our own here, a few
// instructions of assembler: it notes the number, and rings a bell (eventfd(2))
// that the monitor waits for beside the container's end.

// action is the kernel's struct sigaction.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const saOnStack, saRestart, saRestorer = 0x08000000, 0x10000000, 0x04000000 // SA_*

var (
	pending atomic.Uint64 // a bit for each signal, from bit 0 for number 1
	bell    = int32(-1)   // the handler writes to it
	//lint:ignore U1000 the handler uses it
	one = uint64(1) // what it writes
)

// handlers are the addresses of the handler, and of what comes after it.
func handlers() (handler, restorer uintptr)

// ours are the signals that stay here. What the kernel and the Go runtime send
// to ask or to tell them something (SIGCHLD, SIGURG) is discarded, so it
// interrupts nobody; of others the runtime's handlers stay in place.
var ours = [...]struct {
	signal  unix.Signal
	discard bool
}{
	{unix.SIGCHLD, true}, {unix.SIGURG, true},
	{unix.SIGPIPE, false}, {unix.SIGTTIN, false}, {unix.SIGTTOU, false}, {unix.SIGPROF, false},
	{unix.SIGILL, false}, {unix.SIGTRAP, false}, {unix.SIGBUS, false}, {unix.SIGFPE, false}, {unix.SIGSEGV, false},
	{unix.SIGKILL, false}, {unix.SIGSTOP, false}, {32, false}, {33, false}, // those of C libraries' threads
}

// listen has the signals that are sent to this process noted from now on. A
// usual one that comes before ends this process, and with it a container in the making.
func listen() error {
	if bell < 0 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return fmt.Errorf("listen for signals: %w", err)
		}
		bell = int32(fd)
	}
	var note action
	note.flags = saOnStack | saRestart | saRestorer
	note.handler, note.restorer = handlers()
	var stays [65]bool
	for _, o := range ours {
		stays[o.signal] = true
		if o.discard {
			handle(o.signal, &action{})
		}
	}
	for s := unix.Signal(1); s <= 64; s++ {
		if !stays[s] {
			handle(s, &note)
		}
	}
	return nil
}

func handle(s unix.Signal, a *action) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(a)), 0, 8, 0, 0)
}

// await waits for the end of a child, and passes on to it what is sent to us
// meanwhile. It returns early, and says so, when a pipe that is not 0 ends.
func await(child *run.Child, pipe int) (early bool) {
	if pipe == 0 {
		pipe = -1 // nothing, for poll(2)
	}
	for child.Pidfd >= 0 {
		fds := [3]unix.PollFd{{Fd: int32(child.Pidfd), Events: unix.POLLIN}, {Fd: bell, Events: unix.POLLIN}, {Fd: int32(pipe)}}
		if _, err := unix.Poll(fds[:], -1); err != nil && err != unix.EINTR {
			return false // impossible; the caller waits, deaf
		}
		if fds[1].Revents != 0 {
			forward(child)
		}
		if fds[0].Revents != 0 {
			return false
		}
		if fds[2].Revents != 0 {
			return true
		}
	}
	return false
}

// forward passes signals on that have come.
func forward(child *run.Child) {
	var count [8]byte
	_, _ = unix.Read(int(bell), count[:])
	for noted := pending.Swap(0); noted != 0; noted &= noted - 1 {
		switch s := unix.Signal(1 + bits.TrailingZeros64(noted)); s {
		case unix.SIGWINCH:
			resize(child.Console)
		default:
			_ = child.Signal(s)
		}
	}
}
