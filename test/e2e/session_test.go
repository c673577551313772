// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what takes milliseconds on an idle
// machine: some of ours only emulate a processor, and a start takes half a
// minute there when others are at work. Only who fails waits that long.
const patience = 2 * time.Minute

// A session is a program that runs beside the test.
type session struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	errs  bytes.Buffer
	done  bool
}

// begin starts a program with its standard streams in the test's hands.
func begin(t *testing.T, args ...string) *session {
	t.Helper()
	if len(args) > 2 && args[0] == "vitro" && args[1] == "run" { // the container outlives a command that is killed
		id := t.TempDir() + "/id"
		args = slices.Concat(args[:2], []string{"--cidfile", id}, args[2:])
		t.Cleanup(func() {
			if text, err := os.ReadFile(id); err == nil {
				_, _ = exec.Command("vitro", "rm", "-f", string(text)).CombinedOutput()
			}
		})
	}
	s := &session{t: t, cmd: exec.Command(args[0], args[1:]...)}
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	s.cmd.Stderr = &s.errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A read from a program that says nothing more would last forever.
	stuck := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	t.Cleanup(func() {
		stuck.Stop()
		if !s.done {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	return s
}

// line is the next line of the program's output.
func (s *session) line() string {
	s.t.Helper()
	text, err := s.out.ReadString('\n')
	if err != nil {
		_ = s.cmd.Wait()
		s.done = true
		s.t.Fatalf("%q: its output ended: %v: %s", s.cmd.Args, err, &s.errs)
	}
	return strings.TrimSuffix(text, "\n")
}

// end closes the program's input, and is its exit status.
func (s *session) end() int {
	s.t.Helper()
	_ = s.stdin.Close()
	return s.wait()
}

func (s *session) wait() int {
	rest, _ := io.ReadAll(s.out)
	s.errs.Write(rest)
	_ = s.cmd.Wait()
	s.done = true
	return s.cmd.ProcessState.ExitCode()
}

// held starts a container that does nothing until its input ends, and finds
// its process as the kernel knows it.
func held(t *testing.T, flags ...string) (*session, int) {
	t.Helper()
	args := append([]string{"vitro", "run", "-i"}, flags...)
	s := begin(t, append(args, "busybox", "sh", "-c", "echo ready; exec cat")...)
	return s, s.find("cat")
}

// find waits for the word "ready", and finds the process below this one whose
// command line is the given one.
func (s *session) find(command string) int {
	s.t.Helper()
	if got := s.line(); got != "ready" {
		s.t.Fatalf("%q: got %q, want ready", s.cmd.Args, got)
	}
	return eventually(s.t, "a process "+command, func() (int, bool) {
		return below(s.cmd.Process.Pid, command)
	})
}

// below finds a process by its command line among a process's descendants.
func below(pid int, command string) (int, bool) {
	for _, c := range children(pid) {
		data, _ := os.ReadFile("/proc/" + strconv.Itoa(c) + "/cmdline")
		if strings.TrimRight(strings.ReplaceAll(string(data), "\x00", " "), " ") == command {
			return c, true
		}
		if found, ok := below(c, command); ok {
			return found, true
		}
	}
	return 0, false
}

// children are a process's, by the process table: /proc/PID/task has them only
// for the thread that made them.
func children(pid int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err == nil && status(p, "PPid") == strconv.Itoa(pid) {
			pids = append(pids, p)
		}
	}
	slices.Sort(pids)
	return pids
}

// status is a line of /proc/PID/status.
func status(pid int, key string) string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return ""
}

// eventually asks until the answer is yes.
func eventually[T any](t *testing.T, what string, ask func() (T, bool)) T {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		v, ok := ask()
		if ok {
			return v
		}
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// output runs a program, which has to succeed.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		msg := ""
		if e, ok := err.(*exec.ExitError); ok {
			msg = string(e.Stderr)
		}
		t.Fatalf("%q: %v: %s", args, err, msg)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs the program %s", p)
		}
	}
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root: %s", why)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
