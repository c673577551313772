// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"time"

	"vitro/filter"
	"vitro/format"
)

// Networks is the template of the list of networks.
func Networks(quiet bool) string {
	if quiet {
		return quietID
	}
	return "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
}

// A Network is what a list needs to know of one.
type Network struct {
	ID, Name, Driver     string
	Created              time.Time
	IPv4, IPv6, Internal bool
	Labels               map[string]string
	Builtin              bool // not made by a user: the filter type=builtin
	Used                 bool // by a container: the filter dangling=false
}

// CheckNetworks refuses values that no network can have.
func CheckNetworks(f filter.Set) error {
	if _, err := f.Bool("dangling", false); err != nil {
		return err
	}
	if err := f.Check("scope", "local", "global", "swarm"); err != nil {
		return err
	}
	return f.Check("type", "builtin", "custom")
}

// Match says whether a network passes.
func (n *Network) Match(f filter.Set) bool {
	kind := "custom"
	if n.Builtin {
		kind = "builtin"
	}
	dangling, _ := f.Bool("dangling", false)
	return f.Exact("driver", n.Driver) && f.Match("name", n.Name) && f.Label(n.Labels) &&
		f.Exact("scope", "local") && f.Exact("type", kind) &&
		(!f.Has("dangling") || dangling == !n.Used && !(dangling && n.Builtin)) &&
		f.Match("id", n.ID)
}

// A NetworkRow is a line of the list of networks.
type NetworkRow struct {
	CreatedAt string `header:"CREATED AT"`
	Driver    string `header:"DRIVER"`
	ID        string `header:"NETWORK ID"`
	IPv4      string `header:"IPV4"`
	IPv6      string `header:"IPV6"`
	Internal  string `header:"INTERNAL"`
	Labels    string `header:"LABELS"`
	Name      string `header:"NAME"`
	Scope     string `header:"SCOPE"`

	labels
}

// Row is a network's line; long is --no-trunc.
func (n *Network) Row(long bool) NetworkRow {
	return NetworkRow{
		CreatedAt: n.Created.String(), Driver: n.Driver, ID: id(n.ID, long), IPv4: yes(n.IPv4), IPv6: yes(n.IPv6),
		Internal: yes(n.Internal), Labels: format.Labels(n.Labels), labels: n.Labels, Name: n.Name, Scope: "local",
	}
}
