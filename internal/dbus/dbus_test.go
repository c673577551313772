// SPDX-License-Identifier: Apache-2.0

package dbus_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/dbus"
	"vitro/internal/dbus/dbustest"
)

// values are one of each type, as busctl(1) takes them and as we do.
var values = []struct {
	sig    string
	busctl []string
	value  any
}{
	{"y", []string{"255"}, byte(255)},
	{"b", []string{"true"}, true},
	{"n", []string{"-2"}, int16(-2)},
	{"q", []string{"65535"}, uint16(65535)},
	{"i", []string{"-3"}, int32(-3)},
	{"u", []string{"4294967295"}, uint32(1<<32 - 1)},
	{"x", []string{"-4"}, int64(-4)},
	{"t", []string{"18446744073709551615"}, uint64(1<<64 - 1)},
	{"d", []string{"-1.5"}, -1.5},
	{"s", []string{"Grüße"}, "Grüße"},
	{"o", []string{"/a/b"}, "/a/b"},
	{"g", []string{"a{sv}"}, "a{sv}"},
	{"ay", []string{"3", "1", "2", "3"}, []byte{1, 2, 3}},
	{"as", []string{"2", "a", "bc"}, []any{"a", "bc"}},
	{"as", []string{"0"}, []any{}},
	{"at", []string{"1", "7"}, []any{uint64(7)}},
	{"(yt)", []string{"1", "2"}, []any{byte(1), uint64(2)}},
	{"a(ss)", []string{"1", "/dev/null", "rwm"}, []any{[]any{"/dev/null", "rwm"}}},
	{"a{sv}", []string{"2", "a", "i", "1", "b", "s", "x"}, []any{[]any{"a", dbus.Variant{Sig: "i", Value: int32(1)}}, []any{"b", dbus.Variant{Sig: "s", Value: "x"}}}},
	{"v", []string{"au", "1", "9"}, dbus.Variant{Sig: "au", Value: []any{uint32(9)}}},
	{"a(sa(sv))", []string{"0"}, []any{}},
}

// busctl's messages, as it sends them, are read as what it was told to send;
// and we write the same bytes.
func TestMessagesAreBusctls(t *testing.T) {
	busctl, err := exec.LookPath("busctl")
	if err != nil {
		t.Skip("needs busctl, of systemd")
	}
	var sig string
	var args []string
	var want []any
	for _, v := range values {
		sig += v.sig
		args = append(args, v.busctl...)
		want = append(want, v.value)
	}
	raw := sniff(t, busctl, append([]string{"call", "org.example", "/org/example", "org.example.I", "Method", sig}, args...)...)
	m, err := dbus.DecodeMessage(raw)
	if err != nil {
		t.Fatalf("%x: %v", raw, err)
	}
	if m.Type != dbus.MethodCall || m.Destination != "org.example" || m.Path != "/org/example" || m.Interface != "org.example.I" || m.Member != "Method" || m.Sig != sig {
		t.Errorf("read as %+v", m)
	}
	if !reflect.DeepEqual(m.Body, want) {
		t.Errorf("got  %#v\nwant %#v", m.Body, want)
	}
	body, err := dbus.Encode(sig, want...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(raw, body) || len(body) == 0 {
		t.Errorf("busctl writes\n%x\nwe write\n%x", raw, body)
	}
}

// sniff runs a command with a bus of ours, and returns its second message; the
// first is its Hello.
func sniff(t *testing.T, command string, args ...string) []byte {
	t.Helper()
	dir, err := os.MkdirTemp("", "dbus")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/bus")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(command, append([]string{"--address=unix:path=" + dir + "/bus", "--"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); l.Close(); close(ended) }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("%s does not connect: %v, %s", command, err, stderr.String())
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	answers := map[string]string{"AUTH EXTERNAL": "DATA\r\n", "DATA": "OK 0123456789abcdef0123456789abcdef\r\n", "NEGOTIATE_UNIX_FD": "AGREE_UNIX_FD\r\n"}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		line = strings.Trim(line, "\x00\r\n")
		if line == "BEGIN" {
			break
		}
		if _, err := io.WriteString(c, answers[line]); err != nil {
			t.Fatal(err)
		}
	}
	hello := message(t, r)
	h, err := dbus.DecodeMessage(hello)
	if err != nil || h.Member != "Hello" {
		t.Fatalf("%+v, %v, want Hello", h, err)
	}
	reply, err := (&dbus.Message{Type: dbus.MethodReturn, Serial: 1, ReplySerial: h.Serial, Sender: "org.freedesktop.DBus", Destination: ":1.1", Sig: "s", Body: []any{":1.1"}}).Encode()
	if err == nil {
		_, err = c.Write(reply)
	}
	if err != nil {
		t.Fatal(err)
	}
	return message(t, r)
}

func message(t *testing.T, r io.Reader) []byte {
	t.Helper()
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	le := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	rest := make([]byte, (le(head[12:])+7)/8*8+le(head[4:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		t.Fatal(err)
	}
	return append(head, rest...)
}

// A real bus understands us: it greets, answers, refuses, and passes a signal.
func TestDaemon(t *testing.T) {
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon, of the package dbus-daemon")
	}
	dir, err := os.MkdirTemp("", "dbus")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "bus")
	cmd := exec.Command(daemon, "--session", "--nofork", "--nopidfile", "--print-address", "--address=unix:path="+socket)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("dbus-daemon has not started: %v", err)
	}
	c, err := dbus.Dial(socket, true, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body, err := c.Call(dbus.Bus, "RequestName", "su", "org.example.vitro", uint32(0))
	if err != nil || !reflect.DeepEqual(body, []any{uint32(1)}) {
		t.Errorf("RequestName: %v, %v; want 1, the owner", body, err)
	}
	m, err := c.Wait(func(m *dbus.Message) bool { return m.Member == "NameAcquired" && m.Body[0] == "org.example.vitro" })
	if err != nil || m.Sender != "org.freedesktop.DBus" {
		t.Errorf("signal %+v, %v", m, err)
	}
	_, err = c.Call(dbus.Bus, "GetNameOwner", "s", "org.example.nobody")
	if !dbus.Is(err, "org.freedesktop.DBus.Error.NameHasNoOwner") {
		t.Errorf("GetNameOwner of nobody: %v", err)
	}
	if p, err := c.Peer(); err != nil || int(p.Pid) != cmd.Process.Pid {
		t.Errorf("the peer is %+v, %v; want PID %d", p, err, cmd.Process.Pid)
	}
}

func TestCall(t *testing.T) {
	signal := &dbus.Message{Type: dbus.Signal, Path: "/x", Interface: "a.b", Member: "S", Sig: "u", Body: []any{uint32(7)}}
	for _, c := range []struct {
		name   string
		auth   []string
		answer []*dbus.Message
		want   string // the error's end; "" is none
		is     error
	}{
		{"returns", nil, []*dbus.Message{dbustest.Return("s", "x")}, "", nil},
		{"returns behind others", []string{"OK 12", "OK 12"}, []*dbus.Message{signal, {Type: dbus.MethodReturn, ReplySerial: 99}, dbustest.Return("s", "x")}, "", nil},
		{"refuses", nil, []*dbus.Message{dbustest.Refuse("org.No", "not so")}, "call M: not so (org.No)", nil},
		{"refuses without a word", nil, []*dbus.Message{{Type: dbus.ErrorReply, ErrorName: "org.No"}}, "call M: org.No", nil},
		{"closes", nil, dbustest.Hangup, "call M: the other side has closed the connection", dbus.ErrClosed},
		{"is silent", nil, nil, "call M: connection timed out", unix.ETIMEDOUT},
		{"rejects", []string{"REJECTED KERBEROS_V4"}, nil, `authenticate: the answer is "REJECTED KERBEROS_V4": permission denied`, unix.EACCES},
		{"closes early", []string{}, nil, "authenticate: the other side has closed the connection", dbus.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := (&dbustest.Peer{Auth: c.auth, Answer: func(*dbus.Message) []*dbus.Message { return c.answer }}).Start(t)
			patience := 10 * time.Second
			if errors.Is(c.is, unix.ETIMEDOUT) {
				patience = 50 * time.Millisecond
			}
			body, err := call(p.Socket, patience)
			if c.want == "" {
				if err != nil || !reflect.DeepEqual(body, []any{"x"}) {
					t.Errorf("Call() = %v, %v; want x", body, err)
				}
				return
			}
			if err == nil || !strings.HasSuffix(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got the error %v, want %q", err, c.want)
			}
		})
	}
}

func call(socket string, patience time.Duration) ([]any, error) {
	c, err := dbus.Dial(socket, false, patience)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Call(dbus.Object{Destination: "a.b", Path: "/a", Interface: "a.b"}, "M", "s", "arg")
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		sig   string
		value any
	}{
		{"s", 1}, {"u", "x"}, {"i", uint32(1)}, {"t", uint32(1)}, {"(ss)", []any{"a"}}, {"(s)", []any{"a", "b"}}, {"as", []any{uint32(1)}},
		{"s", []any{}}, {"v", dbus.Variant{Sig: "ss", Value: "a"}}, {"v", dbus.Variant{Sig: "", Value: "a"}}, {"z", "x"}, {"a", []any{}}, {"(s", []any{"a"}},
		{"()", []any{}}, {"a{vs}", []any{}}, {"a{s}", []any{}}, {strings.Repeat("a", 100) + "y", []any{}}, {"su", "x"},
	} {
		if b, err := dbus.Encode(c.sig, c.value); err == nil {
			t.Errorf("Encode(%q, %#v) = %x, want an error", c.sig, c.value, b)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, sig, bytes, want string }{
		{"short", "u", "\x01\x00\x00", "ends in the middle"},
		{"more", "y", "\x01\x02", "more than values"},
		{"bool", "b", "\x02\x00\x00\x00", "its type doesn't have"},
		{"string without an end", "s", "\x01\x00\x00\x00ab", "its type doesn't have"},
		{"string of another size", "s", "\xff\xff\xff\xffa\x00", "ends in the middle"},
		{"no UTF-8", "s", "\x01\x00\x00\x00\xff\x00", "its type doesn't have"},
		{"padding", "yu", "\x01\x00\x01\x00\x01\x00\x00\x00", "between values"},
		{"long array", "au", "\xff\xff\xff\xff", "ends in the middle"},
		{"array that ends in an element", "au", "\x03\x00\x00\x00\x01\x00\x00\x00", "ends in the middle"},
		{"variant of nothing", "v", "\x00\x00", "a type is missing"},
		{"variants in variants", "v", strings.Repeat("\x01v\x00", 100), "nested too deep"},
	} {
		if v, err := dbus.Decode([]byte(c.bytes), c.sig); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Decode() = %v, %v; want %q", c.name, v, err, c.want)
		}
	}
}

// Whatever arrives, it is read or refused; what is read is written again as
// what it was.
func FuzzDecodeMessage(f *testing.F) {
	var sig string
	var all []any
	for _, v := range values {
		sig += v.sig
		all = append(all, v.value)
	}
	for _, m := range []*dbus.Message{
		{Type: dbus.MethodCall, Serial: 1, Path: "/a", Interface: "b.c", Member: "D", Destination: "e.f", Sig: sig, Body: all},
		{Type: dbus.ErrorReply, Serial: 2, ReplySerial: 1, ErrorName: "a.b", Sender: ":1.1"},
		{Type: dbus.Signal, Serial: 3, Path: "/a", Interface: "b.c", Member: "D", Sig: "uoss", Body: []any{uint32(1), "/j", "u", "done"}},
	} {
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dbus.DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("%+v is not written: %v", m, err)
		}
		m2, err := dbus.DecodeMessage(again)
		if err != nil {
			t.Fatalf("%x is not read again: %v", again, err)
		}
		if b2, err := m2.Encode(); err != nil || !bytes.Equal(again, b2) {
			t.Errorf("%x becomes %x, %v", again, b2, err)
		}
	})
}
