// SPDX-License-Identifier: Apache-2.0

// Package network decides how a container is joined to networks, and has the
// host actions that do it: links, addresses, routes, firewall rules, ports.
//
// A network is a definition on the disk. Its bridge, and a table of nftables that is
// called as the bridge is, are made when its first container starts, and
// nothing of them is left once its last one has gone.
//
// [Create] defines one. [Read] finds a free place in each network that a container
// wants, [Facts.Plan] decides without touching anything, and returns steps in two lists:
//
//	Before the child is born            After
//	lease     addresses for one ID      veth      a cable, one end in the child's netns
//	forward   the machine routes        address   that end's addresses, up, default route
//	bridge    the switch                publish   elements of the table's maps
//	firewall  the network's table       announce  the names it is known by
//	reserve   sockets for its ports
//
// What all containers share has one owner, the leases: the inverse of lease is
// release, which takes the network down if that lease was the last. Who holds a
// lease may rely on the network; the steps that make it find it there or make
// it, and need no inverse of their own.
//
// On the disk, a lease is a symbolic link whose target is the value: it is made
// with its content, or not at all, by one call that fails if the name is there. So
// no crash leaves half a file behind, and nobody needs a lock to have an address.
//
//	network/                               locked by who turns forwarding on or off
//	network/forward -> 0 18dd5c4e-…        ip_forward was 0, and was changed, in this boot
//	network/forward6                       the same for IPv6
//	network/forward.before                 what else was on that goes off with it
//	network/web/                           locked by its first container and its last
//	network/web/network.json               the definition
//	network/web/leases/10.129.0.2 -> 0e9…  there while the network is up
//	network/web/closing/                   the same, for a moment on the way down
//	network/web/names/ID                   see Announce
//	network/web/ports/ID                   see Publication
//
// What joins one container to its networks is [Attachments], a file in its folder.
// The files /etc/hosts and /etc/resolv.conf are made by [Hosts] and [Resolver].
//
// A container that has no network, the host's, or another container's needs
// nothing of this package. To list what is on the machine, use ip(8), nft(8).
package network
