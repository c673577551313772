// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
		w.Idle = func() {
			debug.FreeOSMemory() // what the start has used
			forgetProgram()
		}
		_, err = w.Run(time.Time{})
	}
	if err == nil {
		err = w.Become(w.Orders.Next, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "vitro-oci: error:", err)
	os.Exit(1) // the next command of vitro takes over
}

// forgetProgram has the kernel forget that this process has looked at most of
// its own program: the start has, and what comes now needs little of it. Pages
// that are needed come back from the cache (madvise(2), MADV_DONTNEED on a
// private mapping of a file that was not written to).
func forgetProgram() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "r-xp" && f[1] != "r--p" || !strings.HasPrefix(f[5], "/") {
			continue
		}
		first, last, _ := strings.Cut(f[0], "-")
		from, err1 := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(last, 16, 64)
		if err1 == nil && err2 == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}
