// SPDX-License-Identifier: Apache-2.0

// Package names answers the DNS questions of one container, on 127.0.0.11 in
// its network namespace, from inside its monitor: there is no daemon.
//
//	names.Listen("/proc/PID/ns/net")   two sockets, made over there
//	names.New(Config, Sockets)         a server that stays over here
//	server.Serve(pidfd)                answers until the container ends
//
// What it knows stands in files, which whoever starts or ends a container keeps:
//
//	network/NAME/names/ID         172.29.0.2[,fd00::2] web 0e9d76e79b91 www db …
//	network/NAME/network.json     "internal": true, no way out, for names neither; "no_dns": true, names aren't answered
//
// A line has the addresses, the container's name, its short ID and its aliases;
// a symbolic link with that text as its target will do as well as a file. A file
// is put in its place by rename(2), and a name that begins with a dot is none.
// On the default network, called bridge, names aren't answered, as with Docker.
// The container's networks are those that have a file with its own ID. So
// a container that starts, leaves, or is connected to one more network is known
// with the next question: the server looks at the folders' times of change, which
// takes a microsecond each, and reads what is new. inotify(7) would do
// too, but the kernel allows a user 128 instances, and each container has a monitor.
//
// The names of other networks are unknown. A name that is known is never asked
// of anybody else. All others go to the host's name servers, by sockets of the
// monitor's own network namespace, so 127.0.0.53 is the host's. Client and server speak to each
// other through us: search and ndots are the client's business, in the resolv.conf that it has.
//
// A program of the container's that listens on port 53 of all addresses finds it taken (EADDRINUSE): it has to
// name its address. A name with a search domain behind it is none of ours: with "options ndots:0" in its
// resolv.conf the client asks for the name alone first.
//
// One goroutine does all of it; a question on its way is a few hundred bytes. The package is
// for vitro-oci, so it uses neither net nor net/netip, and has a codec of its own:
// it needs a header, a question and addresses, and passes on the rest as it came.
package names
