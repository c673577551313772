// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"strconv"
	"strings"
)

// A row asks the kernel one question about a lesson.
type row struct {
	what string // as it is when it is right
	see  string // the command that shows it; $PID is the lesson's process
	ask  func(*Lab) error
}

// A Finding is a row's answer.
type Finding struct {
	What    string
	Differs string // "" if it is right
	See     string
	Open    bool // it was not asked: a row above has to be right first
}

// A State is how far a lesson is.
type State int

// States.
const (
	NotBegun State = iota
	Partly
	Done
)

func (s State) String() string { return [...]string{"not", "partly", "done"}[s] }

// Check asks all of a lesson's rows. The first one is what the others rest on.
func (l *Lab) Check(name string) (State, []Finding) {
	var list []Finding
	right := 0
	rows := rowsOf(name)
	for i, r := range rows {
		f := Finding{What: r.what, See: l.command(r.see, name)}
		if i > 0 && list[0].Differs != "" {
			f.Open = true
		} else if err := r.ask(l); err != nil {
			f.Differs = err.Error()
		} else {
			right++
		}
		list = append(list, f)
	}
	switch {
	case right == len(rows):
		return Done, list
	case right > 0:
		return Partly, list
	}
	return NotBegun, list
}

func rowsOf(name string) []row {
	for _, c := range checks {
		if c.lesson == name {
			return c.rows
		}
	}
	return nil
}

// command is a row's command with the lab's folder and the lesson's PID in it.
func (l *Lab) command(see, lesson string) string {
	see = strings.ReplaceAll(see, "$LAB", l.Dir)
	if strings.Contains(see, "$PID") {
		if p, err := l.process(lesson); err == nil {
			see = strings.ReplaceAll(see, "$PID", strconv.Itoa(p.pid))
		}
	}
	return see
}
