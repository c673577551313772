// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vitro/network"
)

func TestHosts(t *testing.T) {
	const head = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	addr, gw := netip.MustParseAddr("172.29.0.2"), netip.MustParseAddr("172.29.0.1")
	for _, c := range []struct {
		name     string
		hostname string
		addr, gw netip.Addr
		extra    []string
		want     string
		err      string
	}{
		{"plain", "box", addr, gw, nil, "172.29.0.2\tbox\n", ""},
		{"full name", "box.example.org", addr, gw, nil, "172.29.0.2\tbox.example.org box\n", ""},
		{"no network", "box", netip.Addr{}, netip.Addr{}, nil, "127.0.1.1\tbox\n", ""},
		{"no name", "", addr, gw, nil, "", ""},
		{"extra", "box", addr, gw, []string{"db:10.0.0.1", "six:::1", "web=[2001:db8::1]", "up:host-gateway"}, "10.0.0.1\tdb\n::1\tsix\n2001:db8::1\tweb\n172.29.0.1\tup\n172.29.0.2\tbox\n", ""},
		{"no gateway", "box", netip.Addr{}, netip.Addr{}, []string{"up:host-gateway"}, "", `extra host "up:host-gateway": this container has no gateway`},
		{"no address", "box", addr, gw, []string{"db"}, "", `extra host "db": want NAME:ADDRESS`},
		{"bad address", "box", addr, gw, []string{"db:nowhere"}, "", `extra host "db:nowhere": "nowhere" is no IP address`},
		{"injected line", "box", addr, gw, []string{"a\n6.6.6.6 bank:1.2.3.4"}, "", `is no host name`},
		{"injected name", "box\n6.6.6.6 bank", addr, gw, nil, "", `host name "box\n6.6.6.6 bank"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := network.Hosts(c.hostname, c.addr, c.gw, c.extra)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("Hosts = %q, %v; want error %q", got, err, c.err)
				}
				return
			}
			if err != nil || string(got) != head+c.want {
				t.Errorf("Hosts = %q, %v; want %q", got, err, head+c.want)
			}
		})
	}
}

func TestResolver(t *testing.T) {
	const stub = "# systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch home\n"
	const uplink = "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"
	const note = "# The host's name servers can't be reached from here (loopback, or IPv6 only), so\n# these public ones are asked. The flag --dns names others.\n"
	for _, c := range []struct {
		name string
		r    network.Resolver
		want string
		err  string
	}{
		{"as the host", network.Resolver{Host: []byte("search a b\nnameserver 192.0.2.1\nnameserver ::1\n")}, "nameserver 192.0.2.1\nnameserver ::1\nsearch a b\n", ""},
		{"host's stub in the host's network", network.Resolver{Host: []byte(stub), Uplink: []byte(uplink)}, "nameserver 127.0.0.53\nsearch home\noptions edns0 trust-ad\n", ""},
		{"own network", network.Resolver{Own: true, Host: []byte("nameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver 2001:db8::1\n")}, "nameserver 192.0.2.1\n", ""},
		{"stub", network.Resolver{Own: true, Host: []byte(stub), Uplink: []byte(uplink)}, "nameserver 192.0.2.53\nsearch home\noptions edns0 trust-ad\n", ""},
		{"stub, but nothing behind it", network.Resolver{Own: true, Host: []byte(stub)}, note + "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch home\noptions edns0 trust-ad\n", ""},
		{"empty", network.Resolver{Own: true}, note + "nameserver 8.8.8.8\nnameserver 8.8.4.4\n", ""},
		{"flags", network.Resolver{Own: true, Host: []byte(stub), Servers: []string{"127.0.0.11", "fe80::1%eth0"}, Search: []string{"x.org"}, Options: []string{"ndots:2"}}, "nameserver 127.0.0.11\nnameserver fe80::1%eth0\nsearch x.org\noptions ndots:2\n", ""},
		{"no search", network.Resolver{Host: []byte(stub), Search: []string{"."}}, "nameserver 127.0.0.53\noptions edns0 trust-ad\n", ""},
		{"last search counts", network.Resolver{Host: []byte("search a\ndomain b c\noptions x\noptions y # why\n")}, "search b\noptions x y\n", ""},
		{"comments, garbage", network.Resolver{Host: []byte(";nameserver 192.0.2.9\n#nameserver 192.0.2.8\nnameserver\nnameserver nonsense\nsortlist 1\n\xff\x00\n")}, "", ""},
		{"bad server", network.Resolver{Servers: []string{"dns.example"}}, "", `name server "dns.example": not an IP address`},
		{"injected line", network.Resolver{Options: []string{"a\nnameserver 6.6.6.6"}}, "", `not one word`},
		{"bad search", network.Resolver{Search: []string{"a b"}}, "", `search domain "a b": not a domain`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.r.File()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("File = %q, %v; want error %q", got, err, c.err)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Errorf("File = %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// Whatever the files and flags say: each line is of a known form, a container
// with its own network is sent only to servers that it can reach, and the
// result is read back as it was meant.
func FuzzResolver(f *testing.F) {
	f.Add([]byte("nameserver 127.0.0.53\nsearch a\n"), []byte("nameserver 192.0.2.1\n"), "", "", "", true)
	f.Add([]byte("options a # b\ndomain x"), []byte(nil), "::1", "a", "ndots:1", false)
	f.Fuzz(func(t *testing.T, host, uplink []byte, server, search, option string, own bool) {
		r := network.Resolver{Host: host, Uplink: uplink, Servers: flags(server), Search: flags(search), Options: flags(option), Own: own}
		out, err := r.File()
		if err != nil {
			if server+search+option == "" {
				t.Fatalf("error without a flag: %v", err)
			}
			return
		}
		for line := range strings.Lines(string(out)) {
			words := strings.Fields(line)
			if !strings.HasSuffix(line, "\n") || len(words) < 2 || !slices.Contains([]string{"#", "nameserver", "search", "options"}, words[0]) {
				t.Fatalf("line %q", line)
			}
			if words[0] != "nameserver" {
				continue
			}
			a, err := netip.ParseAddr(words[1])
			if err != nil || len(words) != 2 {
				t.Fatalf("line %q: %v", line, err)
			}
			if own && server == "" && (!a.Is4() || a.IsLoopback()) {
				t.Fatalf("a container can't reach %s", a)
			}
		}
		again, err := network.Resolver{Host: out}.File()
		if note := strings.TrimLeft(string(out), "#"); err != nil || !strings.HasSuffix(note, string(again)) {
			t.Fatalf("read back: %q, %v; was %q", again, err, out)
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("box.example.org", "db:10.0.0.1")
	f.Add("box", "a=[::1]")
	f.Add("", "x:host-gateway")
	f.Fuzz(func(t *testing.T, name, extra string) {
		gw := netip.MustParseAddr("172.29.0.1")
		without, err := network.Hosts("", netip.Addr{}, gw, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := network.Hosts(name, gw.Next(), gw, flags(extra))
		if err != nil {
			return
		}
		want := strings.Count(string(without), "\n") + len(flags(extra))
		if name != "" {
			want++
		}
		if got := strings.Count(string(out), "\n"); got != want {
			t.Fatalf("%d lines, want %d: %q", got, want, out)
		}
		for line := range strings.Lines(string(out)) {
			words := strings.Fields(line)
			if _, err := netip.ParseAddr(words[0]); err != nil || len(words) < 2 || strings.Contains(line, "#") {
				t.Fatalf("line %q: %v", line, err)
			}
		}
	})
}

// flags is what a flag that was given once, or not at all, leaves.
func flags(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// A start writes the file while lists read it.
func TestAttachmentsInTheMaking(t *testing.T) {
	dir := t.TempDir()
	for content, good := range map[string]bool{"": true, "{}": true, "{": false} {
		if err := os.WriteFile(filepath.Join(dir, "network.json"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if a, err := network.ReadAttachments(dir); (err == nil) != good || len(a.Endpoints) > 0 {
			t.Errorf("%q is read as %+v, %v", content, a, err)
		}
	}
}
