// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"vitro/test/island"
)

var update = flag.Bool("update", false, "write the golden files anew")

// show is all that was read.
func show(t *testing.T) string {
	t.Helper()
	list, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s hook=%s priority=%d type=%s policy=%s legacy=%t\n", &c, c.Hook, c.Priority, c.Type, c.Policy, c.Legacy)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t%s", r.Text)
			if r.Comment != "" {
				fmt.Fprintf(&b, "  # %s", r.Comment)
			}
			if r.NAT != nil {
				fmt.Fprintf(&b, "  %+v", *r.NAT)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant (%s):\n%s", got, file, want)
	}
}

const ruleset = `
table inet t {
	set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 } }
	map ports { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 8080 : 10.1.0.2 . 80, udp . 53 : 10.1.0.3 . 5353 } }
	chain pre {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" tcp dport 8080 dnat ip to 10.1.0.2:80 comment "published"
		ip daddr 192.0.2.7 udp dport 53 dnat ip to 10.1.0.3
		fib daddr type local dnat ip to meta l4proto . th dport map @ports
		tcp dport 81 redirect to :8081
		ip6 daddr fd00::1 tcp dport 80 dnat ip6 to [fd00::2]:8080
	}
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.1.0.0/16 oifname != "br*" masquerade
		ip saddr 10.2.0.0/16 snat ip to 192.0.2.9
	}
	chain in {
		type filter hook input priority 5; policy drop;
		ct state established,related accept
		ct state vmap { invalid : drop, new : jump more }
		ip saddr @s counter accept
		tcp dport { 22, 80, 443 } accept
		tcp dport 1000-2000 reject
		udp sport != 53 drop
		meta mark 7 log prefix "x" limit rate 1/second
		meta l4proto icmp accept
		ip daddr != 10.0.0.0/8 drop
	}
	chain more { return; }
}`

func TestNft(t *testing.T) {
	if !island.Fresh(t, "nft") {
		return
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("needs a kernel and an nft that know these rules: %v: %s", err, out)
	}
	golden(t, "testdata/nft.txt", show(t))
}

const iptables = `
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -A DOCKER -i docker0 -j RETURN
-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-t nat -A DOCKER -p tcp --dport 81 -j REDIRECT --to-ports 8081
-P FORWARD DROP
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker+ -m comment --comment some_words -j ACCEPT
-A INPUT ! -p icmp -j DROP
-A INPUT -p udp -m udp ! --sport 53 -j REJECT`

// The same rules by both of iptables' ways into the kernel.
func TestIptablesNft(t *testing.T)    { testIptables(t, "iptables-nft") }
func TestIptablesLegacy(t *testing.T) { testIptables(t, "iptables-legacy") }

func testIptables(t *testing.T, command string) {
	if !island.Fresh(t, command) {
		return
	}
	for line := range strings.Lines(strings.TrimSpace(iptables)) {
		if out, err := exec.Command(command, strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Skipf("needs %s that can do %q: %v: %s", command, line, err, out)
		}
	}
	if _, err := os.ReadFile(layouts[0].names); err != nil && command == "iptables-legacy" {
		t.Skipf("needs the names of the tables, which only the machine's root may read: %v", err)
	}
	golden(t, "testdata/"+command+".txt", show(t))
}

// To look makes no table.
func TestReadChangesNothing(t *testing.T) {
	if !island.Fresh(t) {
		return
	}
	if got := show(t); got != "" {
		t.Fatal(got)
	}
	for _, l := range layouts {
		if names, err := os.ReadFile(l.names); err == nil && len(names) > 0 {
			t.Errorf("%s: %s", l.names, names)
		}
	}
}

// Whatever the kernel might give: no panic, no loop.
func FuzzLegacy(f *testing.F) {
	f.Add(make([]byte, infoSize), make([]byte, 400), true)
	f.Fuzz(func(t *testing.T, info, blob []byte, six bool) {
		l := &layouts[0]
		if six {
			l = &layouts[1]
		}
		_, _ = l.parse("nat", info, blob)
	})
}
