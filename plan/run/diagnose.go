// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Hint is what to do about the fault; may be empty.
func (f *Fault) Hint() string { return f.Remedy }

// A reason is a row of the tables: if one of these steps fails with one of
// these errors, and the machine is so, then this is why, and that helps.
//
// A word in braces stands for a value of the step, by its name in JSON, or for
// one that scene.word finds out. A row whose word has no value doesn't apply.
type reason struct {
	verbs         string            // separated by spaces, "mount:proc" for one type only; empty: any step
	errnos        []unix.Errno      // empty: any error
	when          func(*scene) bool // what else has to be so
	cause, remedy string
}

// reasons are the tables in the order in which they are searched: what is
// special before what is general.
func reasons() [8][]reason {
	return [...][]reason{
		endReasons[:], namespaceReasons[:], mountReasons[:], cgroupReasons[:], traitReasons[:], processReasons[:], networkReasons[:], generalReasons[:],
	}
}

// scene is all that a reason may depend on.
type scene struct {
	fault  *Fault
	errno  unix.Errno // 0 if it is another kind of error
	call   *plan.Call // of the child; nil for host steps
	tried  []unix.Errno
	pid    int  // the child, which waits to be looked at; 0 if there is none
	inUser bool // the child is not in the machine's first user namespace
	host   look
	values map[string]any // the action's, by their names in JSON
}

// allIDs is the map of the machine's first user namespace.
const allIDs = "0 0 4294967295"

// diagnose fills in why the step failed, and what to do about it.
func (f *Fault) diagnose(x *execution) {
	s := &scene{fault: f, pid: x.child.Pid, host: &machineLook{pid: x.child.Pid, pidfd: x.child.Pidfd}}
	s.inUser = strings.Join(strings.Fields(s.host.read("/proc/self/uid_map")), " ") != allIDs
	if i := x.p.Born(); i < len(x.p.Steps) {
		c := x.p.Steps[i].Action.(*plan.Clone)
		s.inUser = s.inUser || c.JoinsUser() || c.Flags&unix.CLONE_NEWUSER != 0
	}
	if x.m != nil && !f.Step.IsHost() {
		s.tried = x.errnos(f.Index)
		s.call = failedCall(x.lowered(), f)
	}
	s.explain()
}

// failedCall finds the call that the fault's text is of.
func failedCall(calls []plan.Call, f *Fault) *plan.Call {
	for i := range calls {
		if calls[i].Step == f.Index && calls[i].Text() == f.Call {
			return &calls[i]
		}
	}
	return nil
}

// explain looks the fault up. An error that has a hint of its own knows best.
func (s *scene) explain() {
	f := s.fault
	var own interface{ Hint() string }
	if errors.As(f.Err, &own) && own.Hint() != "" {
		f.Remedy = own.Hint()
		return
	}
	if e := plan.Program(f.Step.Action); e != nil && s.explainExec(e) {
		return
	}
	errors.As(f.Err, &s.errno)
	for _, table := range reasons() {
		for i := range table {
			if s.applies(&table[i]) {
				return
			}
		}
	}
}

// applies fills in the fault if the reason is its reason.
func (s *scene) applies(r *reason) bool {
	if r.verbs != "" && !s.isOf(strings.Fields(r.verbs)) {
		return false
	}
	if len(r.errnos) > 0 && !slices.Contains(r.errnos, s.errno) {
		return false
	}
	if r.when != nil && !r.when(s) {
		return false
	}
	cause, ok := s.insert(r.cause)
	remedy, also := s.insert(r.remedy)
	if !ok || !also {
		return false
	}
	s.fault.Cause, s.fault.Remedy = cause, remedy
	return true
}

func (s *scene) isOf(verbs []string) bool {
	verb := s.fault.Step.Action.Verb()
	return slices.ContainsFunc(verbs, func(v string) bool {
		name, typ, one := strings.Cut(v, ":")
		return name == verb && (!one || typ == s.value("type"))
	})
}

// insert puts values in the place of words in braces.
func (s *scene) insert(text string) (string, bool) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, after, _ := strings.Cut(rest, "}")
		value := s.word(name)
		if value == "" {
			return "", false
		}
		b.WriteString(value)
		text = after
	}
}

// word is the value of a word in braces, "" if it has none.
func (s *scene) word(name string) string {
	for _, w := range words {
		if w.name == name {
			return w.value(s)
		}
	}
	return plain(s.value(name))
}

// value is a value of the action, as text: lists have their parts separated by blanks.
func (s *scene) value(name string) string {
	if s.values == nil {
		s.values = valuesOf(s.fault.Step.Action)
	}
	switch v := s.values[name].(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = fmt.Sprint(v[i])
		}
		return strings.Join(parts, " ")
	default:
		return fmt.Sprint(v)
	}
}

func valuesOf(a plan.Action) map[string]any {
	values := make(map[string]any)
	if data, err := json.Marshal(a); err == nil {
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		_ = d.Decode(&values) // what can't be read has no value
	}
	return values
}

// number is a value of the action that is a number; 0 if it is none.
func (s *scene) number(name string) uint64 {
	return number(s.value(name))
}

func number(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// plain quotes what is not an ordinary word: names may come from anywhere, and
// go to a terminal.
func plain(s string) string {
	if s == "" || plan.Quote(s) == s {
		return s
	}
	return strconv.Quote(s)
}

// said reports whether the error's own text has a phrase in it: for programs
// that a step runs.
func (s *scene) said(phrase string) bool { return strings.Contains(s.fault.Err.Error(), phrase) }

// called reports whether this system call failed.
func (s *scene) called(sys plan.Sys) bool { return s.call != nil && s.call.Sys == sys }

// rootless reports whether an ordinary user makes the container.
func (s *scene) rootless() bool { return s.inUser && s.host.euid() != 0 }
