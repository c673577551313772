// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Port is a port of the host that leads to one of a container's.
type Port struct {
	// Host is the address of the host's; unspecified: each of its family; zero: each of both.
	Host      netip.Addr `json:"host,omitzero"`
	HostPort  uint16     `json:"host_port"`
	Container uint16     `json:"container"`
	Proto     string     `json:"proto"` // tcp, udp, sctp
}

// A PortWish is what -p says of one of the container's ports: the host's port is
// one of a range, the first that is free; any, if the range is empty.
type PortWish struct {
	Host      netip.Addr
	Low, High uint16
	Container uint16
	Proto     string
}

// fixed reports whether only one port of the host will do.
func (w PortWish) fixed() bool { return w.Low != 0 && w.Low == w.High }

// protocols are those with ports, with their numbers.
var protocols = [...]struct {
	name   string
	number uint8
}{{"tcp", 6}, {"udp", 17}, {"sctp", 132}}

func protocol(name string) (uint8, bool) {
	for _, p := range protocols {
		if p.name == name {
			return p.number, true
		}
	}
	return 0, false
}

// ParsePorts reads what -p is given: [[ip:]host[-range]:]container[-range][/protocol].
func ParsePorts(text string) ([]PortWish, error) {
	list, err := parsePorts(text)
	if err != nil {
		return nil, fmt.Errorf("read --publish %q: %w", text, err)
	}
	return list, nil
}

func parsePorts(text string) ([]PortWish, error) {
	rest, proto, own, err := containerPorts(text)
	if err != nil {
		return nil, err
	}
	var host netip.Addr
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		ip := strings.TrimSuffix(strings.TrimPrefix(rest[:i], "["), "]")
		if host, err = netip.ParseAddr(ip); err != nil || host.Zone() != "" {
			return nil, fmt.Errorf("%q is no address of the host", rest[:i])
		}
		rest = rest[i+1:]
	}
	var ours []uint16
	if rest != "" {
		if ours, err = portRange(rest); err != nil {
			return nil, err
		}
	}
	if len(ours) > 1 && len(own) > 1 && len(ours) != len(own) {
		return nil, fmt.Errorf("%d ports of the host for %d of the container", len(ours), len(own))
	}
	if len(ours) == 1 && len(own) > 1 {
		return nil, fmt.Errorf("one port of the host for %d of the container", len(own))
	}
	var list []PortWish
	for i, p := range own {
		w := PortWish{Host: host, Container: p, Proto: proto}
		switch {
		case len(ours) == 0:
		case len(own) == 1:
			w.Low, w.High = ours[0], ours[len(ours)-1]
		default:
			w.Low, w.High = ours[i], ours[i]
		}
		list = append(list, w)
	}
	return list, nil
}

// containerPorts reads the end of the text, and returns what is before it.
func containerPorts(text string) (rest, proto string, own []uint16, err error) {
	rest, proto, ok := strings.Cut(text, "/")
	if !ok {
		proto = "tcp"
	}
	proto = strings.ToLower(proto)
	if _, ok := protocol(proto); !ok {
		return "", "", nil, fmt.Errorf("%q is no protocol with ports: want tcp, udp or sctp", proto)
	}
	last := rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		rest, last = rest[:i], rest[i+1:]
	} else {
		rest = ""
	}
	own, err = portRange(last)
	return rest, proto, own, err
}

// portRange reads 80 or 8000-8010.
func portRange(text string) ([]uint16, error) {
	from, to, many := strings.Cut(text, "-")
	if !many {
		to = from
	}
	low, err1 := strconv.ParseUint(from, 10, 16)
	high, err2 := strconv.ParseUint(to, 10, 16)
	if errors.Join(err1, err2) != nil || low == 0 || high < low {
		return nil, fmt.Errorf("%q is no port, nor a range of ports: want 1 to 65535", text)
	}
	var list []uint16
	for p := low; p <= high; p++ {
		list = append(list, uint16(p))
	}
	return list, nil
}

// ParseExposed reads what --expose and an image name, port[-range][/protocol], to ports of the
// form "80/tcp".
func ParseExposed(texts []string) ([]string, error) {
	var list []string
	for _, text := range texts {
		rest, proto, own, err := containerPorts(text)
		if err == nil && rest != "" {
			err = errors.New("want a port of the container, and none of the host")
		}
		if err != nil {
			return nil, fmt.Errorf("read --expose %q: %w", text, err)
		}
		for _, p := range own {
			if port := fmt.Sprintf("%d/%s", p, proto); !slices.Contains(list, port) {
				list = append(list, port)
			}
		}
	}
	return list, nil
}

// chooseHere finds ports in the network namespace that we are in: for who
// listens on them, or only holds them.
func chooseHere(stateDir string, wishes []PortWish, ipv6, listen bool) ([]Port, error) {
	var held sockets
	defer held.close() // until all are chosen: no port is chosen twice
	var list []Port
	for _, w := range wishes {
		p, err := w.choose(&held, ipv6, listen)
		var taken *PortError
		if errors.As(err, &taken) {
			taken.Owner = owner(stateDir, taken.Port)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (w PortWish) choose(held *sockets, ipv6, listen bool) (p Port, err error) {
	p = Port{Host: w.Host, HostPort: w.Low, Container: w.Container, Proto: w.Proto}
	if w.Low == 0 {
		const tries = 20 // what is free for IPv4 may be taken for IPv6
		for range tries {
			p.HostPort = 0
			if p.HostPort, err = held.bind(p, ipv6, listen); err == nil {
				return p, nil
			}
		}
		return p, err
	}
	for port := int(w.Low); port <= int(w.High); port++ {
		p.HostPort = uint16(port)
		if _, err = held.bind(p, ipv6, listen); err == nil {
			return p, nil
		}
	}
	return p, err
}
