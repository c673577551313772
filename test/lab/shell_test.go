// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	lessons "vitro/lab"
)

// A shell is a terminal that a student types into, one command after the other.
type shell struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	out chan string
	off bool // a command has not ended: what comes next would be taken for its output
}

// ended comes behind a command's output, with its status.
const ended = "=-= command ended:"

// patience is how long a command may take.
const patience = 4 * time.Minute

// open begins a shell; wrap is a command before it, such as unshare.
func open(t *testing.T, wrap ...string) *shell {
	t.Helper()
	script, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Commands come by a descriptor of their own, so that none of them eats the next one as its input.
	args := append(wrap, "sh", "/dev/fd/3")
	s := &shell{t: t, cmd: exec.Command(args[0], args[1:]...), in: in, out: make(chan string, 1000)}
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = w, w, []*os.File{script}
	s.cmd.Dir = t.TempDir()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	script.Close()
	w.Close()
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.out <- lines.Text()
		}
		close(s.out)
	}()
	t.Cleanup(func() {
		in.Close()
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		_ = s.cmd.Wait()
		r.Close()
	})
	return s
}

// do types a command, and is what it prints, and its status.
func (s *shell) do(command string) (string, int) {
	s.t.Helper()
	if s.off {
		s.t.Skip("a command before this one has not ended")
	}
	fmt.Fprintf(s.in, "%s\nprintf '\\n%s %%s\\n' $?\n", command, ended)
	var lines []string
	late := time.After(patience)
	for {
		select {
		case line, ok := <-s.out:
			if !ok {
				s.t.Fatalf("%s\nthe shell ended: %s", command, strings.Join(lines, "\n"))
			}
			if status, ok := strings.CutPrefix(line, ended+" "); ok {
				n, err := strconv.Atoi(status)
				if err != nil {
					s.t.Fatal(err)
				}
				return strings.TrimSpace(strings.Join(lines, "\n")), n
			}
			lines = append(lines, line)
		case <-late:
			s.off = true
			s.t.Fatalf("%s\nhas not ended within %v: %s", command, patience, strings.Join(lines, "\n"))
		}
	}
}

// must types a command that has to succeed.
func (s *shell) must(command string) string {
	s.t.Helper()
	out, status := s.do(command)
	if status != 0 {
		s.t.Fatalf("%s\nstatus %d: %s", command, status, out)
	}
	return out
}

// try types a lesson's command, and compares with what the lesson says.
func (s *shell) try(c lessons.Command) {
	s.t.Helper()
	out, status := s.do(c.Text)
	switch {
	case c.Fails != (status != 0):
		s.t.Errorf("%s\nstatus %d, printed: %s", c.Text, status, out)
	case c.Fails && !strings.Contains(squeeze(out), c.Want):
		s.t.Errorf("%s\nprinted: %s\nwant, somewhere: %s", c.Text, out, c.Want)
	case !c.Fails && c.Want != "" && !fits(squeeze(out), c.Want):
		s.t.Errorf("%s\nprinted: %s\nwant: %s", c.Text, out, c.Want)
	}
}

// squeeze makes all white space one space.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// fits compares with a pattern in which … stands for anything, nothing included.
func fits(s, pattern string) bool {
	parts := strings.Split(pattern, "…")
	if !strings.HasPrefix(s, strings.TrimSpace(parts[0])) {
		return false
	}
	for i, p := range parts {
		p = strings.TrimSpace(p)
		at := strings.Index(s, p)
		if i == len(parts)-1 && i > 0 {
			at = strings.LastIndex(s, p)
			if !strings.HasSuffix(s, p) {
				return false
			}
		}
		if at < 0 {
			return false
		}
		s = s[at+len(p):]
	}
	return s == "" || strings.HasSuffix(pattern, "…")
}

func TestFits(t *testing.T) {
	for _, test := range []struct {
		s, pattern string
		want       bool
	}{
		{"one", "one", true}, {"one two", "one", false}, {"a one", "one", false},
		{"one two", "one …", true}, {"one", "one …", true}, {"zero one", "… one", true},
		{"a b c", "a … c", true}, {"a b c d", "a … c", false}, {"a c", "a … c", true},
		{"", "…", true}, {"abc", "…b…", true}, {"ac", "…b…", false},
	} {
		if got := fits(test.s, test.pattern); got != test.want {
			t.Errorf("fits(%q, %q) = %v", test.s, test.pattern, got)
		}
	}
}
