// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Unusable is the answer where there is no criu to work with.
type Unusable struct {
	Err    error
	Remedy string
}

func (e *Unusable) Error() string { return e.Err.Error() }
func (e *Unusable) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *Unusable) Hint() string { return e.Remedy }

// A Failure is an end of criu's without success.
type Failure struct {
	Status unix.WaitStatus
	Log    string   // the file that it has written its log to
	Lines  []string // what of it tells about the failure; empty if there is no log
	Check  string   // what criu check has against this machine; "" for nothing
}

func (e *Failure) Error() string {
	s := fmt.Sprintf("exit status %d", e.Status.ExitStatus())
	if e.Status.Signaled() {
		s = "killed by " + unix.SignalName(e.Status.Signal())
	}
	if len(e.Lines) > 0 {
		s += "; from " + e.Log + ":\n  " + strings.Join(e.Lines, "\n  ")
	}
	return s
}

// advice is what to do about words in the log. Criu's options are runc's flags.
var advice = [...]struct{ words, remedy string }{
	{"--tcp-established", "give --tcp-established: there are open TCP connections"},
	{"--ext-unix-sk", "give --ext-unix-sk: there are Unix sockets whose other side is outside"},
	{"--file-locks", "give --file-locks: there are locks on files"},
	{"--shell-job", "give --shell-job: the container uses a terminal of the host's"},
	{"--link-remap", "a file is open that has been removed: put link-remap into a configuration file of criu's (annotation org.criu.config)"},
	{"has bad size", "a file is open whose size is another than at the checkpoint: bring it back as it was; a standard stream that was a file has to be that file (>>FILE)"},
	{"Can't fork for", "its PID is taken: without a PID namespace of its own a container needs the PIDs that it had"},
	{"No space left on device", "make room for the images: --image-path on another disk"},
}

// Hint is what to do about it; may be empty.
func (e *Failure) Hint() string {
	if e.Check != "" {
		return "criu check says: " + e.Check + "; this criu is not made for this kernel: install a newer one"
	}
	for _, line := range e.Lines {
		for _, a := range advice {
			if strings.Contains(line, a.words) {
				return a.remedy
			}
		}
	}
	return ""
}

// newFailure looks for what there is to say about a failure.
func newFailure(criu, log string, ws unix.WaitStatus) *Failure {
	e := &Failure{Status: ws, Log: log}
	if data, err := os.ReadFile(log); err == nil {
		e.Lines = tell(string(data))
	}
	out, err := exec.Command(criu, "--no-default-config", "check").CombinedOutput() // which may send its words to a file
	if err != nil {
		e.Check, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	return e
}

// tell picks the lines of a log that tell about a failure: the last errors, or
// just the last lines.
func tell(log string) (lines []string) {
	const most = 8
	all := strings.Split(strings.TrimSpace(log), "\n")
	for _, l := range all {
		if strings.Contains(l, "Error (") {
			lines = append(lines, strings.ToValidUTF8(l, "?"))
		}
	}
	if len(lines) == 0 && all[0] != "" {
		lines = all
	}
	return lines[max(0, len(lines)-most):]
}
