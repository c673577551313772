// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/filter"
	"vitro/format"
	"vitro/listing"
	"vitro/network"
)

func networkCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "network",
		Short:   "create, look at and remove networks; connect containers to them",
		Example: "  vitro network create web\n  vitro run --network web --name db …\n  vitro network inspect web",
	}
	for _, mk := range [...]func(*app) *cobra.Command{networkCreateCommand, networkInspectCommand, networkRmCommand, networkPruneCommand,
		networkConnectCommand, networkDisconnectCommand, networkReloadCommand} {
		c.AddCommand(a.amongNetworks(mk(a), always))
	}
	c.AddCommand(networkLsCommand(a), networkAttachCommand(a), networkDetachCommand(a),
		networkMapCommand(a), a.amongNetworks(networkTraceCommand(a), ifThere))
	return c
}

// An ordinary user's networks are in a namespace of the user's own. What is about their
// links and rules is done there: made for it if need be, or only if it is there.
const (
	always  = true
	ifThere = false
)

// amongNetworks has a command done where the user's networks are.
func (a *app) amongNetworks(c *cobra.Command, make bool) *cobra.Command {
	here := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		code, done, err := e.Within(os.Args, make, nil)
		if err != nil || done {
			a.code = code
			return err
		}
		return here(c, args)
	}
	return c
}

func networkCreateCommand(a *app) *cobra.Command {
	var d network.Definition
	var labels []string
	c := &cobra.Command{
		Use:     "create [flags] NAME",
		Short:   "create a network",
		Long:    "Create a network. Its links and rules are made when its first container starts, and go with its last.",
		Example: "  vitro network create web\n  vitro network create --subnet 10.5.0.0/16 --ipv6 --opt mtu=1400 web\n  vitro network create --driver macvlan --subnet 192.168.1.0/24 --opt parent=eth0 lan",
		Args:    cobra.ExactArgs(1),
	}
	fl := c.Flags()
	fl.StringVarP(&d.Driver, "driver", "d", network.DriverBridge, "bridge, macvlan, ipvlan, none")
	fl.StringArrayVar(&d.Subnets, "subnet", nil, "the addresses of the network: 10.5.0.0/16; a second one for IPv6 (default: a range that is free)")
	fl.StringArrayVar(&d.Gateways, "gateway", nil, "the host's address in it (default: the first)")
	fl.StringArrayVar(&d.Ranges, "ip-range", nil, "the part of the subnet that containers get addresses from")
	fl.BoolVar(&d.IPv6, "ipv6", false, "have IPv6 as well, with a unique local range if no --subnet says which")
	fl.BoolVar(&d.Internal, "internal", false, "no way out and no way in")
	fl.BoolVar(&d.DisableDNS, "disable-dns", false, "containers don't find each other by name")
	fl.StringToStringVarP(&d.Options, "opt", "o", nil, "mtu=BYTES, bridge=NAME, parent=LINK, mode=MODE, gateway_mode_ipv6=nat|routed")
	fl.StringArrayVar(&labels, "label", nil, "NAME[=VALUE], for people")
	c.RunE = func(_ *cobra.Command, args []string) error {
		d.Name = args[0]
		for _, l := range labels {
			if d.Labels == nil {
				d.Labels = make(map[string]string)
			}
			key, value, _ := strings.Cut(l, "=")
			d.Labels[key] = value
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		n, warnings, err := e.CreateNetwork(d)
		if err != nil {
			return err
		}
		for _, w := range warnings {
			fmt.Fprintln(os.Stderr, "vitro: warning:", w)
		}
		fmt.Println(n.ID())
		return nil
	}
	return c
}

func networkLsCommand(a *app) *cobra.Command {
	var l list
	c := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "list networks",
		Example: "  vitro network ls --filter driver=bridge --format '{{.Name}}'",
		Args:    cobra.NoArgs,
	}
	l.flags(c, filter.Networks)
	c.RunE = func(*cobra.Command, []string) error {
		set, err := l.filter()
		if err == nil {
			err = listing.CheckNetworks(set)
		}
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		networks, err := e.Networks()
		if err != nil {
			return err
		}
		var table []listing.NetworkRow
		for _, n := range networks {
			item := listing.Network{ID: n.ID(), Name: n.Name, Driver: n.Driver, Created: n.Created, IPv4: n.Subnet.IsValid(), IPv6: n.Subnet6.IsValid(),
				Internal: n.Internal, Labels: n.Labels, Builtin: n.Created.IsZero()}
			if set.Has("dangling") {
				members, err := n.Members()
				if err != nil {
					return err
				}
				item.Used = len(members) > 0
			}
			if item.Match(set) {
				table = append(table, item.Row(l.long))
			}
		}
		return rows(&l, listing.Networks(l.quiet), table)
	}
	return c
}

func networkInspectCommand(a *app) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use:     "inspect NAME...",
		Short:   "show networks, their containers, and who else decides about their packets",
		Example: "  vitro network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' web",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		views := []*engine.NetworkView{}
		var errs []error
		for _, name := range args {
			v, err := e.InspectNetwork(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			views = append(views, v)
		}
		return errors.Join(append(errs, format.Inspect(os.Stdout, text, views))...)
	}
	return c
}

// forEach does something with each of the names, and prints those for which it went well.
func forEach(names []string, f func(string) error) error {
	var errs []error
	for _, name := range names {
		if err := f(name); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Println(name)
	}
	if len(errs) == 1 {
		return errs[0] // with its hint
	}
	return errors.Join(errs...)
}

func networkRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "remove networks that have no containers",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return forEach(args, e.RemoveNetwork)
		},
	}
}

// namesCommand is a command without arguments that does something with networks, and prints which.
func namesCommand(use, short string, do func() ([]string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := do()
			for _, n := range slices.Sorted(slices.Values(names)) {
				fmt.Println(n)
			}
			return err
		},
	}
}

func networkPruneCommand(a *app) *cobra.Command {
	var force bool
	var filters []string
	c := &cobra.Command{Use: "prune", Short: "remove all networks that have no containers", Args: cobra.NoArgs}
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
		if !force && !confirm(os.Stdin, os.Stdout, "WARNING! This will remove all custom networks not used by at least one container.") {
			return nil
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		return pruneNetworks(e, set, until)
	}
	c.RunE = a.one(c.RunE)
	return c
}

// pruneNetworks removes the networks that have no containers, of those that a filter lets through.
func pruneNetworks(e *engine.Engine, set filter.Set, until time.Time) error {
	removed, err := e.PruneNetworks(func(n network.Network) bool {
		return (until.IsZero() || n.Created.Before(until)) && set.Label(n.Labels)
	})
	slices.Sort(removed)
	printRemoved("Networks", removed)
	return err
}

func networkReloadCommand(a *app) *cobra.Command {
	return namesCommand("reload", "make the rules of all networks anew, after somebody has flushed or changed them", func() ([]string, error) {
		e, err := a.engine()
		if err != nil {
			return nil, err
		}
		return e.ReloadNetworks()
	})
}

func networkConnectCommand(a *app) *cobra.Command {
	var ip, ip6 string
	var w network.Wish
	c := &cobra.Command{
		Use:     "connect [flags] NETWORK CONTAINER",
		Short:   "join a container to a further network, now if it runs, and at each start",
		Example: "  vitro network connect --alias db --ip 10.129.0.9 web postgres",
		Args:    cobra.ExactArgs(2),
	}
	fl := c.Flags()
	fl.StringVar(&ip, "ip", "", "the container's IPv4 address there")
	fl.StringVar(&ip6, "ip6", "", "its IPv6 address")
	fl.StringVar(&w.MAC, "mac-address", "", "its hardware address")
	fl.StringArrayVar(&w.Aliases, "alias", nil, "a further name")
	fl.StringVar(&w.Interface, "interface-name", "", "what the link is called in the container")
	c.RunE = func(_ *cobra.Command, args []string) error {
		wish, err := network.ParseWish(args[0])
		if err != nil {
			return err
		}
		w.Network = wish.Network
		if err := errors.Join(w.Address("ip", ip), w.Address("ip6", ip6)); err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		return e.ConnectNetwork(args[1], w)
	}
	return c
}

func networkDisconnectCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "disconnect NETWORK CONTAINER",
		Short: "take a container off a network, now if it runs, and at each start",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.DisconnectNetwork(args[1], args[0])
		},
	}
	c.Flags().BoolP("force", "f", false, "for scripts written for Docker: it makes no difference")
	return c
}
