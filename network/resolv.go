// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
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

// ResolverAddress is where a container on a network with names asks: its own
// resolver, which asks the servers of [Resolver.Upstream] what it doesn't know.
const ResolverAddress = "127.0.0.11"

// File makes the file. A flag that could not stand in it is an error.
func (r Resolver) File() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	up, public := r.upstream()
	note := ""
	if public {
		note = publicNote
	}
	return up.file(note), nil
}

// Forwarded makes the file for a container with a resolver of its own. As with
// Docker, a name without a dot is asked for as it stands, unless an option says
// otherwise.
func (r Resolver) Forwarded() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	up, _ := r.upstream()
	up.Servers = []string{ResolverAddress}
	if !slices.ContainsFunc(up.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		up.Options = append(slices.Clip(up.Options), "ndots:0")
	}
	return up.file(""), nil
}

// Upstream is what File makes the file of.
func (r Resolver) Upstream() Upstream {
	up, _ := r.upstream()
	return up
}

// upstream decides whom to ask; public says that nobody has named them.
func (r Resolver) upstream() (up Upstream, public bool) {
	host := parseResolv(r.Host)
	if r.Own && len(reachable(host.servers)) == 0 && r.Uplink != nil {
		host.servers = parseResolv(r.Uplink).servers
	}
	up = Upstream{Servers: r.Servers, Search: host.search, Options: host.options}
	switch {
	case r.Servers != nil:
	case !r.Own:
		up.Servers = host.servers
	default:
		if up.Servers = reachable(host.servers); len(up.Servers) == 0 {
			up.Servers, public = publicServers, true
		}
	}
	if r.Search != nil {
		up.Search = r.Search
	}
	if len(up.Search) == 1 && up.Search[0] == "." {
		up.Search = nil
	}
	if r.Options != nil {
		up.Options = r.Options
	}
	return up, public
}

func (u Upstream) file(note string) []byte {
	var b bytes.Buffer
	b.WriteString(note)
	for _, s := range u.Servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(u.Search) > 0 {
		b.WriteString("search " + strings.Join(u.Search, " ") + "\n")
	}
	if len(u.Options) > 0 {
		b.WriteString("options " + strings.Join(u.Options, " ") + "\n")
	}
	return b.Bytes()
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
