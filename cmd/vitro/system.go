// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/filter"
	"vitro/format"
)

func systemCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "system", Short: "look after the engine itself"}
	c.AddCommand(pruneCommand(a), sweepCommand(a), checkCommand(a), bootCommand(a), diskCommand(a), eventsCommand(a), infoCommand(a))
	return c
}

func pruneCommand(a *app) *cobra.Command {
	var all, volumes, force bool
	var filters []string
	c := &cobra.Command{Use: "prune", Short: "remove all that nobody uses: stopped containers, networks, images without a name", Args: cobra.NoArgs}
	c.Flags().BoolVarP(&all, "all", "a", false, "all images that no container uses, not only those without a name")
	c.Flags().BoolVar(&volumes, "volumes", false, "volumes without a name, too")
	c.Flags().BoolVarP(&force, "force", "f", false, "don't ask")
	c.Flags().StringArrayVar(&filters, "filter", nil, "only those: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]")
	c.RunE = func(*cobra.Command, []string) error {
		set, err := filter.Parse(filters, filter.Prune)
		if err != nil {
			return err
		}
		until, err := untilOf(set)
		if err != nil {
			return err
		}
		if volumes && !until.IsZero() {
			return &engine.Error{Err: errors.New("read --filter until: nobody knows since when a volume is not used"), Text: "leave --volumes away, and vitro volume prune"}
		}
		warning := "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
		if volumes {
			warning += "  - all anonymous volumes not used by at least one container\n"
		}
		if all {
			warning += "  - all images without at least one container associated to them\n"
		} else {
			warning += "  - all dangling images\n"
		}
		if !force && !confirm(os.Stdin, os.Stdout, warning) {
			return nil
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		return prune(e, set, until, all, volumes)
	}
	c.RunE = a.one(c.RunE)
	return c
}

// prune removes all that nobody uses: containers first, since they use the rest.
func prune(e *engine.Engine, set filter.Set, until time.Time, all, volumes bool) error {
	total, err := pruneContainers(e, set, until)
	errs := []error{err, pruneNetworks(e, set, until)}
	if volumes {
		freed, err := pruneVolumes(e, false, set)
		total, errs = total+freed, append(errs, err)
	}
	freed, err := pruneImages(e, all, set, until)
	fmt.Println("Total reclaimed space:", format.Size(total+freed))
	return errors.Join(append(errs, err)...)
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
		report(f.Err)
		a.code = 1
	case f.Done == "":
		fmt.Println(f.What)
	default:
		fmt.Printf("%s: %s\n", f.What, f.Done)
	}
}
