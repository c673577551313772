// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"vitro/network"
)

func TestParsePorts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"80", "[{invalid IP 0 0 80 tcp}]"},
		{"8080:80", "[{invalid IP 8080 8080 80 tcp}]"},
		{"8080:80/UDP", "[{invalid IP 8080 8080 80 udp}]"},
		{"127.0.0.1:8080:80/sctp", "[{127.0.0.1 8080 8080 80 sctp}]"},
		{"127.0.0.1::80", "[{127.0.0.1 0 0 80 tcp}]"},
		{"0.0.0.0:80:80", "[{0.0.0.0 80 80 80 tcp}]"},
		{"[::1]:80:80", "[{::1 80 80 80 tcp}]"},
		{"::1:80:80", "[{::1 80 80 80 tcp}]"},
		{"8000-8001:80-81", "[{invalid IP 8000 8000 80 tcp} {invalid IP 8001 8001 81 tcp}]"},
		{"8000-8009:80", "[{invalid IP 8000 8009 80 tcp}]"},
		{"80-81", "[{invalid IP 0 0 80 tcp} {invalid IP 0 0 81 tcp}]"},
		{"", `read --publish "": "" is no port`},
		{"0:80", `"0" is no port`},
		{"65536", `"65536" is no port`},
		{"81-80", `"81-80" is no port`},
		{"80/icmp", `"icmp" is no protocol with ports`},
		{"80-82:80-81", "3 ports of the host for 2 of the container"},
		{"80:80-81", "one port of the host for 2 of the container"},
		{"host:80:80", `"host" is no address of the host`},
		{"fe80::1%eth0:80:80", "is no address of the host"},
		{"80:", `"" is no port`},
	} {
		got, err := network.ParsePorts(c.text)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != c.want && (err == nil || !strings.Contains(text, c.want)) {
			t.Errorf("ParsePorts(%q) = %s; want %s", c.text, text, c.want)
		}
	}
}

// Whatever is accepted has ports, and as many of the host as of the container.
func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"80", "8080:80", "[::1]:80-90:80-90/udp", "127.0.0.1::80/sctp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := network.ParsePorts(text)
		if err != nil {
			return
		}
		if len(list) == 0 {
			t.Fatalf("%q: no ports, and no error", text)
		}
		for _, w := range list {
			if w.Container == 0 || w.High < w.Low || (w.Low == 0) != (w.High == 0) || w.Host.Zone() != "" {
				t.Fatalf("%q: %+v", text, w)
			}
		}
	})
}

func TestWishText(t *testing.T) {
	for _, text := range []string{"web", "bridge", "web:ip=10.0.0.2,ip6=fd00::2,mac=02:00:00:00:00:01,alias=a,alias=b,interface_name=lan0", "web:alias=a"} {
		w, err := network.ParseWish(text)
		if err != nil || w.Text() != text {
			t.Errorf("ParseWish(%q) is %q as text, %v", text, w.Text(), err)
		}
	}
}

func TestParseWish(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"web", "{web invalid IP invalid IP  [] }"},
		{"default", "{bridge invalid IP invalid IP  [] }"},
		{"web:ip=10.0.0.2,ip6=fd00::2,mac=02:00:00:00:00:01,alias=a,alias=b,interface_name=lan0", "{web 10.0.0.2 fd00::2 02:00:00:00:00:01 [a b] lan0}"},
		{"name=web,alias=a", "{web invalid IP invalid IP  [a] }"},
		{"web:ip=fd00::2", `use "fd00::2" as ip: not such an address`},
		{"web:colour=red", `"colour": there are ip, ip6, mac, alias, interface_name`},
		{"../web", `use "../web" as a network's name`},
		{"", `use "" as a network's name`},
	} {
		got, err := network.ParseWish(c.text)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != c.want && (err == nil || !strings.Contains(text, c.want)) {
			t.Errorf("ParseWish(%q) = %s; want %s", c.text, text, c.want)
		}
	}
}

func TestPortLines(t *testing.T) {
	a := network.Attachments{IPv6: true, Endpoints: []network.Endpoint{{Publishes: true, Address6: netip.MustParsePrefix("fd00::2/64")}}, Ports: []network.Port{
		{HostPort: 8080, Container: 80, Proto: "tcp"}, {Host: netip.MustParseAddr("127.0.0.1"), HostPort: 53, Container: 53, Proto: "udp"}}}
	for _, c := range []struct{ port, want string }{
		{"", "[53/udp -> 127.0.0.1:53 80/tcp -> 0.0.0.0:8080 80/tcp -> [::]:8080]"},
		{"80", "[0.0.0.0:8080 [::]:8080]"},
		{"53/udp", "[127.0.0.1:53]"},
		{"53", "[]"},
	} {
		if got := fmt.Sprint(a.PortLines(c.port)); got != c.want {
			t.Errorf("PortLines(%q) = %s; want %s", c.port, got, c.want)
		}
	}
}
