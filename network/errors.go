// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTaken is what a lease fails with when the facts it was planned with are
// no longer true: another container has taken the address, or has made the
// network differently. Read the facts and plan again.
var ErrTaken = errors.New("taken by another container")

// ErrFull says that the network has no place for another container.
var ErrFull = errors.New("network is full")

// An UnknownError says that there is no network of this name.
type UnknownError struct {
	Name string
	Have []string // those that there are
}

func (e *UnknownError) Error() string { return fmt.Sprintf("find network %q: there is none", e.Name) }

// Hint is what to do about it.
func (e *UnknownError) Hint() string {
	if len(e.Have) == 0 {
		return "vitro network create " + e.Name
	}
	return fmt.Sprintf("vitro network create %s; there are: %s", e.Name, strings.Join(e.Have, ", "))
}

// A StrangerError says that the machine has a link of the bridge's name which is not
// the network's.
type StrangerError struct {
	Network, Link string
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("make bridge of network %q: there is a link %s of somebody else's", e.Network, e.Link)
}

// Hint is what to do about it.
func (e *StrangerError) Hint() string {
	return fmt.Sprintf("see ip -d link show %s; remove it, or create the network anew, to have it called otherwise", e.Link)
}

// A UsedError says that a network has containers, and can't go.
type UsedError struct {
	Name string
	IDs  []string
}

func (e *UsedError) Error() string {
	return fmt.Sprintf("remove network %q: %d containers are on it", e.Name, len(e.IDs))
}

// Hint is what to do about it.
func (e *UsedError) Hint() string {
	return "end them, or vitro network disconnect " + e.Name + " CONTAINER: " + strings.Join(e.IDs, " ")
}

// A PortError says that a port of the host is taken.
type PortError struct {
	Port  Port
	Owner string // "container web", "process 123 (nginx)"; empty if we may not know
	Err   error
}

func (e *PortError) Error() string {
	where := ""
	if e.Port.Host.IsValid() {
		where = " of " + e.Port.Host.String()
	}
	if errors.Is(e.Err, unix.EADDRINUSE) {
		owner := e.Owner
		if owner == "" {
			owner = "somebody else's process"
		}
		return fmt.Sprintf("publish port %d/%s%s: it is taken by %s", e.Port.HostPort, e.Port.Proto, where, owner)
	}
	return fmt.Sprintf("publish port %d/%s%s: %v", e.Port.HostPort, e.Port.Proto, where, e.Err)
}

// Unwrap is the kernel's answer.
func (e *PortError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *PortError) Hint() string {
	switch {
	case errors.Is(e.Err, unix.EADDRNOTAVAIL):
		return "the host has no such address: ip address shows those that it has"
	case errors.Is(e.Err, unix.EADDRINUSE):
		return fmt.Sprintf("give another port of the host, or none, to have a free one chosen: -p %d", e.Port.Container)
	case errors.Is(e.Err, unix.EACCES):
		return fmt.Sprintf("ports below %s are root's here: give a higher one, or have root say: sysctl net.ipv4.ip_unprivileged_port_start=%d", unprivileged(), e.Port.HostPort)
	case errors.Is(e.Err, unix.EPROTONOSUPPORT):
		return "of an ordinary user's container, ports of tcp and udp can be published"
	}
	return ""
}

// A MissingError says that the kernel lacks what an action needs.
type MissingError struct {
	What    string // "bridges"
	Modules string // the kernel modules that have it, separated by spaces
	Err     error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("this kernel has no %s (%s): %v", e.What, e.Modules, e.Err)
}

// Unwrap is the kernel's answer.
func (e *MissingError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *MissingError) Hint() string {
	return "load them: modprobe -a " + e.Modules + " (in a container: on the machine that it runs on)"
}

// missing makes a MissingError of an error by which the kernel says that it
// doesn't know a kind of object.
func missing(err error, what, modules string) error {
	for _, e := range []unix.Errno{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOENT} {
		if errors.Is(err, e) {
			return &MissingError{What: what, Modules: modules, Err: err}
		}
	}
	return err
}
