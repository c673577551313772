// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vitro/container"
	"vitro/engine"
	"vitro/filter"
	"vitro/format"
	"vitro/image"
	"vitro/listing"
	"vitro/network"
)

func psCommand(a *app) *cobra.Command {
	var l list
	var all, size, latest bool
	var last int
	c := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"list"},
		Short:   "list containers",
		Example: "  vitro ps -a --filter status=exited --format '{{.Names}}: {{.Status}}'",
		Args:    cobra.NoArgs,
	}
	l.flags(c, filter.Containers)
	fl := c.Flags()
	fl.BoolVarP(&all, "all", "a", false, "those that don't run, too")
	fl.BoolVarP(&size, "size", "s", false, "with how much they have written")
	fl.BoolVarP(&latest, "latest", "l", false, "the newest only, whether or not it runs")
	fl.IntVarP(&last, "last", "n", -1, "the newest only: so many, whether or not they run")
	c.RunE = func(*cobra.Command, []string) error {
		set, err := l.filter()
		if err == nil {
			err = listing.CheckContainers(set)
		}
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		f, err := format.Parse(l.format, listing.Containers(l.quiet, size))
		if err != nil {
			return err
		}
		infos, err := e.List(partsOf(f, set)...)
		if err != nil {
			return err
		}
		around, err := aroundOf(e, set, infos)
		if err != nil {
			return err
		}
		if latest {
			last = 1
		}
		all = all || last >= 0 || len(set.Values("status")) > 0 || len(set.Values("exited")) > 0
		size = size || f.Uses("Size")
		now := time.Now()
		var table []listing.ContainerRow
		for _, i := range infos {
			item := listContainer(i)
			if !all && !item.State.Active() || !item.Match(set, around) || last >= 0 && len(table) >= last {
				continue
			}
			if size {
				item.SizeRw, item.SizeRootFs = e.Sizes(i)
			}
			table = append(table, item.Row(now, l.long))
		}
		return format.Rows(os.Stdout, f, table)
	}
	return c
}

// partsOf is what has to be known of each container to list them.
func partsOf(f *format.Format, set filter.Set) (parts []engine.Part) {
	asked := func(fields, keys string) bool {
		return slices.ContainsFunc(strings.Fields(fields), f.Prints) || slices.ContainsFunc(strings.Fields(keys), set.Has)
	}
	if asked("Ports Networks", "network publish expose") {
		parts = append(parts, engine.WithNetworks)
	}
	if asked("Networks", "network") {
		parts = append(parts, engine.WithMeant)
	}
	if asked("Status", "health") {
		parts = append(parts, engine.WithHealth)
	}
	if asked("Mounts LocalVolumes", "volume") {
		parts = append(parts, engine.WithMounts)
	}
	return parts
}

// listContainer is what a list needs to know of a container.
func listContainer(i *engine.Card) *listing.Container {
	c := &listing.Container{
		ID: i.ID, Name: i.Name, Image: i.Image, ImageID: string(i.ImageID), Command: commandLine(i.Command),
		Created: i.Created, Labels: i.Labels, State: listing.State{Status: string(i.Status)},
	}
	if i.Exit != nil {
		c.State.ExitCode, c.State.Started, c.State.Finished = i.Exit.Code, i.Exit.Started, i.Exit.Finished
	}
	for _, e := range i.Networks.Endpoints {
		c.Networks = append(c.Networks, listing.Network{Name: e.Network, ID: e.NetworkID})
	}
	for _, name := range i.Meant {
		c.Networks = append(c.Networks, listing.Network{Name: name})
	}
	for _, m := range i.Mounts {
		c.Mounts = append(c.Mounts, listing.Mount{Name: m.Name, Source: m.Source, Destination: m.Destination})
	}
	if i.Pid != 0 {
		c.State.Started = i.Began
		c.Ports = listPorts(i.Networks)
	}
	if i.Health != nil {
		c.State.Health = i.Health.Status
	}
	return c
}

// commandLine is the column COMMAND, as Docker has it: what has spaces in it is quoted.
func commandLine(words []string) string {
	list := slices.Clone(words)
	for i, w := range list {
		if strings.Contains(w, " ") {
			list[i] = "'" + w + "'"
		}
	}
	return strings.Join(list, " ")
}

// listPorts are a container's ports: those that lead to it, and those that are only exposed.
func listPorts(a network.Attachments) (list []listing.Port) {
	for _, p := range a.Published() {
		list = append(list, listing.Port{IP: p.Host.String(), Public: p.HostPort, Private: p.Container, Protocol: p.Proto})
	}
	for _, e := range a.Exposed {
		port, proto, _ := strings.Cut(e, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		if err == nil && !slices.ContainsFunc(list, func(p listing.Port) bool { return p.Private == uint16(n) && p.Protocol == proto }) {
			list = append(list, listing.Port{Private: uint16(n), Protocol: proto})
		}
	}
	return list
}

// aroundOf resolves what the filters before, since and ancestor name.
func aroundOf(e *engine.Engine, set filter.Set, infos []*engine.Card) (a listing.Around, err error) {
	for _, f := range []struct {
		key string
		to  **time.Time
	}{{"before", &a.Before}, {"since", &a.Since}} {
		for _, name := range set.Values(f.key) {
			i, err := e.Info(name)
			if err != nil {
				return a, fmt.Errorf("read --filter %s=%s: %w", f.key, name, err)
			}
			*f.to = &i.Created
		}
	}
	asked := set.Values("ancestor")
	if len(asked) == 0 {
		return a, nil
	}
	var bases [][]image.Digest
	for _, name := range asked {
		if img, err := e.Images.Get(name); err == nil { // one that isn't there is nobody's ancestor
			bases = append(bases, img.DiffIDs)
		}
	}
	stands := make(map[string]bool)
	for _, i := range infos {
		for _, base := range bases {
			if len(base) <= len(i.DiffIDs) && slices.Equal(base, i.DiffIDs[:len(base)]) {
				stands[string(i.ImageID)] = true
			}
		}
	}
	a.Ancestor = func(id string) bool { return stands[id] }
	return a, nil
}

func topCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "top CONTAINER [PS OPTIONS]", Short: "list the processes of a container", Args: cobra.MinimumNArgs(1),
		Example: "  vitro top web -o pid,user,rss,args",
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			text, err := e.Top(args[0], args[1:])
			fmt.Print(text)
			return err
		},
	}
	c.Flags().SetInterspersed(false) // what stands behind the container is for ps
	return c
}

func updateCommand(a *app) *cobra.Command {
	f := &engine.Flags{}
	c := &cobra.Command{Use: "update [flags] CONTAINER [CONTAINER...]", Short: "change containers' limits, and what happens at their end", Args: cobra.MinimumNArgs(1),
		Example: "  vitro update -m 200m --cpus 2 web\n  vitro update --restart=always web"}
	limitFlags(c.Flags(), f)
	c.Flags().StringVar(&f.Restart, "restart", "", "start it again at its end: no, always, unless-stopped, on-failure[:TIMES]")
	c.RunE = func(c *cobra.Command, args []string) error {
		asked := false
		c.Flags().Visit(func(f *pflag.Flag) { asked = asked || f.Name != "root" })
		if !asked {
			return &engine.Error{Err: fmt.Errorf("update containers: nothing is to be changed"), Text: "give a limit: vitro update --help lists them"}
		}
		return a.each(args, false, func(e *engine.Engine, name string) error { return e.Update(name, f) })
	}
	return c
}

func containerPruneCommand(a *app) *cobra.Command {
	var force bool
	var filters []string
	c := &cobra.Command{Use: "prune", Short: "remove all containers that don't run", Args: cobra.NoArgs}
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
		if !force && !confirm(os.Stdin, os.Stdout, "WARNING! This will remove all stopped containers.") {
			return nil
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		freed, err := pruneContainers(e, set, until)
		fmt.Println("Total reclaimed space:", format.Size(freed))
		return err
	}
	c.RunE = a.one(c.RunE)
	return c
}

// untilOf is the moment that a filter for prune names: what is younger stays. Zero if it names none.
func untilOf(set filter.Set) (until time.Time, err error) {
	for _, v := range set.Values("until") {
		if until, err = filter.Time(v, time.Now()); err != nil {
			return until, err
		}
	}
	return until, nil
}

// pruneContainers removes the containers that don't run, of those that a filter lets through.
func pruneContainers(e *engine.Engine, set filter.Set, until time.Time) (freed int64, err error) {
	removed, freed, err := e.Prune(func(i *engine.Card) bool {
		return (until.IsZero() || i.Created.Before(until)) && set.Label(i.Labels)
	})
	printRemoved("Containers", removed)
	return freed, err
}

// printRemoved prints what was removed, as Docker does; nothing if nothing was.
func printRemoved(what string, list []string) {
	if len(list) == 0 {
		return
	}
	fmt.Printf("Deleted %s:\n%s\n\n", what, strings.Join(list, "\n"))
}

func containerExistsCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "exists CONTAINER", Short: "say by the exit status whether a container is there (0) or not (1)", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			if _, err := e.Containers.Resolve(args[0]); err != nil {
				if !isNotFound(err) {
					return err
				}
				a.code = 1
			}
			return nil
		}}
}

func isNotFound(err error) bool {
	_, ok := err.(*container.NotFoundError)
	return ok
}
