// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/network/topology"
)

func networkMapCommand(a *app) *cobra.Command {
	format := "text"
	c := &cobra.Command{
		Use:   "map",
		Short: "draw how this machine's network namespaces are joined, whoever made them",
		Long: "map finds the machine's network namespaces (by processes, bind mounts and open descriptors), looks into each, and draws which\n" +
			"link leads where, with addresses, routes, published ports and NAT rules. It changes nothing. As an ordinary user it shows what\n" +
			"may be seen, and says what may not; as text, both the host and the namespace of the user's networks, which svg and json show alone.",
		Example: "  vitro network map\n  vitro network map --format svg >map.svg\n  vitro network map --format json | jq '.namespaces[].links[].name'",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&format, "format", format, "text, svg or json")
	c.RunE = func(*cobra.Command, []string) error {
		m, err := a.topology()
		if err != nil {
			return err
		}
		switch format {
		case "text":
			_, err = fmt.Print(topology.Arrange(m).Text())
		case "svg":
			_, err = fmt.Print(topology.Arrange(m).SVG())
		case "json":
			e := json.NewEncoder(os.Stdout)
			e.SetIndent("", "  ")
			err = e.Encode(m)
		default:
			err = &engine.Error{Err: fmt.Errorf("map --format %q: no such form", format), Text: "the forms are text, svg and json"}
		}
		return err
	}
	a.amongNetworks(c, ifThere)
	among := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if e, err := a.engine(); err == nil && e.Aside() && format == "text" {
			if err := printHost(); err != nil {
				return err
			}
		}
		return among(c, args)
	}
	return c
}

// topology reads the machine, with our own containers by name. Who can't read those sees the rest.
func (a *app) topology() (*topology.Machine, error) {
	known := make(map[int]topology.Container)
	if e, err := a.engine(); err == nil {
		cards, _ := e.List()
		for _, k := range cards {
			if k.Pid > 0 {
				known[k.Pid] = topology.Container{Engine: "vitro", ID: k.ID, Name: k.Name}
			}
		}
	}
	return topology.Read(known)
}

// printHost draws the namespace that an ordinary user is in, and heads the picture of the one that the user's networks are in.
func printHost() error {
	m, err := topology.Read(nil)
	if err != nil {
		return err
	}
	m.Namespaces = slices.DeleteFunc(m.Namespaces, func(n *topology.Namespace) bool { return !n.Own })
	m.Unseen = nil // the other picture says it
	_, err = fmt.Printf("the host, as an ordinary user sees it (no rules):\n%s\nthe user's networks, which vitro-net holds:\n", topology.Arrange(m).Text())
	return err
}
