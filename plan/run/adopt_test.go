// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// successor waits for the child's end, and has another process take its place.
type successor struct {
	pid int
	err error
}

func (a *successor) Verb() string         { return "successor" }
func (a *successor) Line() string         { return "wait, and go on with another" }
func (a *successor) Shell(s *plan.Script) {}
func (a *successor) Undo() plan.Host      { return nil }
func (a *successor) Do(e *plan.Env) error {
	if _, err := unix.Wait4(e.Pid, nil, 0, nil); err != nil {
		return err
	}
	e.Pid = a.pid
	return a.err
}

func succeeded(a *successor) (*Child, error) {
	p := &plan.Plan{Title: "a child with a successor"}
	p.Add("", new(plan.Clone))
	p.Add("", &plan.CloseOthers{From: 3})
	p.Add("", &plan.Exec{Paths: []string{"/bin/true", "/usr/bin/true"}, Args: []string{"true"}, Cwd: "/"})
	p.Add("", a)
	return Start(p, Options{})
}

func TestAHostStepNamesAnotherChild(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child, err := succeeded(&successor{pid: cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child.Pidfd)
	if child.Pid != cmd.Process.Pid {
		t.Errorf("child is %d, not %d", child.Pid, cmd.Process.Pid)
	}
	if err := child.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ws, _, err := child.Wait(); err != nil || ws.Signal() != unix.SIGTERM {
		t.Errorf("its end: %v, %v", ws, err)
	}
}

// A child that has ended and been asked for its status has a number that may be
// another process's by now: nobody is signalled.
func TestAFailedStepHasNoChildToKill(t *testing.T) {
	why := errors.New("no success")
	child, err := succeeded(&successor{err: why})
	var f *Fault
	if child != nil || !errors.Is(err, why) || !errors.As(err, &f) || f.Step.Action.Verb() != "successor" {
		t.Errorf("got %v, %v", child, err)
	}
}
