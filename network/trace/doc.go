// SPDX-License-Identifier: Apache-2.0

// Package trace follows a packet from a network namespace to an address and a port, and finds
// what stops it.
//
// [Run] sends a real one: a connection by TCP, or a datagram by UDP, from a port of its own. Before that it makes a table in
// the namespaces on the way, whose rules have the kernel trace the packets from and to that port, and no
// others; so the firewall itself says which rule decided what. The kernel removes the
// tables with the socket that they belong to, even if this process is killed. What no
// table sees is asked for: routes, neighbours, sysctls, sockets.
//
// [Explain] decides, without touching anything, what a person is told: what was on
// the way, what stopped the packet, and the command that shows it.
package trace

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Request is what is to be followed.
type Request struct {
	To   netip.AddrPort
	UDP  bool
	From uint64 // the namespace's inode; 0 is ours
}

// Protocol is its name.
func (r Request) Protocol() string {
	if r.UDP {
		return "udp"
	}
	return "tcp"
}

// A Result is what was found out.
type Result struct {
	Request Request
	Source  netip.AddrPort // of the packet
	Outcome unix.Errno     // of the connection: 0, or what the kernel says; ETIMEDOUT: nothing came back
	Sent    bool           // a packet left the program
	Places  []Place        // the namespaces on the way, as far as the packet was seen, or should have been
}

// A Place is a namespace on the way.
type Place struct {
	Name    string
	Command string // before another one, so that it is run in there
	Own     bool
	Closed  string         // why nothing is known about it
	There   []Event        // of the packet, in the order of the kernel
	Back    []Event        // of the answer
	Route   Route          // to where the packet goes from here
	Reverse Route          // back to where it came from
	To      netip.AddrPort // where it goes, when all rewriting is done
	Forward bool           // net.ipv4.ip_forward, or IPv6's
	Filter  int            // rp_filter of the link that it comes in by
	From    string         // that link
	Sockets []Socket       // that listen on the port
	Dropped []string       // rules of ip_tables that have counted a packet meanwhile, and let it go no further
	Tables  bool           // our table is there: what isn't among the events didn't happen
}

// A Route is the kernel's answer to where an address is.
type Route struct {
	Err       unix.Errno
	Local     bool
	Link      string
	Via       netip.Addr
	LinkDown  bool
	NoCarrier bool
	Neighbour string // the state of the next hop's entry: "reachable", "failed", "incomplete"; "" is not known
	Next      string // who is there: a namespace, or "" if it is outside of the machine
	NextOff   string // the link there, if it is off
}

// A Socket is one that waits.
type Socket struct {
	Address netip.Addr
	PID     int
	Command string
}

// An Event is a message of the kernel's tracing.
type Event struct {
	Hook        string // of our own table: early or late at a hook
	Late        bool
	Chain       string // of others: family, table, chain
	Rule        string // its text
	Handle      uint64
	Drop        bool
	Policy      bool // by the chain's policy
	Rewrites    bool // the rule changes where the packet goes
	Source      netip.AddrPort
	Destination netip.AddrPort

	iif int // the link that the packet came in by
}
