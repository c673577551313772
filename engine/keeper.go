// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/monitor"
	"vitro/plan"
	"vitro/plan/run"
)

// A terminal is hung up, and an input comes to its end, when the last
// descriptor of the side that is not the container's is closed. So where that
// would end the container if the process beside it were killed, a second
// process keeps it: the keeper, of four pages, which ends with the container.
// A pipe that the container writes to needs none (monitor.Pipes).

// keeps reports whether the container has an input that is never to end.
func (l *life) keeps() bool {
	return l.rec.Flags.Terminal || l.rec.Flags.Interactive && l.rec.Flags.OpenInput
}

// keep makes the keeper of a descriptor.
func (l *life) keep(c *container.Container, pid, fd int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(pidfd)
	p := &plan.Plan{Title: "keeper of the input of " + l.rec.Name}
	p.Add("a process outside of the container", &plan.Clone{})
	p.Add("whatever becomes of our terminal", &plan.Session{})
	p.Add("the container's input does not end with the process beside it", &plan.Keep{File: "input", Pidfd: "container", PID: pid})
	keeper, err := run.Start(p, run.Options{Handles: map[string]int{"input": fd, "container": pidfd}, Folder: c.Dir})
	if err != nil {
		return fmt.Errorf("keep the container's input: %w", err)
	}
	if keeper.Pidfd >= 0 {
		unix.Close(keeper.Pidfd)
	}
	return c.SaveKeeper(keeper.Pid)
}

// keepInput makes the keeper of a container's input that is a pipe, if it is to have one.
func (l *life) keepInput(c *container.Container, pid int, pipes *monitor.Pipes) error {
	if pipes == nil || !l.keeps() {
		return nil // a terminal comes later: takeConsole
	}
	return l.keep(c, pid, pipes.Input())
}

// takeConsole takes the other side of the container's terminal. The descriptor
// is another than f's, which Go closes when it thinks that nobody needs it.
func (l *life) takeConsole(c *container.Container, w *monitor.Watch, pid int, f *os.File) (err error) {
	if w.Console, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		return err
	}
	if err := unix.SetNonblock(w.Console, true); err != nil {
		return err
	}
	return l.keep(c, pid, w.Console)
}

// regain takes the input of a container whose monitor has been killed from its keeper.
func (l *life) regain(w *monitor.Watch) error {
	if !l.keeps() {
		return nil
	}
	keeper, err := l.c.Keeper()
	if err != nil {
		return fmt.Errorf("find the container's input: the process that kept it: %w", err)
	}
	defer unix.Close(keeper)
	fd, err := unix.PidfdGetfd(keeper, plan.KeptAt, 0) // it is closed at an exec
	if err != nil {
		return fmt.Errorf("take over the container's input: %w", err)
	}
	if l.rec.Flags.Terminal {
		w.Console = fd
	} else {
		w.In = fd
	}
	return nil
}
