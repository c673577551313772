// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Port is one of a container's, published or only exposed.
type Port struct {
	IP       string // of the host; empty: not published
	Public   uint16 // the host's
	Private  uint16 // the container's
	Protocol string // "tcp", "udp", "sctp"
}

// Ports is the column PORTS: "0.0.0.0:8080->80/tcp, 443/tcp". Neighbours of
// one address are one range, if they have the same number on both sides.
func Ports(ports []Port) string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Private, b.Private), cmp.Compare(a.IP, b.IP),
			cmp.Compare(a.Public, b.Public), cmp.Compare(a.Protocol, b.Protocol))
	})
	type span struct {
		port Port
		last uint16
	}
	var open []*span // a range for each address and protocol, which may still grow
	var closed, moved []string
	text := func(s *span) string {
		r := strconv.Itoa(int(s.port.Private))
		if s.last != s.port.Private {
			r += "-" + strconv.Itoa(int(s.last))
		}
		if s.port.IP != "" {
			r = join(s.port.IP, r) + "->" + r
		}
		return r + "/" + s.port.Protocol
	}
	for _, p := range ports {
		if p.IP != "" && p.Public != p.Private {
			moved = append(moved, fmt.Sprintf("%s->%d/%s", join(p.IP, strconv.Itoa(int(p.Public))), p.Private, p.Protocol))
			continue
		}
		i := slices.IndexFunc(open, func(s *span) bool { return s.port.IP == p.IP && s.port.Protocol == p.Protocol })
		switch {
		case i < 0:
			open = append(open, &span{p, p.Private})
		case p.Private == open[i].last+1:
			open[i].last = p.Private
		default:
			closed = append(closed, text(open[i]))
			open[i] = &span{p, p.Private}
		}
	}
	for _, s := range open {
		closed = append(closed, text(s))
	}
	return strings.Join(append(closed, moved...), ", ")
}

func join(ip, port string) string {
	if a, err := netip.ParseAddr(ip); err == nil && a.Is6() {
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}

// A portRange is what the filters publish and expose say: "80", "53/udp", "8000-8080/tcp".
type portRange struct {
	first, last uint64
	protocol    string
}

func parsePorts(s string) (r portRange, ok bool) {
	text, protocol, named := strings.Cut(s, "/")
	if r.protocol = protocol; !named {
		r.protocol = "tcp"
	}
	first, last, span := strings.Cut(text, "-")
	if !span {
		last = first
	}
	var err1, err2 error
	r.first, err1 = strconv.ParseUint(first, 10, 16)
	r.last, err2 = strconv.ParseUint(last, 10, 16)
	return r, err1 == nil && err2 == nil && r.first <= r.last && slices.Contains([]string{"tcp", "udp", "sctp"}, r.protocol)
}

// within says whether a port is in one of those that a filter names.
func within(port uint16, protocol, filter string) bool {
	r, ok := parsePorts(filter)
	return ok && r.protocol == protocol && r.first <= uint64(port) && uint64(port) <= r.last
}
