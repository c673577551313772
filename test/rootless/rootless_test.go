// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is vitro as the user has it, in a test.
type machine struct {
	t      *testing.T
	root   string
	uplink string
}

func start(t *testing.T, uplink string) *machine {
	t.Helper()
	if b, err := os.ReadFile("/proc/sys/user/max_net_namespaces"); err != nil || strings.TrimSpace(string(b)) == "0" {
		t.Skip("needs network namespaces for ordinary users")
	}
	dir, err := os.MkdirTemp(os.Getenv("HOME"), "root.")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, root: dir, uplink: uplink}
	t.Cleanup(m.end)
	return m
}

// end ends all containers, and looks at what is left.
func (m *machine) end() {
	if ids := strings.Fields(m.must("ps", "-aq")); len(ids) > 0 {
		m.must(append([]string{"rm", "-f"}, ids...)...)
	}
	m.must("network", "prune", "-f")
	pid := m.net()
	for end := time.Now().Add(time.Minute); pid != 0 && unix.Kill(pid, 0) == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Errorf("vitro-net (%d) goes on without containers", pid)
			break
		}
	}
	if left, _ := filepath.Glob(m.root + "/network/*"); len(left) > 0 {
		m.t.Errorf("networks are left: %s", left)
	}
	if log, _ := os.ReadFile(m.root + "/usernet/log"); len(log) > 0 {
		m.t.Errorf("vitro-net says: %s", log)
	}
	for _, id := range strings.Fields(m.must("images", "-q", "--no-trunc")) {
		m.must("rmi", "-f", id)
	}
}

func (m *machine) vitro(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(filepath.Join(os.Getenv("VITRO_ROOTLESS_BIN"), "vitro"), append([]string{"--root", m.root}, args...)...)
	cmd.Env = append(os.Environ(), "VITRO_UPLINK="+m.uplink)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()
	return strings.TrimSpace(out.String()), words.String(), err
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, words, err := m.vitro(args...)
	if err != nil {
		m.t.Fatalf("vitro %s: %v\n%s%s", strings.Join(args, " "), err, out, words)
	}
	return out
}

// refused is what a command says that is refused.
func (m *machine) refused(args ...string) string {
	m.t.Helper()
	out, words, err := m.vitro(args...)
	if err == nil {
		m.t.Fatalf("vitro %s: is not refused: %s", strings.Join(args, " "), out)
	}
	return words
}

// helper are the flags by which a container can run this program, also if it
// is not static.
func helper(what string) []string {
	self := filepath.Join(os.Getenv("VITRO_ROOTLESS_DIR"), "helper")
	flags := []string{"-v", self + ":/helper:ro", "-e", stage + "=" + what}
	for _, lib := range [...]string{"/lib", "/lib64", "/usr/lib"} {
		if st, err := os.Stat(lib); err == nil && st.IsDir() {
			flags = append(flags, "-v", lib+":"+lib+":ro")
		}
	}
	return flags
}

func (m *machine) server(name, proto string, flags ...string) {
	m.t.Helper()
	args := append([]string{"run", "-d", "--name", name}, helper("serve "+proto+" 80")...)
	m.must(append(append(args, flags...), "busybox", "/helper")...)
}

// in asks from a container.
func (m *machine) in(what string, flags ...string) string {
	m.t.Helper()
	args := append([]string{"run", "--rm"}, helper("ask "+what)...)
	out, words, _ := m.vitro(append(append(args, flags...), "busybox", "/helper")...)
	return out + words
}

// until asks until the answer is as it should be: a server may not be up yet.
func until(t *testing.T, want, what string, f func() string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = f(); got == want {
			return
		}
	}
	t.Errorf("%s: %q, want %q", what, got, want)
}

// here asks from the host.
func here(what string) func() string {
	return func() string {
		text, err := ask(strings.Fields(what)...)
		if err != nil {
			return err.Error()
		}
		return text
	}
}

var beyond = bufio.NewScanner(os.NewFile(3, "world"))

// there asks from the world.
func there(what string) func() string {
	return func() string {
		if _, err := fmt.Fprintln(os.NewFile(uintptr(dup(3)), "world"), what); err != nil || !beyond.Scan() {
			return "the world is gone"
		}
		return beyond.Text()
	}
}

func dup(fd int) int {
	fd, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
	return fd
}

// net is the process that holds the networks, 0 if there is none.
func (m *machine) net() int {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range dirs {
		b, _ := os.ReadFile(f)
		if args := strings.Split(string(b), "\x00"); len(args) > 2 && args[0] == "vitro-net" && args[2] == m.root {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

// beside is the process beside a container.
func (m *machine) beside(name string) int {
	m.t.Helper()
	id := m.must("inspect", "--format", "{{.Id}}", name)
	b, err := os.ReadFile(filepath.Join(m.root, "containers", id, "monitor"))
	if err != nil {
		m.t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (m *machine) kill(pid int) {
	m.t.Helper()
	if pid <= 1 {
		m.t.Fatal("nobody to kill")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
	}
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q has no %q", text, p)
		}
	}
}

func TestTraffic(t *testing.T) { traffic(t, "builtin") }

func TestTrafficByPasta(t *testing.T) {
	if _, err := exec.LookPath("pasta"); err != nil {
		t.Skip("needs pasta(1)")
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs /dev/net/tun, for everybody:", err)
	}
	tun.Close()
	traffic(t, "pasta")
}

func traffic(t *testing.T, uplink string) {
	m := start(t, uplink)
	const gateway = "10.78.0.1"
	m.must("network", "create", "--subnet", "10.78.0.0/24", "web")
	m.server("tcp", "tcp", "--network", "web", "-p", "8080:80")
	m.server("udp", "udp", "--network", "web", "-p", "8081:80/udp")
	for _, p := range [...][2]string{{"tcp", "8080"}, {"udp", "8081"}} {
		proto, port := p[0], p[1]
		until(t, gateway, proto+" from the host's loopback", here(proto+" 127.0.0.1:"+port))
		until(t, hostAddress, proto+" from the host", here(proto+" "+hostAddress+":"+port))
		until(t, worldAddress, proto+" from the world", there(proto+" "+hostAddress+":"+port))
		if got := m.in(proto + " " + worldAddress + ":" + worldPort); got != hostAddress {
			t.Errorf("%s to the world is seen as %q, want the host's address", proto, got)
		}
		name := m.in(proto+" "+proto+":80", "--network", "web")
		if ip := net.ParseIP(name); ip == nil || name == gateway {
			t.Errorf("%s by name: %q", proto, name)
		}
	}
	refusal := "refused"
	if uplink == "pasta" {
		refusal = "dial tcp" // of 2023 it says nothing to who is refused
	}
	has(t, m.in("tcp "+worldAddress+":9"), refusal)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, a := range [...]string{"169.254.77.1", gateway} {
		if got := m.in("tcp " + a + ":" + port); !strings.Contains(got, refusal) {
			t.Errorf("the host's loopback by %s: %q", a, got)
		}
	}
	m.must("exec", "tcp", "ping", "-c", "1", "-W", "10", worldAddress)
	for _, network := range [...]string{"web", "bridge"} {
		has(t, m.must("run", "--rm", "--network", network, "busybox", "nslookup", "far.example"), answer)
	}
	has(t, m.must("port", "tcp"), "80/tcp -> 0.0.0.0:8080")
	has(t, m.must("stats", "--no-stream", "tcp"), "tcp")
}

func TestTrafficByIPv6(t *testing.T) {
	if !hasIPv6() {
		t.Skip("needs IPv6")
	}
	m := start(t, "builtin")
	const gateway, subnet = "fd78::1", "fd78::/64"
	m.must("network", "create", "--ipv6", "--subnet", "10.78.0.0/24", "--subnet", subnet, "web")
	m.server("tcp", "tcp", "--network", "web:ip6=fd78::8", "-p", "8080:80")
	m.server("udp", "udp", "--network", "web:ip6=fd78::9", "-p", "8081:80/udp")
	m.server("four", "tcp", "-p", "8082:80")
	for _, p := range [...][3]string{{"tcp", "8080", "fd78::8"}, {"udp", "8081", "fd78::9"}} {
		proto, port := p[0], p[1]
		until(t, gateway, proto+" from the host's loopback", here(proto+" [::1]:"+port))
		until(t, hostAddress6, proto+" from the host", here(proto+" ["+hostAddress6+"]:"+port))
		until(t, worldAddress6, proto+" from the world", there(proto+" ["+hostAddress6+"]:"+port))
		until(t, worldAddress, proto+" from the world by IPv4", there(proto+" "+hostAddress+":"+port))
		for _, to := range [...]string{worldAddress6 + "]:" + worldPort, hostAddress6 + "]:" + port} {
			if got := m.in(proto+" ["+to, "--network", "web"); net.ParseIP(strings.TrimSpace(got)) == nil {
				t.Errorf("%s from a container to [%s: %q", proto, to, got)
			}
		}
		if got := m.in(proto+" ["+p[2]+"]:80", "--network", "web:ip6=fd78::7"); strings.TrimSpace(got) != "fd78::7" {
			t.Errorf("%s from container to container: %q", proto, got)
		}
	}
	if got := here("tcp [::1]:8082")(); net.ParseIP(got) == nil {
		t.Errorf("a container without IPv6, by ::1: %q", got)
	}
	m.must("exec", "tcp", "ping6", "-c", "1", "-W", "10", "udp")
	has(t, m.refused("run", "--rm", "--network", "web", "-p", "9000:80/sctp", "busybox", "true"), "sctp", "tcp and udp")
}

func TestConnect(t *testing.T) {
	m := start(t, "builtin")
	m.must("network", "create", "--subnet", "10.77.0.0/24", "web")
	m.must("run", "-d", "--name", "one", "busybox", "sleep", "1000")
	m.server("two", "tcp", "--network", "web")
	m.must("network", "connect", "--ip", "10.77.0.9", "web", "one")
	has(t, m.must("exec", "one", "ip", "address"), "10.77.0.9/24")
	has(t, m.refused("network", "rm", "web"), "2 containers are on it", "vitro network disconnect web")
	m.must("network", "disconnect", "web", "one")
	if got := m.must("exec", "one", "ip", "address"); strings.Contains(got, "10.77.0.9") {
		t.Errorf("still connected: %s", got)
	}
	for _, format := range []string{"text", "svg", "json"} {
		has(t, m.must("network", "map", "--format", format), hostAddress+"/24", worldAddress, "10.77.0.1/24", "out0", "one", "two")
	}
	has(t, m.must("explain", "run", "--as", "sh", "busybox", "true"), "# note: network: loopback only: vitro run has the container made in the namespace")
	has(t, m.refused("create", "--network", "web:ip=10.9.9.9", "busybox", "true"), "no container's address in 10.77.0.0/24")
	m.must("create", "--name", "three", "--network", "web", "-p", "8081:80", "busybox", "sleep", "1000")
	m.must("network", "disconnect", "web", "three")
	m.must("network", "connect", "--ip", "10.77.0.7", "web", "three")
	m.must("start", "three")
	has(t, m.must("exec", "three", "ip", "address"), "10.77.0.7/24")
	m.must("rm", "-f", "one", "two", "three")
	m.must("network", "rm", "web")
}

func TestPorts(t *testing.T) {
	m := start(t, "builtin")
	m.server("web", "tcp", "-p", "8080:80")
	has(t, m.refused("run", "--rm", "-p", "8080:80", "busybox", "true"), `publish port 8080/tcp: it is taken by container "web"`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	has(t, m.refused("run", "--rm", "-p", port+":80", "busybox", "true"), "it is taken by process "+strconv.Itoa(os.Getpid()))
	has(t, m.refused("run", "--rm", "-p", "80:80", "busybox", "true"), "permission denied", "sysctl net.ipv4.ip_unprivileged_port_start=80")
	has(t, m.refused("run", "--rm", "-p", "9000:80/sctp", "busybox", "true"), "tcp and udp")
	m.must("rm", "-f", "web")
	// The port is free at once, and so it is when the container starts anew.
	m.server("web", "tcp", "-p", "8080:80", "-p", "80")
	until(t, hostAddress, "first", here("tcp "+hostAddress+":8080"))
	m.must("restart", "web")
	until(t, hostAddress, "after a restart", here("tcp "+hostAddress+":8080"))
}

func TestKilled(t *testing.T) {
	m := start(t, "builtin")
	m.server("web", "tcp", "-p", "8080:80")
	port := here("tcp " + hostAddress + ":8080")
	until(t, hostAddress, "at first", port)

	m.kill(m.beside("web"))
	until(t, hostAddress, "without the process beside it", port)
	has(t, m.must("ps"), "Up")
	until(t, hostAddress, "with a new one", port)

	m.kill(m.net())
	if _, err := ask("tcp", hostAddress+":8080"); err == nil {
		t.Error("there is an answer without vitro-net")
	}
	has(t, m.must("ps"), "Up")
	until(t, hostAddress, "with a new vitro-net", port)
	m.must("exec", "web", "ping", "-c", "1", "-W", "10", worldAddress)

	networks, beside := m.net(), m.beside("web")
	m.kill(networks)
	m.kill(beside)
	_, words, err := m.vitro("ps")
	if err != nil {
		t.Fatal(err)
	}
	has(t, words, "cut off are", "vitro restart web")
	m.must("restart", "web")
	until(t, hostAddress, "after both were killed, and a restart", port)
}
