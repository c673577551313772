// SPDX-License-Identifier: Apache-2.0

// Package cable joins the network namespace of any process to this machine's
// network: a pair of links from one to the other, or to a bridge, with the addresses that
// a person has chosen, and a name for ip-netns(8).
//
// It is what one does by hand with mount --bind and ip, as a plan: [Plan] decides from
// [Facts], [Attach] does it with the way back in a file, [Detach] goes it. The process may be
// anybody's: a container of another engine, or a shell under unshare(1).
//
//	/run/vitro/attached/consh     the way back, as package run writes it
//	/run/netns/consh              the namespace, bound there; it lives on without its process
//	consh-0, consh-1              the two ends
//
// Containers of vitro have package network, which leases addresses.
package cable
