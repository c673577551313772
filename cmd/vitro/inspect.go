// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/format"
)

func inspectCommand(a *app) *cobra.Command {
	var text, kind string
	var size bool
	c := &cobra.Command{
		Use:     "inspect NAME [NAME...]",
		Short:   "show all that is known of containers, as JSON or by a template",
		Example: "  vitro inspect -f '{{.State.Pid}} {{.NetworkSettings.IPAddress}}' web",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.Flags().BoolVarP(&size, "size", "s", false, "with how much the container has written")
	c.Flags().StringVar(&kind, "type", "", "container: look for no other kind of thing")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		var errs []error
		list := []*engine.Inspection{}
		for _, name := range args {
			i, err := e.Inspect(name, size)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, i)
		}
		if err := format.Inspect(os.Stdout, text, list); err != nil {
			errs = append(errs, err)
		}
		if len(errs) > 0 {
			a.code = 1
		}
		return errors.Join(errs...)
	}
	return c
}

// containerCommand is the group of the verbs for containers.
func containerCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "container", Short: "all that can be done with containers"}
	for _, mk := range [...]func(*app) *cobra.Command{
		attachCommand, commitCommand, cpCommand, createCommand, diffCommand, execCommand, exportCommand, inspectCommand, killCommand, logsCommand, pauseCommand, renameCommand, restartCommand,
		removeCommand, runCommand, startCommand, statsCommand, stopCommand, topCommand, unpauseCommand, updateCommand, waitCommand,
		containerPruneCommand, containerExistsCommand,
	} {
		c.AddCommand(mk(a))
	}
	ls := psCommand(a)
	ls.Use, ls.Aliases = "ls", []string{"list", "ps"}
	c.AddCommand(ls)
	return c
}
