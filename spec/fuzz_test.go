// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
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
