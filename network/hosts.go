// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// gatewayWord may stand for the gateway's address in an extra host.
const gatewayWord = "host-gateway"

// Hosts makes a container's /etc/hosts (hosts(5)). The container finds its own
// name at addr, or on its loopback if it has no address. Each extra host is
// "name:address" or "name=address", where the address may be "host-gateway".
func Hosts(name string, addr, gateway netip.Addr, extra []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	for _, e := range extra {
		host, ip, err := parseExtra(e, gateway)
		if err != nil {
			return nil, fmt.Errorf("extra host %q: %w", e, err)
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip, host)
	}
	if name == "" {
		return b.Bytes(), nil
	}
	if !isHostname(name) {
		return nil, fmt.Errorf("host name %q: a name has no spaces, and no %q", name, "#")
	}
	if !addr.IsValid() {
		addr = netip.AddrFrom4([4]byte{127, 0, 1, 1})
	}
	// hosts(5): the full name first, then the short one.
	names := name
	if short, _, ok := strings.Cut(name, "."); ok && short != "" {
		names += " " + short
	}
	fmt.Fprintf(&b, "%s\t%s\n", addr, names)
	return b.Bytes(), nil
}

func parseExtra(s string, gateway netip.Addr) (string, netip.Addr, error) {
	i := strings.IndexAny(s, "=:")
	if i < 0 {
		return "", netip.Addr{}, fmt.Errorf("want NAME:ADDRESS")
	}
	host, text := s[:i], s[i+1:]
	if !isHostname(host) {
		return "", netip.Addr{}, fmt.Errorf("%q is no host name", host)
	}
	if text == gatewayWord {
		if !gateway.IsValid() {
			return "", netip.Addr{}, fmt.Errorf("this container has no gateway")
		}
		return host, gateway, nil
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("%q is no IP address", text)
	}
	return host, ip, nil
}

// isHostname reports whether s can stand in a line of hosts(5) as one name.
func isHostname(s string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == '#' || r == 0x7f || r > 0x7e }
	return s != "" && strings.IndexFunc(s, bad) < 0
}
