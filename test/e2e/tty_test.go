// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A seat is a terminal with a program that runs on it, and somebody who types.
type seat struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	slave  *os.File
	before unix.Termios // the terminal's modes when the program is started

	mu   sync.Mutex
	text strings.Builder // all that was shown
	seen int             // as far as expect has looked
}

// sit opens a terminal of 24 rows and 80 columns, and starts a program on it,
// as the leader of a session.
func sit(t *testing.T, args ...string) *seat {
	t.Helper()
	s := &seat{t: t, cmd: exec.Command(args[0], args[1:]...)}
	s.open()
	s.resize(24, 80)
	s.before = s.modes()
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.slave, s.slave, s.slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.watch()
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		s.slave.Close()
		s.master.Close()
	})
	return s
}

func (s *seat) open() {
	s.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		s.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		s.t.Fatal(err)
	}
}

func (s *seat) watch() {
	b := make([]byte, 4096)
	for {
		n, err := s.master.Read(b)
		s.mu.Lock()
		s.text.Write(b[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *seat) resize(rows, cols uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		s.t.Fatal(err)
	}
}

// typed is what a person types.
func (s *seat) typed(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until the terminal shows something, behind what was expected last.
func (s *seat) expect(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		text := s.text.String()[s.seen:]
		m := re.FindStringSubmatchIndex(text)
		if m != nil {
			s.seen += m[1]
		}
		s.mu.Unlock()
		if m != nil {
			return re.FindStringSubmatch(text)
		}
	}
	s.t.Fatalf("the terminal never showed %q but\n%s", pattern, s.shown())
	return nil
}

func (s *seat) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *seat) wait() int {
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

func (s *seat) modes() unix.Termios {
	s.t.Helper()
	m, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *m
}

func TestTerminal(t *testing.T) {
	for _, flags := range [][]string{{"-it"}, {"-it", "--init"}, {"-it", "-u", "0", "--read-only"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			t.Parallel()
			testTerminal(t, flags)
		})
	}
}

func testTerminal(t *testing.T, flags []string) {
	s := sit(t, append(append([]string{"vitro", "run"}, flags...), "busybox", "sh")...)
	s.expect(`/ # `)
	if s.modes() == s.before {
		t.Errorf("our terminal is not in raw mode: keys would be echoed twice")
	}
	s.typed("tty; test -t 0 && echo terminal; echo term=$TERM\n")
	s.expect(`\r\n/dev/pts/0\r\nterminal\r\nterm=xterm\r\n`)
	s.typed("stat -c %t:%T $(tty) /dev/console | uniq | wc -l\n")
	s.expect(`\r\n1\r\n`) // both are the same device

	s.typed("stty size\n")
	s.expect(`\r\n24 80\r\n`)
	s.resize(50, 132)
	s.typed("until stty size | grep '50 13'2; do sleep 0.02; done\n")
	s.expect(`\r\n50 132\r\n`)

	s.typed("echo now; sleep 1000\n")
	s.expect(`\r\nnow\r\n`)
	eventually(t, "process sleep", func() (int, bool) { return below(s.cmd.Process.Pid, "sleep 1000") })
	s.typed("\x03")
	s.typed("echo status=$?\n")
	s.expect(`status=130\r\n`)

	s.typed("exit 5\n")
	if code := s.wait(); code != 5 {
		t.Errorf("exit status %d; want 5", code)
	}
	if after := s.modes(); after != s.before {
		t.Errorf("the terminal is not as it was: %+v; want %+v", after, s.before)
	}
}

// Without -i the container has a terminal, but what is typed is ours.
func TestTerminalWithoutInput(t *testing.T) {
	s := sit(t, "vitro", "run", "-t", "busybox", "sh", "-c", "stty size; test -t 1 && echo terminal; exit 4")
	s.expect(`24 80\r+\nterminal\r+\n`)
	if code := s.wait(); code != 4 {
		t.Errorf("exit status %d; want 4", code)
	}
}

// Without -t a container gets no terminal, even if we have one: it could push
// characters into our input (TIOCSTI).
func TestTerminalStaysOurs(t *testing.T) {
	s := sit(t, "vitro", "run", "-i", "busybox", "sh", "-c", "for fd in 0 1 2; do test -t $fd && echo terminal $fd; done; echo done")
	s.expect(`done\r?\n`)
	if strings.Contains(s.shown(), "terminal") {
		t.Errorf("the container has our terminal: %s", s.shown())
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit status %d; want 0", code)
	}
}

// A container that is killed leaves the terminal as it was.
func TestTerminalAfterAKill(t *testing.T) {
	s := sit(t, "vitro", "run", "-it", "busybox", "sh")
	s.expect(`/ # `)
	s.typed("echo on; exec sleep 1000\n")
	s.expect(`\r\non\r\n`)
	pid := eventually(t, "process sleep", func() (int, bool) { return below(s.cmd.Process.Pid, "sleep 1000") })
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 137 {
		t.Errorf("exit status %d; want 137", code)
	}
	if after := s.modes(); after != s.before {
		t.Errorf("the terminal is not as it was: %+v; want %+v", after, s.before)
	}
}
