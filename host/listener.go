// SPDX-License-Identifier: Apache-2.0

package host

import (
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
)

// Listener takes the listener of the child's seccomp filter out of its hands,
// and hands it to the agent that is to answer. The filter is in force by then:
// the child can't send the descriptor itself, since its own sendmsg(2) might be
// what the agent is asked about (pidfd_getfd(2), Linux 5.6).
//
// Precondition: the child has loaded its filter, and waits (plan.Step.Meet).
type Listener struct {
	Path  string                      `json:"path"`
	State specs.ContainerProcessState `json:"state"`
	// First: the child is the container's first process, whose PID the
	// container's state has too.
	First bool `json:"first,omitempty"`
}

func (a *Listener) Verb() string { return "seccomp-listener" }
func (a *Listener) Line() string { return "hand the seccomp listener to " + plan.Quote(a.Path) }
func (a *Listener) Shell(s *plan.Script) {
	s.Note("%s: no shell command can", a.Line())
}
func (a *Listener) Undo() plan.Host { return nil }

func (a *Listener) Do(e *plan.Env) error {
	fd, err := takeListener(e.Pid)
	if err != nil {
		return fmt.Errorf("take it from the child: %w", err)
	}
	defer unix.Close(fd)
	state := a.State
	state.Pid = e.Pid
	if a.First {
		state.State.Pid = e.Pid
	}
	return SendListener(a.Path, ocijson.AppendContainerProcessState(nil, &state), fd)
}

// takeListener finds the descriptor by what /proc says it is.
func takeListener(pid int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return -1, err
	}
	for _, e := range entries {
		if to, _ := os.Readlink(dir + "/" + e.Name()); !strings.Contains(to, "seccomp notify") {
			continue
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return -1, err
		}
		return unix.PidfdGetfd(pidfd, n, 0)
	}
	return -1, errors.New("it has none")
}

// agentPatience is how long an agent may take to accept what it is sent.
const agentPatience = 10 * time.Second

// SendListener hands the descriptor of a seccomp filter's listener to the agent
// that waits at a UNIX socket, with the container process state that tells
// whose it is (runtime-spec, config-linux.md, "The Container Process State").
// The descriptor stays the caller's to close; the connection is closed.
//
// Package net isn't used: it costs more at the start of a program than all the
// rest of what the runtime links.
func SendListener(path string, state []byte, fd int) error {
	if err := sendListener(path, state, fd); err != nil {
		return fmt.Errorf("send seccomp listener to %q: failed to connect with seccomp agent: %w", path, err)
	}
	return nil
}

func sendListener(path string, state []byte, fd int) error {
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	limit := unix.NsecToTimeval(agentPatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return err
	}
	if err := restarted(func() error { return unix.Connect(sock, &unix.SockaddrUnix{Name: path}) }); err != nil {
		return err
	}
	rights := unix.UnixRights(fd) // with the first part only
	for len(state) > 0 {
		n := 0
		err := restarted(func() (err error) {
			n, err = unix.SendmsgN(sock, state, rights, nil, unix.MSG_NOSIGNAL)
			return err
		})
		if err != nil {
			return err
		}
		state, rights = state[n:], nil
	}
	return nil
}

// restarted calls f again when a signal has interrupted it.
func restarted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
