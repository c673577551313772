// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network/relay"
)

// patience is for what happens at once, or not at all.
const patience = 20 * time.Second

// A place is a server that runs, and the file that it reads.
type place struct {
	t      *testing.T
	file   string
	server *relay.Server
	stop   chan chan struct{}
	at     netip.AddrPort // where clients come
	held   int            // its socket
}

func end(a netip.AddrPort) relay.End {
	return relay.End{IP: string(a.Addr().AsSlice()), Port: a.Port()}
}

// begin holds a port of ::1, as the step "reserve" does, and carries it.
func begin(t *testing.T, proto string, to netip.AddrPort) *place {
	t.Helper()
	kind := unix.SOCK_STREAM
	if proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, kind, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("needs IPv6 in the kernel")
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Skip("needs ::1 on the loopback")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	s, ok := relay.Bound(fd)
	if !ok {
		t.Fatalf("descriptor %d isn't seen as bound", fd)
	}
	p := &place{t: t, file: filepath.Join(t.TempDir(), relay.File), at: netip.AddrPortFrom(netip.IPv6Loopback(), s.At.Port), held: fd}
	p.lead(proto, to)
	p.run(nil)
	t.Cleanup(func() {
		p.halt()
		p.server.Close()
	})
	return p
}

// lead writes where the port leads.
func (p *place) lead(proto string, to ...netip.AddrPort) {
	p.t.Helper()
	var ways []relay.Way
	for _, a := range to {
		ways = append(ways, relay.Way{Proto: proto, From: end(p.at), To: end(a)})
	}
	if err := os.WriteFile(p.file, []byte(relay.Text(ways)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// run has a server work, as a monitor does.
func (p *place) run(packed []string) {
	p.t.Helper()
	s, err := relay.New(p.file, packed)
	if err != nil || s == nil {
		p.t.Fatalf("New: %v, %v", s, err)
	}
	p.server, p.stop = s, make(chan chan struct{})
	go func() {
		for {
			wait, err := s.Work()
			if err != nil {
				p.t.Error(err)
			}
			ms := 5 // to hear of the end
			if wait >= 0 {
				ms = min(ms, int(wait.Milliseconds())+1)
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.Fd()), Events: unix.POLLIN}}, ms)
			select {
			case c := <-p.stop:
				close(c)
				return
			default:
			}
		}
	}()
}

func (p *place) halt() {
	c := make(chan struct{})
	p.stop <- c
	<-c
}

// change goes on with another server, as in another program.
func (p *place) change() {
	p.t.Helper()
	p.halt()
	packed := p.server.Pack()
	unix.Close(p.server.Fd())
	p.run(packed)
}

// serve is a container that does something with each connection.
func serve(t *testing.T, do func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				do(c.(*net.TCPConn))
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (p *place) dial() *net.TCPConn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.at.String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// noise are bytes that are always the same for a seed.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

const large = 10 << 20

// Ten megabytes go each way at once, while the server is changed for others.
func TestBothWays(t *testing.T) {
	there, back := noise(1, large), noise(2, large)
	got := make(chan [32]byte, 1)
	p := begin(t, "tcp", serve(t, func(c *net.TCPConn) {
		go func() { _, _ = c.Write(back); _ = c.CloseWrite() }()
		b, _ := io.ReadAll(c)
		got <- sha256.Sum256(b)
	}))
	c := p.dial()
	go func() { _, _ = c.Write(there); _ = c.CloseWrite() }()
	answer := make([]byte, 0, large+1)
	for len(answer) < large {
		piece := answer[len(answer):min(len(answer)+large/5, large)]
		n, err := io.ReadFull(c, piece)
		if answer = answer[:len(answer)+n]; err != nil {
			t.Fatalf("after %d bytes: %v", len(answer), err)
		}
		p.change()
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after all: %d bytes, %v; want the end", n, err)
	}
	if !bytes.Equal(answer, back) {
		t.Error("other bytes have come back than were sent")
	}
	if sum := <-got; sum != sha256.Sum256(there) {
		t.Error("other bytes have come than were sent")
	}
}

// A client that has sent all hears the answer; the container does not before that end.
func TestHalfClose(t *testing.T) {
	p := begin(t, "tcp", serve(t, func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(b)
		}
	}))
	for _, size := range []int{0, 1, 300_000} {
		c, want := p.dial(), noise(3, size)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
	}
}

// Nobody listens in the container, the port leads nowhere, or elsewhere now, or the container breaks off.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	p := begin(t, "tcp", closed)
	refused := func(what string) {
		t.Helper()
		c, err := net.Dial("tcp", p.at.String()) // which may hear of it already
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %v; want a reset", what, err)
		}
	}
	refused("nobody listens")
	p.lead("tcp")
	refused("it leads nowhere")
	p.lead("tcp", serve(t, func(c *net.TCPConn) { fmt.Fprint(c, "here") }))
	if got, err := io.ReadAll(p.dial()); string(got) != "here" || err != nil {
		t.Errorf("it leads elsewhere now: %q, %v", got, err)
	}
	p.lead("tcp", serve(t, func(c *net.TCPConn) { _, _ = io.ReadFull(c, make([]byte, 1)); _ = c.SetLinger(0) }))
	c := p.dial()
	if _, err := c.Write([]byte("xy")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the container breaks off: %v; want a reset", err)
	}
}

// Many connections, of which some are broken off, leave no descriptor; nor is there work without end.
func TestNothingIsLeft(t *testing.T) {
	p := begin(t, "tcp", serve(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := open()
	var all sync.WaitGroup
	for i := range 100 {
		c := p.dial()
		all.Go(func() {
			defer c.Close()
			if _, err := c.Write(noise(4, 10_000)); err != nil {
				t.Error(err)
			}
			if i%3 == 0 {
				_ = c.SetLinger(0)
				return
			}
			if _, err := io.ReadFull(c, make([]byte, 10_000)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for end := time.Now().Add(patience); open() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// More clients than there is room for: those that are too many wait, and lose nothing.
func TestMoreThanThereIsRoomFor(t *testing.T) {
	const clients = 1100
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 10*clients {
		t.Skipf("needs %d descriptors; the limit is %d, %v", 10*clients, limit.Cur, err)
	}
	p := begin(t, "tcp", serve(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i] = p.dial()
		fmt.Fprintf(conns[i], "%04d", i)
	}
	for i, c := range conns {
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != fmt.Sprintf("%04d", i) {
			t.Fatalf("client %d: %q, %v", i, got, err)
		}
		c.Close() // makes room
	}
}

// Each client of UDP gets its own answers, from the address that it has asked.
func TestUDP(t *testing.T) {
	container, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer container.Close()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := container.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = container.WriteTo(append([]byte("re:"), buf[:n]...), from)
		}
	}()
	p := begin(t, "udp", container.LocalAddr().(*net.UDPAddr).AddrPort())
	var clients []net.Conn
	for range 5 {
		c, err := net.Dial("udp", p.at.String()) // which hears of no other sender
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		clients = append(clients, c)
	}
	ask := func(i, size int) {
		t.Helper()
		want, got := noise(byte(i), size), make([]byte, 1<<16)
		if _, err := clients[i].Write(want); err != nil {
			t.Fatal(err)
		}
		n, err := clients[i].Read(got)
		if err != nil || !bytes.Equal(got[:n], append([]byte("re:"), want...)) {
			t.Errorf("client %d, %d bytes: %d have come back, %v", i, size, n, err)
		}
	}
	for i := range clients {
		ask(i, 10)
	}
	p.change()
	for i := range clients {
		ask(i, 20)
		ask(i, 60_000)
		ask(i, 0)
	}
	// Nobody is there for a while: no answer, and no harm.
	at := container.LocalAddr().(*net.UDPAddr)
	container.Close()
	for range 3 {
		if _, err := clients[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	again, err := net.ListenUDP("udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	got := make(chan string, 100)
	go func() {
		for b := make([]byte, 100); ; {
			n, _, err := again.ReadFromUDP(b)
			if err != nil {
				return
			}
			got <- string(b[:n])
		}
	}()
	for end := time.Now().Add(patience); ; {
		_, _ = clients[1].Write([]byte("still there?"))
		select {
		case text := <-got:
			if text == "still there?" {
				return
			}
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("nothing comes through after an interruption")
		}
	}
}

func TestNoWays(t *testing.T) {
	dir := t.TempDir()
	if s, err := relay.New(filepath.Join(dir, "none"), nil); s != nil || err != nil {
		t.Errorf("without a file: %v, %v", s, err)
	}
	for name, text := range map[string]string{"empty": "", "bad": "tcp 00 80 zz 80\n", "short": "tcp\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := relay.New(file, nil); s != nil || (err == nil) != (text == "") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	file := filepath.Join(dir, "empty")
	for _, line := range []string{"conn", "flow 1 2", "nonsense"} {
		if s, err := relay.New(file, []string{line}); s != nil || err == nil {
			t.Errorf("packed %q: %v, %v", line, s, err)
		}
	}
}
