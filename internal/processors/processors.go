// SPDX-License-Identifier: Apache-2.0

// Package processors spreads work over the machine's processors. The programs
// start with one (see package entry): a second thread costs a start more than
// it brings. What reads thousands of files, or unpacks layers, asks for all of them here.
//
// Not for what waits: goroutines do that on one processor.
package processors

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// All has the program use as many processors as it may, or as many as the user
// has set by GOMAXPROCS, from now on.
func All() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS()
	}
}

// many is from how many files, of some 50 µs each, a second thread is worth its start.
const many = 16

// Each calls do for 0 to n-1, on all processors if they are many, and returns after the last.
func Each(n int, do func(i int)) {
	if n >= many {
		All()
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	group.Wait()
}
