// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Create decides what a new network is, and records it. The error is
// fs.ErrExist if there is one of this name. What may keep its packets from passing is
// returned as warnings.
func Create(stateDir string, d Definition, seed [5]byte, now time.Time) (n Network, warnings []string, err error) {
	all := filepath.Join(stateDir, "network")
	if err := os.MkdirAll(stateDir, 0o711); err != nil {
		return n, nil, err
	}
	unlock, err := lock(all, true) // two at once must not choose the same subnet
	if err != nil {
		return n, nil, err
	}
	defer unlock()
	defer func() {
		if err != nil {
			_, _ = rmdir(all)
		}
	}()
	m, err := ReadMachine(stateDir)
	if err != nil {
		return n, nil, err
	}
	if n, err = m.Define(all, d, seed); err != nil {
		return n, nil, err
	}
	n.Created = now
	recorded, err := readNetwork(n.Dir)
	if err != nil {
		return n, nil, err
	}
	if recorded != nil {
		return *recorded, nil, &fs.PathError{Op: "create", Path: n.Dir, Err: fs.ErrExist}
	}
	data, err := n.value()
	if err != nil {
		return n, nil, err
	}
	if err := unix.Mkdir(n.Dir, 0o755); err != nil && err != unix.EEXIST {
		return n, nil, &fs.PathError{Op: "mkdir", Path: n.Dir, Err: err}
	}
	if err := replace(n.record(), data); err != nil {
		return n, nil, err
	}
	for _, f := range n.Filters(m.Rules) {
		warnings = append(warnings, f.Warning(n))
	}
	return n, warnings, nil
}

// Remove removes a network's record. It is refused while containers have leases.
func Remove(stateDir, name string) error {
	n, err := Lookup(stateDir, name)
	if err != nil {
		return err
	}
	unlock, err := lock(n.Dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	members, err := n.Members()
	if err != nil {
		return err
	}
	if len(members) > 0 {
		used := &UsedError{Name: name}
		for _, m := range members {
			used.IDs = append(used.IDs, short(m.ID))
		}
		return used
	}
	for _, dir := range []string{n.closing(), n.leases(), n.names(), n.ports()} { // of a crash
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := remove(n.record()); err != nil {
		return err
	}
	if err := os.RemoveAll(n.Dir); err != nil {
		return err
	}
	return n.rmAll()
}

// Further plans one more network for a container that has some.
func (a Attachments) Further(r Request) (Attachment, error) {
	w := r.Wishes[0]
	if w.Interface == "" {
		for i := 0; ; i++ {
			w.Interface = fmt.Sprintf("eth%d", i)
			if !slices.ContainsFunc(a.Endpoints, func(e Endpoint) bool { return e.Interface == w.Interface }) {
				break
			}
		}
	}
	r.Wishes = []Wish{w}
	f, err := Read(r)
	if err != nil {
		return Attachment{}, err
	}
	r.taken = a.Endpoints
	at, err := f.Plan(r)
	if err != nil {
		return at, err
	}
	all := a
	all.Endpoints = append(slices.Clone(a.Endpoints), at.Endpoints...)
	at.Attachments = all
	ports, err := at.movePorts(r.StateDir)
	at.After = append(at.After, ports...)
	return at, err
}

// movePorts has the container's ports lead to the first network that can have them, if there is none that does. The steps do it.
func (a Attachments) movePorts(stateDir string) ([]plan.Step, error) {
	if len(a.Ports) == 0 || a.publisher() != nil {
		return nil, nil
	}
	for i := range a.Endpoints {
		e := &a.Endpoints[i]
		n, err := Lookup(stateDir, e.Network)
		if err != nil {
			return nil, err
		}
		if !n.publishes() {
			continue
		}
		e.Publishes = true
		return []plan.Step{{Action: &Publish{Network: n.bare(), Link: e.Link, Publication: a.publication(*e)},
			Why: "who asks the host on these ports is sent on to the container by this network now"}}, nil
	}
	return nil, nil
}

// publication are the container's ports at one of its places.
func (a Attachments) publication(e Endpoint) Publication {
	p := Publication{ID: a.ID, Name: a.Name, Address: e.Address.Addr(), Ports: a.Ports}
	if e.Address6.IsValid() {
		p.Address6 = e.Address6.Addr()
	}
	return p
}

// Without is what is left of a container's networks without one of them, the steps that have its ports
// lead to another one of them, and the actions that take the container off it then.
func (a Attachments) Without(stateDir, name string) (rest Attachments, ports []plan.Step, actions []plan.Host, err error) {
	e := a.Endpoint(name)
	if e == nil {
		return a, nil, nil, errors.New("it is not on it")
	}
	n, err := Lookup(stateDir, name)
	if err != nil {
		return a, nil, nil, err
	}
	gone := *e
	n = n.bare()
	rest = a
	rest.Endpoints = slices.DeleteFunc(slices.Clone(a.Endpoints), func(e Endpoint) bool { return e.Network == name })
	if !gone.Address.IsValid() {
		return rest, nil, nil, nil
	}
	actions = []plan.Host{&Retract{Network: n, ID: a.ID}}
	release := &Release{Network: n, Addresses: []netip.Addr{gone.Address.Addr()}, ID: a.ID, Link: gone.Link}
	if gone.Address6.IsValid() {
		release.Addresses = append(release.Addresses, gone.Address6.Addr())
	}
	if gone.Publishes {
		actions = append(actions, &Unpublish{Network: n, Publication: a.publication(gone)})
		if ports, err = rest.movePorts(stateDir); err != nil {
			return a, nil, nil, err
		}
	}
	if gone.Driver != DriverBridge {
		actions = append(actions, &Unplug{Link: gone.Interface})
	}
	actions = append(actions, release)
	way, err := rest.anotherWay(stateDir, gone)
	if way != nil {
		actions = append(actions, way)
	}
	return rest, ports, actions, err
}

// anotherWay finds a way out when the one that a container had has gone; nil if
// there is none.
func (a Attachments) anotherWay(stateDir string, gone Endpoint) (plan.Host, error) {
	if !gone.Gateway.IsValid() && !gone.Gateway6.IsValid() {
		return nil, nil
	}
	for i := range a.Endpoints {
		e := &a.Endpoints[i]
		n, err := Lookup(stateDir, e.Network)
		if err != nil {
			return nil, err
		}
		way := &Way{Link: e.Interface}
		if n.Internal || !e.Address.IsValid() {
			continue
		}
		if gone.Gateway.IsValid() && !e.Gateway.IsValid() && n.Gateway.IsValid() {
			way.Gateway, e.Gateway = n.Gateway, n.Gateway
		}
		if gone.Gateway6.IsValid() && e.Address6.IsValid() && !e.Gateway6.IsValid() && n.Gateway6.IsValid() {
			way.Gateway6, e.Gateway6 = n.Gateway6, n.Gateway6
		}
		if way.Gateway.IsValid() || way.Gateway6.IsValid() {
			return way, nil
		}
	}
	return nil, nil
}
