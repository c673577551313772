// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vitro/internal/dbus"
)

// ErrExists: systemd has a unit of this name.
var ErrExists = errors.New("systemd has a unit of this name already")

// A UnitError says what systemd didn't do with a unit.
type UnitError struct {
	Verb, Unit string
	Err        error
}

func (e *UnitError) Error() string { return fmt.Sprintf("%s unit %q: %v", e.Verb, e.Unit, e.Err) }

func (e *UnitError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *UnitError) Hint() string {
	if errors.Is(e.Err, ErrExists) {
		return "choose another name for the container, or stop that one: systemctl stop " + e.Unit
	}
	return "see what systemd says: systemctl status " + e.Unit + "; journalctl -u " + e.Unit
}

// The names of refusals (org.freedesktop.systemd1(5)).
const (
	noSuchUnit = service + ".NoSuchUnit"
	unitExists = service + ".UnitExists"
)

// watch has the bus tell of jobs that are done. On its private socket systemd
// does so unasked.
func (b Bus) watch(c *dbus.Conn) error {
	if b.Private {
		return nil
	}
	_, err := c.Call(dbus.Bus, "AddMatch", "s",
		"type='signal',sender='"+service+"',path='"+root+"',interface='"+managerObject.Interface+"',member='JobRemoved'")
	return err
}

// job calls a method that makes a job, and waits for its end.
func job(c *dbus.Conn, member, sig string, args ...any) error {
	body, err := c.Call(managerObject, member, sig, args...)
	if err != nil {
		return err
	}
	path, ok := "", false
	if len(body) == 1 {
		path, ok = body[0].(string)
	}
	if !ok {
		return fmt.Errorf("call %s: the answer is %v, not a job", member, body)
	}
	m, err := c.Wait(func(m *dbus.Message) bool {
		return m.Member == "JobRemoved" && m.Interface == managerObject.Interface && m.Sig == "uoss" && m.Body[1] == path
	})
	switch {
	case errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("wait for its job: not done within %v: %w", patience, err)
	case err != nil:
		return fmt.Errorf("wait for its job: %w", err)
	case m.Body[3] != "done":
		return fmt.Errorf("its job has ended with the result %q", m.Body[3])
	}
	return nil
}
