// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/nftables"
)

// up reports whether the network has links and rules: it has containers.
func (n Network) up() bool { return n.Driver == DriverBridge && exists(n.leases()) }

// forwards are the steps that make the machine a router for the network.
func (n Network) forwards() (list []*Forward) {
	if n.Internal {
		return nil
	}
	list = append(list, &Forward{Network: n})
	if n.Subnet6.IsValid() {
		list = append(list, &Forward{Network: n, IPv6: true})
	}
	return list
}

// Fault says what somebody has done to the rules of a network that is up: a firewall that starts anew often flushes
// all that there are. It is "" if all is as it was made, or the network is down.
func (n Network) Fault() (string, error) {
	if !n.up() {
		return "", nil
	}
	for _, f := range n.forwards() {
		_, path, _ := f.which()
		if off, err := isOff(path); err != nil || off {
			return path + " is 0", err
		}
	}
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return "", fmt.Errorf("open nftables: %w", missingTables(err))
	}
	defer c.CloseLasting()
	t, err := c.ListTableOfFamily(n.Bridge, nftables.TableFamilyINet)
	if err != nil {
		return fmt.Sprintf("table inet %s is not there", n.Bridge), nil
	}
	for _, ch := range n.chains() {
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: ch.name})
		if err != nil || len(rules) != len(ch.rules) {
			return fmt.Sprintf("chain %s of table inet %s has %d rules of %d", ch.name, n.Bridge, len(rules), len(ch.rules)), nil
		}
	}
	return "", nil
}

// Reload makes the network's table anew, with all published ports, and has the machine forward packets again; all at once, so that
// connections don't notice. It reports whether the network is up: else there is nothing to do.
func (n Network) Reload() (bool, error) {
	if !n.up() {
		return false, nil
	}
	unlock, err := lock(n.Dir, false) // so that it doesn't go down meanwhile
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	if !n.up() {
		return false, nil
	}
	for _, f := range n.forwards() {
		if err := f.Do(nil); err != nil {
			return true, err
		}
	}
	files, err := filepath.Glob(filepath.Join(n.ports(), "*"))
	if err != nil {
		return true, err
	}
	for _, file := range files {
		p, err := readPublication(file)
		if err == nil && p.loopback() {
			err = sysctl(routeLocalnet(n.Bridge), "1")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return true, fmt.Errorf("open nftables: %w", missingTables(err))
	}
	defer c.CloseLasting()
	t := c.AddTable(&nftables.Table{Name: n.Bridge, Family: nftables.TableFamilyINet}) // it may be there or not
	c.DelTable(t)
	return true, (&Firewall{Network: n}).make(c)
}
