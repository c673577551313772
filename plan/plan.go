// SPDX-License-Identifier: Apache-2.0

// Package plan holds a container's set-up as data: an ordered list of steps,
// each a small typed value with the reason for it.
//
// One plan has many readers. Package run executes it; the printers here show
// it as text, as a shell script and as JSON; tests compare it as text, and
// make each of its steps fail. Making a plan takes no privilege and touches
// nothing: packages that decide (spec, cgroup, rootfs, network) return steps,
// and never act.
//
// The words, used everywhere with these meanings:
//
//   - An action is what is done: "mount", "pivot_root", "write".
//   - A step is an action with its place in the list and the reason for it.
//   - A host action is done by the caller's process, in Go, and knows its inverse.
//   - A child action is done by the process that becomes the container. It is
//     lowered to calls: system calls as data, which package run links into the
//     program that the child executes until it is the container's.
//   - The clone is the action in between: the child's birth.
//   - A handle is a descriptor by name: what one action leaves for a later one.
//
// Do not use this package to run a command without isolation: os/exec does that.
package plan

import "slices"

// A Plan is all that is done to make one container, in order.
//
// The order is a promise: each step may rely on the ones before it. Host steps
// after the clone run ahead of the child where they can: the child waits for
// the host steps that stand before its own; a host step waits for the child's
// only if it says so (Step.Meet).
type Plan struct {
	Title string // for people: "busybox: sh"
	Steps []Step
}

// A Step is one action and why a container needs it.
type Step struct {
	Action Action
	Why    string
	// Meet, of a host step after the clone: it needs what the child has done in
	// the steps before it, and the child waits for it. A host step after the
	// child's last is always so: the container's program runs then.
	Meet bool
}

// An Action is a typed value that says what a step does.
type Action interface {
	// Verb is the action's name, a word of the kernel or the field: "mount".
	// It is the name in JSON, in traces and in the undo list.
	Verb() string
	// Line says what is done, with its values, in one line.
	Line() string
	// Shell adds the commands that do the same to the script.
	Shell(*Script)
}

// A Host action is done by the process that makes the container.
type Host interface {
	Action
	// Do acts. It is called by package run only.
	Do(*Env) error
	// Undo returns the action that takes this one back, nil if there is
	// nothing to take back. It is written down before Do is called, so it has
	// to be right after a crash at any moment: before Do, in it or after it.
	Undo() Host
}

// Texts is an action whose values are some texts and nothing else.
type Texts interface {
	Texts() []Text
}

// A Text is a value of an action: its name in JSON, and where it is.
type Text struct {
	Name  string
	Value *string
}

// A Child action is done by the child.
type Child interface {
	Action
	// Lower adds the system calls that do it.
	Lower(*Asm)
}

// Env is what a host action may use of the run that it is part of.
type Env struct {
	// Pid is the container's first process; 0 before the clone. A host step
	// behind the exec may put another child of ours in its place, or 0 when it
	// has waited for its end.
	Pid     int
	Handles map[string]int // descriptors by name, for the child to inherit
}

// Add appends a step.
func (p *Plan) Add(why string, a Action) { p.Steps = append(p.Steps, Step{Action: a, Why: why}) }

// Meet appends a host step that the child waits for with all its own before it done.
func (p *Plan) Meet(why string, a Host) {
	p.Steps = append(p.Steps, Step{Action: a, Why: why, Meet: true})
}

// Append appends steps that another package has made.
func (p *Plan) Append(steps ...Step) { p.Steps = append(p.Steps, steps...) }

// IsHost reports whether the step runs in the caller's process.
func (s Step) IsHost() bool { _, child := s.Action.(Child); return !child }

// Where names the place where the step runs: "host" or "child".
func (s Step) Where() string {
	if s.IsHost() {
		return "host"
	}
	return "child"
}

// Born is the index of the clone step, len(p.Steps) if there is none.
func (p *Plan) Born() int {
	for i, s := range p.Steps {
		if _, ok := s.Action.(*Clone); ok {
			return i
		}
	}
	return len(p.Steps)
}

// Waits is the index of the step at which the child waits to be started,
// len(p.Steps) if there is none.
func (p *Plan) Waits() int {
	for i, s := range p.Steps {
		if _, ok := s.Action.(*Await); ok {
			return i
		}
	}
	return len(p.Steps)
}

// Binds reports whether the child's life is bound to the thread that makes it.
func (p *Plan) Binds() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { _, ok := s.Action.(*DieWith); return ok })
}

// Last is the index of the child's last step, the exec; -1 if it has none.
func (p *Plan) Last() int {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if !p.Steps[i].IsHost() {
			return i
		}
	}
	return -1
}

// Find is the index of the first step whose verb is name, or whose line holds
// it; -1 if there is none.
func (p *Plan) Find(name string) int {
	for i, s := range p.Steps {
		if s.Action.Verb() == name {
			return i
		}
	}
	for i, s := range p.Steps {
		if containsWord(s.Action.Line(), name) {
			return i
		}
	}
	return -1
}
