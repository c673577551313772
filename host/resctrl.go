// SPDX-License-Identifier: Apache-2.0

package host

import (
	"strconv"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Class makes a folder of the resctrl file system that outlives the container:
// a class of service that others may be in as well. One that is there already
// is no error.
type Class struct {
	Path string `json:"path"`
}

func (a *Class) Verb() string         { return "class" }
func (a *Class) Line() string         { return "mkdir -p " + a.Path + ", to stay" }
func (a *Class) Shell(s *plan.Script) { s.Run("mkdir -p %s", plan.Quote(a.Path)) }
func (a *Class) Undo() plan.Host      { return nil }
func (a *Class) Do(*plan.Env) error {
	if err := unix.Mkdir(a.Path, 0o755); err != unix.EEXIST {
		return err
	}
	return nil
}

// Tasks writes the child's PID to a file of the kernel's: it becomes one of
// the tasks of a group.
type Tasks struct {
	Path string `json:"path"`
}

func (a *Tasks) Verb() string         { return "tasks" }
func (a *Tasks) Line() string         { return "write $PID to " + a.Path }
func (a *Tasks) Shell(s *plan.Script) { s.Run(`echo "$PID" >%s`, plan.Quote(a.Path)) }
func (a *Tasks) Undo() plan.Host      { return nil }
func (a *Tasks) Do(e *plan.Env) error {
	return (&Write{Path: a.Path, Value: strconv.Itoa(e.Pid)}).Do(e)
}
