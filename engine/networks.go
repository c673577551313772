// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/network"
	"vitro/plan"
	"vitro/plan/run"
)

// Modes are what --network may say besides the names of networks; they are
// listed with these, as with Docker.
var modes = [...]network.Network{{Name: "host", Driver: "host"}, {Name: "none", Driver: "null"}}

// CreateNetwork defines a network. Its links and rules are made when its first
// container starts. What stands in its way on this machine is returned to be told.
func (e *Engine) CreateNetwork(d network.Definition) (network.Network, []string, error) {
	if err := e.mayNetwork("create network " + d.Name); err != nil {
		return network.Network{}, nil, err
	}
	var seed [5]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return network.Network{}, nil, err
	}
	if d.Name == network.Default || slices.ContainsFunc(modes[:], func(m network.Network) bool { return m.Name == d.Name }) {
		return network.Network{}, nil, hint(fmt.Errorf("create network %q: it is always there", d.Name), "give another name")
	}
	n, warnings, err := network.Create(e.Dir, d, seed, time.Now())
	if errors.Is(err, os.ErrExist) {
		return n, nil, hint(fmt.Errorf("create network %q: there is one of this name", d.Name), "vitro network inspect %s shows it", d.Name)
	}
	return n, warnings, err
}

// mayNetwork refuses an ordinary user.
func (e *Engine) mayNetwork(what string) error {
	if e.inside || e.root && !inUserNS() {
		return nil
	}
	return hint(fmt.Errorf("%s: a bridge takes root", what), "containers of an ordinary user have --network=host or --network=none")
}

// Networks are all that containers can be joined to, by name.
func (e *Engine) Networks() ([]network.Network, error) {
	list, err := network.List(e.Dir)
	if err != nil {
		return nil, err
	}
	others := modes[:]
	if !slices.ContainsFunc(list, network.Network.IsDefault) {
		others = append(slices.Clone(others), network.Network{Name: network.Default, Driver: network.DriverBridge})
	}
	for _, n := range others {
		n.Dir = filepath.Join(e.Dir, "network", n.Name) // for its ID
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b network.Network) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// networkName is the name of a network that is named by it, by its ID, or as Docker does.
func (e *Engine) networkName(name string) (string, error) {
	if name == network.Default || name == "default" {
		return network.Default, nil // it may be there or not
	}
	n, err := network.Lookup(e.Dir, name)
	return n.Name, err
}

// RemoveNetwork removes a network that has no containers.
func (e *Engine) RemoveNetwork(name string) error {
	if err := e.Sweep(); err != nil {
		return err
	}
	for _, m := range modes {
		if name == m.Name || name == network.Default || name == "default" {
			return hint(fmt.Errorf("remove network %q: it is always there", name), "vitro network ls shows those that were created")
		}
	}
	return network.Remove(e.Dir, name)
}

// PruneNetworks removes the networks that have no containers, of those that also
// says yes to, and returns their names.
func (e *Engine) PruneNetworks(also func(network.Network) bool) (removed []string, err error) {
	if err := e.Sweep(); err != nil {
		return nil, err
	}
	list, err := network.List(e.Dir)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		if n.IsDefault() || !also(n) {
			continue
		}
		err := network.Remove(e.Dir, n.Name)
		var used *network.UsedError
		switch {
		case err == nil:
			removed = append(removed, n.Name)
		case !errors.As(err, &used):
			return removed, err
		}
	}
	return removed, nil
}

// ReloadNetworks makes the rules of all networks that are up anew: somebody has flushed or
// changed them. It returns the names of those networks.
func (e *Engine) ReloadNetworks() ([]string, error) {
	list, err := network.List(e.Dir)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, n := range list {
		made, err := n.Reload()
		if err != nil {
			return done, err
		}
		if made {
			done = append(done, n.Name)
		}
	}
	return done, nil
}

// attached is a running container, to be joined to a network or taken off one.
type attached struct {
	network.Attachments
	folder string
	pid    int
	unlock func()
}

// attach waits until nobody else changes the container's networks.
func attach(c *container.Container) (*attached, error) {
	a := &attached{folder: c.Dir, pid: c.State.Pid}
	lock, err := os.OpenFile(filepath.Join(a.folder, "network.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	a.unlock = func() { lock.Close() }
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	if a.Attachments, err = network.ReadAttachments(a.folder); err != nil {
		lock.Close()
		return nil, err
	}
	if a.ID == "" {
		lock.Close()
		return nil, hint(fmt.Errorf("find networks of container %s: it has none of its own", c.ID[:12]), "a container that was started with --network=none, host or container:ID stays so")
	}
	return a, nil
}

// ConnectNetwork joins a container to a further network: at once, if it runs, and
// at each start from now on.
func (e *Engine) ConnectNetwork(name string, w network.Wish) error {
	err := e.mayNetwork("connect container " + name)
	if err != nil {
		return err
	}
	if w.Network, err = e.networkName(w.Network); err != nil {
		return err
	}
	what := fmt.Sprintf("connect container %q to network %q", name, w.Network)
	there := func(o network.Wish) bool { return o.Network == w.Network }
	return e.rewire(name, func(c *container.Container, list []network.Wish) ([]network.Wish, error) {
		if c.State != nil && c.State.Alive() {
			if err := e.connect(c, what, w); err != nil {
				return nil, err
			}
			return append(slices.DeleteFunc(list, there), w), nil
		}
		if slices.ContainsFunc(list, there) {
			return nil, fmt.Errorf("%s: it is on it already", what)
		}
		if err := network.Check(e.Dir, w); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return append(list, w), nil
	})
}

// rewire has a container be on other networks, now if it is alive, and at each
// start from now on.
func (e *Engine) rewire(name string, change func(c *container.Container, list []network.Wish) ([]network.Wish, error)) error {
	if _, err := e.find(name); err != nil { // which mends it
		return err
	}
	c, err := e.lock(name)
	if err != nil {
		return err
	}
	defer c.Release()
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	list, err := r.Flags.wires()
	if err == nil {
		list, err = change(c, list)
	}
	if err != nil {
		return err
	}
	r.Flags.rewire(list)
	return saveRecord(c, r)
}

// connect joins a running container to a further network.
func (e *Engine) connect(c *container.Container, what string, w network.Wish) error {
	a, err := attach(c)
	if err != nil {
		return err
	}
	defer a.unlock()
	if a.Endpoint(w.Network) != nil {
		return fmt.Errorf("%s: it is on it already", what)
	}
	for try := 0; ; try++ {
		at, err := a.Attachments.Further(network.Request{StateDir: e.Dir, ID: a.ID, Name: a.Name, Wishes: []network.Wish{w}, Again: try > 0})
		if err != nil {
			return err
		}
		err = a.extend(slices.Concat(at.Before, at.After), at.Attachments)
		if errors.Is(err, network.ErrTaken) && try < attempts {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// extend does what joins the container to a network, or its ports, and writes down what it is then.
func (a *attached) extend(steps []plan.Step, now network.Attachments) error {
	pidfd, err := unix.PidfdOpen(a.pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	undo, err := run.OpenUndo(filepath.Join(a.folder, "undo"))
	if err != nil {
		return err
	}
	defer undo.Close()
	p := &plan.Plan{Steps: steps}
	if err := run.Extend(p, a.pid, undo); err != nil {
		return err
	}
	if unix.PidfdSendSignal(pidfd, 0, nil, 0) != nil {
		// What takes the container down may have read the list before.
		return errors.Join(errors.New("the container has ended"), run.TakeBack(p))
	}
	return now.Save(a.folder)
}

// DisconnectNetwork takes a container off a network, as ConnectNetwork joins it.
func (e *Engine) DisconnectNetwork(from, name string) error {
	name, err := e.networkName(name)
	if err != nil {
		return fmt.Errorf("disconnect container %q: %w", from, err)
	}
	what := fmt.Sprintf("disconnect container %q from network %q", from, name)
	return e.rewire(from, func(c *container.Container, list []network.Wish) ([]network.Wish, error) {
		rest := slices.DeleteFunc(slices.Clone(list), func(o network.Wish) bool { return o.Network == name })
		if c.State != nil && c.State.Alive() {
			return rest, e.disconnect(c, what, name)
		}
		if len(rest) == len(list) {
			return nil, fmt.Errorf("%s: it is not on it", what)
		}
		return rest, nil
	})
}

// disconnect takes a running container off a network. Its published ports go on to another one of its
// networks, if there is one that can have them; else they wait for one that it is connected to.
func (e *Engine) disconnect(c *container.Container, what, name string) error {
	a, err := attach(c)
	if err != nil {
		return err
	}
	defer a.unlock()
	rest, ports, steps, err := a.Attachments.Without(e.Dir, name)
	if err == nil {
		err = a.extend(ports, rest)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, s := range steps {
		if err := s.Do(&plan.Env{Pid: a.pid}); err != nil {
			return fmt.Errorf("%s: %w", s.Line(), err)
		}
	}
	return nil
}

// Ports are the lines of `vitro port`: all of a running container's, or those of one of its ports.
func (e *Engine) Ports(container, port string) ([]string, error) {
	c, err := e.find(container)
	if err != nil {
		return nil, err
	}
	var lines []string
	if c.State != nil && c.State.Alive() { // else nothing leads to it
		at, err := network.ReadAttachments(c.Dir)
		if err != nil {
			return nil, err
		}
		lines = at.PortLines(port)
	}
	if port != "" && len(lines) == 0 {
		return nil, fmt.Errorf("find port %s of container %q: it is not published", port, container)
	}
	return lines, nil
}
