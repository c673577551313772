// SPDX-License-Identifier: Apache-2.0

// Package relay carries what comes to a published port to the container where no rule of
// the kernel's can: from ::1, which IPv6 has no route_localnet for, and by IPv6
// to a container that has IPv4 only.
//
//	client ──▶ port of the host ── [Server] ──▶ port of the container
//
// The sockets that hold the ports are there already: the step "reserve" has bound them, and this
// process has inherited them. A [Server] finds them by what they are bound to, listens on
// them, and never closes them. What the network's table translates doesn't come here.
//
// A TCP connection is two streams. What is little is read and written; more goes by a pipe that splice(2) moves the bytes
// through, so that they don't come into this process. An end of one is passed on while the other goes on. For UDP
// each client has a socket of its own to the container, so that answers find their way
// back. The container sees its gateway as the client, not the one that it is.
//
// Which ports these are, and where they lead now, is a file, [File] in the container's
// folder, a [Way] in each line. It is read for each connection: it may change while
// the container runs.
//
// The server is driven from outside, as that of package names: by Fd and Work, in the
// monitor's loop. It imports nothing that a small program would feel.
package relay
