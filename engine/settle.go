// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"vitro/plan"
)

// settle is the step that makes a container one that can be found, whatever
// becomes of the process that makes it: its PID, and what whoever takes over
// has to know, are written to its folder. The child waits for it. If the
// process that makes the container is killed before, the child ends with it.
type settle struct {
	Dir  string              `json:"dir"`
	save func(pid int) error // nil as long as the plan is only looked at
}

func (a *settle) Verb() string { return "record" }
func (a *settle) Line() string {
	return "write the process's PID and start time to " + plan.Quote(a.Dir+"/state")
}
func (a *settle) Shell(s *plan.Script) {
	s.Note("vitro writes the PID down here, for its other commands")
}
func (a *settle) Undo() plan.Host        { return nil }
func (a *settle) Do(env *plan.Env) error { return a.save(env.Pid) }
