// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vitro/internal/outside"
	"vitro/network/usernet"
)

// An ordinary user's networks are in a namespace of their own, but ports are
// published on the host. There vitro-net has them: it binds, listens, and
// passes on to the container's address. What follows is said between the two.

// A Taking is a container's ports, for vitro-net to take them.
type Taking struct {
	Wishes   []PortWish `json:"wishes,omitempty"` // to choose from
	Ports    []Port     `json:"ports,omitempty"`
	IPv6     bool       `json:"ipv6,omitempty"`
	Address  netip.Addr `json:"address,omitzero"` // the container's
	Address6 netip.Addr `json:"address6,omitzero"`
}

// A Taken is the answer.
type Taken struct {
	Ports []Port     `json:"ports,omitempty"`
	Port  *Port      `json:"port,omitempty"` // the one that can't be had
	Owner string     `json:"owner,omitempty"`
	Errno unix.Errno `json:"errno,omitempty"`
}

// ask asks vitro-net for ports. dir is the folder of all networks.
func ask(dir, verb, id string, t Taking) ([]Port, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	reply, _, err := usernet.Call(filepath.Dir(dir), usernet.Request{Verb: verb, ID: id, Body: body})
	if err != nil {
		return nil, fmt.Errorf("%s ports of the host: %w", verb, err)
	}
	var got Taken
	if len(reply.Body) > 0 {
		if err := json.Unmarshal(reply.Body, &got); err != nil {
			return nil, err
		}
	}
	if got.Port != nil {
		return nil, &PortError{Port: *got.Port, Owner: got.Owner, Err: got.Errno}
	}
	return got.Ports, nil
}

// Owners are the processes and containers that have ports which are wished, by port
// and protocol, as far as we may know. vitro-net may not: in its user namespace it has no right
// to see into the user's own processes.
func Owners(stateDir string, wishes []PortWish) map[string]string {
	owners := make(map[string]string)
	for _, w := range wishes {
		if !w.fixed() {
			continue
		}
		p := Port{Host: w.Host, HostPort: w.Low, Container: w.Container, Proto: w.Proto}
		var held sockets
		if _, err := held.bind(p, false, false); errors.Is(err, unix.EADDRINUSE) {
			owners[portList([]Port{p})] = owner(filepath.Join(stateDir, "network"), p)
		}
		held.close()
	}
	return owners
}

// Name sets the owner that the error of a port doesn't know.
func Name(err error, owners map[string]string) {
	var port *PortError
	if errors.As(err, &port) && port.Owner == "" {
		port.Owner = owners[portList([]Port{port.Port})]
	}
}

// UsedHere are the ranges of addresses that the machine has to do with, by the
// network namespace that we are in.
func UsedHere() ([]netip.Prefix, error) {
	m := &Machine{NoIPv6: !exists("/proc/sys/net/ipv6")}
	err := list(m.readLinks)
	return m.Used, err
}

func askUsed(stateDir string) (used []netip.Prefix, err error) {
	reply, _, err := usernet.Call(stateDir, usernet.Request{Verb: usernet.Look})
	if err == nil {
		err = json.Unmarshal(reply.Body, &used)
	}
	if err != nil {
		return nil, fmt.Errorf("ask vitro-net for the host's addresses: %w", err)
	}
	return used, nil
}

// TakeAgain has vitro-net take the ports of a container that runs: it is another
// than the one that had them.
func (a Attachments) TakeAgain(stateDir string) error {
	dir := filepath.Join(stateDir, "network")
	for _, e := range a.Endpoints {
		if !e.Publishes || len(a.Ports) == 0 {
			continue
		}
		t := Taking{Ports: a.Ports, IPv6: a.IPv6, Address: e.Address.Addr(), Address6: e.Address6.Addr()}
		if _, err := ask(dir, usernet.Reserve, a.ID, t); err != nil {
			return err
		}
		if _, err := ask(dir, usernet.Publish, a.ID, t); err != nil {
			return err
		}
	}
	return nil
}

// Refused is the answer to an error about a port; false if it is another.
func Refused(err error) (Taken, bool) {
	var port *PortError
	var no unix.Errno
	if !errors.As(err, &port) || !errors.As(port.Err, &no) {
		return Taken{}, false
	}
	return Taken{Port: &port.Port, Owner: port.Owner, Errno: no}, true
}

// ChooseHere finds ports in the network namespace that we are in; dir is the
// folder of all networks.
func ChooseHere(dir string, t Taking) ([]Port, error) { return chooseHere(dir, t.Wishes, t.IPv6, true) }

// A Bound is a socket of the host's for a published port. One of TCP listens
// already: who comes before the container is ready waits.
type Bound struct {
	FD   int
	Port Port
	To   netip.AddrPort // the container's
	ipv6 bool
}

// BindHere takes ports in the network namespace that we are in. Only TCP and UDP are
// passed on by programs.
func BindHere(dir string, t Taking) (list []Bound, err error) {
	defer func() {
		if err != nil {
			for _, b := range list {
				unix.Close(b.FD)
			}
		}
	}()
	for _, p := range t.Ports {
		if p.Proto != "tcp" && p.Proto != "udp" {
			return list, &PortError{Port: p, Err: unix.EPROTONOSUPPORT}
		}
		var held sockets
		if _, err := held.bind(p, t.IPv6, true); err != nil {
			var taken *PortError
			if errors.As(err, &taken) && errors.Is(err, unix.EADDRINUSE) {
				taken.Owner = owner(dir, p)
			}
			return list, err
		}
		for _, fd := range held {
			b := Bound{FD: fd, Port: p}
			if sa, err := unix.Getsockname(fd); err == nil {
				_, b.ipv6 = sa.(*unix.SockaddrInet6)
			}
			b.Aim(t)
			list = append(list, b)
		}
	}
	return list, nil
}

// Aim has what comes go to the container's address of the same family, or to the one
// that there is.
func (b *Bound) Aim(t Taking) {
	to := t.Address
	if t.Address6.IsValid() && (b.ipv6 || !to.IsValid()) {
		to = t.Address6
	}
	b.To = netip.AddrPortFrom(to, b.Port.Container)
}

// choose finds ports of the host for what is wished. What it finds is free now;
// the step "reserve" makes sure of it.
func choose(stateDir string, wishes []PortWish, ipv6 bool) ([]Port, error) {
	if len(wishes) > 0 && outside.Inside() {
		return ask(stateDir, usernet.Choose, "", Taking{Wishes: wishes, IPv6: ipv6})
	}
	return chooseHere(stateDir, wishes, ipv6, false)
}

// unprivileged is the first port that takes no right.
func unprivileged() string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil || len(b) < 2 {
		return "1024"
	}
	return string(b[:len(b)-1])
}
