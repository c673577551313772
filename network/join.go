// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"slices"

	"vitro/plan"
)

// An Attachment is what joins one container to a network.
type Attachment struct {
	Network  Network
	Address  netip.Prefix // the container's, with the subnet's length
	Gateway  netip.Addr
	Link     string      // the host's end of the cable
	Before   []plan.Step // need no child
	After    []plan.Step // need the child's network namespace
	Warnings []string    // what may keep packets from passing, and what to do
}

// maxPorts is the number of ports that the kernel gives a bridge, all but one of
// those that it can count (BR_MAX_PORTS in net/bridge/br_private.h).
const maxPorts = 1023

// subnets are the ranges that a new network may have, the first that is free is
// taken. Docker begins at 172.17 and Podman at 10.88; 172.29 to 172.31 are the
// last that Docker comes to, and the others are seldom seen in offices and homes.
var subnets = [...]string{
	"172.29.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "172.28.0.0/16",
	"10.129.0.0/16", "10.229.0.0/16", "10.173.0.0/16", "192.168.224.0/20",
}

// Plan decides how the container with the ID is joined to the default network.
// It is pure. Its errors: [ErrFull], or that the machine has no free range.
//
// The address is the lowest free one. It is only certain once the step "lease"
// is done: if that fails with [ErrTaken], read the facts and plan again.
func (f Facts) Plan(id string) (Attachment, error) {
	if id == "" {
		return Attachment{}, errors.New("join network: a container without an ID")
	}
	n, warnings, err := f.network()
	if err != nil {
		return Attachment{}, fmt.Errorf("join network: %w", err)
	}
	addr, err := n.free(f.Leases)
	if err != nil {
		return Attachment{}, fmt.Errorf("join network %s: %w", n.Bridge, err)
	}
	a := Attachment{Network: n, Address: netip.PrefixFrom(addr, n.Subnet.Bits()), Gateway: n.Gateway().Addr(), Link: linkName(id), Warnings: warnings}
	a.Before = []plan.Step{
		{Action: &Lease{Network: n, Address: addr, ID: id}, Why: "no other container gets this address, and the network stays while it is held"},
		{Action: &Forward{Network: n}, Why: "the kernel passes packets between the containers' bridge and the world"},
		{Action: &Firewall{Network: n}, Why: "the world doesn't know the way to the subnet: packets leave with the host's address"},
		{Action: &Bridge{Network: n}, Why: "the switch that all containers are plugged into, and their gateway"},
	}
	a.After = []plan.Step{
		{Action: &Veth{Name: a.Link, Bridge: n.Bridge, Peer: addr, MTU: n.MTU}, Why: "a cable from the container to the switch"},
		{Action: &Address{Address: a.Address, Gateway: a.Gateway}, Why: "the container's own address, and its way out"},
	}
	return a, nil
}

// network is the recorded network, or the design of a new one.
func (f Facts) network() (Network, []string, error) {
	if f.Network != nil {
		return *f.Network, nil, nil
	}
	n := Network{Dir: filepath.Join(f.Dir, defaultName), MTU: f.Machine.MTU}
	for _, s := range subnets {
		if p := netip.MustParsePrefix(s); !overlaps(p, f.Machine.Used) {
			n.Subnet = p
			break
		}
	}
	if !n.Subnet.IsValid() {
		return n, nil, fmt.Errorf("each of %v overlaps with an address, a route or a name server of this machine", subnets)
	}
	// Another engine's, or that of vitro with another state folder, may be there.
	for i := 0; n.Bridge == "" || slices.Contains(f.Machine.Names, n.Bridge); i++ {
		n.Bridge = fmt.Sprintf("vitro%d", i)
	}
	var warnings []string
	for _, chain := range f.Machine.Filters {
		warnings = append(warnings, fmt.Sprintf("chain %q drops what it doesn't know, so containers may not reach the world; to let them: "+
			"nft insert rule %s iifname %s accept; nft insert rule %s oifname %s accept", chain, chain, n.Bridge, chain, n.Bridge))
	}
	return n, warnings, nil
}

// free is the lowest address that is neither the gateway's nor leased.
//
// Precondition: leases are in order.
func (n Network) free(leases []netip.Addr) (netip.Addr, error) {
	if len(leases) >= maxPorts {
		return netip.Addr{}, fmt.Errorf("%d containers, as many as a bridge has ports: %w", len(leases), ErrFull)
	}
	a := n.Gateway().Addr().Next()
	for _, l := range leases {
		if l == a {
			a = a.Next()
		}
	}
	return a, nil
}

// linkName is the name of the host's end, at most 15 bytes (IFNAMSIZ): the start
// of the ID, by which people know the container, or a digest of an ID that is
// not made of hexadecimal digits.
func linkName(id string) string {
	const digits = 10
	if len(id) < digits || !isHex(id[:digits]) {
		h := fnv.New64a()
		h.Write([]byte(id))
		id = fmt.Sprintf("%016x", h.Sum64())
	}
	return "v" + id[:digits]
}
