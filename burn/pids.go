// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// mostPids is how many processes Pids makes at most, whatever it is asked for.
const mostPids = 30_000

// fewestPids are enough for the threads of a Go program: without them it would
// end with a page of stacks, not with an answer.
const fewestPids = 16

// Pids starts o.Size processes that do nothing, or as many as it gets, and
// keeps them for o.For.
//
// They are copies of this one that wait for their end: a program that is
// executed anew would have threads, which are counted as well.
func Pids(ctx context.Context, o Options) error {
	if o.Size > mostPids {
		return fmt.Errorf("read --size=%d: more than %d processes are a danger to the machine", o.Size, mostPids)
	}
	if err := o.check(1); err != nil {
		return err
	}
	l := limit("pids")
	if l != nil && l.Value < fewestPids {
		return fmt.Errorf("burn pids: %s is %s: this program alone may need %d threads", l.File, l.Text, fewestPids)
	}
	spareThreads()
	own := threads()
	pids := make([]int, 0, o.Size)
	defer func() { endAll(pids) }()
	var refused error
	for int64(len(pids)) < o.Size && ctx.Err() == nil {
		pid, err := idle()
		if err != 0 {
			refused = err
			break
		}
		pids = append(pids, pid)
	}
	n := len(pids)
	if refused != nil {
		// At the limit we could not even have another thread to print with.
		endAll(pids[n-min(n, 4):])
		pids = pids[:n-min(n, 4)]
	}
	o.now("pids: %d processes held", n)
	if o.For > 0 && refused == nil {
		select {
		case <-ctx.Done():
		case <-time.After(o.For):
		}
	} else if refused == nil {
		<-ctx.Done()
	}
	o.end()
	if refused != nil {
		o.say("pids: %d processes, then refused: clone: %v", n, refused)
	} else {
		o.say("pids: %d processes, all that were wanted", n)
	}
	switch u := ulimit(unix.RLIMIT_NPROC); {
	case l != nil:
		o.say("limit: %s is %s", l.File, l.Text)
		o.say("       threads are counted: %d are this program's own", own)
	case refused != nil && u != "":
		o.say("limit: %s, for all processes of this user", u)
	default:
		o.say("limit: none to be seen")
	}
	return nil
}

// idle makes a process that does nothing until it is killed. It goes with us.
func idle() (pid int, err unix.Errno) {
	parent := unix.Getpid()
	r, _, err := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if err != 0 || r != 0 {
		return int(r), err
	}
	// The child. There is one thread of Go's here now, and no scheduler: only raw calls.
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	if p, _, _ := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); int(p) != parent && p != 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	for {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// endAll kills processes, and waits for them.
func endAll(pids []int) {
	for _, p := range pids {
		_ = unix.Kill(p, unix.SIGKILL)
	}
	for _, p := range pids {
		for err := error(unix.EINTR); err == unix.EINTR; {
			_, err = unix.Wait4(p, nil, 0, nil)
		}
	}
}

// spareThreads has the runtime make some threads and keep them: it could not
// have them later, and would end.
func spareThreads() {
	runtime.LockOSThread() // PR_SET_PDEATHSIG is about the thread that is the parent
	var begun, done sync.WaitGroup
	release := make(chan struct{})
	for range 4 {
		begun.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // else the thread would end
			begun.Done()
			<-release
		})
	}
	begun.Wait()
	close(release)
	done.Wait()
}
