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

	"github.com/google/nftables"
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
	for _, f := range m.Filters {
		if f.concerns(n) {
			warnings = append(warnings, f.Warning(n))
		}
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

// Reload makes the network's table, with all published ports, if the network is
// up and the table isn't there. It reports whether it had to.
func (n Network) Reload() (bool, error) {
	if n.Driver != DriverBridge || !exists(n.leases()) {
		return false, nil
	}
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", missingTables(err))
	}
	defer c.CloseLasting()
	if _, err := c.ListTableOfFamily(n.Bridge, nftables.TableFamilyINet); err == nil {
		return false, nil
	}
	f := &Firewall{Network: n}
	return true, f.make(c)
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
	return at, nil
}

// Without is what is left of a container's networks without one of them, and
// the actions that take the container off it.
func (a Attachments) Without(stateDir, name string) (Attachments, []plan.Host, error) {
	e := a.Endpoint(name)
	if e == nil {
		return a, nil, errors.New("it is not on it")
	}
	n, err := Lookup(stateDir, name)
	if err != nil {
		return a, nil, err
	}
	gone := *e
	n = n.bare()
	rest := a
	rest.Endpoints = slices.DeleteFunc(slices.Clone(a.Endpoints), func(e Endpoint) bool { return e.Network == name })
	if !gone.Address.IsValid() {
		return rest, nil, nil
	}
	steps := []plan.Host{&Retract{Network: n, ID: a.ID}}
	release := &Release{Network: n, Addresses: []netip.Addr{gone.Address.Addr()}, ID: a.ID, Link: gone.Link}
	if gone.Address6.IsValid() {
		release.Addresses = append(release.Addresses, gone.Address6.Addr())
	}
	if gone.Publishes {
		pub := Publication{ID: a.ID, Name: a.Name, Address: gone.Address.Addr(), Ports: a.Ports}
		if gone.Address6.IsValid() {
			pub.Address6 = gone.Address6.Addr()
		}
		steps = append(steps, &Unpublish{Network: n, Publication: pub})
		rest.Ports = nil
	}
	if gone.Driver != DriverBridge {
		steps = append(steps, &Unplug{Link: gone.Interface})
	}
	steps = append(steps, release)
	way, err := rest.anotherWay(stateDir, gone)
	if way != nil {
		steps = append(steps, way)
	}
	return rest, steps, err
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
