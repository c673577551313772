// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrTaken is what a lease fails with when the facts it was planned with are
// no longer true: another container has taken the address, or has made the
// network differently. Read the facts and plan again.
var ErrTaken = errors.New("taken by another container")

// ErrFull says that the network has no place for another container.
var ErrFull = errors.New("network is full")

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
