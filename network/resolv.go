// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// A Resolver is what a container's /etc/resolv.conf (resolv.conf(5)) is made of.
// What a flag gives replaces what the host has of the same kind.
type Resolver struct {
	Host    []byte   // the host's /etc/resolv.conf
	Uplink  []byte   // systemd-resolved's /run/systemd/resolve/resolv.conf, if it is there
	Servers []string // --dns
	Search  []string // --dns-search; "." alone: none
	Options []string // --dns-option
	// Own: the container has a network namespace of its own, with IPv4 only.
	// It reaches neither the host's loopback nor a name server by IPv6.
	Own bool
}

// publicServers are asked when the host has no name server that a container
// can reach; Docker asks the same. The file says so, and --dns says otherwise.
var publicServers = []string{"8.8.8.8", "8.8.4.4"}

const publicNote = "# The host's name servers can't be reached from here (loopback, or IPv6 only), so\n" +
	"# these public ones are asked. The flag --dns names others.\n"

// File makes the file. A flag that could not stand in it is an error.
func (r Resolver) File() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	host := parseResolv(r.Host)
	if r.Own && len(reachable(host.servers)) == 0 && r.Uplink != nil {
		host.servers = parseResolv(r.Uplink).servers
	}
	var b bytes.Buffer
	servers := r.Servers
	switch {
	case servers != nil:
	case !r.Own:
		servers = host.servers
	default:
		if servers = reachable(host.servers); len(servers) == 0 {
			servers = publicServers
			b.WriteString(publicNote)
		}
	}
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	search, options := host.search, host.options
	if r.Search != nil {
		search = r.Search
	}
	if r.Options != nil {
		options = r.Options
	}
	if len(search) > 0 && !(len(search) == 1 && search[0] == ".") {
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	if len(options) > 0 {
		b.WriteString("options " + strings.Join(options, " ") + "\n")
	}
	return b.Bytes(), nil
}

// check looks at what came from flags: each has to be one word of the file.
func (r Resolver) check() error {
	for _, s := range r.Servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("name server %q: not an IP address", s)
		}
	}
	for _, s := range r.Search {
		if !isHostname(s) {
			return fmt.Errorf("search domain %q: not a domain", s)
		}
	}
	for _, s := range r.Options {
		if !isHostname(s) {
			return fmt.Errorf("resolver option %q: not one word", s)
		}
	}
	return nil
}

// reachable are the name servers that a container can ask over IPv4.
func reachable(servers []string) []string {
	var out []string
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		if err == nil && a.Is4() && !a.IsLoopback() && !a.IsUnspecified() {
			out = append(out, s)
		}
	}
	return out
}

// resolv has the lines of a resolv.conf that a container gets.
type resolv struct{ servers, search, options []string }

// parseResolv reads as the C library does: the last search or domain line
// counts, options add up, unknown lines and comments are passed over.
func parseResolv(text []byte) resolv {
	var r resolv
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if _, err := netip.ParseAddr(fields[1]); err == nil {
				r.servers = append(r.servers, fields[1])
			}
		case "search":
			r.search = words(fields[1:])
		case "domain":
			r.search = words(fields[1:2])
		case "options":
			r.options = append(r.options, words(fields[1:])...)
		}
	}
	return r
}

// words are the leading fields up to a comment that can be written back as they are.
func words(fields []string) []string {
	for i, f := range fields {
		if !isHostname(f) {
			return fields[:i]
		}
	}
	return fields
}
