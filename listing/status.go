// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"time"

	"vitro/format"
)

// The states that a container can be in, as the filter status and the column STATE name them.
const (
	Created    = "created"
	Running    = "running"
	Paused     = "paused"
	Restarting = "restarting"
	Removing   = "removing"
	Exited     = "exited"
	Dead       = "dead"
)

// The answers of a health check; a container without one has "none", or "".
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
	NoHealth  = "none"
)

// A State is what became of a container.
type State struct {
	Status   string // Created and so on
	ExitCode int
	Started  time.Time // zero: never
	Finished time.Time // the last time; zero: never
	Health   string    // Healthy and so on
}

// Text is the column STATUS: "Up 5 minutes (healthy)", "Exited (137) 3 hours ago".
func (s State) Text(now time.Time) string {
	up := func() string { return "Up " + format.Duration(now.Sub(s.Started)) }
	switch s.Status {
	case Running:
		switch s.Health {
		case "", NoHealth:
			return up()
		case Starting:
			return up() + " (health: starting)"
		}
		return fmt.Sprintf("%s (%s)", up(), s.Health)
	case Paused:
		return up() + " (Paused)"
	case Restarting:
		return fmt.Sprintf("Restarting (%d) %s", s.ExitCode, format.Ago(s.Finished, now))
	case Removing:
		return "Removal In Progress"
	case Dead:
		return "Dead"
	case Created:
		return "Created"
	}
	switch {
	case s.Started.IsZero():
		return "Created"
	case s.Finished.IsZero():
		return ""
	}
	return fmt.Sprintf("Exited (%d) %s", s.ExitCode, format.Ago(s.Finished, now))
}

// Active says whether there is a process, or will be one soon.
func (s State) Active() bool {
	return s.Status == Running || s.Status == Paused || s.Status == Restarting
}
