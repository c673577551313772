// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"vitro/engine"
)

func systemCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "system", Short: "look after the engine itself"}
	c.AddCommand(sweepCommand(a), checkCommand(a), bootCommand(a), diskCommand(a), eventsCommand(a), infoCommand(a))
	return c
}

func sweepCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "put right what killed processes have left, and say nothing (starts do it now and then)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Sweep()
		},
	}
}

func checkCommand(a *app) *cobra.Command {
	var look bool
	c := &cobra.Command{
		Use:   "check",
		Short: "show what killed processes, a crash or a reboot have left, and put it right",
		Args:  cobra.NoArgs,
	}
	c.Flags().BoolVar(&look, "dry-run", false, "only show it: the exit status is 1 if there is something")
	c.RunE = func(*cobra.Command, []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		return e.Check(!look, func(f engine.Finding) {
			if look {
				a.code = 1
			}
			a.found(f)
		})
	}
	return c
}

func bootCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "start the containers whose restart policy says so: for when the machine has started",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Boot(a.found)
		},
	}
}

// found prints what was found and done.
func (a *app) found(f engine.Finding) {
	switch {
	case f.Err != nil:
		fmt.Println(f.What + ": not put right")
		a.report(f.Err)
		a.code = 1
	case f.Done == "":
		fmt.Println(f.What)
	default:
		fmt.Printf("%s: %s\n", f.What, f.Done)
	}
}
