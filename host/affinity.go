// SPDX-License-Identifier: Apache-2.0

package host

import (
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Affinity limits the calling thread, whose children inherit it, to some of
// the machine's processors; with none named, to all that its cpuset has.
//
// Do with processors named locks the goroutine to its thread; Do without
// lets it go again.
type Affinity struct {
	CPUs string `json:"cpus,omitempty"` // as cpuset(7) has it: "0-3,7"
}

func (a *Affinity) Verb() string    { return "affinity" }
func (a *Affinity) Undo() plan.Host { return nil }
func (a *Affinity) Line() string {
	if a.CPUs == "" {
		return "run on all processors again"
	}
	return "run on processors " + a.CPUs
}

func (a *Affinity) Shell(s *plan.Script) {
	if a.CPUs != "" {
		s.Run("taskset -c -p %s $$", plan.Quote(a.CPUs))
	} else {
		s.Run("taskset -c -p 0-%s $$", strconv.Itoa(len(unix.CPUSet{})*strconv.IntSize-1))
	}
}

func (a *Affinity) Do(*plan.Env) error {
	var set unix.CPUSet
	if a.CPUs == "" {
		defer runtime.UnlockOSThread()
		for n := range len(set) * strconv.IntSize {
			set.Set(n)
		}
		return unix.SchedSetaffinity(0, &set)
	}
	mask, err := plan.ParseList(a.CPUs)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	for n := range 64 * len(mask) {
		if mask[n/64]>>(n%64)&1 != 0 {
			set.Set(n)
		}
	}
	return unix.SchedSetaffinity(0, &set)
}
