// SPDX-License-Identifier: Apache-2.0

package names

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"vitro/test/island"
)

func fresh(t *testing.T) bool {
	t.Helper()
	return island.Fresh(t, "dig", "nsenter", "unshare")
}

var sh = island.Sh

// container is a process that has a network namespace of its own, and a server for it.
type container struct {
	t      testing.TB
	pid    int
	dir    string // of the networks
	resolv string
}

func start(t testing.TB, files map[string]string, resolv string, servers ...string) *container {
	t.Helper()
	pid, _ := island.Process(t)
	c := &container{t: t, pid: pid, dir: folder(t, files), resolv: filepath.Join(t.TempDir(), "resolv.conf")}
	sh(t, fmt.Sprintf("nsenter -t %d -n ip link set lo up", c.pid))
	if err := os.WriteFile(c.resolv, []byte(resolv), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(fmt.Sprintf("/proc/%d/ns/net", c.pid))
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{Dir: c.dir, ID: "a", Resolv: c.resolv, Servers: servers}, s)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- server.Serve(int(r.Fd())) }()
	t.Cleanup(func() {
		w.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.Close()
	})
	return c
}

// dig asks as a program in the container does: the status and the answers.
func (c *container) dig(args ...string) string {
	c.t.Helper()
	argv := append([]string{"-t", fmt.Sprint(c.pid), "-n", "dig", "@" + Address, "+noall", "+comments", "+answer", "+tries=1", "+time=6"}, args...)
	out, err := exec.Command("nsenter", argv...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(line, "status: "); ok {
			status, _, _ := strings.Cut(rest, ",")
			got = append(got, status)
		}
		if f := strings.Fields(line); len(f) >= 5 && line[0] != ';' {
			got = append(got, strings.Join(f[3:], " "))
		}
	}
	return strings.Join(got, " | ")
}

// in gives a connection that begins in the container.
func (c *container) in(network string) net.Conn {
	c.t.Helper()
	var conn net.Conn
	err := errors.New("not done")
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		fd, e := unix.Open(fmt.Sprintf("/proc/%d/ns/net", c.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err = e; err != nil {
			return
		}
		defer unix.Close(fd)
		here, e := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err = e; err != nil {
			return
		}
		defer unix.Close(here)
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout(network, Address+":53", 5*time.Second)
		}
		if unix.Setns(here, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// text is a name server's address.
func text(a unix.Sockaddr) string {
	if a, ok := a.(*unix.SockaddrInet6); ok {
		return netip.AddrFrom16(a.Addr).String()
	}
	return netip.AddrFrom4(a.(*unix.SockaddrInet4).Addr).String()
}

// resolver is a name server of the host's, that answers each message by UDP or TCP as it likes.
type resolver struct{ asked atomic.Int32 }

func upstreamAt(t *testing.T, addr string, answer func(q []byte, tcp bool) [][]byte) *resolver {
	t.Helper()
	r := &resolver{}
	u, err := net.ListenPacket("udp", net.JoinHostPort(addr, "53"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			r.asked.Add(1)
			for _, a := range answer(slices.Clone(b[:n]), false) {
				u.WriteTo(a, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				if n, err := c.Read(b); err == nil && n > 2 {
					r.asked.Add(1)
					for _, a := range answer(b[2:n], true) {
						c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
					}
				}
			}()
		}
	}()
	return r
}

// says is an answer: addresses of 192.0.2, n of them.
func says(q []byte, code, n int) []byte {
	p, _, _ := parseQuery(q)
	var list []record
	for i := range n {
		list = append(list, record{typeA, string([]byte{192, 0, 2, byte(i)})})
	}
	return p.reply(nil, code, list, 0, maxMessage)
}

func honest(q []byte, tcp bool) [][]byte {
	p, _, _ := parseQuery(q)
	switch {
	case p.name == "none.example":
		return [][]byte{says(q, codeNoName, 0)}
	case p.name == "large.example" && !tcp:
		return [][]byte{p.cut(says(q, codeOK, 0))}
	case p.name == "large.example":
		return [][]byte{says(q, codeOK, 200)}
	}
	return [][]byte{says(q, codeOK, 1)}
}

func TestKnownNames(t *testing.T) {
	if !fresh(t) {
		return
	}
	r := upstreamAt(t, "127.0.0.53", func(q []byte, _ bool) [][]byte { return [][]byte{says(q, codeNoName, 0)} })
	c := start(t, some, "nameserver 127.0.0.53\n")
	before := r.asked.Load()
	for _, row := range []struct{ ask, want string }{
		{"db.blue", "NOERROR | A 10.1.0.3"},
		{"DB.Blue.", "NOERROR | A 10.1.0.3"},
		{"bbbb", "NOERROR | A 10.1.0.3"},
		{"www AAAA", "NOERROR | AAAA fd00::2"},
		{"db.blue AAAA", "NOERROR"},
		{"www MX", "NOERROR"},
		{"www HTTPS", "NOERROR"},
		{"www ANY", "NOERROR | A 10.1.0.2 | AAAA fd00::2"},
		{"www +tcp", "NOERROR | A 10.1.0.2"},
		{"www +noedns", "NOERROR | A 10.1.0.2"},
		{"-x 10.1.0.2", "NOERROR | PTR web.blue."},
		{"-x fd00::2", "NOERROR | PTR web.blue."},
		{"www CH TXT", "REFUSED"},
		{"www +opcode=notify", "NOTIMP"},
		{"www +edns=1 +noednsneg", "BADVERS"},
	} {
		if got := c.dig(strings.Fields(row.ask)...); got != row.want {
			t.Errorf("dig %s = %q, want %q", row.ask, got, row.want)
		}
	}
	seen := make(map[string]bool)
	for range 3 {
		seen[c.dig("pool")] = true
	}
	if len(seen) != 2 || !seen["NOERROR | A 10.1.0.2 | A 10.1.0.3"] {
		t.Errorf("the addresses of pool don't take turns: %v", seen)
	}
	if got := r.asked.Load(); got != before {
		t.Errorf("%d questions for names that are known went out", got-before)
	}
	if got := c.dig("secret"); got != "NXDOMAIN" || r.asked.Load() != before+1 {
		t.Errorf("a name of another network: %q, asked %d times", got, r.asked.Load()-before)
	}
	put(t, filepath.Join(c.dir, "blue/names"), "new", "10.1.0.77 fresh")
	if got := c.dig("fresh"); got != "NOERROR | A 10.1.0.77" {
		t.Errorf("a new container: %q", got)
	}
	put(t, filepath.Join(c.dir, "blue/names"), "new", "")
	if got := c.dig("fresh"); got != "NXDOMAIN" {
		t.Errorf("a container that has left: %q", got)
	}
}

// Many containers with one alias: what has no room in a datagram comes by TCP.
func TestManyAddresses(t *testing.T) {
	if !fresh(t) {
		return
	}
	files := map[string]string{"blue/a": "10.1.9.9 web"}
	for i := range 250 {
		files[fmt.Sprintf("blue/n%d", i)] = fmt.Sprintf("10.1.0.%d c%d pool", i, i)
	}
	c := start(t, files, "")
	if got := strings.Count(c.dig("pool"), "A 10.1.0."); got != 250 {
		t.Errorf("dig pool: %d addresses of 250", got)
	}
	if got := strings.Count(c.dig("pool", "+ignore", "+noedns"), "A 10.1.0."); got < 25 || got > 31 {
		t.Errorf("dig pool +ignore +noedns: %d addresses", got)
	}
}

func TestForward(t *testing.T) {
	if !fresh(t) {
		return
	}
	good := upstreamAt(t, "127.0.0.2", honest)
	sh(t, "ip addr add fd99::1/128 dev lo nodad")
	upstreamAt(t, "fd99::1", honest)
	upstreamAt(t, "127.0.0.3", func([]byte, bool) [][]byte { return nil }) // is silent
	upstreamAt(t, "127.0.0.4", func(q []byte, _ bool) [][]byte {
		id, name := slices.Clone(says(q, codeOK, 5)), says(question(t, "other.", dnsmessage.TypeA, 0), codeOK, 5)
		id[0]++
		copy(name, q[:2])
		return [][]byte{id, name, []byte("garbage"), nil, q, {0xff}, says(q, codeOK, 1)}
	})
	upstreamAt(t, "127.0.0.5", func(q []byte, _ bool) [][]byte { return [][]byte{says(q, codeRefused, 0)} })
	upstreamAt(t, "127.0.0.6", func(q []byte, _ bool) [][]byte { return [][]byte{[]byte("garbage that is long enough")} })
	const found = "NOERROR | A 192.0.2.0"
	for _, row := range []struct {
		name, resolv, ask, want string
		within                  time.Duration
	}{
		{"good", "nameserver 127.0.0.2", "www.example", found, time.Second},
		{"IPv6", "nameserver fd99::1", "www.example", found, time.Second},
		{"no name", "nameserver 127.0.0.2", "none.example", "NXDOMAIN", time.Second},
		{"by TCP", "nameserver 127.0.0.2", "www.example +tcp", found, time.Second},
		{"use-vc", "nameserver 127.0.0.2\noptions use-vc", "www.example", found, time.Second},
		{"silent, then good", "nameserver 127.0.0.3\nnameserver 127.0.0.2\noptions timeout:1", "www.example", found, 2 * time.Second},
		{"nobody there, then good", "nameserver 127.0.0.9\nnameserver 127.0.0.2", "www.example", found, time.Second},
		{"nobody there, by TCP", "nameserver 127.0.0.9\nnameserver 127.0.0.2", "www.example +tcp", found, time.Second},
		{"refuses, then good", "nameserver 127.0.0.5\nnameserver 127.0.0.2", "www.example", found, time.Second},
		{"refuses", "nameserver 127.0.0.5", "www.example", "REFUSED", time.Second},
		{"lies, then says the truth", "nameserver 127.0.0.4", "www.example", found, time.Second},
		{"garbage", "nameserver 127.0.0.6\noptions timeout:1", "www.example", "SERVFAIL", 2 * time.Second},
		{"garbage by TCP", "nameserver 127.0.0.6", "www.example +tcp", "SERVFAIL", time.Second},
		{"silent", "nameserver 127.0.0.3\noptions timeout:1", "www.example", "SERVFAIL", 2 * time.Second},
		{"silent by TCP", "nameserver 127.0.0.3\noptions timeout:1", "www.example +tcp", "SERVFAIL", 2 * time.Second},
		{"nobody there", "nameserver 127.0.0.9", "www.example", "SERVFAIL", time.Second},
		{"no way there", "nameserver 203.0.113.1", "www.example", "SERVFAIL", time.Second},
		{"no file", "", "www.example", "SERVFAIL", time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := start(t, some, row.resolv)
			begin := time.Now()
			if got := c.dig(strings.Fields(row.ask)...); got != row.want {
				t.Errorf("dig %s = %q, want %q", row.ask, got, row.want)
			}
			if took := time.Since(begin); took > row.within+2*time.Second { // a busy machine
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("large", func(t *testing.T) {
		c := start(t, some, "nameserver 127.0.0.2")
		if got := strings.Count(c.dig("large.example"), "A 192.0.2."); got != 200 {
			t.Errorf("%d addresses of 200", got)
		}
	})
	t.Run("changed", func(t *testing.T) {
		c := start(t, some, "nameserver 127.0.0.9")
		if err := os.WriteFile(c.resolv, []byte("# another network\nnameserver 127.0.0.2\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := c.dig("www.example"); got != found {
			t.Errorf("after resolv.conf has changed: %q", got)
		}
	})
	t.Run("--dns", func(t *testing.T) {
		if got := start(t, some, "nameserver 127.0.0.9", "127.0.0.2").dig("www.example"); got != found {
			t.Error(got)
		}
	})
	t.Run("internal", func(t *testing.T) {
		c := start(t, map[string]string{"blue/a": "10.1.0.2 web"}, "nameserver 127.0.0.2")
		put(t, filepath.Join(c.dir, "blue"), "network.json", "{\n  \"internal\": true\n}")
		before := good.asked.Load()
		if got := c.dig("www.example"); got != "NXDOMAIN" || good.asked.Load() != before {
			t.Errorf("%q, asked %d times", got, good.asked.Load()-before)
		}
		if got := c.dig("web"); got != "NOERROR | A 10.1.0.2" {
			t.Error(got)
		}
	})
}

// As many questions as one likes: those that have no room fail at once, names
// that are known are still answered, and no thread waits for any.
func TestManyInFlight(t *testing.T) {
	if !fresh(t) {
		return
	}
	upstreamAt(t, "127.0.0.3", func([]byte, bool) [][]byte { return nil })
	c := start(t, some, "nameserver 127.0.0.3\noptions timeout:30 attempts:1\n")
	conn := c.in("udp")
	before := threads(t)
	for i := range 3 * maxPending {
		msg := question(t, fmt.Sprintf("n%d.example.", i), dnsmessage.TypeA, 0)
		binary.BigEndian.PutUint16(msg, uint16(i))
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 { // the socket's buffer is finite
			if got := c.dig("www"); got != "NOERROR | A 10.1.0.2" {
				t.Fatal(got)
			}
		}
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	refused, b := 0, make([]byte, 512)
	for range 2 * maxPending {
		n, err := conn.Read(b)
		if err != nil || n < headerSize || b[3]&maskCode != codeFailure {
			t.Fatalf("after %d: %x, %v", refused, b[:n], err)
		}
		refused++
	}
	if now := threads(t); now > before+4 {
		t.Errorf("%d threads, before %d", now, before)
	}
}

func threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestTCPClients(t *testing.T) {
	if !fresh(t) {
		return
	}
	upstreamAt(t, "127.0.0.2", honest)
	c := start(t, some, "nameserver 127.0.0.2\n")
	ask := func(name string) []byte {
		m := question(t, name, dnsmessage.TypeA, 0)
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	// Half a question, byte by byte, and two in one piece; known ones and others.
	conn := c.in("tcp")
	all := slices.Concat(ask("www."), ask("www.example."), ask("db.blue."), ask("none.example."))
	for _, part := range [][]byte{all[:1], all[1:9], all[9:]} {
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for _, want := range []string{"1 0", "1 0", "1 0", "0 3"} {
		head := make([]byte, 2)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(conn, msg); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(binary.BigEndian.Uint16(msg[6:]), msg[3]&maskCode); got != want {
			t.Errorf("answers and code: %s, want %s", got, want)
		}
	}
	// Those who only hold the line, or speak nonsense, keep nobody else away for long.
	for range maxConns + 5 {
		c.in("tcp")
	}
	if got := c.dig("www"); got != "NOERROR | A 10.1.0.2" {
		t.Errorf("by UDP, with all connections taken: %q", got)
	}
	bad := c.in("tcp")
	bad.Write([]byte{0xff, 0xff})
	bad.SetReadDeadline(time.Now().Add(15 * time.Second))
	if _, err := bad.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection with nonsense stays open")
	}
}

// The host's name server asks the container again, as one does that runs in it: a question goes round until there is no
// room for another, and then there is no answer. Names that are known are answered all the while.
func TestLoop(t *testing.T) {
	if !fresh(t) {
		return
	}
	c := start(t, some, "nameserver 127.0.0.7\noptions timeout:5")
	u, err := net.ListenPacket("udp", "127.0.0.7:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	back := make(chan net.Conn, 1000) // into the container; each is for one question
	for range cap(back) {
		back <- c.in("udp")
	}
	var asked atomic.Int32
	go func() {
		for b := make([]byte, 4096); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			asked.Add(1)
			q := slices.Clone(b[:n])
			go func() {
				conn := <-back
				answer := make([]byte, 4096)
				_, _ = conn.Write(q)
				if n, err := conn.Read(answer); err == nil {
					_, _ = u.WriteTo(answer[:n], from)
				}
			}()
		}
	}()
	if got := c.dig("www.example"); got != "SERVFAIL" {
		t.Errorf("a question that goes round: %q", got)
	}
	if n := asked.Load(); n < 2 || n > 2*maxPending {
		t.Errorf("it went round %d times", n)
	}
	if got, want := c.dig("web"), "NOERROR | A "; !strings.HasPrefix(got, want) {
		t.Errorf("a name that is known: %q", got)
	}
}

// Every third packet to and from the host's name servers is lost.
func TestLoss(t *testing.T) {
	if !fresh(t) {
		return
	}
	upstreamAt(t, "127.0.0.2", honest)
	sh(t, "nft 'create table inet loss; create chain inet loss in { type filter hook input priority 0; }; add rule inet loss in meta l4proto udp th dport 53 numgen inc mod 3 < 1 drop; add rule inet loss in meta l4proto udp th sport 53 numgen inc mod 3 < 1 drop'")
	c := start(t, some, "nameserver 127.0.0.2\noptions timeout:2 attempts:5")
	for i := range 10 {
		if got := c.dig(fmt.Sprintf("n%d.example", i)); got != "NOERROR | A 192.0.2.0" {
			t.Errorf("question %d: %q", i, got)
		}
	}
	if out := sh(t, "nft list ruleset"); !strings.Contains(out, "numgen") {
		t.Errorf("no packet was lost: %s", out)
	}
}

// The C library's own resolver: search domains, ndots, both families.
func TestLibc(t *testing.T) {
	if !fresh(t) {
		return
	}
	upstreamAt(t, "127.0.0.53", func(q []byte, _ bool) [][]byte {
		if p, _, _ := parseQuery(q); p.name == "host.corp.example" {
			return [][]byte{says(q, codeOK, 1)}
		}
		return [][]byte{says(q, codeNoName, 0)}
	})
	c := start(t, some, "nameserver 127.0.0.53\n")
	// Without an address of a family the C library doesn't ask for it.
	sh(t, fmt.Sprintf("nsenter -t %d -n sh -euc 'ip link add e0 type veth peer name e1; ip link set e0 up; ip link set e1 up; "+
		"ip addr add 10.1.0.2/24 dev e0; ip addr add fd00::2/64 dev e0 nodad'", c.pid))
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	getent := func(args string) string {
		out, _ := exec.Command("nsenter", "-t", fmt.Sprint(c.pid), "-n", "unshare", "-m", "--propagation", "unchanged", "sh", "-c",
			"mount --bind "+resolv+" /etc/resolv.conf && getent "+args).CombinedOutput()
		return strings.Join(strings.Fields(string(out)), " ")
	}
	if got := getent("ahostsv4 db.blue"); strings.Contains(got, "mount") {
		t.Skipf("needs CAP_SYS_ADMIN to mount: %s", got)
	}
	for args, want := range map[string]string{
		"hosts db.blue":           "10.1.0.3 db.blue",
		"ahostsv6 www":            "fd00::2 STREAM www",
		"hosts host":              "192.0.2.0 host.corp.example",
		"hosts nobody":            "",
		"hosts 10.1.0.3":          "10.1.0.3 db.blue",
		"hosts bbbb":              "10.1.0.3 bbbb",
		"ahostsv4 DB.EXAMPLE.ORG": "10.1.0.3 STREAM DB.EXAMPLE.ORG",
	} {
		if got := getent(args); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("getent %s = %q, want %q", args, got, want)
		}
	}
}
