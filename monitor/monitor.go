// SPDX-License-Identifier: Apache-2.0

// Package monitor is the process beside a container: its parent. It starts
// the plan, passes the standard streams and signals, waits for the end, and
// has everything taken back.
//
// It decides nothing about the container: that is in the plan when it comes here.
package monitor

import (
	"io"
	"maps"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/plan"
	"vitro/plan/run"
)

// A Job is a process to run in the foreground: a container's first, or one more.
type Job struct {
	Plan    *plan.Plan
	Cgroups cgroup.Dirs
	Streams *Streams
	Options run.Options // the streams' handles are added
	// Started is called when the program runs. May be nil.
	Started func(*run.Child)
}

// An Exit is how a container ended.
type Exit struct {
	Code int  // as a shell has it: the program's own, or 128 and the signal's number
	OOM  bool // the kernel killed a process of it for want of memory
}

// Run runs the process to its end, or until the user leaves it, which is
// ErrDetached. A container is not removed.
//
// Another error is about the start: a *run.Fault, mostly.
func (j *Job) Run() (Exit, error) {
	if j.Plan.Binds() { // the child is killed when the thread that made it ends
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}

	o := j.Options
	o.Handles = maps.Clone(o.Handles)
	if o.Handles == nil {
		o.Handles = make(map[string]int)
	}
	maps.Copy(o.Handles, j.Streams.handles)
	meanwhile := o.Meanwhile
	o.Meanwhile = func(pid int) error {
		if err := listen(); err != nil || meanwhile == nil {
			return err
		}
		return meanwhile(pid)
	}
	child, err := run.Start(j.Plan, o)
	j.Streams.started(child)
	if err != nil {
		j.Streams.close()
		return Exit{}, err
	}
	if j.Started != nil {
		j.Started(child)
	}
	if await(child, j.Streams.left) {
		return Exit{}, j.Streams.leave(child)
	}
	ws, _, err := child.Wait()
	if child.Pidfd >= 0 {
		unix.Close(child.Pidfd)
	}
	j.Streams.close()
	if err != nil {
		return Exit{}, err
	}
	e := Exit{Code: ws.ExitStatus()}
	if ws.Signaled() {
		e.Code = 128 + int(ws.Signal())
	}
	if e.Code != 0 {
		n, _ := j.Cgroups.OOMKills()
		e.OOM = n > 0
	}
	return e, nil
}

// Streams are a container's standard streams, between it and ours.
//
// A container never gets our terminal itself: it could push characters into
// its input, and leave it in a strange state. It gets a terminal of its own,
// or a pipe. What is no terminal is inherited: nothing is copied then.
type Streams struct {
	Terminal    bool // the container has a terminal of its own
	Interactive bool // it reads our standard input
	// Inherit hands even a terminal through: whoever calls an OCI runtime has
	// decided what the streams are.
	Inherit bool
	// DetachKeys on our terminal leave the process, if it has one of its own and
	// reads our input. Keep is given that one then: as soon as nobody holds it any
	// more, the kernel ends the process (SIGHUP).
	DetachKeys []byte
	Keep       func(terminal *os.File) error

	left    int // 0, or a pipe whose end is that the user has left
	handles map[string]int
	ours    []*os.File // our ends of pipes
	theirs  []*os.File // the container's, to be closed when it has them
	copies  sync.WaitGroup
	restore func()
}

// Names of the handles.
var streamNames = [3]string{"stdin", "stdout", "stderr"}

// Names are the handles that the plan is to put in the streams' places; empty
// ones are inherited.
func (s *Streams) Names() (handles [3]string) {
	if s.Terminal {
		return handles
	}
	for fd := range 3 {
		if fd == 0 && !s.Interactive || !s.Inherit && isTerminal(fd) {
			handles[fd] = streamNames[fd]
		}
	}
	return handles
}

// Open opens what Names has named.
func (s *Streams) Open() error {
	s.handles = make(map[string]int)
	for fd, name := range s.Names() {
		switch {
		case name == "":
		case fd == 0 && !s.Interactive:
			null, err := os.Open(os.DevNull)
			if err != nil {
				return err
			}
			s.give(0, null)
		default:
			if err := s.pipe(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Streams) give(fd int, f *os.File) {
	s.handles[streamNames[fd]] = int(f.Fd())
	s.theirs = append(s.theirs, f)
}

func (s *Streams) pipe(fd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if fd == 0 {
		s.give(fd, r)
		go func() { _, _ = io.Copy(w, os.Stdin); w.Close() }()
		return nil
	}
	s.give(fd, w)
	s.ours = append(s.ours, r)
	out := []*os.File{1: os.Stdout, 2: os.Stderr}[fd]
	s.copies.Add(1)
	go func() { defer s.copies.Done(); _, _ = io.Copy(out, r) }()
	return nil
}

// started lets go of the container's ends, and begins to copy.
func (s *Streams) started(child *run.Child) {
	for _, f := range s.theirs {
		f.Close()
	}
	if child == nil || child.Console == nil {
		return
	}
	resize(child.Console)
	if s.Interactive {
		s.restore = rawMode(0, s.Inherit)
		leave := s.watchKeys()
		go s.input(child.Console, leave)
	}
	s.ours = append(s.ours, child.Console)
	s.copies.Add(1)
	go func() {
		defer s.copies.Done()
		_, _ = io.Copy(os.Stdout, child.Console) // ends with EIO when the last process has closed it
	}()
}

// watchKeys opens the pipe that says that the user has left; -1 if no keys do that.
func (s *Streams) watchKeys() (leave int) {
	var pipe [2]int
	if len(s.DetachKeys) == 0 || unix.Pipe2(pipe[:], unix.O_CLOEXEC) != nil {
		s.DetachKeys = nil
		return -1
	}
	s.left = pipe[0]
	return pipe[1]
}

// input passes on what is typed, until the user leaves.
func (s *Streams) input(console *os.File, leave int) {
	keys := keyWatch{keys: s.DetachKeys}
	buf := make([]byte, 32<<10)
	for {
		n, err := os.Stdin.Read(buf)
		text, detach := keys.pass(buf[:n])
		if _, e := console.Write(text); e != nil || err != nil {
			return
		}
		if detach {
			unix.Close(leave)
			return
		}
	}
}

// leave leaves the process to itself.
func (s *Streams) leave(child *run.Child) error {
	if s.restore != nil {
		s.restore()
	}
	if err := s.Keep(child.Console); err != nil {
		return err
	}
	return ErrDetached
}

// close waits for all output to have come through. A process that the container
// left behind in another pid namespace may hold a pipe open: its output is not waited for.
func (s *Streams) close() {
	s.copies.Wait()
	for _, f := range s.ours {
		f.Close()
	}
	if s.restore != nil {
		s.restore()
	}
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// rawMode hands keys through as they come, and what is written too unless it is
// to be processed here. It returns how to take that back.
func rawMode(fd int, process bool) func() {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil
	}
	t := *old // as cfmakeraw(3)
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	if !process {
		t.Oflag &^= unix.OPOST
	}
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &t) != nil {
		return nil
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }
}

// resize gives the container's terminal the size of ours.
func resize(console *os.File) {
	if console == nil {
		return
	}
	ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	raw, err := console.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, ws) })
}
