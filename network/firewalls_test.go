// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vitro/network"
	"vitro/network/topology"
	"vitro/network/trace"
)

// guarded is a machine on which somebody else's firewall is about to start, with a container whose port is published.
type guarded struct {
	*testing.T
	network    network.Network
	pid, other int
}

// firewallFiles are the folders that the firewalls write to. The machine's own stay as they are.
const firewallFiles = `
mount -t tmpfs tmpfs /run
mkdir /run/lock
for dir in /etc/ufw /etc/default /etc/firewalld /var/log; do
	test -d $dir || continue
	mkdir -p /run/own$dir
	test $dir = /var/log || cp -a $dir/. /run/own$dir
	mount --bind /run/own$dir $dir
done`

func guard(t *testing.T) *guarded {
	t.Helper()
	sh(t, firewallFiles)
	state := t.TempDir()
	g := &guarded{t, create(t, state, network.Definition{Name: "web"}), process(t), world(t)}
	do(t, join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("web"), Ports: ports(t, "8080:80")}), g.pid, -1)
	server(t, g.pid, "80")
	server(t, g.other, "70")
	return g
}

// after does something to the firewall: then it is said as wanted who decides, packets go that way, and our rules are all there.
func (g *guarded) after(script, want string) {
	g.Helper()
	sh(g.T, script)
	if got := decision(g.T, g.network); got != want {
		g.Errorf("after %s: %q, want %q", script, got, want)
	}
	compare(g.T, g.network, g.pid, g.other)
	if fault, err := g.network.Fault(); fault != "" || err != nil {
		g.Errorf("after %s: %s, %v", script, fault, err)
	}
}

// remedy is what a person is told to do.
func (g *guarded) remedy() string {
	g.Helper()
	filters := g.network.Filters(chains(g.T))
	if len(filters) != 1 {
		g.Fatalf("not one, but %v", filters)
	}
	return filters[0].Remedy(g.network)
}

// stops follows a packet from a process: what stops it is said in those words.
func (g *guarded) stops(from int, to, want string) {
	g.Helper()
	m, err := topology.Read(nil)
	if err != nil {
		g.Fatal(err)
	}
	var ns syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/%d/ns/net", from), &ns); err != nil {
		g.Fatal(err)
	}
	res, err := trace.Run(m, trace.Request{To: netip.MustParseAddrPort(to), From: ns.Ino})
	if err != nil {
		g.Fatal(err)
	}
	if got := trace.Explain(res).String(); !strings.Contains(got, want) {
		g.Errorf("no %q in\n%s", want, got)
	}
}

// The real ufw, as it is when it is turned on: it drops what is forwarded.
func TestUFW(t *testing.T) {
	if !freshRoot(t, "ufw") {
		return
	}
	g := guard(t)
	const denies = "ip filter FORWARD ports drop out drop"
	g.after(":", "")
	g.after("ufw --force enable", denies)
	g.stops(g.other, "192.0.2.1:8080", "✗ the policy of chain ip filter FORWARD is to drop")
	g.after(g.remedy()+"; ufw reload", "open")
	g.after(strings.ReplaceAll(network.Filter{By: "ufw"}.Remedy(g.network), "allow", "delete allow")+"; ufw default allow routed", "open")
	g.after("ufw disable", "")
}

// The real firewalld: what is translated passes it, and what containers send does not.
func TestFirewalld(t *testing.T) {
	if !freshRoot(t, "firewalld", "firewall-cmd", "dbus-daemon") {
		return
	}
	g := guard(t)
	// A bus for the two alone, that starts nothing.
	conf := filepath.Join(t.TempDir(), "bus.conf")
	if err := os.WriteFile(conf, []byte(`<busconfig><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/></policy></busconfig>`), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/bus")
	bus := exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--print-address")
	out, err := bus.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runs(t, bus)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("dbus-daemon: %q, %v", line, err)
	}
	daemon := exec.Command("firewalld", "--nofork", "--nopid")
	stop := runs(t, daemon)
	for end := time.Now().Add(30 * time.Second); exec.Command("firewall-cmd", "--state").Run() != nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("firewalld doesn't come up")
		}
	}
	const denies = "inet firewalld filter_FORWARD ports accept out drop; open"
	g.after(":", denies)
	g.stops(g.pid, "192.0.2.2:70", "✗ chain inet firewalld filter_FWD_public ends it by rule ")
	g.stops(g.other, "192.0.2.1:8080", "a rule sends it on: 192.0.2.1:8080 becomes ")
	g.after("firewall-cmd --reload", denies)
	g.after("firewall-cmd --complete-reload", denies)
	g.after("firewall-cmd --set-default-zone=drop", denies)
	g.after(g.remedy(), "open")
	stop()
	g.after(":", "")
}

// runs starts a program, and returns what ends it; the test's end does, too.
func runs(t *testing.T, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }
	t.Cleanup(stop)
	return stop
}
