// SPDX-License-Identifier: Apache-2.0

// Package burn uses up a resource on purpose, says how much of it there was to
// be had, and names the limit that it ran into.
//
// It is the load to look at limits with: half a processor, ten megabytes, twenty
// processes. Each kind is bounded twice, by an amount and by a time, and gives
// all back at its end. It works in a container too, where /proc and the cgroups
// of the container may be all that can be seen of its limits:
//
//	cpu     threads that count; the share comes from getrusage(2)
//	memory  a child that touches page after page, and may be killed for it
//	pids    processes that do nothing
//	io      a nameless file, written and synchronised block by block
//
// Not for measuring a machine: it says what a process gets, not why it is slow.
package burn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/go-units"
)

// Options are what all kinds have in common.
type Options struct {
	Workers int           // how many at once
	Size    int64         // the amount to stop at: bytes, or processes
	For     time.Duration // how long; 0 is until ctx ends
	Dir     string        // where the file of IO is made
	Live    bool          // Out is a terminal: one line that changes
	Out     io.Writer
	Worker  []string // the command line that comes back to MemoryWorker
}

// Kinds are the names of what can be burned, in the order of help.
var Kinds = [...]Kind{
	{"cpu", "take processor time, and show the share obtained", CPU},
	{"memory", "touch memory until it is refused, or --size is reached", Memory},
	{"pids", "start processes until it is refused, or --size is reached", Pids},
	{"io", "write to a file that has no name, and show the rate", IO},
}

// A Kind is one resource.
type Kind struct {
	Name, Short string
	Run         func(context.Context, Options) error
}

// bounded is ctx, ended after o.For.
func (o Options) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.For <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.For)
}

// check refuses amounts that mean nothing.
func (o Options) check(workers int) error {
	switch {
	case o.Workers < 1 || o.Workers > workers:
		return fmt.Errorf("read --workers=%d: it is not between 1 and %d", o.Workers, workers)
	case o.Size < 1:
		return errors.New("read --size: nothing is less than one")
	case o.For < 0:
		return fmt.Errorf("read --seconds: %v is in the past", o.For)
	}
	return nil
}

// Error is one with a hint.
type Error struct {
	Err  error
	Text string // the hint
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Text }

// now shows how things are: on a terminal in place of what it showed before.
func (o Options) now(format string, args ...any) {
	if o.Live {
		fmt.Fprintf(o.Out, "\r\x1b[K"+format, args...)
		return
	}
	fmt.Fprintf(o.Out, format+"\n", args...)
}

// say prints a line of the result.
func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Out, format+"\n", args...)
}

// end closes the line that now has left open.
func (o Options) end() {
	if o.Live {
		fmt.Fprint(o.Out, "\r\x1b[K")
	}
}

// size is a number of bytes for people: 9.5 MiB.
func size(n int64) string { return units.CustomSize("%.1f %s", float64(n), 1024, binary[:]) }

var binary = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
