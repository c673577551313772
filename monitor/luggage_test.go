// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClockSet: how long a container has been running is no matter of the
// clock, in the program that a monitor becomes either.
func TestClockSet(t *testing.T) {
	o := &Orders{ID: "c", Driver: "none", Timeout: time.Hour, Health: Health{Command: []string{"false"}, StartPeriod: time.Hour}}
	for name, started := range map[string]time.Time{
		"forward": time.Now().Add(-10 * time.Hour), // what it would seem to be now
		"back":    time.Now().Add(10 * time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWatch(t.TempDir())
			w.Orders = o
			w.Begin(started, time.Minute)
			if err := os.WriteFile(w.Dir+"/orders", o.Append(nil), 0o600); err != nil {
				t.Fatal(err)
			}
			w = carry(t, w)
			left := time.Until(w.deadline())
			if left <= 0 || left > 59*time.Minute {
				t.Errorf("a container of a minute, with --timeout 1h, has %v left", left)
			}
			if c := newChecker(w); !c.starting() {
				t.Error("its failures count already, with --health-start-period 1h")
			}
			if w.Miss(); w.Ended.Finished.IsZero() || !w.Started.Equal(started) {
				t.Errorf("it says that it ran from %v to %v", w.Started, w.Ended.Finished)
			}
			ran := w.Ran()
			if w = carry(t, w); w.Ran() != ran || ran < time.Minute || ran > time.Hour {
				t.Errorf("it has run for %v, and %v according to the next program", ran, w.Ran())
			}
		})
	}
}

// carry is the watch as the next program has it.
func carry(t *testing.T, w *Watch) *Watch {
	t.Helper()
	fd, err := unix.MemfdCreate("vitro", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(fd, w.pack(), 0); err != nil {
		t.Fatal(err)
	}
	next, err := Unpack(strconv.Itoa(fd)) // closes it
	if err != nil {
		t.Fatal(err)
	}
	return next
}
