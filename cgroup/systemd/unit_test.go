// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

func TestParseUnit(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, c := range []struct {
		path string
		user bool
		want Unit
		dir  string
		err  string
	}{
		{"", false, Unit{"vitro-ID.scope", "system.slice"}, "/system.slice/vitro-ID.scope", ""},
		{"", true, Unit{"vitro-ID.scope", "user.slice"}, "/user.slice/vitro-ID.scope", ""},
		{"system.slice:docker:abc", false, Unit{"docker-abc.scope", "system.slice"}, "/system.slice/docker-abc.scope", ""},
		{"machine.slice:libpod:a:b", false, Unit{"libpod-a:b.scope", "machine.slice"}, "/machine.slice/libpod-a:b.scope", ""},
		{"a-b-c.slice::abc", false, Unit{"abc.scope", "a-b-c.slice"}, "/a.slice/a-b.slice/a-b-c.slice/abc.scope", ""},
		{":p:n", true, Unit{"p-n.scope", "user.slice"}, "/user.slice/p-n.scope", ""},
		{"-.slice:p:n", false, Unit{"p-n.scope", "-.slice"}, "/p-n.scope", ""},
		{`pod\x2d1.slice:p:n`, false, Unit{"p-n.scope", `pod\x2d1.slice`}, `/pod\x2d1.slice/p-n.scope`, ""},
		{"::kube-pod.slice", false, Unit{"kube-pod.slice", "system.slice"}, "/kube.slice/kube-pod.slice", ""},
		{"s.slice:p:a+b/c ü", false, Unit{`p-a\x2bb\x2fc\x20\xc3\xbc.scope`, "s.slice"}, `/s.slice/p-a\x2bb\x2fc\x20\xc3\xbc.scope`, ""},
		{"s.slice::.a", false, Unit{`\x2ea.scope`, "s.slice"}, `/s.slice/\x2ea.scope`, ""},
		{"/docker/abc", false, Unit{}, "", `it has the form "slice:prefix:name"`},
		{"system.slice:docker", false, Unit{}, "", `it has the form "slice:prefix:name"`},
		{"system.slice:docker:", false, Unit{}, "", "the unit has no name"},
		{"system:docker:abc", false, Unit{}, "", `use slice "system": it does not end in ".slice"`},
		{"-a.slice:p:n", false, Unit{}, "", "a part between dashes is empty"},
		{"a-.slice:p:n", false, Unit{}, "", "a part between dashes is empty"},
		{"a--b.slice:p:n", false, Unit{}, "", "a part between dashes is empty"},
		{".slice:p:n", false, Unit{}, "", "a part between dashes is empty"},
		{"../a.slice:p:n", false, Unit{}, "", "characters in it"},
		{"a/b.slice:p:n", false, Unit{}, "", "characters in it"},
		{"a@b.slice:p:n", false, Unit{}, "", "characters in it"},
		{"::../../x.slice", false, Unit{}, "", "characters in it"},
		{"::-.slice", false, Unit{}, "", "it is the root of all"},
		{"::" + long + "xxxxxxx", false, Unit{}, "", "of at most 255"},
		{long + "x.slice:p:n", false, Unit{}, "", "of at most 255"},
	} {
		u, err := ParseUnit(c.path, "ID", c.user)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("ParseUnit(%q) = %v, %v; want the error %q", c.path, u, err, c.err)
			}
			continue
		}
		if err != nil || u != c.want || u.Path() != c.dir {
			t.Errorf("ParseUnit(%q) = %+v in %s, %v; want %+v in %s", c.path, u, u.Path(), err, c.want, c.dir)
		}
	}
}

// systemd-escape(1) agrees with us about each byte; but it turns dashes, which
// callers mean, and a slash into something else.
func TestEscapeIsSystemds(t *testing.T) {
	if _, err := exec.LookPath("systemd-escape"); err != nil {
		t.Skip("needs systemd-escape")
	}
	for _, s := range []string{"abc", "a+b", "a b", ".a", "a.b", "ü", "a:b_c", "a'\"$", "~"} {
		out, err := exec.Command("systemd-escape", "--", s).Output()
		if err != nil || escape(s) != strings.TrimSuffix(string(out), "\n") {
			t.Errorf("escape(%q) = %q; systemd-escape says %q, %v", s, escape(s), out, err)
		}
	}
}

// A path that can be used leads nowhere out of the manager's cgroup.
func FuzzParseUnit(f *testing.F) {
	for _, s := range []string{"", "system.slice:docker:abc", "a-b.slice::x", "::pod.slice", "..slice:..:.."} {
		f.Add(s, "id")
	}
	f.Fuzz(func(t *testing.T, path, id string) {
		if id == "" {
			return
		}
		u, err := ParseUnit(path, id, false)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(u.Path(), "/"), "/") {
			if !strings.HasSuffix(part, ".slice") && part != u.Name || part == ".." || escape(part) != part {
				t.Errorf("ParseUnit(%q, %q): %q in %q", path, id, part, u.Path())
			}
		}
	})
}

func TestProperties(t *testing.T) {
	v2 := func(pairs ...string) (list []File) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, File{true, pairs[i], pairs[i+1]})
		}
		return list
	}
	for _, c := range []struct {
		files   []File
		version int
		want    string
	}{
		{v2("memory.max", "max", "memory.swap.max", "0"), 252, "MemoryMax=uint64 18446744073709551615 MemorySwapMax=uint64 0"},
		{v2("cpu.max", "50000 100000"), 252, "CPUQuotaPerSecUSec=uint64 500000 CPUQuotaPeriodUSec=uint64 100000"},
		{v2("cpu.max", "33333 100000"), 241, "CPUQuotaPerSecUSec=uint64 340000"},
		{v2("cpu.max", "max 100000\n"), 252, "CPUQuotaPerSecUSec=uint64 18446744073709551615 CPUQuotaPeriodUSec=uint64 100000"},
		{v2("cpuset.cpus", "0-2,9", "cpuset.mems", "0"), 252, "AllowedCPUs=[byte 0x07, byte 0x02] AllowedMemoryNodes=[byte 0x01]"},
		{v2("cpuset.cpus", "0-8:2/4"), 252, ""},
		{v2("cpuset.cpus", "0"), 243, ""},
		{v2("cpu.idle", "1"), 252, "CPUWeight=uint64 0"},
		{v2("cpu.idle", "1"), 251, ""},
		{v2("cpu.idle", "0"), 252, ""},
		{v2("io.weight", "default 50", "io.weight", "8:0 20"), 252, "IOWeight=uint64 50"},
		{v2("io.bfq.weight", "1000"), 252, "IOWeight=uint64 10000"},
		{v2("io.bfq.weight", "80"), 252, "IOWeight=uint64 80"},
		{v2("memory.oom.group", "1"), 253, "OOMPolicy='kill'"},
		{v2("pids.max", "5\n", "hugetlb.2MB.max", "5", "io.max", "8:0 rbps=1"), 252, "TasksMax=uint64 5"},
		{[]File{{false, "memory.limit_in_bytes", "-1"}, {false, "cpu.shares", "512"}, {false, "cpuset.cpus", "0"}}, 252,
			"MemoryMax=uint64 18446744073709551615 CPUShares=uint64 512"},
		{[]File{{false, "cpu.cfs_period_us", "50000"}, {false, "cpu.cfs_quota_us", "25000"}}, 252, "CPUQuotaPerSecUSec=uint64 500000 CPUQuotaPeriodUSec=uint64 50000"},
		{[]File{{false, "cpu.cfs_quota_us", "-1"}}, 252, "CPUQuotaPerSecUSec=uint64 18446744073709551615"},
		{[]File{{false, "blkio.weight", "500"}}, 252, "BlockIOWeight=uint64 500"},
	} {
		list := Properties(c.files, c.version)
		if got := lines(list); got != c.want {
			t.Errorf("Properties(%v, %d)\ngot  %s\nwant %s", c.files, c.version, got, c.want)
		}
		if _, err := encode(list); err != nil {
			t.Errorf("Properties(%v, %d): %v", c.files, c.version, err)
		}
	}
}

func TestAnnotated(t *testing.T) {
	list, err := Annotated(map[string]string{
		"org.systemd.property.TimeoutStopUSec": "uint64 123456789",
		"org.systemd.property.RuntimeMaxSec":   "1.5",
		"org.systemd.property.CollectMode":     "'inactive-or-failed'",
		"org.systemd.property.Requires":        "['a.service', 'b.service']",
		"org.systemd.property.SendSIGKILL":     "",
		"org.other":                            "1",
	})
	const want = "CollectMode='inactive-or-failed' Requires=['a.service', 'b.service'] RuntimeMaxUSec=uint64 1500000 TimeoutStopUSec=uint64 123456789"
	if got := lines(list); err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	for key, value := range map[string]string{"TimeoutStopSec": "'soon'", "KillMode": "process", "a": "1", "Foo.Bar": "1", "Kill-Mode": "1", "RestartSec": "-1"} {
		if list, err := Annotated(map[string]string{annotation + key: value}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Annotated(%s: %s) = %v, %v; want an error that names it", key, value, list, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for list, want := range map[string][]string{
		"":                             nil,
		"unix:path=/run/user/1000/bus": {"/run/user/1000/bus"},
		"tcp:host=x;unix:abstract=/tmp/dbus-1,guid=12": {"@/tmp/dbus-1"},
		"unix:path=/a%20b%2fc;unix:path=/d%zz":         {"/a b/c", "/d%zz"},
	} {
		if got := addresses(list); !reflect.DeepEqual(got, want) {
			t.Errorf("addresses(%q) = %q, want %q", list, got, want)
		}
	}
}
