// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run"
)

// told is a host action that writes down what is done with it.
type told struct {
	name string
	err  error
	log  *[]string
}

func (a *told) Verb() string       { return "told" }
func (a *told) Line() string       { return a.name }
func (a *told) Shell(*plan.Script) {}
func (a *told) Undo() plan.Host {
	if strings.HasPrefix(a.name, "final") {
		return nil
	}
	return &told{"not " + a.name, nil, a.log}
}

func (a *told) Do(*plan.Env) error {
	*a.log = append(*a.log, a.name)
	return a.err
}

// What was done before a step that fails is taken back, the last first.
func TestHost(t *testing.T) {
	var log []string
	steps := func(last error) *plan.Plan {
		log = nil
		p := new(plan.Plan)
		for _, a := range []*told{{"a", nil, &log}, {"final b", nil, &log}, {"c", nil, &log}, {"d", last, &log}} {
			p.Add("", a)
		}
		return p
	}
	if err := run.Host(steps(nil)); err != nil || !slices.Equal(log, []string{"a", "final b", "c", "d"}) {
		t.Errorf("all well: %v, %q", err, log)
	}
	err := run.Host(steps(unix.EBUSY))
	var f *run.Fault
	if !errors.As(err, &f) || f.Index != 3 || !errors.Is(err, unix.EBUSY) {
		t.Errorf("the last step fails: %v, want a Fault of step 3", err)
	}
	if want := []string{"a", "final b", "c", "d", "not c", "not a"}; !slices.Equal(log, want) {
		t.Errorf("done was %q, want %q", log, want)
	}
	p := new(plan.Plan)
	p.Add("", &plan.Umask{})
	if err := run.Host(p); err == nil || !strings.Contains(err.Error(), "not an action of the host") {
		t.Errorf("a child's step: %v", err)
	}
}
