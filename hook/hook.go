// SPDX-License-Identifier: Apache-2.0

// Package hook runs the programs that a config.json has called at points of a
// container's life (config.md, POSIX-platform Hooks).
//
// A hook is a step of the container's plan, and what it does is a plan of its
// own: a birth, standard streams, an exec; in the container's namespaces, as
// confined as the container's process, where the specification has it there.
// Which steps those are is decided by package spec.
//
// To run a program that is no hook, use package os/exec.
package hook

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
	"vitro/plan"
	"vitro/plan/run"
)

// Handles that a hook's plan may use.
const (
	State     = "hook-state"  // the state, to be read
	Output    = "hook-output" // what it says
	Container = "container"   // the pidfd of the container's first process
)

// Call is the step that runs a hook, and waits for its end.
type Call struct {
	Kind    string        `json:"kind"`             // "createRuntime" and its kin
	Number  int           `json:"number,omitempty"` // among those, from 0
	Hook    specs.Hook    `json:"hook"`
	State   specs.State   `json:"state"` // the PID is filled in
	Timeout time.Duration `json:"timeout,omitempty"`
	// Inside: the hook sees PIDs as the container does.
	Inside bool       `json:"inside,omitempty"`
	Plan   *plan.Plan `json:"-"`
}

// ErrTimeout is the answer to a hook that has not ended in its time; it is ended then.
var ErrTimeout = errors.New("the hook has not ended in its time")

func (a *Call) Verb() string { return "hook" }
func (a *Call) Line() string {
	args := a.Hook.Args
	if len(args) > 0 {
		args = args[1:]
	}
	return a.Kind + " hook: " + plan.Quote(append([]string{a.Hook.Path}, args...)...)
}

func (a *Call) Shell(s *plan.Script) {
	s.Note("%s: a script has no state to hand to it", a.Line())
}

// Undo is nothing: what a hook does is its own to take back, by another hook.
func (a *Call) Undo() plan.Host { return nil }

// Do runs the hook. It fails if the hook can't be run (a *run.Fault), with
// ErrTimeout, or with an *Exit. The words before that are what runc says.
func (a *Call) Do(e *plan.Env) error {
	if err := a.call(e); err != nil {
		return fmt.Errorf("error running %s hook #%d: %w", a.Kind, a.Number, err)
	}
	return nil
}

func (a *Call) call(e *plan.Env) error {
	state := a.State
	if state.Pid = e.Pid; a.Inside && e.Pid > 0 {
		state.Pid = innermost(e.Pid)
	}
	in, err := memfd(ocijson.AppendState(nil, &state))
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := memfd(nil)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	handles := map[string]int{State: in, Output: out}
	if a.Inside {
		fd, err := unix.PidfdOpen(e.Pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		handles[Container] = fd
	}
	return a.run(handles)
}

func (a *Call) run(handles map[string]int) error {
	child, err := run.Start(a.Plan, run.Options{Handles: handles})
	if err != nil {
		return err
	}
	defer unix.Close(child.Pidfd)
	timeout := -1
	if a.Timeout > 0 {
		timeout = int(a.Timeout.Milliseconds())
	}
	ended := wait(child.Pidfd, timeout)
	if !ended {
		_ = child.Signal(unix.SIGKILL)
	}
	ws, _, err := child.Wait()
	switch {
	case err != nil:
		return err
	case !ended:
		return ErrTimeout
	case ws.Signaled() || ws.ExitStatus() != 0:
		return &Exit{Status: ws, Output: said(handles[Output])}
	}
	return nil
}

// An Exit is a hook that has not ended with status 0.
type Exit struct {
	Status unix.WaitStatus
	Output string // the end of what it has said
}

func (e *Exit) Error() string {
	s := fmt.Sprintf("exit status %d", e.Status.ExitStatus())
	if e.Status.Signaled() {
		s = fmt.Sprintf("killed by %s (%s)", unix.SignalName(e.Status.Signal()), e.Status.Signal())
	}
	if e.Output != "" {
		s += ": " + e.Output
	}
	return s
}

// wait waits for the end of a process, so many milliseconds; -1: for ever.
func wait(pidfd, timeout int) bool {
	end := time.Now().Add(time.Duration(timeout) * time.Millisecond)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, timeout)
		if err != unix.EINTR {
			return n > 0
		}
		if timeout >= 0 {
			timeout = max(0, int(time.Until(end).Milliseconds()))
		}
	}
}

// memfd is a file in memory. A pipe would need somebody to serve it, and a hook
// may leave a process behind that holds its end.
func memfd(data []byte) (int, error) {
	fd, err := unix.MemfdCreate("hook", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if len(data) > 0 {
		if _, err = unix.Write(fd, data); err == nil {
			_, err = unix.Seek(fd, 0, 0)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// said is the end of what a hook has written.
func said(fd int) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return ""
	}
	var b [2048]byte
	n, err := unix.Pread(fd, b[:], max(0, st.Size-int64(len(b))))
	if err != nil {
		return ""
	}
	return string(bytes.ToValidUTF8(bytes.TrimSpace(b[:n]), []byte("?")))
}

// innermost is a process's PID in the innermost of its PID namespaces.
func innermost(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return pid
	}
	if n := lastNSpid(string(data)); n > 0 {
		return n
	}
	return pid
}

// lastNSpid reads the last number of the line NSpid in the text of
// /proc/PID/status (proc_pid_status(5)); 0 if there is none.
func lastNSpid(status string) int {
	for line := range strings.Lines(status) {
		v, ok := strings.CutPrefix(line, "NSpid:")
		if f := strings.Fields(v); ok && len(f) > 0 {
			n, err := strconv.Atoi(f[len(f)-1])
			if err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}
