// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAddressesAsNetipReadsThem(t *testing.T) {
	for _, s := range []string{
		"127.0.0.11", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.", "", "a", "+1.2.3.4",
		"::", "::1", "fd00::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1::2:3:4:5:6:7", "1:2:3:4:5:6:7::", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4",
		":1", "1:", ":::", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:8:9", "::1.2.3", "1.2.3.4::",
	} {
		got := parseAddress(s)
		want, err := netip.ParseAddr(s)
		if (err == nil) != (got != "") || err == nil && string(want.AsSlice()) != string(got) {
			t.Errorf("parseAddress(%q) = %x; netip: %v, %v", s, got, want, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("::ffff:1.2.3.4")
	f.Fuzz(func(t *testing.T, s string) {
		got := parseAddress(s)
		want, err := netip.ParseAddr(s)
		if strings.Contains(s, "%") {
			return
		}
		if (err == nil) != (got != "") || err == nil && string(want.AsSlice()) != string(got) {
			t.Errorf("parseAddress(%q) = %x; netip: %v, %v", s, got, want, err)
		}
	})
}

func TestReverse(t *testing.T) {
	for name, want := range map[string]string{
		"2.0.29.172.in-addr.arpa": "172.29.0.2",
		"2.0.29.in-addr.arpa":     "",
		"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa": "fd00::2",
		"2.0.0.0.ip6.arpa": "",
	} {
		if got := reverse(name); got != parseAddress(want) {
			t.Errorf("reverse(%q) = %x, want %s", name, got, want)
		}
	}
}

func TestParseUpstream(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "[127.0.0.1] 5s 2 false false"},
		{"systemd", "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", "[127.0.0.53] 5s 2 false false"},
		{"all", "nameserver 1.1.1.1\nnameserver ::1\nnameserver x\nnameserver 9.9.9.9\nnameserver 8.8.8.8\noptions timeout:2 attempts:3 rotate\noptions use-vc ndots:5\n", "[1.1.1.1 ::1 9.9.9.9] 2s 3 true true"},
		{"too much", "options timeout:99999 attempts:99999 timeout:0 attempts:-1 timeout:x", "[127.0.0.1] 30s 5 false false"},
		{"garbage", "\xff\x00 \nnameserver\n", "[127.0.0.1] 5s 2 false false"},
	} {
		u := parseUpstream(c.text)
		var servers []string
		for _, a := range u.servers {
			servers = append(servers, text(a))
		}
		if got := fmt.Sprint(servers, u.timeout, u.attempts, u.rotate, u.tcp); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// folder writes the files of some networks: "net/id" to a line.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, line := range files {
		network, id := filepath.Split(name)
		put(t, filepath.Join(dir, network, "names"), id, line)
	}
	return dir
}

// put writes a container's file as vitro does; an empty line removes it.
func put(t testing.TB, names, id, line string) {
	t.Helper()
	if err := os.MkdirAll(names, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(names, id)
	if line == "" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(filepath.Join(names, "."+id), []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(names, "."+id), path); err != nil {
		t.Fatal(err)
	}
}

var some = map[string]string{
	"blue/a":  "10.1.0.2,fd00::2 Web aaaa www pool",
	"blue/b":  "10.1.0.3 db bbbb pool db.example.org",
	"red/a":   "10.2.0.2 Web aaaa",
	"red/c":   "10.2.0.3 db cccc",
	"green/d": "10.3.0.9 secret dddd db",
	"blue/x":  "no address here",
	"blue/y":  "10.1.0.9",
	"blue/z":  "10.1.0.8 ..",

	"bridge/a": "10.5.0.2 web aaaa", // the default network
	"bridge/e": "10.5.0.3 quiet eeee db",
}

func TestTable(t *testing.T) {
	table := table{dir: folder(t, some), id: "a"}
	if err := os.Symlink("10.1.0.4 link llll", filepath.Join(table.dir, "blue/names/l")); err != nil {
		t.Fatal(err)
	}
	table.refresh()
	for name, want := range map[string]string{
		"web": "10.1.0.2 fd00::2 10.2.0.2", "www": "10.1.0.2 fd00::2", "aaaa": "10.1.0.2 fd00::2 10.2.0.2",
		"pool": "10.1.0.2 fd00::2 10.1.0.3", "db": "10.1.0.3 10.2.0.3", "db.red": "10.2.0.3", "db.blue": "10.1.0.3",
		"db.example.org": "10.1.0.3", "db.green": "", "secret": "", "dddd": "", "secret.green": "", "quiet": "", "quiet.bridge": "", "no": "", "": "", "blue": "", "link": "10.1.0.4",
	} {
		list, known := table.find(name)
		var got []string
		for _, a := range list {
			addr, _ := netip.AddrFromSlice([]byte(a))
			got = append(got, addr.String())
		}
		if strings.Join(got, " ") != want || known != (want != "") {
			t.Errorf("find(%q) = %v, %v; want %s", name, got, known, want)
		}
	}
	if name, _ := table.owner(parseAddress("10.2.0.3")); name != "db.red" {
		t.Errorf("owner = %q", name)
	}
	for _, a := range []string{"10.3.0.9", "10.5.0.3"} {
		if _, known := table.owner(parseAddress(a)); known {
			t.Errorf("the owner of %s, of another network or a silent one, is known", a)
		}
	}
	put(t, filepath.Join(table.dir, "mute/names"), "a", "10.6.0.2 web aaaa")
	put(t, filepath.Join(table.dir, "mute/names"), "f", "10.6.0.3 hushed ffff")
	put(t, filepath.Join(table.dir, "mute"), "network.json", "{\n  \"no_dns\": true,\n  \"labels\": {\n    \"x\": \"\\\"internal\\\": true\"\n  }\n}")
	table.refresh()
	if _, known := table.find("hushed"); known || !table.outward() {
		t.Errorf("a network without names answers: %t; is open: %t", known, table.outward())
	}
}

// What changes is known with the next question, whatever the file system's clock has seen of it.
func TestTableFollows(t *testing.T) {
	table := table{dir: folder(t, some), id: "a"}
	blue := filepath.Join(table.dir, "blue/names")
	known := func(name string) bool { table.refresh(); _, ok := table.find(name); return ok }
	for i := range 200 {
		name := fmt.Sprintf("new%d", i)
		if known(name) {
			t.Fatalf("%s is there too soon", name)
		}
		put(t, blue, "n", "10.1.1.1 "+name)
		if !known(name) {
			t.Fatalf("%s is not there", name)
		}
		if i%3 == 0 {
			put(t, blue, "n", "")
			if known(name) {
				t.Fatalf("%s is still there", name)
			}
		}
	}
	green := filepath.Join(table.dir, "green/names")
	put(t, green, "a", "10.3.0.2 web aaaa")
	if !known("secret") {
		t.Error("not connected to green")
	}
	put(t, green, "a", "")
	if known("secret") {
		t.Error("still connected to green")
	}
	if err := os.RemoveAll(filepath.Join(table.dir, "blue")); err != nil {
		t.Fatal(err)
	}
	if known("pool") {
		t.Error("blue is still there")
	}
	if !table.outward() {
		t.Error("red is not internal")
	}
	put(t, filepath.Join(table.dir, "inner/names"), "a", "10.4.0.2 web aaaa")
	put(t, filepath.Join(table.dir, "inner"), "network.json", "{\n  \"internal\": true\n}")
	if known(""); !table.outward() {
		t.Error("one way out is enough")
	}
	for _, name := range []string{"red", "bridge"} {
		if err := os.RemoveAll(filepath.Join(table.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if known(""); table.outward() {
		t.Error("an internal network lets questions out")
	}
}

func TestHostsLine(t *testing.T) {
	for line, want := range map[string]string{
		"10.0.0.1 Web. Web short\nmore": "[web short]",
		"10.0.0.1":                      "nil", "": "nil", "x web": "nil", "10.0.0.1, web": "nil",
		"10.0.0.1 a..b ok": "[ok]", "fd00::1 six": "[six]",
		"10.0.0.1 " + strings.Repeat("x", 64): "nil",
	} {
		got := "nil"
		if h := parseHost("id", line); h != nil {
			got = fmt.Sprint(h.names)
		}
		if got != want {
			t.Errorf("parseHost(%q) = %s, want %s", line, got, want)
		}
	}
}

// question is a message as clients make it.
func question(t testing.TB, name string, typ dnsmessage.Type, edns int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 4711, RecursionDesired: true})
	err := b.StartQuestions()
	if err == nil {
		err = b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET})
	}
	if err == nil && edns > 0 {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(edns, dnsmessage.RCodeSuccess, true)
		_ = b.StartAdditionals()
		err = b.OPTResource(h, dnsmessage.OPTResource{})
	}
	msg, err2 := b.Finish()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return msg
}

func TestParseQueryRefuses(t *testing.T) {
	good := question(t, "web.", dnsmessage.TypeA, 4096)
	change := func(f func(m []byte) []byte) []byte { return f(slices.Clone(good)) }
	at := func(i int, v byte) []byte { return change(func(m []byte) []byte { m[i] = v; return m }) }
	for _, c := range []struct {
		name string
		msg  []byte
		code int
		is   bool
	}{
		{"good", good, codeOK, true},
		{"nothing", nil, codeFormat, false},
		{"half a header", good[:11], codeFormat, false},
		{"an answer", at(2, 0x80), codeFormat, false},
		{"an update", at(2, 5<<3), codeNotImpl, true},
		{"truncated", at(2, 2), codeFormat, true},
		{"no question", at(5, 0), codeFormat, true},
		{"two questions", at(5, 2), codeFormat, true},
		{"with an answer", at(7, 1), codeFormat, true},
		{"compressed", at(12, 0xc0), codeFormat, true},
		{"label too long", at(12, 64), codeFormat, true},
		{"half a question", good[:18], codeFormat, true},
		{"half EDNS", good[:len(good)-3], codeFormat, true},
		{"too many additional", at(11, 9), codeFormat, true},
		{"chaos", at(20, 3), codeRefused, true},
		{"zone transfer", at(18, 252), codeRefused, true},
		{"EDNS 1", at(27, 1), codeVersion, true},
	} {
		if _, code, is := parseQuery(c.msg); code != c.code || is != c.is {
			t.Errorf("%s: %d, %t; want %d, %t", c.name, code, is, c.code, c.is)
		}
	}
	q, _, _ := parseQuery(good)
	if q.name != "web" || q.typ != typeA || q.size != 4096 || !q.edns || !q.ok || q.odd {
		t.Errorf("parseQuery = %+v", q)
	}
}

// Whatever comes in: no panic, and each answer of ours is one that the Go
// project's codec reads, to the question that was asked, not larger than
// the client can take.
func FuzzAnswer(f *testing.F) {
	for _, n := range []string{"web.", "WEB.", "pool.", ".", "2.0.1.10.in-addr.arpa."} {
		for _, typ := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeALL, dnsmessage.TypeMX} {
			f.Add(question(f, n, typ, 0))
			f.Add(question(f, n, typ, 1232))
		}
	}
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("blue/%d", i)] = fmt.Sprintf("10.1.0.%d,fd00::%d c%d id%d pool", i, i, i, i)
	}
	table := table{dir: folder(f, files), id: "1"}
	table.refresh()
	f.Fuzz(func(t *testing.T, msg []byte) {
		q, code, is := parseQuery(msg)
		if !is {
			return
		}
		var records []record
		if code == codeOK {
			records, _ = table.answer(&q)
		}
		out := q.reply(nil, code, records, 1, q.size)
		if len(out) > q.size && len(records) > 0 {
			t.Fatalf("%d bytes for a client that takes %d", len(out), q.size)
		}
		var m dnsmessage.Message
		switch err := m.Unpack(out); {
		case q.odd && err != nil: // a dot within a label: that codec can't write it down, the wire can (RFC 2181, 11)
		case err != nil:
			t.Fatalf("%x: %v", out, err)
		case m.ID != q.id || !m.Response || len(m.Questions) > 1:
			t.Fatalf("%+v", m.Header)
		}
		if q.question != nil && !answers(out, q.id, q.question) {
			t.Fatal("our own answer is none")
		}
	})
}

func FuzzUpstreamAnswer(f *testing.F) {
	ask := question(f, "example.org.", dnsmessage.TypeA, 0)
	q, _, _ := parseQuery(ask)
	f.Add(q.reply(nil, codeOK, []record{{typeA, "\x01\x02\x03\x04"}}, 0, 512))
	f.Add(ask)
	f.Fuzz(func(t *testing.T, msg []byte) {
		if !answers(msg, q.id, q.question) {
			return
		}
		if msg[0] != ask[0] || msg[1] != ask[1] || msg[2]&0x80 == 0 {
			t.Fatal("that is no answer")
		}
		_ = failed(msg)
		if _, _, is := parseQuery(q.cut(msg)); is {
			t.Fatal("the short form is a question")
		}
	})
}

func FuzzHostLine(f *testing.F) {
	f.Add("10.0.0.1,fd00::1 web aaaa x")
	f.Fuzz(func(t *testing.T, line string) {
		h := parseHost("id", line)
		if h == nil {
			return
		}
		for _, n := range h.names {
			if wireName(n) == nil {
				t.Fatalf("%q can't be sent", n)
			}
		}
	})
}

// What a question for a known name costs, without the sockets: a few small pieces of garbage, for paths and the name.
func TestAnswerMakesLittleGarbage(t *testing.T) {
	table := table{dir: folder(t, some), id: "a"}
	msg := question(t, "www.", dnsmessage.TypeA, 0)
	var out []byte
	table.refresh()
	n := testing.AllocsPerRun(100, func() {
		q, _, _ := parseQuery(msg)
		records, _ := table.answer(&q)
		out = q.reply(out[:0], codeOK, records, 0, 512)
	})
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
}
