// SPDX-License-Identifier: Apache-2.0

// Package dbustest is a peer to talk to over D-Bus, for tests: it answers what
// the test tells it to, or nothing, or closes.
//
// It is no bus. A test of what a real one does starts dbus-daemon(1).
package dbustest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"vitro/internal/dbus"
)

// A Peer listens at a socket of its own.
type Peer struct {
	Socket string
	// Auth are the lines that it answers to those of the authentication; nil
	// is what dbus-daemon says.
	Auth []string
	// Answer are the messages for a call; serials and who they answer are
	// filled in. Nil says nothing, Hangup closes.
	Answer func(call *dbus.Message) []*dbus.Message

	mu    sync.Mutex
	calls []string
}

// Hangup is an answer that closes the connection.
var Hangup = []*dbus.Message{nil}

// Return is the answer with a method's values.
func Return(sig string, values ...any) *dbus.Message {
	return &dbus.Message{Type: dbus.MethodReturn, Sig: sig, Body: values}
}

// Refuse is the answer with an error.
func Refuse(name, text string) *dbus.Message {
	return &dbus.Message{Type: dbus.ErrorReply, ErrorName: name, Sig: "s", Body: []any{text}}
}

// Start has it listen until the test's end.
func (p *Peer) Start(t testing.TB) *Peer {
	t.Helper()
	dir, err := os.MkdirTemp("", "dbus") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	p.Socket = filepath.Join(dir, "bus")
	l, err := net.Listen("unix", p.Socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if err := p.serve(c); err != nil {
					t.Errorf("the peer at %s: %v", p.Socket, err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
		os.RemoveAll(dir)
	})
	return p
}

// Calls are the methods that were called so far.
func (p *Peer) Calls() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, " ")
}

func (p *Peer) serve(c net.Conn) error {
	r := bufio.NewReader(c)
	auth := p.Auth
	if auth == nil {
		auth = []string{"DATA", "OK 1234deadbeef"}
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil // it has hung up
		}
		if line == "BEGIN\r\n" {
			break
		}
		if len(auth) == 0 {
			return nil
		}
		if _, err := io.WriteString(c, auth[0]+"\r\n"); err != nil {
			return nil
		}
		auth = auth[1:]
	}
	for serial := uint32(1); ; {
		call, err := read(r)
		if err != nil || call == nil {
			return err
		}
		p.mu.Lock()
		p.calls = append(p.calls, call.Member)
		p.mu.Unlock()
		for _, one := range p.Answer(call) {
			if one == nil {
				return nil
			}
			m := *one // a test may say it again
			if serial++; m.Serial == 0 {
				m.Serial = serial
			}
			if m.Type != dbus.Signal && m.ReplySerial == 0 {
				m.ReplySerial = call.Serial
			}
			b, err := m.Encode()
			if err != nil {
				return err
			}
			if _, err := c.Write(b); err != nil {
				return nil
			}
		}
	}
}

// read reads a message; nil is the end.
func read(r io.Reader) (*dbus.Message, error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil
	}
	n := (int(binary.LittleEndian.Uint32(head[12:]))+7)/8*8 + int(binary.LittleEndian.Uint32(head[4:]))
	rest := make([]byte, n)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, nil
	}
	return dbus.DecodeMessage(append(head, rest...))
}
