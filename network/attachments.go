// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"vitro/internal/smallfile"
	"vitro/network/relay"
)

// Attachments are all that joins one container to networks: the file
// network.json in its folder, written when it is made, and anew when it is
// connected or disconnected. Who wants to know a container's addresses, names
// or ports reads it with [ReadAttachments], and asks the kernel nothing.
type Attachments struct {
	ID        string     `json:"id"`
	Name      string     `json:"name,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
	Ports     []Port     `json:"ports,omitempty"`   // that are published
	IPv6      bool       `json:"ipv6,omitempty"`    // by the host's IPv6 as well
	Exposed   []string   `json:"exposed,omitempty"` // "80/tcp": what the image and --expose name
	Upstream  *Upstream  `json:"upstream,omitempty"`
}

// An Endpoint is a container's place in one network.
type Endpoint struct {
	Network   string       `json:"network"`
	NetworkID string       `json:"network_id,omitempty"`
	Driver    string       `json:"driver"`
	Interface string       `json:"interface,omitempty"` // its name in the container
	Link      string       `json:"link,omitempty"`      // the host's end of the cable
	MAC       string       `json:"mac,omitempty"`
	Address   netip.Prefix `json:"address,omitzero"` // with the subnet's length
	Address6  netip.Prefix `json:"address6,omitzero"`
	Gateway   netip.Addr   `json:"gateway,omitzero"` // the way out, if it leads there
	Gateway6  netip.Addr   `json:"gateway6,omitzero"`
	Aliases   []string     `json:"aliases,omitempty"`   // further names
	DNS       bool         `json:"dns,omitempty"`       // its members find each other by name
	Publishes bool         `json:"publishes,omitempty"` // ports lead here
}

// ID is a number for this place of a container's, as other engines have one.
func (e Endpoint) ID(container string) string { return digest(e.NetworkID, container) }

// Upstream is whom a container's resolver asks what it doesn't know itself:
// what its resolv.conf would be without one.
type Upstream struct {
	Servers []string `json:"servers,omitempty"`
	Search  []string `json:"search,omitempty"`
	Options []string `json:"options,omitempty"`
}

// attachmentsFile is the file's name in the container's folder.
const attachmentsFile = "network.json"

// ReadAttachments reads what joins a container to networks; none, if its
// folder says nothing.
func ReadAttachments(folder string) (Attachments, error) {
	var a Attachments
	data, err := smallfile.Read(filepath.Join(folder, attachmentsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil && len(data) == 0 {
		return a, nil // a start is about to write it
	}
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		return a, fmt.Errorf("read networks of container: %w", err)
	}
	return a, nil
}

// Save writes the file anew.
func (a Attachments) Save(folder string) error {
	data, err := a.encode()
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(folder, attachmentsFile), data); err != nil || len(a.Ports) == 0 {
		return err
	}
	return replace(filepath.Join(folder, relay.File), []byte(relay.Text(a.Relays())))
}

func (a Attachments) encode() ([]byte, error) {
	data, err := json.MarshalIndent(a, "", "  ")
	return append(data, '\n'), err
}

// Address is the container's first address of IPv4, for its own name.
func (a Attachments) Address() netip.Addr {
	for _, e := range a.Endpoints {
		if e.Address.IsValid() {
			return e.Address.Addr()
		}
	}
	return netip.Addr{}
}

// Gateway is the host's address as the container sees it; the zero Addr, if it
// is on no network that the host is on.
func (a Attachments) Gateway() netip.Addr {
	for _, e := range a.Endpoints {
		if e.Driver == DriverBridge && e.Gateway.IsValid() {
			return e.Gateway
		}
	}
	return netip.Addr{}
}

// DNS reports whether the container's names are answered by a resolver of its
// own, at [ResolverAddress].
func (a Attachments) DNS() bool {
	return slices.ContainsFunc(a.Endpoints, func(e Endpoint) bool { return e.DNS })
}

// Endpoint finds the container's place in a network; nil if it has none.
func (a Attachments) Endpoint(network string) *Endpoint {
	for i := range a.Endpoints {
		if a.Endpoints[i].Network == network {
			return &a.Endpoints[i]
		}
	}
	return nil
}

// publisher is the place that ports lead to; nil if there is none.
func (a Attachments) publisher() *Endpoint {
	i := slices.IndexFunc(a.Endpoints, func(e Endpoint) bool { return e.Publishes })
	if i < 0 {
		return nil
	}
	return &a.Endpoints[i]
}

// Relays are the ways that no rule of the kernel's can go: see package relay.
func (a Attachments) Relays() (list []relay.Way) {
	e := a.publisher()
	if e == nil || !a.IPv6 {
		return nil
	}
	for _, p := range a.Ports {
		if w, ok := p.relay(*e); ok && p.Proto != "sctp" {
			list = append(list, w)
		}
	}
	return list
}

// relay is the way from the host's side of IPv6 to a container's place, if it takes one.
func (p Port) relay(e Endpoint) (w relay.Way, ok bool) {
	from, to := p.Host, e.Address6
	if !from.IsValid() {
		from = netip.IPv6Unspecified()
	}
	if !to.IsValid() {
		to = e.Address
	}
	end := func(a netip.Addr, port uint16) relay.End { return relay.End{IP: string(a.AsSlice()), Port: port} }
	w = relay.Way{Proto: p.Proto, From: end(from, p.HostPort), To: end(to.Addr(), p.Container)}
	return w, from.Is6() && (to.Addr().Is4() || from.IsUnspecified() || from.IsLoopback())
}

// Published are the ports as `vitro port` and `vitro ps` show them, by the container's: one for
// IPv4, and one for IPv6 if the host has it; none while no network carries them.
func (a Attachments) Published() []Port {
	e := a.publisher()
	if e == nil {
		return nil
	}
	var list []Port
	for _, p := range a.Ports {
		if p.Host.IsValid() {
			list = append(list, p)
			continue
		}
		p.Host = netip.IPv4Unspecified()
		list = append(list, p)
		if a.IPv6 && (e.Address6.IsValid() || p.Proto != "sctp") {
			p.Host = netip.IPv6Unspecified()
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Proto, b.Proto), a.Host.Compare(b.Host), cmp.Compare(a.HostPort, b.HostPort))
	})
	return list
}

// PortLines are the lines of `docker port`, of all ports if the port is empty:
// "80/tcp -> 0.0.0.0:8080". For one port ("80", "80/tcp"), only the host's side.
func (a Attachments) PortLines(port string) (lines []string) {
	if port != "" && !strings.Contains(port, "/") {
		port += "/tcp"
	}
	for _, p := range a.Published() {
		host := netip.AddrPortFrom(p.Host, p.HostPort).String()
		switch own := fmt.Sprintf("%d/%s", p.Container, p.Proto); port {
		case "":
			lines = append(lines, own+" -> "+host)
		case own:
			lines = append(lines, host)
		}
	}
	return lines
}
