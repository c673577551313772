// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// set sets the machine's clock, which it is allowed only where nobody else
// lives by it. After the test it is right again.
func set(t *testing.T) func(by time.Duration) {
	t.Helper()
	if _, err := os.Stat("/run/vm/conf"); err != nil || os.Geteuid() != 0 {
		t.Skip("this machine's clock is others', too: not in the virtual machine of test/vm, as root")
	}
	began, off := time.Now(), time.Duration(0)
	put := func(to time.Time) {
		tv := unix.NsecToTimeval(to.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { put(began.Add(time.Since(began))) })
	return func(by time.Duration) {
		off += by
		put(began.Add(time.Since(began) + off))
	}
}

var negative = regexp.MustCompile(`(^|\s)-\d`)

// TestClockSet: nobody dies, hangs or is forgotten because somebody sets the
// clock, and no time that anything took is negative.
func TestClockSet(t *testing.T) {
	forward := set(t) // not beside other tests
	timed := detached(t, "--timeout=3600", "busybox", "sleep", "1000")
	sick := detached(t, "--health-cmd=exit 1", "--health-interval=100ms", "--health-start-period=1h", "--health-on-failure=kill", "busybox", "sleep", "1000")
	well := detached(t, "--health-cmd=true", "--health-interval=100ms", "busybox", "sleep", "1000")
	flap := detached(t, "--restart=always", "busybox", "false")
	waits := exec.Command("vitro", "wait", timed)
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	checks := func(id string) string { return file(id, "health") }
	restarts := func() string { return output(t, "vitro", "inspect", "-f", "{{.RestartCount}}", flap) }

	for _, by := range []time.Duration{5 * time.Hour, -12 * time.Hour} {
		forward(by)
		for _, id := range []string{sick, well} {
			before := checks(id)
			eventually(t, "further check", func() (int, bool) { return 0, checks(id) != before })
		}
		before := restarts()
		eventually(t, "further restart", func() (int, bool) { return 0, restarts() != before })
		for _, id := range []string{timed, sick} {
			if got := output(t, "vitro", "inspect", "-f", "{{.State.Status}}", id); got != "running" {
				t.Errorf("with the clock put by %v a container is %s", by, got)
			}
		}
		if out := output(t, "vitro", "system", "check"); out != "" {
			t.Errorf("with the clock put by %v: %s", by, out)
		}
		if out := output(t, "vitro", "ps", "-a"); negative.MatchString(out) {
			t.Errorf("with the clock put by %v:\n%s", by, out)
		}
	}
	// Who takes over knows how long it has been.
	for _, id := range []string{timed, sick, well} {
		if err := unix.Kill(beside(t, id), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "adoption", func() (int, bool) {
		out, err := exec.Command("vitro", "system", "check").CombinedOutput()
		return 0, err == nil && len(out) == 0
	})
	for id, want := range map[string]string{timed: "running", sick: "running starting", well: "running healthy"} {
		if got := output(t, "vitro", "inspect", "-f", "{{.State.Status}}{{with .State.Health}} {{.Status}}{{end}}", id); got != want {
			t.Errorf("after its adoption a container is %s; want %s", got, want)
		}
	}
	output(t, "vitro", "stop", "-t", "1", timed)
	if err := waits.Wait(); err != nil {
		t.Errorf("wait: %v", err)
	}
	output(t, "vitro", "rm", "-f", flap, sick)
	durations := output(t, "vitro", "events", "--since=24h", "--until=0s", "--filter=event=die", "--format={{.Actor.Attributes.execDuration}}")
	if negative.MatchString(durations) || durations == "" {
		t.Errorf("containers have run for %q seconds", durations)
	}
}
