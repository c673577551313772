// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list, by its verb.
func Actions(verb string) plan.Host {
	if verb == "kill" {
		return new(Kill)
	}
	return nil
}

// Guard has whatever processes are left in the container's cgroups killed if
// the restore doesn't come to its end: half a container waits for ever.
type Guard struct {
	Dirs cgroup.Dirs `json:"dirs"`
}

func (a *Guard) Verb() string         { return "guard" }
func (a *Guard) Line() string         { return "when it is taken back: " + a.kill().Line() }
func (a *Guard) Shell(s *plan.Script) { a.kill().Shell(s.Undoing()) }
func (a *Guard) Do(*plan.Env) error   { return nil }
func (a *Guard) Undo() plan.Host      { return a.kill() }
func (a *Guard) kill() *Kill          { return &Kill{a.Dirs} }

// Kill kills all processes in cgroups. Cgroups that are gone have none.
type Kill struct {
	Dirs cgroup.Dirs `json:"dirs"`
}

func (a *Kill) Verb() string    { return "kill" }
func (a *Kill) Undo() plan.Host { return nil }
func (a *Kill) Line() string {
	var paths []string
	for _, d := range a.Dirs {
		paths = append(paths, d.Path)
	}
	return "kill what is in " + plan.Quote(paths...)
}

func (a *Kill) Shell(s *plan.Script) {
	for _, d := range a.Dirs {
		s.Run("kill -9 $(cat %s)", plan.Quote(d.Path+"/cgroup.procs"))
	}
}

// Do kills and waits.
func (a *Kill) Do(*plan.Env) error {
	err := a.Dirs.Kill()
	if errors.Is(err, cgroup.ErrNoController) {
		return nil
	}
	return err
}

// Finish waits for criu's end, which is what the plan's child has become.
type Finish struct {
	Criu   string `json:"criu"`
	Action string `json:"action"`
	Log    string `json:"log"`
	// PIDFile, of a restore, holds the PID of the container's first process. It
	// takes criu's place in the plan: it is a child of ours too (criu's sibling).
	PIDFile string `json:"pidFile,omitempty"`
}

func (a *Finish) Verb() string    { return "criu" }
func (a *Finish) Line() string    { return "wait for criu " + a.Action }
func (a *Finish) Undo() plan.Host { return nil }
func (a *Finish) Shell(s *plan.Script) {
	s.Note("criu %s waits by itself", a.Action)
}

// Do fails with a *Failure if criu does.
func (a *Finish) Do(e *plan.Env) error {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(e.Pid, &ws, 0, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	e.Pid = 0
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return newFailure(a.Criu, a.Log, ws)
	}
	if a.PIDFile == "" {
		return nil
	}
	data, err := os.ReadFile(a.PIDFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("read %s: %q is no PID", a.PIDFile, data)
	}
	e.Pid = pid
	return nil
}
