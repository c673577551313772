// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"

	"vitro/container"
	"vitro/monitor"
	"vitro/network"
)

// A Finding is something that a killed process, a crash or a reboot has left.
type Finding struct {
	What string // what was found
	Done string // what was done about it; "" if nothing was
	Err  error  // why it could not be put right
}

// Sweep takes back what was left by processes that were killed: containers
// that were still being made, and those that have ended with nobody beside
// them. Those that run are given a new process beside them.
func (e *Engine) Sweep() error {
	var errs []error
	err := e.Check(true, func(f Finding) { errs = append(errs, f.Err) })
	return errors.Join(append(errs, err)...)
}

// Check looks for what should not be, reports it, and puts it right if mend is set.
func (e *Engine) Check(mend bool, report func(Finding)) error {
	if mend {
		if err := e.mendUserNet(); err != nil {
			report(Finding{What: "the user's networks: vitro-net was killed", Err: err})
		}
		if err := e.Containers.Sweep(); err != nil {
			report(Finding{What: "a container that was half made", Err: err})
		}
	}
	if err := e.checkNetworks(mend, report); err != nil {
		return err
	}
	ids, err := e.Containers.IDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		c, err := e.Containers.Look(id)
		if err != nil {
			if !errors.Is(err, container.ErrNotFound) {
				report(Finding{What: "container " + id, Err: err})
			}
			continue
		}
		f := e.lost(c)
		if f == nil {
			continue
		}
		if mend {
			if _, f.Err = e.mend(c); errors.Is(f.Err, container.ErrNotFound) {
				continue // somebody has removed it meanwhile
			}
			if f.Err != nil {
				f.Done, f.Err = "", fmt.Errorf("look after container %s: %w", id, f.Err)
			}
		} else {
			f.Done = ""
		}
		report(*f)
	}
	return nil
}

// checkNetworks looks whether somebody has taken networks' rules away.
func (e *Engine) checkNetworks(mend bool, report func(Finding)) error {
	if !e.root || inUserNS() {
		return nil // they are not in this namespace
	}
	list, err := network.List(e.Dir)
	if err != nil {
		return err
	}
	for _, n := range list {
		fault, err := n.Fault()
		if fault == "" && err == nil {
			continue
		}
		f := Finding{What: fmt.Sprintf("network %q: %s", n.Name, fault), Err: err}
		if err == nil && mend {
			if _, f.Err = n.Reload(); f.Err == nil {
				f.Done = "its rules were made anew"
			}
		}
		report(f)
	}
	return nil
}

// lost is what is wrong with a container, with what is done about it; nil if nothing is.
func (e *Engine) lost(c *container.Container) *Finding {
	if c.Holder() != 0 {
		return nil
	}
	name := "container " + c.ID[:min(12, len(c.ID))]
	if r, err := loadRecord(c.Dir); err == nil {
		name = fmt.Sprintf("container %q", r.Name)
	}
	switch {
	case c.State == nil && !exists(c.Path("undo")):
		return nil
	case c.State == nil:
		return &Finding{What: name + ": a start was killed in the middle", Done: "what it had made was taken back"}
	case c.State.Alive() && loadTerminal(c):
		return &Finding{What: name + ": the process beside it was killed", Done: "it has a new one; its terminal is lost, and so is its exit status on kernels before 6.15"}
	case c.State.Alive():
		return &Finding{What: name + ": the process beside it was killed", Done: "it has a new one; its exit status is lost on kernels before 6.15"}
	}
	return &Finding{What: name + ": it has ended, and nobody has seen how", Done: "what it had was taken down; its restart policy decides whether it runs again"}
}

func loadTerminal(c *container.Container) bool {
	r, err := loadRecord(c.Dir)
	return err == nil && r.Flags.Terminal
}

// Boot starts the containers that their restart policies want when the machine
// has started: what was running then is seen to have ended first.
func (e *Engine) Boot(report func(Finding)) error {
	if err := e.Check(true, report); err != nil {
		return err
	}
	all, err := e.List()
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- { // in the order in which they were made
		c := all[i]
		if c.Exit == nil || c.Beside != 0 || c.Pid != 0 || !e.atBoot(c) {
			continue
		}
		f := Finding{What: fmt.Sprintf("container %q", c.Name), Done: "started"}
		if f.Err = e.begin(c.ID); f.Err != nil {
			f.Done = ""
		}
		report(f)
	}
	return nil
}

// atBoot reports whether a container is to run when the machine has started.
func (e *Engine) atBoot(card *Card) bool {
	c, err := e.Containers.Look(card.ID)
	if err != nil {
		return false
	}
	r, err := loadRecord(c.Dir)
	if err != nil {
		return false
	}
	p, err := parsePolicy(r.Flags.Restart)
	return err == nil && p.atBoot(card.Exit, c.Wanted())
}

// begin starts a container, and waits until it runs.
func (e *Engine) begin(id string) error {
	conn, err := e.Launch(Launch{ID: id})
	if err != nil {
		return err
	}
	defer conn.Close()
	return monitor.AwaitStart(conn, e.Warn)
}
