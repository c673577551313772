// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vitro/network"
	"vitro/network/rules"
)

// A NetworkView is what `vitro network inspect` shows: with Docker's names first,
// then what vitro knows besides.
type NetworkView struct {
	Name       string
	Id         string
	Created    time.Time
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       NetworkIPAM
	Internal   bool
	Attachable bool
	Ingress    bool
	Containers map[string]NetworkMember // by ID
	Options    map[string]string
	Labels     map[string]string

	Bridge  string           `json:",omitempty"`
	Parent  string           `json:",omitempty"` // macvlan, ipvlan: the host's link
	Mode    string           `json:",omitempty"`
	MTU     int              `json:",omitempty"` // bytes
	DNS     bool             // its containers find each other by name
	Routed  bool             // its addresses of IPv6 are seen outside
	Up      bool             // its links and rules are there
	Filters []network.Filter // of others, that don't let all pass
	Notes   []string         // who decides, and what to do
}

// NetworkIPAM are a network's addresses.
type NetworkIPAM struct {
	Driver string
	Config []NetworkSubnet
}

// A NetworkSubnet is a range of addresses.
type NetworkSubnet struct {
	Subnet  string
	IPRange string `json:",omitempty"`
	Gateway string `json:",omitempty"`
}

// A NetworkMember is a container on a network.
type NetworkMember struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string

	Interface string         `json:",omitempty"` // its name in the container
	Link      string         `json:",omitempty"` // the host's end of the cable
	Aliases   []string       `json:",omitempty"`
	Ports     []network.Port `json:",omitempty"` // that lead here
}

// FindNetwork finds a network by its name or the beginning of its ID, also
// what stands among the networks without being made: none, host, and the
// default network before its first container. The error is a
// *network.UnknownError if there is none.
func (e *Engine) FindNetwork(name string) (network.Network, error) {
	if name == "default" {
		name = network.Default
	}
	n, err := network.Lookup(e.Dir, name)
	if err == nil {
		return n, nil
	}
	list, listErr := e.Networks()
	i := slices.IndexFunc(list, func(n network.Network) bool {
		return n.Name == name || len(name) > 3 && strings.HasPrefix(n.ID(), name)
	})
	if listErr != nil || i < 0 {
		return n, err
	}
	return list[i], nil
}

// InspectNetwork looks at a network, its containers, and who else decides about its packets.
func (e *Engine) InspectNetwork(name string) (*NetworkView, error) {
	n, err := e.FindNetwork(name)
	if err != nil {
		return nil, err
	}
	v := &NetworkView{Name: n.Name, Id: n.ID(), Created: n.Created, Scope: "local", Driver: n.Driver, EnableIPv4: n.Subnet.IsValid(), EnableIPv6: n.Subnet6.IsValid(),
		IPAM: NetworkIPAM{Driver: "default", Config: []NetworkSubnet{}}, Internal: n.Internal, Containers: map[string]NetworkMember{},
		Options: map[string]string{}, Labels: map[string]string{}, Bridge: n.Bridge, Parent: n.Parent, Mode: n.Mode, MTU: n.MTU, DNS: n.DNS(), Routed: n.Routed}
	maps.Copy(v.Options, n.Options)
	maps.Copy(v.Labels, n.Labels)
	for _, s := range [...]struct {
		subnet, part netip.Prefix
		gateway      netip.Addr
	}{{n.Subnet, n.Range, n.Gateway}, {n.Subnet6, netip.Prefix{}, n.Gateway6}} {
		if s.subnet.IsValid() {
			v.IPAM.Config = append(v.IPAM.Config, NetworkSubnet{Subnet: s.subnet.String(), IPRange: text(s.part), Gateway: text(s.gateway)})
		}
	}
	if err := e.members(v, n); err != nil {
		return nil, err
	}
	chains, err := rules.Read()
	if err != nil {
		return nil, err
	}
	v.Filters, v.Notes = n.Filters(chains), n.Notes(chains)
	return v, nil
}

// members looks at the network's containers.
func (e *Engine) members(v *NetworkView, n network.Network) error {
	members, err := n.Members()
	if err != nil {
		return err
	}
	v.Up = len(members) > 0
	for _, m := range members {
		var view NetworkMember
		at, err := network.ReadAttachments(filepath.Join(e.Containers.Root, m.ID))
		if place := at.Endpoint(n.Name); err == nil && place != nil {
			view = NetworkMember{Name: at.Name, EndpointID: place.ID(m.ID), MacAddress: place.MAC, Interface: place.Interface, Link: place.Link, Aliases: place.Aliases}
			if place.Publishes {
				view.Ports = at.Ports
			}
		}
		for _, a := range m.Addresses {
			if a.Is4() {
				view.IPv4Address = netip.PrefixFrom(a, n.Subnet.Bits()).String()
			} else {
				view.IPv6Address = netip.PrefixFrom(a, n.Subnet6.Bits()).String()
			}
		}
		v.Containers[m.ID] = view
	}
	return nil
}

// text is an address or a range for people; "" for none.
func text(a interface {
	IsValid() bool
	String() string
}) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
