// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Text is the plan for a person: each step with its reason, and the shell
// commands that do the same. With calls set, the system calls too.
func (p *Plan) Text(calls bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %d steps\n", p.Title, len(p.Steps))
	var lowered []Call
	if calls {
		lowered = p.Lower()
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d %-5s %s\n", i+1, s.Where(), s.Action.Line())
		if s.Why != "" {
			fmt.Fprintf(&b, "          # %s\n", s.Why)
		}
		for _, l := range s.Shell() {
			fmt.Fprintf(&b, "          $ %s\n", l)
		}
		for ; len(lowered) > 0 && lowered[0].Step == i; lowered = lowered[1:] {
			fmt.Fprintf(&b, "          > %s\n", lowered[0])
		}
	}
	return b.String()
}

// Lines is the plan at its shortest: a line for each step.
func (p *Plan) Lines() string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d %-5s %s\n", i+1, s.Where(), s.Action.Line())
	}
	return b.String()
}

// Shell is the step's own part of the script, a command a line.
func (s Step) Shell() []string {
	var lines []string
	sc := &Script{where: &lines}
	s.Action.Shell(sc)
	if sc.clone != "" {
		lines = append(lines, sc.clone)
	}
	if sc.privs != "" {
		lines = append(lines, "setpriv"+sc.privs)
	}
	if sc.exec != "" {
		lines = append(lines, "exec "+sc.env+" "+sc.exec)
	}
	lines = append(lines, sc.last...)
	return strings.FieldsFunc(strings.Join(lines, "\n"), func(r rune) bool { return r == '\n' })
}

// stepJSON is a step as `explain --as json` shows it.
type stepJSON struct {
	Number int      `json:"number"`
	Where  string   `json:"where"`
	Verb   string   `json:"verb"`
	Line   string   `json:"line"`
	Why    string   `json:"why,omitempty"`
	Action Action   `json:"action"`
	Shell  []string `json:"shell,omitempty"`
	Calls  []string `json:"calls,omitempty"`
	Undo   string   `json:"undo,omitempty"`
}

// JSON is the plan for programs.
func (p *Plan) JSON() ([]byte, error) {
	out := struct {
		Title string     `json:"title"`
		Steps []stepJSON `json:"steps"`
	}{Title: p.Title}
	lowered := p.Lower()
	for i, s := range p.Steps {
		j := stepJSON{Number: i + 1, Where: s.Where(), Verb: s.Action.Verb(), Line: s.Action.Line(), Why: s.Why, Action: s.Action, Shell: s.Shell()}
		for ; len(lowered) > 0 && lowered[0].Step == i; lowered = lowered[1:] {
			j.Calls = append(j.Calls, lowered[0].String())
		}
		if h, ok := s.Action.(Host); ok {
			if u := h.Undo(); u != nil {
				j.Undo = u.Line()
			}
		}
		out.Steps = append(out.Steps, j)
	}
	return json.MarshalIndent(out, "", "  ")
}

// containsWord reports whether one of the words of line, or the last element
// of a path in it, is word.
func containsWord(line, word string) bool {
	for _, f := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\"'()=,:", r) }) {
		if f == word || f[strings.LastIndexByte(f, '/')+1:] == word {
			return true
		}
	}
	return false
}
