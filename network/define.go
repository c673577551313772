// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Definition is what `vitro network create` is told. What it leaves open is
// chosen so that it is free on this machine.
type Definition struct {
	Name, Driver               string
	Subnets, Gateways, Ranges  []string // one for IPv4, one for IPv6
	IPv6, Internal, DisableDNS bool
	Options, Labels            map[string]string
}

// options are the keys of --opt. Docker's own names for them are understood too.
var options = [...]struct {
	keys []string
	set  func(n *Network, value string) error
}{
	{[]string{"mtu", "com.docker.network.driver.mtu"}, func(n *Network, v string) (err error) {
		if n.MTU, err = strconv.Atoi(v); err != nil || n.MTU < 68 || n.MTU > 65535 { // RFC 791
			return errors.New("want a number of bytes, 68 to 65535")
		}
		return nil
	}},
	{[]string{"bridge", "com.docker.network.bridge.name"}, func(n *Network, v string) error {
		n.Bridge = v
		return checkLink(v)
	}},
	{[]string{"parent"}, func(n *Network, v string) error {
		n.Parent = v
		return checkLink(v)
	}},
	{[]string{"mode", "macvlan_mode", "ipvlan_mode"}, func(n *Network, v string) error {
		n.Mode = v
		return nil
	}},
	{[]string{"gateway_mode_ipv6", "com.docker.network.bridge.gateway_mode_ipv6"}, func(n *Network, v string) error {
		n.Routed = v == "routed"
		if v != "routed" && v != "nat" {
			return errors.New("want nat or routed")
		}
		return nil
	}},
}

// checkLink refuses what the kernel doesn't take as a link's name, or the
// shell, nft(8) or a path in /proc/sys as a word.
func checkLink(name string) error {
	const most = 15 // IFNAMSIZ, less the zero
	if name == "" || len(name) > most || checkName(name) != nil {
		return fmt.Errorf("%q is no name for a link: want at most %d letters, digits or any of _.-", name, most)
	}
	return nil
}

// ranges are those that networks are made in. Docker begins at 172.17 and Podman at 10.88; 172.29 to
// 172.31 are the last that Docker comes to, and the others are seldom seen in offices and homes.
var ranges = [...]string{
	"172.29.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "172.28.0.0/16",
	"10.129.0.0/16", "10.229.0.0/16", "10.173.0.0/16", "192.168.224.0/20",
}

// Define decides what a new network is. It is pure; seed is chance, for IPv6.
//
// The machine has to have been asked ([Machine.Read]): the subnet overlaps with none
// of its addresses and routes, nor with those of other networks.
func (m *Machine) Define(all string, d Definition, seed [5]byte) (Network, error) {
	n := Network{Dir: filepath.Join(all, d.Name), Name: d.Name, Driver: d.Driver, Internal: d.Internal, DisableDNS: d.DisableDNS,
		Labels: d.Labels, Options: d.Options}
	if n.Driver == "" {
		n.Driver = DriverBridge
	}
	err := checkName(d.Name)
	switch d.Name {
	case "default", "host", "none", "container", "ns", "private", "pasta", "slirp4netns":
		err = fmt.Errorf("use %q as a network's name: the word has a meaning of its own for --network", d.Name)
	}
	if err == nil {
		err = n.options(d)
	}
	if err == nil {
		err = n.driver(m, d)
	}
	if err == nil && n.Driver != DriverNone {
		err = n.subnets(m, d, seed)
	}
	if err != nil {
		return n, fmt.Errorf("create network: %w", err)
	}
	return n, nil
}

func (n *Network) options(d Definition) error {
	for _, key := range slices.Sorted(maps.Keys(d.Options)) {
		i := slices.IndexFunc(options[:], func(o struct {
			keys []string
			set  func(n *Network, value string) error
		}) bool {
			return slices.Contains(o.keys, key)
		})
		if i < 0 {
			return fmt.Errorf("read --opt %s: no such option (there are mtu, bridge, parent, mode, gateway_mode_ipv6)", key)
		}
		if err := options[i].set(n, d.Options[key]); err != nil {
			return fmt.Errorf("read --opt %s=%s: %w", key, d.Options[key], err)
		}
	}
	return nil
}

// modes are what macvlan and ipvlan may be told; the first is taken if nothing is said.
func modes(driver string) []string {
	if driver == DriverMacvlan {
		return []string{"bridge", "private", "vepa", "passthru"}
	}
	return []string{"l2", "l3", "l3s"}
}

// driver decides which links there are.
func (n *Network) driver(m *Machine, d Definition) error {
	if n.MTU == 0 {
		n.MTU = min(m.MTU, 65535) // lo has more than a bridge takes (ETH_MAX_MTU)
	}
	switch n.Driver {
	case DriverBridge:
		if n.Parent != "" || n.Mode != "" {
			return errors.New("read --opt: a bridge has neither parent nor mode")
		}
		if n.Bridge != "" && slices.Contains(m.Names, n.Bridge) {
			return fmt.Errorf("read --opt bridge=%s: the machine has a link or a table of this name", n.Bridge)
		}
		// Another engine's, or that of vitro with another state folder, may be there.
		for i := 0; n.Bridge == "" || slices.Contains(m.Names, n.Bridge); i++ {
			n.Bridge = fmt.Sprintf("vitro%d", i)
		}
		return nil
	case DriverMacvlan, DriverIPvlan:
		if n.Bridge != "" {
			return fmt.Errorf("read --opt bridge=%s: %s has none", n.Bridge, n.Driver)
		}
		if n.Parent == "" {
			n.Parent = m.Uplink
		}
		if !slices.Contains(m.Names, n.Parent) {
			return fmt.Errorf("use link %q as parent: there is none (--opt parent=LINK)", n.Parent)
		}
		if n.Mode == "" {
			n.Mode = modes(n.Driver)[0]
		}
		if !slices.Contains(modes(n.Driver), n.Mode) {
			return fmt.Errorf("read --opt mode=%s: %s has %s", n.Mode, n.Driver, strings.Join(modes(n.Driver), ", "))
		}
		if len(d.Subnets) == 0 {
			return fmt.Errorf("%s needs the subnet of the network that %s is in: --subnet", n.Driver, n.Parent)
		}
		return nil
	case DriverNone:
		if len(d.Subnets)+len(d.Gateways)+len(d.Ranges) > 0 || d.IPv6 || len(d.Options) > 0 {
			return errors.New("the driver none has neither addresses nor options")
		}
		return nil
	}
	return fmt.Errorf("read --driver %s: there are bridge, macvlan, ipvlan, none", n.Driver)
}

// subnets decides which addresses there are.
func (n *Network) subnets(m *Machine, d Definition, seed [5]byte) error {
	used := m.Used
	if n.Driver != DriverBridge {
		used = nil // it is the parent's own network
	}
	for _, s := range d.Subnets {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || p != p.Masked():
			return fmt.Errorf("read --subnet %s: want an address and a length, such as 10.5.0.0/16", s)
		case p.Addr().Is4() && n.Subnet.IsValid() || p.Addr().Is6() && n.Subnet6.IsValid():
			return fmt.Errorf("read --subnet %s: want one for IPv4 and one for IPv6", s)
		case p.Addr().Is4() && p.Bits() > 30 || p.Addr().Is6() && p.Bits() > 112:
			return fmt.Errorf("read --subnet %s: too small (IPv4: at most /30, IPv6: /112)", s)
		}
		if other, ok := overlap(p, used); ok {
			return fmt.Errorf("use subnet %s: it overlaps with %s, which this machine has an address, a route, a name server or a network in", p, other)
		}
		if p.Addr().Is4() {
			n.Subnet = p
		} else {
			n.Subnet6 = p
		}
	}
	if !n.Subnet.IsValid() {
		for p := range n.pool() {
			if _, ok := overlap(p, used); !ok {
				n.Subnet = p
				break
			}
		}
		if !n.Subnet.IsValid() {
			return fmt.Errorf("each range in %v overlaps with an address, a route, a name server or a network of this machine", ranges)
		}
	}
	if d.IPv6 && !n.Subnet6.IsValid() {
		n.Subnet6 = ula(seed)
		if other, ok := overlap(n.Subnet6, used); ok { // one in 2^40
			return fmt.Errorf("use subnet %s: it overlaps with %s: try again", n.Subnet6, other)
		}
	}
	if n.Subnet6.IsValid() && m.NoIPv6 {
		return fmt.Errorf("use subnet %s: this machine has no IPv6 (the kernel has none, or net.ipv6.conf.all.disable_ipv6 is 1)", n.Subnet6)
	}
	return n.gateways(d)
}

// pool goes through the subnets that a network may have: the default one takes
// a whole range, others as much as a bridge has ports for.
func (n *Network) pool() iter.Seq[netip.Prefix] {
	const bits, forDefault = 22, 3 // so the default network has its usual place
	return func(yield func(netip.Prefix) bool) {
		for i, s := range ranges {
			whole := netip.MustParsePrefix(s)
			if !n.IsDefault() && i < forDefault {
				continue
			}
			if n.IsDefault() {
				if !yield(whole) {
					return
				}
				continue
			}
			for a := whole.Addr(); whole.Contains(a); a = after(a, 1<<(32-bits)) {
				if !yield(netip.PrefixFrom(a, bits)) {
					return
				}
			}
		}
	}
}

// ula is a network of our own (RFC 4193): fd, 40 bits of chance, subnet 0.
func ula(seed [5]byte) netip.Prefix {
	var b [16]byte
	b[0] = 0xfd
	copy(b[1:], seed[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// gateways reads --gateway and --ip-range.
func (n *Network) gateways(d Definition) error {
	for _, s := range d.Gateways {
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			return fmt.Errorf("read --gateway %s: not an address", s)
		case n.Subnet.Contains(a) && a != n.Subnet.Addr() && a != last(n.Subnet):
			n.Gateway = a
		case n.Subnet6.IsValid() && n.Subnet6.Contains(a) && a != n.Subnet6.Addr():
			n.Gateway6 = a
		default:
			return fmt.Errorf("read --gateway %s: it is no host's address in a subnet of the network", s)
		}
	}
	// On somebody else's network, the first address need not be a router.
	own := n.Driver == DriverBridge
	if !n.Gateway.IsValid() && (own || len(d.Gateways) == 0) {
		n.Gateway = n.Subnet.Addr().Next()
	}
	if n.Subnet6.IsValid() && !n.Gateway6.IsValid() && own {
		n.Gateway6 = n.Subnet6.Addr().Next()
	}
	for _, s := range d.Ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil || !n.Subnet.Contains(p.Addr()) || p.Bits() < n.Subnet.Bits() {
			return fmt.Errorf("read --ip-range %s: it is no part of the IPv4 subnet %s", s, n.Subnet)
		}
		n.Range = p.Masked()
	}
	return nil
}

// overlap finds the first of the ranges that p has an address in common with.
func overlap(p netip.Prefix, ranges []netip.Prefix) (netip.Prefix, bool) {
	for _, r := range ranges {
		if p.Overlaps(r) {
			return r, true
		}
	}
	return netip.Prefix{}, false
}
