// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list,
// by its verb; nil for a verb that is not this package's.
func Actions(verb string) plan.Host {
	switch verb {
	case "release":
		return new(Release)
	case "unpublish":
		return new(Unpublish)
	case "unreserve":
		return new(Unreserve)
	case "retract":
		return new(Retract)
	}
	return nil
}

// Lease takes addresses of the network for a container, and with them a share
// in the network. It fails with [ErrTaken] if another container was faster.
//
// As long as the network is up, that is one call for each address, and nobody
// waits for anybody. Who finds it down takes the network's lock: it may be on
// its way down.
type Lease struct {
	Network   Network      `json:"network"`
	Addresses []netip.Addr `json:"addresses"`
	ID        string       `json:"id"`   // the container's
	Link      string       `json:"link"` // the host's end of its cable, if it has one
	// Again: the addresses were chosen among others. If one is taken, choose anew.
	Again bool `json:"again,omitempty"`
}

func (a *Lease) Verb() string { return "lease" }
func (a *Lease) Line() string {
	return fmt.Sprintf("lease %s in %s", addressList(a.Addresses), a.Network.leases())
}

func addressList(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " and ")
}

func (a *Lease) Undo() plan.Host {
	return &Release{Network: a.Network, Addresses: a.Addresses, ID: a.ID, Link: a.Link}
}

func (a *Lease) Shell(s *plan.Script) {
	n := a.Network
	s.Run("mkdir -p %s", plan.Quote(n.leases(), n.names(), n.ports()))
	if n.IsDefault() {
		if data, err := n.value(); err == nil {
			s.Run("[ -e %[1]s ] || printf %%s %[2]s >%[1]s", plan.Quote(n.record()), plan.Quote(string(data)))
		}
	}
	for _, addr := range a.Addresses {
		s.Run("ln -sT %s %s", plan.Quote(a.ID), plan.Quote(n.lease(addr)))
	}
	a.Undo().Shell(s.Undoing())
}

func (a *Lease) Do(*plan.Env) error {
	n := a.Network
	if err := n.isRecorded(); err == nil {
		if err := a.take(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unlock, err := lock(n.Dir, n.IsDefault())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network %q: it has been removed", n.Name)
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.reopen(); err != nil {
		return err
	}
	err = n.isRecorded()
	if errors.Is(err, fs.ErrNotExist) && n.IsDefault() {
		var data []byte
		if data, err = n.value(); err == nil {
			err = replace(n.record(), data)
		}
	}
	if err != nil {
		return err
	}
	if err := n.open(); err != nil {
		return err
	}
	return a.take()
}

// open makes the folders that are there while the network is up. Whoever puts the machine's
// forwarding back has looked whether there are leases before, or does so afterwards.
func (n Network) open() error {
	unlock, err := lock(n.all(), false)
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range []string{n.names(), n.ports(), n.leases()} {
		if err := unix.Mkdir(dir, 0o755); err != nil && err != unix.EEXIST {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
	return nil
}

// isRecorded refuses a network that is another now than when it was planned with.
func (n Network) isRecorded() error {
	recorded, err := readNetwork(n.Dir)
	switch {
	case err != nil:
		return err
	case recorded == nil:
		return &fs.PathError{Op: "open", Path: n.record(), Err: fs.ErrNotExist}
	case !recorded.same(n):
		return fmt.Errorf("network %q: %w", n.Name, ErrTaken)
	}
	return nil
}

// take makes the links that are the leases, all or none.
func (a *Lease) take() error {
	for i, addr := range a.Addresses {
		err := os.Symlink(a.ID, a.Network.lease(addr))
		if err == nil {
			continue
		}
		for _, had := range a.Addresses[:i] {
			err = errors.Join(err, os.Remove(a.Network.lease(had)))
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if a.Again {
			return fmt.Errorf("address %s: %w", addr, ErrTaken)
		}
		return a.Network.takenBy(addr)
	}
	return nil
}

// takenBy is the error for an address that was asked for.
func (n Network) takenBy(a netip.Addr) error {
	id, _ := os.Readlink(n.lease(a))
	return fmt.Errorf("use address %s in network %q: container %s has it", a, n.Name, short(id))
}

// reopen goes on after a crash on the way down.
//
// Precondition: the lock is held.
func (n Network) reopen() error {
	if err := os.Rename(n.closing(), n.leases()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Release deletes the container's link and gives its leases back. If no other is left, it takes down all that the
// network consists of in the kernel, and if no other network is up, it puts back
// the machine's forwarding. A lease that is not there, or is another container's,
// is left alone; what is missing already is no error.
type Release struct {
	Network   Network      `json:"network"`
	Addresses []netip.Addr `json:"addresses"`
	ID        string       `json:"id"`
	Link      string       `json:"link,omitempty"` // the host's end of the container's cable
}

func (a *Release) Verb() string    { return "release" }
func (a *Release) Undo() plan.Host { return nil }
func (a *Release) Line() string {
	text := fmt.Sprintf("release %s in %s", addressList(a.Addresses), a.Network.leases())
	if a.Link != "" {
		text = fmt.Sprintf("delete link %s, %s", a.Link, text)
	}
	if a.Network.Bridge != "" {
		text += fmt.Sprintf(", and %s if that was the last", a.Network.Bridge)
	}
	return text
}

const releaseScript = `(
flock 9
for a in %[1]s; do [ "$(readlink "$a")" != %[2]s ] || rm "$a"; done
if rmdir %[3]s 2>/dev/null; then
  %[4]s
  rm -rf %[5]s %[6]s
  %[7]s
fi
) 9<%[8]s`

// forwardScript puts one family's forwarding back, and what it has changed.
const forwardScript = `[ -n "$(find %[1]s -name leases)" ] || [ ! -L %[2]s ] || {
  [ "$(readlink %[2]s)" != "0 $(cat %[3]s)" ] || [ -n "$(ip link show type bridge)" ] || {
    echo 0 >%[4]s
    while IFS=: read -r f v; do
      case $f in */accept_ra) [ "$(cat "$f" 2>/dev/null)" = 2 ] || continue ;; esac
      [ ! -e "$f" ] || echo "$v" >"$f"
    done <%[5]s
  }
  rm %[2]s %[5]s
}`

func (a *Release) Shell(s *plan.Script) {
	n := a.Network
	q := func(s string) string { return plan.Quote(s) }
	var leases []string
	for _, addr := range a.Addresses {
		leases = append(leases, n.lease(addr))
	}
	if a.Link != "" {
		s.Run("ip link del %s 2>/dev/null", a.Link)
	}
	down, record := ":", ":"
	if n.Bridge != "" {
		down = fmt.Sprintf("nft delete table inet %s; ip link del %s", n.Bridge, n.Bridge)
	}
	if n.IsDefault() {
		record = fmt.Sprintf("rm %s; rmdir %s", q(n.record()), q(n.Dir))
	}
	s.Run(releaseScript, plan.Quote(leases...), q(a.ID), q(n.leases()), down, q(n.names()), q(n.ports()), record, q(n.Dir))
	for _, f := range forwardings {
		s.Run(forwardScript, q(n.all()), q(n.forward(f.record)), bootID, f.path, q(before(n.forward(f.record))))
	}
	s.Run("rmdir %s 2>/dev/null || :", q(n.all()))
}

// Do deletes the cable first: the address must not be leased again before it is
// gone. The kernel takes tens of milliseconds for a link, waiting for all who may
// still look at it. So nobody waits for us meanwhile, unless we are the last:
// then cable, bridge and table are waited for at once.
func (a *Release) Do(*plan.Env) error {
	n := a.Network
	if n.onlyOf(n.leases(), a.ID) {
		if done, err := a.last(); done || err != nil {
			return err
		}
	}
	if err := delLink(a.Link); err != nil {
		return err
	}
	if err := a.giveBack(n.leases()); err != nil {
		return err
	}
	if exists(n.leases()) && !n.onlyOf(n.leases(), a.ID) {
		return nil
	}
	// The last of the others has left at this moment, or we look at what a
	// crash has left.
	_, err := a.last()
	return err
}

// giveBack removes the leases that are the container's.
func (a *Release) giveBack(dir string) error {
	for _, addr := range a.Addresses {
		path := filepath.Join(dir, addr.String())
		if id, err := os.Readlink(path); err == nil && id == a.ID {
			if err := remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// onlyOf reports whether all leases in a folder, which may be none, are one
// container's. It looks at a few: with one that is another's, the answer is known.
func (n Network) onlyOf(dir, id string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	names, _ := f.Readdirnames(3) // of at most two addresses of ours
	for _, name := range names {
		if to, err := os.Readlink(filepath.Join(dir, name)); err == nil && to != id {
			return false
		}
	}
	return len(names) < 3
}

// last takes the network down, unless there is a lease of another container.
// With the folder of leases out of the way, whoever wants one waits for the lock.
func (a *Release) last() (done bool, err error) {
	n := a.Network
	unlock, err := lock(n.Dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return true, errors.Join(delLink(a.Link), n.restoreForward())
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := n.reopen(); err != nil {
		return false, err
	}
	if err := os.Rename(n.leases(), n.closing()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if !n.onlyOf(n.closing(), a.ID) {
		return false, n.reopen()
	}
	if err := a.takeDown(); err != nil {
		return false, err
	}
	return true, n.restoreForward()
}

// takeDown removes the network from the kernel, and then from the disk: the
// record goes last, for whoever comes after a crash to go on with.
//
// Precondition: the lock is held, and there is no other lease.
func (a *Release) takeDown() error {
	n := a.Network
	recorded, err := readNetwork(n.Dir)
	if err != nil {
		return err
	}
	waits := []func() error{func() error { return delLink(a.Link) }}
	if recorded != nil && recorded.Bridge != "" {
		waits = append(waits, func() error { return delTable(recorded.Bridge) }, func() error { return recorded.delBridge() })
	}
	if err := together(waits); err != nil {
		return err
	}
	for _, dir := range []string{n.closing(), n.names(), n.ports()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if !n.IsDefault() {
		return nil // it stays defined
	}
	if err := remove(n.record()); err != nil {
		return err
	}
	_, err = rmdir(n.Dir)
	return err
}

// together calls all at once, and waits for them.
func together(calls []func() error) error {
	done := make(chan error)
	for _, f := range calls {
		go func() { done <- f() }()
	}
	var errs []error
	for range calls {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}
