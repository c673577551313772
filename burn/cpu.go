// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// CPU takes all the processor time it can get, with a thread for each worker.
// Each second, and at the end, it says how much that was: 100 % is one processor.
func CPU(ctx context.Context, o Options) error {
	o.Size = 1 // time is the only amount
	if err := o.check(4096); err != nil {
		return err
	}
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	// The limit is the kernel's to enforce, not the Go scheduler's: a thread for each, and one to look on.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.Workers + 1))
	var stop atomic.Bool
	var all sync.WaitGroup
	for range o.Workers {
		all.Go(func() {
			for n := uint64(1); !stop.Load(); n = n*6364136223846793005 + 1442695040888963407 {
			}
		})
	}
	whole := startWatch()
	lap := whole
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
			o.now("cpu: %5.1f %%", lap.share())
			lap = startWatch()
		case <-ctx.Done():
			done = true
		}
	}
	share, wall := whole.share(), time.Since(whole.began)
	stop.Store(true)
	all.Wait()
	o.end()
	o.say("cpu: %.1f %% of one processor in %.1f s, wanted by %d", share, wall.Seconds(), o.Workers)
	o.sayQuota()
	return nil
}

// watch measures processor time against the clock.
type watch struct {
	began time.Time
	used  time.Duration
}

func startWatch() watch { return watch{time.Now(), used()} }

// share is in percent of one processor.
func (w watch) share() float64 {
	return 100 * float64(used()-w.used) / float64(time.Since(w.began))
}

// used is the processor time that this process has had.
func used() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// sayQuota names the limit, how often it was met, and the weight.
func (o Options) sayQuota() {
	if l := limit("cpu"); l != nil {
		o.say("limit: %s is %s: %.0f %% of one processor", l.File, l.Text, 100*l.Value)
		throttled, ok := l.counter("cpu.stat", "nr_throttled")
		periods, _ := l.counter("cpu.stat", "nr_periods")
		if ok && periods > 0 {
			o.say("       its processes were stopped in %d of %d periods", throttled, periods)
		}
	} else {
		o.say("limit: none to be seen; the machine has %d processors", runtime.NumCPU())
	}
	for _, h := range places("cpu") {
		name, usual := "cpu.shares", "1024"
		if h.V2 {
			name, usual = "cpu.weight", "100"
		}
		file := upwards(h)[0] + "/" + name
		if w := read(file); w != "" && w != usual {
			o.say("weight: %s is %s (%s is ordinary): its share when others want the processor too", file, w, usual)
		}
	}
	if a := affinity(); a != "" {
		o.say("processors: %s", a)
	}
}

// affinity is the list of processors that we may run on, if it is not all.
func affinity() string {
	for line := range strings.Lines(read("/proc/self/status")) {
		if v, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			if v = strings.TrimSpace(v); v != read("/sys/devices/system/cpu/online") {
				return v
			}
		}
	}
	return ""
}
