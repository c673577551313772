// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// needBridge skips what a bridge of the machine takes.
func needBridge(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a bridge")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
}

// must runs a command and returns what it prints.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s %q: %v: %s%s", name, args, err, out, stderr)
	}
	return strings.TrimSpace(string(out))
}

// newNetwork creates a network that goes with the test. Its bridge has a name that no other test's state folder takes meanwhile.
func newNetwork(t *testing.T, name string, flags ...string) {
	t.Helper()
	must(t, "vitro", append(append([]string{"network", "create", "--opt", "bridge=br-" + name}, flags...), name)...)
	t.Cleanup(func() { must(t, "vitro", "network", "rm", name) })
}

// fetch asks a web server until it answers, for some seconds.
func fetch(t *testing.T, url string) (out string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text, err := exec.Command("curl", "-sS", "-m", "5", url).CombinedOutput()
		if out = string(text); err == nil {
			return out
		}
	}
	t.Fatalf("no answer from %s: %s", url, out)
	return ""
}

// Debian's nginx, in a root file system of Debian's, as books have it.
func TestNginx(t *testing.T) {
	t.Parallel()
	needBridge(t, "nginx", "curl")
	id := detached(t, "-p", "8080:80", "--tmpfs", "/var/log/nginx", "--tmpfs", "/var/lib/nginx", "--rootfs", "/:O",
		"sh", "-c", "echo hello from nginx >/var/www/html/index.html; exec nginx -g 'daemon off;'")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
		if got := fetch(t, "http://"+host+":8080/"); got != "hello from nginx\n" {
			t.Errorf("%s: %q", host, got)
		}
	}
	must(t, "vitro", "restart", "-t", "1", id)
	if got := fetch(t, "http://127.0.0.1:8080/"); got != "hello from nginx\n" {
		t.Errorf("after a restart: %q", got)
	}
	if out := must(t, "vitro", "port", id); out != "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080" {
		t.Errorf("vitro port: %q", out)
	}
	if out := must(t, "vitro", "ps", "--filter", "id="+id, "--format", "{{.Ports}}"); out != "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" {
		t.Errorf("vitro ps: %q", out)
	}
	out, err := exec.Command("vitro", "run", "--rm", "-p", "8080:80", "busybox", "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "publish port 8080/tcp: it is taken by container") {
		t.Errorf("a second one on 8080: %v: %s", err, out)
	}
}

// addresses are what ip(8) shows in a container's network namespace: by link.
func addresses(t *testing.T, id string) map[string]string {
	t.Helper()
	var links []struct {
		Ifname   string
		AddrInfo []struct {
			Family, Local string
			Prefixlen     int
		} `json:"addr_info"`
	}
	text := must(t, "nsenter", "-t", fmt.Sprint(state(t, id)), "-n", "ip", "-j", "addr")
	if err := json.Unmarshal([]byte(text), &links); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, l := range links {
		for _, a := range l.AddrInfo {
			if a.Family == "inet" {
				all[l.Ifname] = fmt.Sprintf("%s/%d", a.Local, a.Prefixlen)
			}
		}
	}
	delete(all, "lo")
	return all
}

// A container is joined to a further network, and taken off both, while it runs and while it doesn't.
func TestConnect(t *testing.T) {
	t.Parallel()
	needBridge(t, "ip", "nsenter")
	newNetwork(t, "one", "--subnet", "10.77.1.0/24")
	newNetwork(t, "two", "--subnet", "10.77.2.0/24", "--label", "a=b")
	id := detached(t, "--network", "one:ip=10.77.1.9,interface_name=first,alias=x", "busybox", "sleep", "1000")
	check := func(what, want string) {
		t.Helper()
		if got := fmt.Sprint(addresses(t, id)); got != want {
			t.Errorf("%s: addresses %s, want %s", what, got, want)
		}
	}
	check("run", "map[first:10.77.1.9/24]")
	must(t, "vitro", "network", "connect", "--ip", "10.77.2.8", "two", id)
	check("connect", "map[eth0:10.77.2.8/24 first:10.77.1.9/24]")
	if out, err := exec.Command("vitro", "network", "connect", "two", id).CombinedOutput(); err == nil || !strings.Contains(string(out), "it is on it already") {
		t.Errorf("connect twice: %v: %s", err, out)
	}
	if out, err := exec.Command("vitro", "network", "rm", "two").CombinedOutput(); err == nil || !strings.Contains(string(out), `remove network "two": 1 containers are on it`) {
		t.Errorf("remove while in use: %v: %s", err, out)
	}
	if out, err := exec.Command("vitro", "run", "--rm", "--network", "two", "--ip", "10.77.2.8", "busybox", "true").CombinedOutput(); err == nil || !strings.Contains(string(out), "use address 10.77.2.8 in network \"two\": container "+id[:12]+" has it") {
		t.Errorf("an address that is taken: %v: %s", err, out)
	}
	must(t, "vitro", "network", "disconnect", "one", id)
	check("disconnect", "map[eth0:10.77.2.8/24]")
	if out := must(t, "nsenter", "-t", fmt.Sprint(state(t, id)), "-n", "ip", "route", "show", "default"); !strings.HasPrefix(out, "default via 10.77.2.1 dev eth0") {
		t.Errorf("the way out after disconnect: %q", out)
	}
	if out, err := exec.Command("ip", "route", "show", "10.77.1.0/24").Output(); err != nil || len(out) != 0 {
		t.Errorf("network one is up without a container: %s, %v", out, err)
	}
	must(t, "vitro", "network", "connect", "one", id)
	check("connect again", "map[eth0:10.77.2.8/24 eth1:10.77.1.2/24]")

	// It stays so, and a container that doesn't run is joined for its next start.
	must(t, "vitro", "restart", "-t", "0", id)
	check("restart", "map[eth0:10.77.2.8/24 eth1:10.77.1.2/24]")
	networks := func(want string) {
		t.Helper()
		if got := must(t, "vitro", "ps", "-a", "--filter", "id="+id, "--format", "{{.Networks}}"); got != want {
			t.Errorf("vitro ps: networks %q, want %q", got, want)
		}
	}
	must(t, "vitro", "stop", "-t", "0", id)
	must(t, "vitro", "network", "disconnect", "one", id)
	must(t, "vitro", "network", "disconnect", "two", id)
	networks("")
	for _, bad := range [][]string{{"disconnect", "two", id}, {"connect", "none-such", id}, {"connect", "--ip", "10.9.9.9", "one", id}} {
		if out, err := exec.Command("vitro", append([]string{"network"}, bad...)...).CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "vitro: error: ") {
			t.Errorf("network %q: %v: %s", bad, err, out)
		}
	}
	must(t, "vitro", "start", id)
	check("on none", "map[]")
	must(t, "vitro", "stop", "-t", "0", id)
	must(t, "vitro", "network", "connect", "--ip", "10.77.1.7", "--alias", "y", "one", id)
	networks("one")
	must(t, "vitro", "start", id)
	check("connected before its start", "map[eth0:10.77.1.7/24]")
}

// A connection by ::1 lasts from the container's first moment on: while the process beside the container changes its
// program, and for as long as that lives. The one that comes after it carries the port as well.
func TestPortOfIPv6(t *testing.T) {
	t.Parallel()
	needBridge(t)
	id := detached(t, "-p", "8090:80", "-p", "8090:80/udp", "busybox", "nc", "-ll", "-p", "80", "-e", "cat")
	dial := func() net.Conn {
		return eventually(t, "a connection to [::1]:8090", func() (net.Conn, bool) {
			c, err := net.Dial("tcp", "[::1]:8090")
			if err != nil {
				return nil, false
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err = c.Write([]byte("hello")); err == nil {
				_, err = io.ReadFull(c, make([]byte, 5))
			}
			if err != nil {
				c.Close()
			}
			return c, err == nil
		})
	}
	echo := func(c net.Conn, what string) {
		t.Helper()
		want, got := bytes.Repeat([]byte("0123456789"), 100_000), make([]byte, 1_000_000)
		go func() { _, _ = c.Write(want) }()
		if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d have come back, %v", what, n, len(want), err)
		}
	}
	c := dial()
	defer c.Close()
	for range 20 {
		echo(c, "while the program changes")
	}
	monitor, err := strconv.Atoi(file(id, "monitor"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the smaller program", func() (bool, bool) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", monitor))
		return true, strings.HasSuffix(exe, "vitro-oci")
	})
	echo(c, "in the smaller program")
	if err := syscall.Kill(monitor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	must(t, "vitro", "system", "check")
	again := dial()
	defer again.Close()
	echo(again, "after another process has taken over")
	must(t, "vitro", "restart", "-t", "0", id)
	third := dial()
	defer third.Close()
	echo(third, "after a restart, with connections of before that are not forgotten yet")
}

// Published ports go with the container from one of its networks to the next, as with Docker, and wait where it has none that could have them.
func TestPortsMove(t *testing.T) {
	t.Parallel()
	needBridge(t, "curl", "nft")
	for _, n := range [][]string{{"move1", "--subnet", "10.77.11.0/24"}, {"move2", "--subnet", "10.77.12.0/24", "--internal"}, {"move3", "--subnet", "10.77.13.0/24", "--ipv6"}} {
		newNetwork(t, n[0], n[1:]...)
	}
	id := detached(t, "--network", "move1", "--network", "move2", "-p", "8091:80", "busybox", "sh", "-c", "mkdir /w; echo here >/w/index.html; exec httpd -f -h /w")
	answers := func(what string) {
		t.Helper()
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			if got := fetch(t, "http://"+host+":8091/"); got != "here\n" {
				t.Errorf("%s: %s: %q", what, host, got)
			}
		}
		if out := must(t, "vitro", "port", id); out != "80/tcp -> 0.0.0.0:8091\n80/tcp -> [::]:8091" {
			t.Errorf("%s: vitro port: %q", what, out)
		}
	}
	silent := func(what string) {
		t.Helper()
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			if out, err := exec.Command("curl", "-sS", "-m", "5", "http://"+host+":8091/").CombinedOutput(); err == nil {
				t.Errorf("%s: %s answers: %s", what, host, out)
			}
		}
		if out := must(t, "vitro", "port", id); out != "" {
			t.Errorf("%s: vitro port: %q", what, out)
		}
		if l, err := net.Listen("tcp4", ":8091"); err == nil {
			l.Close()
			t.Errorf("%s: somebody else gets the port", what)
		}
	}
	answers("run")
	must(t, "vitro", "network", "connect", "move3", id)
	answers("a further network")
	must(t, "vitro", "network", "disconnect", "move1", id)
	answers("the first has gone")
	must(t, "vitro", "network", "disconnect", "move3", id)
	silent("only an internal one is left")
	must(t, "vitro", "network", "connect", "move1", id)
	answers("another comes")
	must(t, "vitro", "network", "disconnect", "move1", id)
	must(t, "vitro", "network", "disconnect", "move2", id)
	silent("none is left")
	must(t, "vitro", "network", "connect", "move3", id)
	answers("one comes")
	must(t, "vitro", "stop", "-t", "0", id)
	if l, err := net.Listen("tcp", ":8091"); err != nil {
		t.Errorf("the port isn't given back: %v", err)
	} else {
		l.Close()
	}
	if out := must(t, "nft", "list", "ruleset"); strings.Contains(out, "8091") {
		t.Errorf("rules are left: %s", out)
	}
}

// A network has an ID that stays, and goes by the beginning of it, as with Docker.
func TestNetworkIDs(t *testing.T) {
	t.Parallel()
	needBridge(t)
	newNetwork(t, "ids", "--subnet", "10.77.21.0/24", "--label", "a=b", "--ipv6")
	id := must(t, "vitro", "network", "inspect", "-f", "{{.Id}}", "ids")
	if len(id) != 64 {
		t.Fatalf("ID %q", id)
	}
	c := detached(t, "--network", id[:12], "--name", "ids1", "-p", "127.0.0.1:48099:80", "-p", "70-71/udp", "busybox", "sleep", "1000")
	endpoint := must(t, "vitro", "inspect", "-f", "{{.NetworkSettings.Networks.ids.EndpointID}}", c)
	for _, q := range []struct {
		want string
		args []string
	}{
		{id, []string{"inspect", "-f", "{{.NetworkSettings.Networks.ids.NetworkID}}", c}},
		{id, []string{"network", "ls", "--no-trunc", "--filter", "name=ids", "--format", "{{.ID}}"}},
		{id[:12], []string{"network", "ls", "-q", "--filter", "name=ids"}},
		{"ids 10.77.21.0/24", []string{"network", "inspect", "-f", "{{.Name}} {{(index .IPAM.Config 0).Subnet}}", id[:5]}},
		{"ids1 " + endpoint + " 10.77.21.2/24 b", []string{"network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{.EndpointID}} {{.IPv4Address}}{{end}} {{.Labels.a}}", id}},
		{`{"70/udp":[{"HostIp":"","HostPort":""}],"71/udp":[{"HostIp":"","HostPort":""}],"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"48099"}]}`,
			[]string{"inspect", "-f", "{{json .HostConfig.PortBindings}}", c}},
		{c[:12], []string{"ps", "-q", "--filter", "network=" + id[:10]}},
		{"", []string{"network", "disconnect", id[:12], "ids1"}},
		{"", []string{"network", "connect", id[:12], "ids1"}},
	} {
		if got := must(t, "vitro", q.args...); got != q.want {
			t.Errorf("vitro %q: %q, want %q", q.args, got, q.want)
		}
	}
	out, err := exec.Command("vitro", "network", "rm", id[:12]).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "1 containers are on it") {
		t.Errorf("remove by ID while in use: %v: %s", err, out)
	}
	if len(endpoint) != 64 || endpoint == id {
		t.Errorf("the ID of the endpoint is %q", endpoint)
	}
}

// Fifty start at once; no two get the same address, and nothing is left.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	needBridge(t)
	newNetwork(t, "fifty", "--subnet", "10.78.0.0/24", "--ipv6")
	const count = 50
	var group sync.WaitGroup
	outs := make([]string, count)
	for i := range count {
		group.Go(func() {
			out, err := exec.Command("vitro", "run", "--rm", "--network", "fifty", "-p", "80", "busybox", "sh", "-c",
				"ip -o addr show eth0 | sed 's/.*inet6* //; s/ .*//' | sort; sleep 1").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			outs[i] = string(out)
		})
	}
	group.Wait()
	members, err := os.ReadDir(st.root + "/network/fifty/leases")
	if err == nil {
		t.Errorf("leases are left: %v", members)
	}
	for _, out := range outs {
		if !strings.Contains(out, "10.78.0.") {
			t.Errorf("a container without an address: %q", out)
		}
	}
}

// TestSameNames: two networks have each a container of one name, and a state
// folder of its own has a network of the same name: who asks gets those of its
// own networks, and who is in both gets both.
func TestSameNames(t *testing.T) {
	t.Parallel()
	needBridge(t)
	left, right := fmt.Sprintf("l%d", os.Getpid()), fmt.Sprintf("r%d", os.Getpid())
	newNetwork(t, left)
	newNetwork(t, right)
	address := func(id string) string {
		return strings.TrimSpace(output(t, "vitro", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id))
	}
	one := address(detached(t, "--network", left+":alias=svc", "busybox", "sleep", "1000"))
	two := address(detached(t, "--network", right+":alias=svc", "busybox", "sleep", "1000"))
	if one == two || one == "" {
		t.Fatalf("the containers have the addresses %q and %q", one, two)
	}
	for want, flags := range map[string][]string{one: {left}, two: {right}, one + " " + two: {left, right}} {
		args := []string{"run", "--rm"}
		for _, n := range flags {
			args = append(args, "--network", n)
		}
		out := must(t, "vitro", append(args, "busybox", "nslookup", "svc")...) + "\n"
		for _, a := range []string{one, two} {
			if strings.Contains(out, a+"\n") != strings.Contains(want, a) {
				t.Errorf("in %v, svc is not %s but\n%s", flags, want, out)
			}
		}
	}
	other := t.TempDir()
	output(t, "vitro", "--root", other, "network", "create", left)
	if a, b := subnet(t, other, left), subnet(t, "", left); a == b {
		t.Errorf("two networks of one name have the subnet %s", a)
	}
	output(t, "vitro", "--root", other, "network", "rm", left)
}

func subnet(t *testing.T, root, network string) string {
	t.Helper()
	args := []string{"network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", network}
	if root != "" {
		args = append([]string{"--root", root}, args...)
	}
	return must(t, "vitro", args...)
}
