// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/dbus"
	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list, by its verb.
func Actions(verb string) plan.Host {
	switch verb {
	case "stopunit":
		return new(Stop)
	case "setunit":
		return new(Set)
	}
	return nil
}

// A Ref is a started unit: all that it takes to change it or to stop it.
type Ref struct {
	Bus  Bus    `json:"bus"`
	Unit string `json:"unit"`
	// Description tells the unit from another one that has its name: one
	// whose description is not this is somebody else's.
	Description string `json:"description"`
	Version     int    `json:"version"` // systemd's
}

// Ref is a unit of the manager's by its name, to be changed: cgroup.Layout's
// UpdateUnit. It is not enough to Stop it, which is a matter of the undo list.
func (m *Manager) Ref(unit string) *Ref { return &Ref{Bus: m.Bus, Unit: unit, Version: m.Version} }

// Start makes a transient unit and waits until systemd has started it. A scope
// gets the container's first process, which systemd moves into its cgroup.
type Start struct {
	Ref
	Properties []Property `json:"properties"`
}

func (a *Start) isScope() bool { return strings.HasSuffix(a.Unit, ".scope") }

func (a *Start) Verb() string { return "startunit" }
func (a *Start) Line() string { // without the properties, which are a page
	return fmt.Sprintf("start unit %s, with %d properties", a.Unit, len(a.Properties))
}
func (a *Start) Undo() plan.Host { return &Stop{a.Ref} }

func lines(list []Property) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

// Do fails with a *UnitError. What it has begun by then it has given up: there
// is no unit left.
func (a *Start) Do(e *plan.Env) error {
	c, err := a.Bus.dial()
	if err != nil {
		return &UnitError{"start", a.Unit, err}
	}
	defer c.Close()
	if err := a.start(c, e.Pid); err != nil {
		return &UnitError{"start", a.Unit, err}
	}
	if !a.isScope() || holds(a.Unit, e.Pid) {
		return nil
	}
	_ = (&Stop{a.Ref}).Do(e)
	return &UnitError{"start", a.Unit, fmt.Errorf("systemd has not moved process %d into it", e.Pid)}
}

func (a *Start) start(c *dbus.Conn, pid int) error {
	properties, err := encode(a.Properties)
	if err != nil {
		return err
	}
	if a.isScope() {
		properties = append(properties, []any{"PIDs", dbus.Variant{Sig: "au", Value: []any{uint32(pid)}}})
	}
	if err := a.Bus.watch(c); err != nil {
		return err
	}
	begin := func() error {
		return job(c, "StartTransientUnit", "ssa(sv)a(sa(sv))", a.Unit, "fail", properties, []any{})
	}
	err = begin()
	if dbus.Is(err, unitExists) { // perhaps what a failed one has left
		if _, reset := c.Call(managerObject, "ResetFailedUnit", "s", a.Unit); reset == nil {
			err = begin()
		}
	}
	var refused *dbus.Error
	switch {
	case dbus.Is(err, unitExists):
		return fmt.Errorf("%w (%w)", ErrExists, err)
	case err != nil && !errors.As(err, &refused): // it has begun
		_ = (&Stop{a.Ref}).Do(nil)
	}
	return err
}

// holds reports whether a process is in the unit's cgroup, or below it.
func holds(unit string, pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && (strings.Contains(string(text), "/"+unit+"\n") || strings.Contains(string(text), "/"+unit+"/"))
}

// Stop ends a unit, and waits for it. One that has gone with its last process
// is no error, nor is a systemd that has gone itself: its units went first.
// What processes are left get SIGTERM, and SIGKILL after TimeoutStopSec.
type Stop struct{ Ref }

func (a *Stop) Verb() string    { return "stopunit" }
func (a *Stop) Line() string    { return "stop unit " + a.Unit }
func (a *Stop) Undo() plan.Host { return nil }

// Do fails with a *UnitError.
func (a *Stop) Do(*plan.Env) error {
	c, err := a.Bus.dial()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		defer c.Close()
		err = a.stop(c)
	}
	if err != nil && !dbus.Is(err, noSuchUnit) {
		return &UnitError{"stop", a.Unit, err}
	}
	return nil
}

func (a *Stop) stop(c *dbus.Conn) error {
	if ours, err := a.isOurs(c); err != nil || !ours {
		return err
	}
	if err := a.Bus.watch(c); err != nil {
		return err
	}
	if err := job(c, "StopUnit", "ss", a.Unit, "replace"); err != nil {
		return err
	}
	_, err := c.Call(managerObject, "ResetFailedUnit", "s", a.Unit)
	return err
}

// isOurs asks the unit for its description. An undo list may name a unit that
// was never started, since somebody else had the name.
func (a *Stop) isOurs(c *dbus.Conn) (bool, error) {
	body, err := c.Call(managerObject, "GetUnit", "s", a.Unit)
	if err != nil {
		return false, err
	}
	path, ok := "", false
	if len(body) == 1 {
		path, ok = body[0].(string)
	}
	if !ok {
		return false, fmt.Errorf("call GetUnit: the answer is %v, not a path", body)
	}
	of := dbus.Object{Destination: service, Path: path, Interface: propertyI}
	text, err := property(c, of, service+".Unit", "Description")
	return text == a.Description, err
}

// Set changes properties of a running unit until the next boot.
type Set struct {
	Ref
	Properties []Property `json:"properties"`
	Before     []Property `json:"before,omitempty"` // what to go back to
}

func (a *Set) Verb() string { return "setunit" }
func (a *Set) Line() string { return "set of unit " + a.Unit + ": " + lines(a.Properties) }
func (a *Set) Undo() plan.Host {
	if len(a.Before) == 0 {
		return nil
	}
	return &Set{Ref: a.Ref, Properties: a.Before}
}

// Do fails with a *UnitError.
func (a *Set) Do(*plan.Env) error {
	properties, err := encode(a.Properties)
	var c *dbus.Conn
	if err == nil {
		c, err = a.Bus.dial()
	}
	if err == nil {
		defer c.Close()
		_, err = c.Call(managerObject, "SetUnitProperties", "sba(sv)", a.Unit, true, properties)
	}
	if err != nil {
		return &UnitError{"change", a.Unit, err}
	}
	return nil
}
