// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/test/bundle"
)

// systemd is the socket of whoever wants to hear that a container is ready.
type systemd struct {
	t    *testing.T
	fd   int
	path string
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vitro-notify.")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &systemd{t: t, path: dir + "/sock"}
	s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(s.fd) })
	must(t, unix.Bind(s.fd, &unix.SockaddrUnix{Name: s.path}))
	must(t, unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	return s
}

// hears is the next message; a barrier is lifted.
func (s *systemd) hears() string {
	s.t.Helper()
	var said, control [256]byte
	n, c, _, _, err := unix.Recvmsg(s.fd, said[:], control[:], 0)
	if err != nil {
		s.t.Fatalf("hear of a container: %v", err)
	}
	if c > 0 {
		messages, err := unix.ParseSocketControlMessage(control[:c])
		must(s.t, err)
		fds, err := unix.ParseUnixRights(&messages[0])
		must(s.t, err)
		unix.Close(fds[0])
	}
	return strings.TrimRight(string(said[:n]), "\n")
}

// says sends a message into the socket that a container has got.
func says(t *testing.T, b *bundle.Box, message string) {
	t.Helper()
	c, err := net.Dial("unixgram", fmt.Sprintf("/proc/%d/root/run/notify/notify.sock", b.Pid()))
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte(message))
	must(t, err)
}

// With NOTIFY_SOCKET the command that starts a container waits until that says
// that it is ready; whoever asked hears of it, and of the process to watch.
// Nothing else of what the container says reaches them.
func TestNotify(t *testing.T) {
	for _, c := range []struct {
		verb string
		args []string
		pid  func(*bundle.Box, *exec.Cmd) int
	}{
		{"start", []string{"start"}, func(b *bundle.Box, _ *exec.Cmd) int { return b.Pid() }},
		{"run --detach", []string{"run", "--detach"}, func(b *bundle.Box, _ *exec.Cmd) int { return b.Pid() }},
		{"run", []string{"run"}, func(_ *bundle.Box, run *exec.Cmd) int { return run.Process.Pid }},
	} {
		t.Run(c.verb, func(t *testing.T) {
			s, b := newSystemd(t), box(t)
			b.Env = []string{"NOTIFY_SOCKET=" + s.path}
			b.Save()
			if c.verb == "start" {
				b.Must("create", b.ID)
			}
			cmd := b.Command(append(c.args, b.ID)...)
			must(t, cmd.Start())
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			bundle.Eventually(t, "running", func() bool { return b.Status() == "running" })
			select {
			case err := <-done:
				t.Errorf("%s has ended before the container is ready: %v", c.verb, err)
			default:
			}
			says(t, b, "STATUS=begun\nMAINPID=1")
			says(t, b, "READY=10")
			says(t, b, "STATUS=going\nREADY=1\nMAINPID=1")
			says(t, b, "READY=1\nERRNO=1")
			if r := b.Do("exec", b.ID, "touch", "/run/notify/more"); r.Code == 0 {
				t.Error("the container can write beside its socket")
			}
			if got := s.hears(); got != "READY=1" {
				t.Errorf("first message: %q", got)
			}
			if got, want := s.hears(), "MAINPID="+strconv.Itoa(c.pid(b, cmd)); got != want {
				t.Errorf("second message: %q, want %q", got, want)
			}
			if got := s.hears(); got != "BARRIER=1" {
				t.Errorf("third message: %q", got)
			}
			if c.verb == "run" {
				b.Must("kill", b.ID, "KILL")
				<-done
			} else if err := <-done; err != nil {
				t.Errorf("%s: %v", c.verb, err)
			}
			if n, _, err := unix.Recvfrom(s.fd, make([]byte, 100), unix.MSG_DONTWAIT); err == nil {
				t.Errorf("a fourth message, of %d bytes", n)
			}
		})
	}
}

// A container that ends before it is ready is waited for no longer; one that was
// made for nobody has no socket.
func TestNotifyNever(t *testing.T) {
	s, b := newSystemd(t), box(t)
	b.Env = []string{"NOTIFY_SOCKET=" + s.path}
	b.Spec.Process.Args = []string{"sh", "-c", "test -S $NOTIFY_SOCKET"}
	b.Save()
	b.Must("run", "--detach", b.ID)
	bundle.Eventually(t, "stopped", ended(b))
	b.Must("delete", b.ID)
	if r := b.Run(); r.Code != 0 {
		t.Errorf("run: %v", r)
	}
	b.Env = nil
	b.Spec.Process.Args = []string{"sh", "-c", "! test -e /run/notify && env"}
	b.Save()
	b.Must("create", b.ID)
	b.Env = []string{"NOTIFY_SOCKET=" + s.path}
	if !isRunc() { // which has an error
		b.Must("start", b.ID)
	}
}
