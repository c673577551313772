// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// trapping is a program that answers a signal and ends with status 3.
const trapping = `trap 'echo got; exit 3' TERM HUP INT USR1 USR2 QUIT; echo ready; while :; do sleep 0.02; done`

func TestSignalsReachTheContainer(t *testing.T) {
	for _, flags := range [][]string{nil, {"--init"}} {
		for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
			t.Run(strings.Join(append(flags, unix.SignalName(sig)), " "), func(t *testing.T) {
				t.Parallel()
				s := begin(t, append(append([]string{"vitro", "run"}, flags...), "busybox", "sh", "-c", trapping)...)
				if got := s.line(); got != "ready" {
					t.Fatalf("got %q; want ready", got)
				}
				if err := s.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if got := s.line(); got != "got" {
					t.Errorf("got %q; want the trap's word", got)
				}
				if code := s.end(); code != 3 {
					t.Errorf("exit status %d; want 3: %s", code, &s.errs)
				}
			})
		}
	}
}

// hears is the status of a process that ignores neither SIGHUP nor SIGINT.
var hears = regexp.MustCompile(`\nSigIgn:\t[0-9a-f]{15}[048c]\n`)

// TestIgnoredSignals: what the command was started to ignore, by nohup(1) or by
// a shell's &, is not ignored in the container.
func TestIgnoredSignals(t *testing.T) {
	id := detached(t, "busybox", "sleep", "1000")
	for _, command := range []string{"run busybox cat", "exec " + id + " cat"} {
		got := output(t, "sh", "-c", `trap "" HUP INT; vitro `+command+` /proc/self/status`)
		if !hears.MatchString(got) {
			t.Errorf("vitro %s: signals are ignored: %s", command, got)
		}
	}
	output(t, "sh", "-c", `trap "" HUP INT; exec vitro exec -d `+id+` sh -c "cat /proc/self/status >/status"`)
	eventually(t, "process of exec -d that ignores nothing", func() (string, bool) {
		out, _ := exec.Command("vitro", "exec", id, "cat", "/status").Output()
		return "", hears.Match(out)
	})
}

// orphan leaves a process behind whose parent ends at once.
const orphan = `sh -c 'sleep 0.05 & exit'; echo ready; exec cat`

func zombies(pid int) (n int) {
	for _, c := range children(pid) {
		if strings.HasPrefix(status(c, "State"), "Z") {
			n++
		}
	}
	return n
}

// Without an init nobody reaps what loses its parent: the contrast shows that
// the test could fail.
func TestInitReapsOrphans(t *testing.T) {
	bare := begin(t, "vitro", "run", "-i", "busybox", "sh", "-c", orphan)
	pid := bare.find("cat")
	eventually(t, "zombie", func() (int, bool) { n := zombies(pid); return n, n == 1 })
	if code := bare.end(); code != 0 {
		t.Errorf("exit status %d", code)
	}

	s := begin(t, "vitro", "run", "-i", "--init", "busybox", "sh", "-c", orphan)
	s.find("cat")
	first := children(s.cmd.Process.Pid)
	if len(first) != 1 {
		t.Fatalf("vitro has children %d; want one", first)
	}
	eventually(t, "moment with only the command", func() (int, bool) {
		kids := children(first[0])
		return 0, len(kids) == 1
	})
	if n := zombies(first[0]); n != 0 {
		t.Errorf("%d zombies with --init", n)
	}
	if code := s.end(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
