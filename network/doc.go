// SPDX-License-Identifier: Apache-2.0

// Package network decides how a container is joined to the machine's network,
// and has the host actions that do it: links, addresses, routes, firewall rules.
//
// A network is a bridge, a subnet, and a table of nftables that is called as
// the bridge is. The default one is made when its first container starts, and
// nothing of it is left once its last one has gone.
//
// [Read] collects the facts, [Facts.Plan] decides without touching anything,
// and returns steps in two lists:
//
//	Before the child is born            After
//	lease     an address for one ID     veth      a cable, one end in the child's netns
//	forward   the machine routes        address   that end's address, up, default route
//	firewall  the network's table
//	bridge    the switch, with the gateway's address
//
// What all containers share has one owner, the leases: the inverse of lease is
// release, which takes the network down if that lease was the last. Who holds a
// lease may rely on the network; the steps that make it find it there or make
// it, and need no inverse of their own. Leases change under a lock on their folder.
//
// On the disk, a network is a folder of symbolic links whose targets are the
// values. A symbolic link is made with its content, or not at all, by one call
// that fails if the name is there; so no crash leaves half a file behind.
//
//	network/                                 locked by flock
//	network/forward -> 0 18dd5c4e-…          ip_forward was 0, and was changed, in this boot
//	network/default/bridge -> vitro0 172.29.0.0/16 1500
//	network/default/leases/172.29.0.2 -> 0e9d76e79b91…
//
// The files /etc/hosts and /etc/resolv.conf are made by [Hosts] and [Resolver].
//
// A container that has no network, the host's, or another container's needs
// nothing of this package. To list what is on the machine, use ip(8), nft(8).
package network
