// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/internal/ocijson"
	"vitro/plan"
)

// FuzzReadOptions: whatever the words are, no attribute is both set and taken
// away, access times are one of the kernel's three values, and a word that isn't
// ours reaches the file system as it is.
func FuzzReadOptions(f *testing.F) {
	var all []string
	for _, o := range Known().MountOptions {
		f.Add("tmpfs", o)
		all = append(all, o)
	}
	f.Add("bind", strings.Join(all, "\n"))
	f.Add("none", "rbind\nrro\nrw\nratime\nstrictatime\nnoatime")
	f.Add("", "remount\nro")
	f.Add("tmpfs", `context="a,b"`+"\nsize=1m\nrsize=5")
	f.Fuzz(func(t *testing.T, fstype, words string) {
		m := &specs.Mount{Destination: "/x", Type: fstype, Options: strings.Split(words, "\n")}
		o, err := readOptions(m)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "mount /x: ") {
				t.Errorf("an error that doesn't name the mount: %v", err)
			}
			return
		}
		for _, x := range []struct{ set, clear plan.Attr }{{o.set, o.clear}, {o.recSet, o.recClear}} {
			if x.set&x.clear != 0 {
				t.Errorf("%q: %#x is both set and taken away", words, x.set&x.clear)
			}
			switch x.set & unix.MOUNT_ATTR__ATIME {
			case 0, unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR_STRICTATIME:
			default:
				t.Errorf("%q: access times %#x", words, x.set&unix.MOUNT_ATTR__ATIME)
			}
			if a := x.clear & unix.MOUNT_ATTR__ATIME; a != 0 && a != unix.MOUNT_ATTR__ATIME {
				t.Errorf("%q: takes away a part of the access times, %#x", words, a)
			}
		}
		for _, w := range o.fs {
			if strings.ContainsRune(w, 0) || !strings.Contains(w, "context=") && !strings.Contains("\n"+words+"\n", "\n"+w+"\n") {
				t.Errorf("%q: the file system gets %q", words, w)
			}
		}
	})
}

// FuzzMaps: ranges that are let through are such that each ID has one meaning.
func FuzzMaps(f *testing.F) {
	f.Add(uint32(0), uint32(1000), uint32(1), uint32(1), uint32(100000), uint32(65536), uint32(7))
	f.Add(uint32(0), uint32(0), uint32(4294967295), uint32(5), uint32(5), uint32(0), uint32(4294967294))
	f.Add(uint32(1), uint32(4294967290), uint32(10), uint32(0), uint32(1), uint32(1), uint32(0))
	f.Fuzz(func(t *testing.T, c1, h1, n1, c2, h2, n2, id uint32) {
		m := []host.Range{{Container: c1, Host: h1, Size: n1}, {Container: c2, Host: h2, Size: n2}}
		at, ok := hostID(m, id)
		if checkRanges(m) != nil {
			return
		}
		var outside []uint32
		for _, r := range m {
			if id >= r.Container && uint64(id) < uint64(r.Container)+uint64(r.Size) {
				outside = append(outside, r.Host+(id-r.Container))
			}
		}
		if len(outside) > 1 || ok != (len(outside) == 1) || ok && outside[0] != at {
			t.Errorf("%v: %d inside is %v outside, and %d, %t", m, id, outside, at, ok)
		}
		if ok && at == 1<<32-1 {
			t.Errorf("%v: %d inside is no ID outside", m, id)
		}
	})
}

// FuzzLinkName: a name that is let through is one that the kernel takes.
func FuzzLinkName(f *testing.F) {
	for _, s := range []string{"eth0", "a/b", "", ".", "..", "sixteen-letters!", "a b", "a:b", "\x00", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		valid := s != "" && s != "." && s != ".." && len(s) < unix.IFNAMSIZ
		for _, c := range []byte(s) { // dev_valid_name
			if c == '/' || c == ':' || c == 0 || c == ' ' || c >= '\t' && c <= '\r' {
				valid = false
			}
		}
		if (linkName(s) == "") != valid {
			t.Errorf("%q: %q", s, linkName(s))
		}
	})
}

// FuzzProcFiles: what is found in the tables of /proc stands in them.
func FuzzProcFiles(f *testing.F) {
	for _, name := range [...]string{"/proc/self/mounts", "/proc/self/cgroup"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "proc", "/sys/fs/cgroup/a/b")
	}
	f.Add("a b c\na /b c d\n", "c", "/")
	f.Add("0::/a/b/c\n", "", "/sys/fs/cgroup/a/b")
	f.Add("0::\n0::/\n0:: /..", "", "")
	f.Add("0::/../a", "", ".")
	f.Fuzz(func(t *testing.T, text, fstype, dir string) {
		if at := mountIn(text, fstype); at != "" && !strings.Contains(text, at+" "+fstype) && !strings.ContainsAny(text, "\t\v\f\r\u0085\u00a0") {
			t.Errorf("%q is mounted at %q in %q", fstype, at, text)
		}
		if got := memberIn(text, dir); !strings.HasPrefix(got, dir) {
			t.Errorf("%q: of the cgroup %q came %q", text, dir, got)
		}
	})
}

// FuzzConfig: whatever stands in a config.json, it becomes a plan or is refused
// by an error that says something; and a plan is printed, and again the same.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(minimal))
	example, err := json.Marshal(Example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, patch := range [...]string{
		`"hooks":{"prestart":[{"path":"/bin/true","timeout":1}]}`, `"hostname":"h","domainname":"d"`,
		`"linux":{"namespaces":[{"type":"user"},{"type":"mount"},{"type":"time"}],"uidMappings":[{"containerID":0,"hostID":0,"size":1}],"timeOffsets":{"monotonic":{"secs":1}}}`,
		`"linux":{"namespaces":[{"type":"mount"},{"type":"network","path":"/proc/1/ns/net"}],"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}}`,
		`"linux":{"namespaces":[{"type":"mount"},{"type":"cgroup"}],"cgroupsPath":"/a","resources":{"memory":{"limit":1},"devices":[{"allow":false,"access":"rwm"}]},"sysctl":{"kernel.shmmax":"1"}}`,
	} {
		f.Add([]byte(strings.TrimSuffix(minimal, "}") + "," + patch + "}"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ocijson.DecodeSpec(text)
		if err != nil {
			return
		}
		compile := func() (string, error) {
			facts := (&input{}).facts(t)
			r, err := Compile(&Request{ID: "fuzz", Spec: s, Facts: facts, Bundle: "/bundle", AllCgroups: true})
			if err != nil {
				if err.Error() == "" {
					t.Errorf("%s: an error that says nothing", text)
				}
				return "", err
			}
			var b strings.Builder
			for _, step := range r.Plan.Steps {
				b.WriteString(step.Action.Line() + "\n")
			}
			return b.String(), nil
		}
		first, err1 := compile()
		second, err2 := compile()
		if first != second || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s: the second time is another: %v, %v\n%s\n%s", text, err1, err2, first, second)
		}
	})
}
