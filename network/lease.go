// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list,
// by its verb; nil for a verb that is not this package's.
func Actions(verb string) plan.Host {
	if verb == "release" {
		return new(Release)
	}
	return nil
}

// Lease takes an address of the network for a container, and with it a share
// in the network. It fails with [ErrTaken] if another container was faster.
type Lease struct {
	Network Network    `json:"network"`
	Address netip.Addr `json:"address"`
	ID      string     `json:"id"` // the container's
}

func (a *Lease) Verb() string { return "lease" }
func (a *Lease) Line() string {
	return fmt.Sprintf("lease %s in %s", a.Address, a.Network.leases())
}

func (a *Lease) Undo() plan.Host {
	return &Release{Network: a.Network, Address: a.Address, ID: a.ID, Link: linkName(a.ID)}
}

func (a *Lease) Shell(s *plan.Script) {
	n := a.Network
	s.Run("mkdir -p %s", plan.Quote(n.leases()))
	s.Run("[ -L %[1]s ] || ln -sT %[2]s %[1]s", plan.Quote(n.record()), plan.Quote(n.value()))
	s.Run("ln -sT %s %s", plan.Quote(a.ID), plan.Quote(n.lease(a.Address)))
	a.Undo().Shell(s.Undoing())
}

func (a *Lease) Do(*plan.Env) error {
	n := a.Network
	unlock, err := lock(n.all(), true)
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range []string{n.Dir, n.leases()} {
		if err := unix.Mkdir(dir, 0o755); err != nil && err != unix.EEXIST {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
	if err := os.Symlink(n.value(), n.record()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	value, err := os.Readlink(n.record())
	if err != nil {
		return err
	}
	if value != n.value() {
		return fmt.Errorf("network %q: %w", value, ErrTaken)
	}
	err = os.Symlink(a.ID, n.lease(a.Address))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("address %s: %w", a.Address, ErrTaken)
	}
	return err
}

// Release deletes the container's link and gives its lease back. If no other is left, it takes down all that the
// network consists of, and if no other network is left, it puts back the
// machine's ip_forward. A lease that is not there, or is another container's,
// is left alone; what is missing already is no error.
type Release struct {
	Network Network    `json:"network"`
	Address netip.Addr `json:"address"`
	ID      string     `json:"id"`
	Link    string     `json:"link"` // the host's end of the container's cable
}

func (a *Release) Verb() string    { return "release" }
func (a *Release) Undo() plan.Host { return nil }
func (a *Release) Line() string {
	return fmt.Sprintf("delete link %s, release %s in %s, and %s if that was the last", a.Link, a.Address, a.Network.leases(), a.Network.Bridge)
}

const releaseScript = `ip link del %[11]s 2>/dev/null
(
flock 9
[ "$(readlink %[1]s)" != %[2]s ] || rm %[1]s
if rmdir %[3]s 2>/dev/null; then
  nft delete table inet %[4]s
  ip link del %[4]s
  rm %[5]s
  rmdir %[6]s
fi
[ -n "$(find %[7]s -mindepth 1 -type d)" ] || {
  if [ -L %[8]s ]; then
    [ "$(readlink %[8]s)" != "0 $(cat %[9]s)" ] || [ -n "$(ip link show type bridge)" ] || echo 0 >%[10]s
    rm %[8]s
  fi
  rmdir %[7]s
}
) 9<%[7]s`

func (a *Release) Shell(s *plan.Script) {
	n := a.Network
	q := func(s string) string { return plan.Quote(s) }
	s.Run(releaseScript, q(n.lease(a.Address)), q(a.ID), q(n.leases()), n.Bridge, q(n.record()), q(n.Dir), q(n.all()), q(n.forward()), bootID, ipForward, a.Link)
}

func (a *Release) Do(*plan.Env) (err error) {
	n := a.Network
	unlock, err := lock(n.all(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return delLink(a.Link) // nobody has a lease, and the last one has cleaned up
	}
	if err != nil {
		return err
	}
	defer unlock()
	// The kernel takes tens of milliseconds for a link, waiting for all who may
	// still look at it. Bridge, table and cable are waited for at once. The lock
	// keeps the address from being leased again before the cable is gone.
	link := make(chan error, 1)
	go func() { link <- delLink(a.Link) }()
	defer func() { err = errors.Join(err, <-link) }()
	if id, err := os.Readlink(n.lease(a.Address)); err == nil && id == a.ID {
		if err := os.Remove(n.lease(a.Address)); err != nil {
			return err
		}
	}
	last, err := rmdir(n.leases())
	if err != nil || !last {
		return err
	}
	if err := n.takeDown(); err != nil {
		return err
	}
	return restoreForward(n)
}

// takeDown removes the network from the kernel, and then from the disk: the
// record goes last, for whoever comes after a crash to go on with.
//
// Precondition: the lock is held, and there is no lease.
func (n Network) takeDown() error {
	recorded, err := readNetwork(n.Dir)
	if err != nil {
		return err
	}
	if recorded != nil {
		table := make(chan error)
		go func() { table <- delTable(recorded.Bridge) }()
		err := delLink(recorded.Bridge)
		if err := errors.Join(err, <-table); err != nil {
			return err
		}
		if err := os.Remove(n.record()); err != nil {
			return err
		}
	}
	_, err = rmdir(n.Dir)
	return err
}

// rmdir removes a folder, and reports whether it is gone; it is not, without an
// error, if something is in it.
func rmdir(dir string) (gone bool, err error) {
	switch err := unix.Rmdir(dir); err {
	case nil, unix.ENOENT:
		return true, nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return false, nil
	default:
		return false, &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
}
