// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An address is an IPv4 address (four bytes), an IPv6 one (sixteen), or none.
type address string

// parseAddress reads an address as people write it; "" if it is none.
func parseAddress(s string) address {
	if strings.Contains(s, ":") {
		return parse6(s)
	}
	return parse4(s)
}

func parse4(s string) address {
	var b [4]byte
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return ""
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || len(p) > 1 && p[0] == '0' {
			return ""
		}
		b[i] = byte(n)
	}
	return address(b[:])
}

// parse6 reads RFC 4291, section 2.2.
func parse6(s string) address {
	head, tail, short := strings.Cut(s, "::")
	h, ok := groups(head)
	t, ok2 := groups(tail)
	if !ok || !ok2 || short && strings.Contains(head, ".") || short && len(h)+len(t) > 14 || !short && len(h) != 16 {
		return ""
	}
	var b [16]byte
	copy(b[:], h)
	copy(b[16-len(t):], t)
	return address(b[:])
}

// groups reads what stands on one side of the two colons.
func groups(s string) (b []byte, ok bool) {
	if s == "" {
		return nil, true
	}
	parts := strings.Split(s, ":")
	for i, p := range parts {
		if i == len(parts)-1 && strings.Contains(p, ".") {
			four := parse4(p)
			return append(b, four...), four != ""
		}
		n, err := strconv.ParseUint(p, 16, 16)
		if err != nil || len(p) > 4 {
			return nil, false
		}
		b = append(b, byte(n>>8), byte(n))
	}
	return b, true
}

// reverse is the address that a name below in-addr.arpa or ip6.arpa stands for.
func reverse(name string) address {
	if s, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		p := strings.Split(s, ".")
		if len(p) != 4 {
			return ""
		}
		return parse4(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
	}
	s, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(s) != 63 {
		return ""
	}
	var b [16]byte
	for i := range 32 {
		n, err := strconv.ParseUint(s[2*i:2*i+1], 16, 4)
		if err != nil || i < 31 && s[2*i+1] != '.' {
			return ""
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return address(b[:])
}

// port is DNS's.
const port = 53

// sockaddr is where a name server is found; nil if the text is no address. What
// stands behind a % is the link, of which only an IPv6 address has need.
func sockaddr(s string) unix.Sockaddr {
	s, zone, _ := strings.Cut(s, "%")
	a := parseAddress(s)
	switch len(a) {
	case 4:
		return &unix.SockaddrInet4{Port: port, Addr: [4]byte([]byte(a))}
	case 16:
		return &unix.SockaddrInet6{Port: port, Addr: [16]byte([]byte(a)), ZoneId: linkIndex(zone)}
	}
	return nil
}

// linkIndex is the number of a link of our network namespace; 0 if there is none of the name.
func linkIndex(name string) uint32 {
	if name == "" {
		return 0
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n)
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r) != nil {
		return 0
	}
	return r.Uint32()
}
