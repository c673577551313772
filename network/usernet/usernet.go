// SPDX-License-Identifier: Apache-2.0

// Package usernet speaks with the program vitro-net, which holds an ordinary
// user's networks.
//
// Bridges and rules take root, so they stand in a network namespace of the
// user's own, U.net, that belongs to a user namespace of the user's own, U. There the
// user is root, and the processes beside containers live there: for them it
// is as for root on the machine. vitro-net is in U as well, but in the host's
// network namespace, where it has what any program of the user's has: ordinary sockets.
//
//	host's network namespace         U.net                       a container's
//	vitro-net ─ sockets ─ stack ═══ out0 ─ rules ─ bridge ═════ eth0
//	         └─ published ports ──────────────────▶ sockets that it opens there
//
// It is started when the first container needs it, and ends some moments after the
// last one. It knows containers by descriptors of their processes, so nobody
// has to tell it about an end.
//
//	DIR/usernet/lock     held while it lives
//	DIR/usernet/socket   where it is asked: one Request and one Reply a connection
//	DIR/usernet/log      what it couldn't do
package usernet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Program is its name.
const Program = "vitro-net"

// Choice is the environment variable that says which way out is taken: "pasta",
// "builtin", or nothing: pasta where it is installed.
const Choice = "VITRO_UPLINK"

// The descriptors that it is started with.
const (
	ReadyFD = plan.InheritFrom + iota // a pipe: a line that says what is wrong, or its end, when it is ready
	NetFD                             // with the argument "again": U.net, which is there already
)

// What stands in the namespace: a link with an address, and the way out by it.
// The addresses are link-local ones (RFC 3927) and a ULA (RFC 4193) that no
// network of the host's is likely to have, so everything else can be reached.
var (
	Link     = "out0"
	Address  = netip.MustParsePrefix("169.254.77.2/24")
	Gateway  = netip.MustParseAddr("169.254.77.1")
	Resolver = netip.MustParseAddr("169.254.77.53") // asks the host's name servers

	Address6  = netip.MustParsePrefix("fd76:6974:726f::2/64")
	Gateway6  = netip.MustParseAddr("fd76:6974:726f::1")
	Resolver6 = netip.MustParseAddr("fd76:6974:726f::53")
)

// ErrGone says that it doesn't run.
var ErrGone = errors.New("vitro-net does not run")

// Dir is its folder in the engine's.
func Dir(stateDir string) string { return filepath.Join(stateDir, "usernet") }

// A Request is what it is asked.
type Request struct {
	Verb string          `json:"verb"`
	ID   string          `json:"id,omitempty"` // a container's
	Body json.RawMessage `json:"body,omitempty"`
}

// What it can be asked.
const (
	Enter   = "enter"   // the reply has two descriptors: U and U.net
	Hold    = "hold"    // the container lives as long as one of the processes whose pidfds come along
	Choose  = "choose"  // free ports of the host
	Reserve = "reserve" // to take ports of the host
	Publish = "publish" // to listen on them
	Release = "release" // to give them back
	Look    = "look"    // which addresses the host has to do with
)

// A Reply is its answer.
type Reply struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// messageLimit is the most that a message may have, in bytes.
const messageLimit = 1 << 20

// Call asks, and returns the answer and the descriptors that come with it. The
// error is ErrGone if nobody is there to be asked.
func Call(stateDir string, r Request, fds ...int) (Reply, []int, error) {
	var reply Reply
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return reply, nil, err
	}
	defer unix.Close(s)
	err = At(Dir(stateDir), func(path string) error { return unix.Connect(s, &unix.SockaddrUnix{Name: path}) })
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return reply, nil, ErrGone
	}
	if err == nil {
		err = Send(s, r, fds...)
	}
	if err != nil {
		return reply, nil, fmt.Errorf("ask vitro-net: %w", err)
	}
	got, err := Receive(s, &reply)
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	return reply, got, err
}

// At calls do with a path of the socket that is short enough for one, wherever
// the folder is (unix(7)).
func At(dir string, do func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fmt.Sprintf("/proc/self/fd/%d/socket", fd))
}

// Send sends a value and descriptors in one message.
func Send(socket int, value any, fds ...int) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_SNDBUF, messageLimit)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return again(func() error { return unix.Sendmsg(socket, data, rights, nil, unix.MSG_NOSIGNAL) })
}

// Receive receives what Send has sent.
func Receive(socket int, value any) (fds []int, err error) {
	b, oob := make([]byte, messageLimit), make([]byte, unix.CmsgSpace(16*4))
	var n, rights int
	err = again(func() (err error) {
		n, rights, _, _, err = unix.Recvmsg(socket, b, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("vitro-net has ended")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:rights])
	if err != nil {
		return nil, err
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, got...)
	}
	return fds, json.Unmarshal(b[:n], value)
}

func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// Lock is held by the one vitro-net of the folder. It fails with
// unix.EWOULDBLOCK if there is one.
func Lock(stateDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(Dir(stateDir), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
