// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestDefine(t *testing.T) {
	m := func() *Machine {
		return &Machine{MTU: 1400, Uplink: "up0", Names: []string{"lo", "up0", "vitro0"}, Used: []netip.Prefix{netip.MustParsePrefix("172.28.0.0/21"), netip.MustParsePrefix("10.5.0.0/16")}}
	}
	opt := func(kv ...string) map[string]string { return map[string]string{kv[0]: kv[1]} }
	for _, c := range []struct {
		name string
		d    Definition
		want string
	}{
		{"plain", Definition{Name: "web"}, "bridge vitro1 172.28.8.0/22 172.28.8.1 invalid Prefix mtu 1400"},
		{"default", Definition{Name: Default}, "bridge vitro1 172.29.0.0/16 172.29.0.1 invalid Prefix mtu 1400"},
		{"IPv6", Definition{Name: "web", IPv6: true}, "bridge vitro1 172.28.8.0/22 172.28.8.1 fd01:203:405::/64 mtu 1400"},
		{"all said", Definition{Name: "web", Subnets: []string{"10.6.0.0/24", "2001:db8::/64"}, Gateways: []string{"10.6.0.9", "2001:db8::9"}, Ranges: []string{"10.6.0.128/25"}, Options: opt("mtu", "1300")},
			"bridge vitro1 10.6.0.0/24 10.6.0.9 2001:db8::/64 mtu 1300"},
		{"macvlan", Definition{Name: "lan", Driver: DriverMacvlan, Subnets: []string{"10.5.0.0/16"}}, "macvlan  10.5.0.0/16 10.5.0.1 invalid Prefix mtu 1400"},
		{"none", Definition{Name: "x", Driver: DriverNone}, "none  invalid Prefix invalid IP invalid Prefix mtu 1400"},
		{"overlap", Definition{Name: "web", Subnets: []string{"10.5.7.0/24"}}, "create network: use subnet 10.5.7.0/24: it overlaps with 10.5.0.0/16"},
		{"host bits", Definition{Name: "web", Subnets: []string{"10.6.0.1/24"}}, "read --subnet 10.6.0.1/24"},
		{"two of a kind", Definition{Name: "web", Subnets: []string{"10.6.0.0/24", "10.7.0.0/24"}}, "want one for IPv4 and one for IPv6"},
		{"too small", Definition{Name: "web", Subnets: []string{"10.6.0.0/31"}}, "too small"},
		{"gateway elsewhere", Definition{Name: "web", Subnets: []string{"10.6.0.0/24"}, Gateways: []string{"10.7.0.1"}}, "read --gateway 10.7.0.1"},
		{"range elsewhere", Definition{Name: "web", Subnets: []string{"10.6.0.0/24"}, Ranges: []string{"10.7.0.0/25"}}, "read --ip-range 10.7.0.0/25"},
		{"a mode's name", Definition{Name: "host"}, `use "host" as a network's name`},
		{"a path", Definition{Name: "../x"}, `use "../x" as a network's name`},
		{"unknown driver", Definition{Name: "x", Driver: "overlay"}, "read --driver overlay: there are bridge, macvlan, ipvlan, none"},
		{"unknown option", Definition{Name: "x", Options: opt("speed", "1")}, "read --opt speed: no such option"},
		{"bad MTU", Definition{Name: "x", Options: opt("mtu", "big")}, "read --opt mtu=big"},
		{"bridge taken", Definition{Name: "x", Options: opt("bridge", "vitro0")}, "the machine has a link or a table of this name"},
		{"bridge's name too long", Definition{Name: "x", Options: opt("bridge", "a-very-long-name")}, "is no name for a link"},
		{"no parent", Definition{Name: "x", Driver: DriverMacvlan, Subnets: []string{"10.6.0.0/24"}, Options: opt("parent", "eth7")}, `use link "eth7" as parent: there is none`},
		{"no subnet", Definition{Name: "x", Driver: DriverMacvlan}, "macvlan needs the subnet"},
		{"unknown mode", Definition{Name: "x", Driver: DriverIPvlan, Subnets: []string{"10.6.0.0/24"}, Options: opt("mode", "bridge")}, "ipvlan has l2, l3, l3s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := m().Define("/n", c.d, [5]byte{1, 2, 3, 4, 5})
			got := fmt.Sprintf("%s %s %s %s %s mtu %d", n.Driver, n.Bridge, n.Subnet, n.Gateway, n.Subnet6, n.MTU)
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("Define = %s; want %s", got, c.want)
			}
		})
	}
	blind := m()
	blind.NoIPv6 = true
	if _, err := blind.Define("/n", Definition{Name: "x", IPv6: true}, [5]byte{}); err == nil || !strings.Contains(err.Error(), "this machine has no IPv6") {
		t.Errorf("IPv6 without: %v", err)
	}
	full := m()
	full.Used = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")}
	if _, err := full.Define("/n", Definition{Name: "x"}, [5]byte{}); err == nil || !strings.Contains(err.Error(), "overlaps with an address, a route, a name server or a network") {
		t.Errorf("no range: %v", err)
	}
}

// An address that is found is free, whatever is taken; few questions find it;
// and none is found only if there is none.
func TestFree(t *testing.T) {
	small := Network{Subnet: netip.MustParsePrefix("10.6.0.0/28"), Gateway: netip.MustParseAddr("10.6.0.1")}
	for mask := range 1 << 13 { // any of the 13 addresses
		taken := func(a netip.Addr) bool { return mask>>(number(a)-number(small.Subnet.Addr())-2)&1 != 0 }
		for _, again := range []bool{false, true} {
			a, err := small.free("id", again, taken)
			switch {
			case mask == 1<<13-1:
				if !errors.Is(err, ErrFull) {
					t.Fatalf("all taken: %s, %v", a, err)
				}
			case err != nil || taken(a) || small.reserved(a) || !small.Subnet.Contains(a):
				t.Fatalf("taken %013b: %s, %v", mask, a, err)
			}
		}
	}
	large := Network{Subnet: netip.MustParsePrefix("172.29.0.0/16"), Gateway: netip.MustParseAddr("172.29.0.1")}
	for _, have := range []uint32{0, 1, 2, 100, 1000, 65_532} {
		asked := 0
		a, err := large.free("id", false, func(a netip.Addr) bool {
			asked++
			return number(a)-number(large.Subnet.Addr()) < have+2
		})
		if want := after(large.Subnet.Addr(), have+2); err != nil || a != want {
			t.Errorf("%d taken: %s, %v; want %s", have, a, err, want)
		}
		if asked > 60 {
			t.Errorf("%d taken: %d questions", have, asked)
		}
	}
	part := large
	part.Range = netip.MustParsePrefix("172.29.9.0/24")
	if a, err := part.free("id", false, func(netip.Addr) bool { return false }); err != nil || !part.Range.Contains(a) {
		t.Errorf("in %s: %s, %v", part.Range, a, err)
	}
}

// A machine whose way out is lo, as in a test's namespace: a bridge takes less than that.
func TestMTUOfTheLoopback(t *testing.T) {
	n := Network{Name: "x", Driver: DriverBridge}
	if err := n.driver(&Machine{MTU: 65536}, Definition{Name: "x"}); err != nil || n.MTU != 65535 {
		t.Errorf("MTU %d, %v; want 65535", n.MTU, err)
	}
}
