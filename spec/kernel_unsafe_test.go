// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// notice and answer are struct seccomp_notif and seccomp_notif_resp.
type notice struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

func ioctl(fd int, request uintptr, p unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p)); e != 0 {
		return e
	}
	return nil
}

// An agent answers what filters ask: always with the same error.
type agent struct {
	path   string
	states chan specs.ContainerProcessState
	failed chan error
}

func newAgent(t *testing.T, errno unix.Errno) *agent {
	t.Helper()
	a := &agent{path: t.TempDir() + "/agent", states: make(chan specs.ContainerProcessState, 4), failed: make(chan error, 4)}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() { a.failed <- a.serve(c, errno) }()
		}
	}()
	return a
}

func (a *agent) serve(c *net.UnixConn, errno unix.Errno) error {
	buf, oob := make([]byte, 1<<16), make([]byte, 100)
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		return errors.New("more than one message in a connection")
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return errors.Join(err, errors.New("not one control message"))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return errors.Join(err, errors.New("not one descriptor"))
	}
	defer unix.Close(fds[0])
	var state specs.ContainerProcessState
	if err := json.Unmarshal(buf[:n], &state); err != nil {
		return err
	}
	a.states <- state
	for {
		poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return err
		}
		if poll[0].Revents&unix.POLLHUP != 0 {
			return nil // the container is gone
		}
		var q notice
		switch err := ioctl(fds[0], unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err {
		case nil:
		case unix.EINTR, unix.ENOENT: // a signal has taken the call back
			continue
		default:
			return err
		}
		r := answer{id: q.id, errno: -int32(errno)}
		if err := ioctl(fds[0], unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && err != unix.ENOENT {
			return err
		}
	}
}

// TestSeccompListener: an agent answers a container's call, whether the filter
// is loaded early or late, and is told whose it is.
func TestSeccompListener(t *testing.T) {
	for _, nnp := range []bool{false, true} {
		a := newAgent(t, unix.EDQUOT)
		b := newBundle(t, "mkdir /asked 2>&1; echo done")
		b.Process.NoNewPrivileges = nnp
		b.Annotations = map[string]string{"who": "me"}
		b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: a.path, ListenerMetadata: "a note",
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}}}
		s, err := b.start(t)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.end)
		out := make([]byte, 4096)
		var text strings.Builder
		for {
			n, err := s.out.Read(out)
			text.Write(out[:n])
			if err != nil {
				break
			}
		}
		if got := text.String(); !strings.Contains(got, unix.EDQUOT.Error()) && !strings.Contains(got, "Disk quota exceeded") || !strings.HasSuffix(got, "done\n") {
			t.Errorf("the container says %q", got)
		}
		var state specs.ContainerProcessState
		select {
		case state = <-a.states:
		case err := <-a.failed:
			if err != nil {
				t.Fatalf("agent: %v", err)
			}
			state = <-a.states // it has been told, and is done already
		}
		if state.Pid != s.child.Pid || state.State.Pid != s.child.Pid || !slices.Equal(state.Fds, []string{"seccompFd"}) || state.Metadata != "a note" ||
			state.State.ID != "test" || state.State.Status != specs.StateCreating || state.State.Bundle != b.dir || state.State.Annotations["who"] != "me" || state.Version == "" {
			t.Errorf("the agent is told %+v", state)
		}
	}
}

// TestSeccompListenerOfNobody: without an agent there is no container.
func TestSeccompListenerOfNobody(t *testing.T) {
	b := newBundle(t, "true")
	b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: b.dir + "/nobody",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
	if _, err := b.start(t); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), b.dir+"/nobody") {
		t.Errorf("%v", err)
	}
}
