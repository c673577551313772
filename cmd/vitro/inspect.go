// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"vitro/container"
	"vitro/engine"
	"vitro/format"
	"vitro/image"
	"vitro/network"
	"vitro/volume"
)

// A kind is one of the kinds of things that inspect looks for.
type kind struct {
	name string
	find func(e *engine.Engine, name string, size bool) (any, error)
	none func(error) bool // whether an error says that there is no such thing
}

// kinds are in Docker's order: a name that two things have is the first one's.
var kinds = [...]kind{
	{"container", func(e *engine.Engine, name string, size bool) (any, error) { return e.Inspect(name, size) },
		func(err error) bool { return errors.Is(err, container.ErrNotFound) }},
	{"image", func(e *engine.Engine, name string, _ bool) (any, error) { return e.InspectImage(name) },
		func(err error) bool { return errors.As(err, new(*image.NotFoundError)) }},
	{"network", func(e *engine.Engine, name string, _ bool) (any, error) {
		n, err := e.FindNetwork(name)
		return aNetwork(n.Name), err
	},
		func(err error) bool { return errors.As(err, new(*network.UnknownError)) }},
	{"volume", func(e *engine.Engine, name string, _ bool) (any, error) {
		v, err := e.Volumes.Get(name)
		return viewVolume(v), err
	}, func(err error) bool { return errors.Is(err, volume.ErrNotFound) }},
}

// aNetwork is the name of one. It can be looked at only where the user's networks are.
type aNetwork string

// lookUp finds a thing of the kind that is asked for, or the first that has the name.
func lookUp(e *engine.Engine, of, name string, size bool) (any, error) {
	var first error
	for _, k := range kinds {
		if of != "" && of != k.name {
			continue
		}
		v, err := k.find(e, name, size)
		if err == nil || !k.none(err) {
			return v, err
		}
		if first == nil {
			first = err
		}
	}
	if of != "" {
		return nil, first
	}
	return nil, &nothing{name, first}
}

// A nothing is a name that nothing has. What the containers' own error knows of names that are near is told.
type nothing struct {
	name string
	err  error
}

func (e *nothing) Error() string {
	return fmt.Sprintf("no container, image, network or volume %q", e.name)
}
func (e *nothing) Unwrap() error { return e.err }

func inspectCommand(a *app) *cobra.Command {
	return inspectAs(a, "", "NAME [NAME...]", "show all that is known of containers, images, networks and volumes, as JSON or by a template")
}

func containerInspectCommand(a *app) *cobra.Command {
	return inspectAs(a, "container", "CONTAINER [CONTAINER...]", "show all that is known of containers, as JSON or by a template")
}

// inspectAs is the command inspect, for things of all kinds or of one.
func inspectAs(a *app, of, names, short string) *cobra.Command {
	var text string
	var size bool
	c := &cobra.Command{
		Use:     "inspect " + names,
		Short:   short,
		Example: "  vitro inspect -f '{{.State.Pid}} {{.NetworkSettings.IPAddress}}' web",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.Flags().BoolVarP(&size, "size", "s", false, "with how much the container has written")
	if of == "" {
		c.Flags().StringVar(&of, "type", "", "look for no other kind of thing: container, image, network, volume")
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		if of != "" && !slices.ContainsFunc(kinds[:], func(k kind) bool { return k.name == of }) {
			return &engine.Error{Err: fmt.Errorf("read --type=%s: no such kind of thing", of), Text: "the kinds are container, image, network, volume"}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		var errs []error
		list := []any{}
		for _, name := range args {
			v, err := lookUp(e, of, name, size)
			if n, ok := v.(aNetwork); ok && err == nil {
				if code, done, err := e.Within(os.Args, always, nil); err != nil || done {
					a.code = code
					return err
				}
				v, err = e.InspectNetwork(string(n))
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, v)
		}
		if err := format.Inspect(os.Stdout, text, list); err != nil {
			errs = append(errs, err)
		}
		for _, err := range errs {
			report(err)
			a.code = 1
			if own := (interface{ ExitCode() int })(nil); errors.As(err, &own) {
				a.code = own.ExitCode()
			}
		}
		return nil
	}
	return c
}

// containerCommand is the group of the verbs for containers.
func containerCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "container", Short: "all that can be done with containers"}
	for _, mk := range [...]func(*app) *cobra.Command{
		attachCommand, commitCommand, cpCommand, createCommand, diffCommand, execCommand, exportCommand, containerInspectCommand, killCommand, logsCommand, pauseCommand, portCommand, renameCommand, restartCommand,
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
