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

// imageCommand is the group of the verbs for images.
func imageCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "all that can be done with images"}
	for _, mk := range [...]func(*app) *cobra.Command{
		historyCommand, importCommand, imageInspectCommand, loadCommand, imagePruneCommand, saveCommand, tagCommand,
	} {
		c.AddCommand(mk(a))
	}
	ls, rm := imagesCommand(a), rmiCommand(a)
	ls.Use, ls.Aliases = "ls [REPOSITORY[:TAG]]", []string{"list"}
	rm.Use, rm.Aliases = "rm [-f] IMAGE [IMAGE...]", []string{"remove"}
	c.AddCommand(ls, rm)
	return c
}

func imageInspectCommand(a *app) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use:     "inspect IMAGE [IMAGE...]",
		Short:   "show all that is known of images, as JSON or by a template",
		Example: "  vitro image inspect -f '{{.Config.Cmd}} {{.Size}}' busybox",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		var errs []error
		list := []*engine.InspectedImage{}
		for _, name := range args {
			i, err := e.InspectImage(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, i)
		}
		return errors.Join(append(errs, format.Inspect(os.Stdout, text, list))...)
	}
	c.RunE = a.one(c.RunE)
	return c
}

func imagePruneCommand(a *app) *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{Use: "prune", Short: "remove images without a name", Args: cobra.NoArgs}
	c.Flags().BoolVarP(&all, "all", "a", false, "all that no container uses")
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
		e, err := a.engine()
		if err != nil {
			return err
		}
		warning := "WARNING! This will remove all dangling images."
		if all {
			warning = "WARNING! This will remove all images without at least one container associated to them."
		}
		if !force && !confirm(os.Stdin, os.Stdout, warning) {
			return nil
		}
		freed, err := pruneImages(e, all, set, until)
		fmt.Println("Total reclaimed space:", format.Size(freed))
		return err
	}
	c.RunE = a.one(c.RunE)
	return c
}

// pruneImages removes images that nobody uses, of those that a filter lets through.
func pruneImages(e *engine.Engine, all bool, set filter.Set, until time.Time) (freed int64, err error) {
	res, err := e.PruneImages(all, func(i *engine.InspectedImage) bool {
		return set.Label(i.Config.Labels) && (until.IsZero() || i.Created.Before(until))
	})
	var lines []string
	for _, name := range res.Untagged {
		lines = append(lines, "untagged: "+name)
	}
	for _, id := range res.Deleted {
		lines = append(lines, "deleted: "+string(id))
	}
	printRemoved("Images", lines)
	return res.Bytes, err
}
