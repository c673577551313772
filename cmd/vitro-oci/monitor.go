// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"vitro/monitor"
)

// monitorVerb is what the engine's program goes on as when the container that
// it is beside has run for a moment: a smaller one, for most of the time.
const monitorVerb = "monitor"

// monitorMain watches a container to its end, and goes on as what its orders say.
func monitorMain(luggage string) {
	debug.SetGCPercent(10) // little is allocated here, and it is to be small for days
	w, err := monitor.Unpack(luggage)
	if err == nil {
		debug.FreeOSMemory() // what the start has used
		_, err = w.Run(time.Time{})
	}
	if err == nil {
		err = w.Become(w.Orders.Next, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "vitro-oci: error:", err)
	os.Exit(1) // the next command of vitro takes over
}
