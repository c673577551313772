// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/inspect/process"
)

var update = flag.Bool("update", false, "write testdata anew")

// facts are a process and a machine, as they were recorded.
type facts struct {
	Process *process.Process
	Host    *Host
}

func load(t *testing.T, name string) facts {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFrom(t *testing.T) {
	for _, name := range [...]string{"bubblewrap", "vitro"} {
		f := load(t, name)
		// The filter is Docker's, and long: that it is there is enough.
		c := From(f.Process, f.Host, &specs.Spec{Linux: &specs.Linux{Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}}})
		got := c.JSON()
		for _, n := range c.Notes {
			got = append(got, ("note: " + n + "\n")...)
		}
		for _, l := range c.Layers {
			got = append(got, ("layer: " + l + "\n")...)
		}
		file := filepath.Join("testdata", name+".config")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestNoFilterIsMadeUpWithoutAWord(t *testing.T) {
	f := load(t, "vitro")
	c := From(f.Process, f.Host, nil)
	if c.Spec.Linux.Seccomp == nil || !slices.ContainsFunc(c.Notes, func(n string) bool { return strings.HasPrefix(n, "it has a seccomp filter") }) {
		t.Errorf("a filter: %v, notes %q", c.Spec.Linux.Seccomp != nil, c.Notes)
	}
}

func TestLayers(t *testing.T) {
	for _, c := range []struct{ super, want []string }{
		{[]string{"rw", "lowerdir=/c:/b:/a", "upperdir=/up", "workdir=/w"}, []string{"/a", "/b", "/c", "/up"}},
		{[]string{"rw", "lowerdir+=/c", "lowerdir+=/b", "upperdir=/up"}, []string{"/b", "/c", "/up"}},
		{[]string{"ro", "lowerdir=/only"}, []string{"/only"}},
		{[]string{"rw", "upperdir=/up"}, nil},
	} {
		if got := layers(c.super); !slices.Equal(got, c.want) {
			t.Errorf("layers(%q) = %q, want %q", c.super, got, c.want)
		}
	}
}

func TestPlace(t *testing.T) {
	host := &Host{Mounts: process.ParseMounts([]byte("1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 /data /srv rw - ext4 /dev/b rw\n3 2 0:9 / /srv/in rw - tmpfs tmpfs rw\n"))}
	w := &writer{host: host}
	for _, c := range []struct{ device, root, want string }{
		{"8:1", "/etc/hosts", "/etc/hosts"},
		{"8:2", "/data/x", "/srv/x"},
		{"8:2", "/data", "/srv"},
		{"8:2", "/database", ""},
		{"8:2", "/", ""},
		{"8:2", "/data/in/x", ""}, // another mount is there
		{"8:3", "/", ""},
	} {
		got, from := w.place(&process.Mount{Device: c.device, Root: c.root})
		if got != c.want || (from != nil) != (c.want != "") {
			t.Errorf("place(%s %s) = %q, want %q", c.device, c.root, got, c.want)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add("695 671 0:128 / / ro,relatime - overlay overlay rw,lowerdir+=/l,upperdir=/u\n697 695 0:131 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755\n", "c 1:3 rwm\na *:* rwm")
	f.Fuzz(func(t *testing.T, mounts, rules string) {
		list := process.ParseMounts([]byte(mounts))
		c := From(&process.Process{Mounts: list}, &Host{Mounts: list}, nil)
		c.JSON()
		parseRules(rules)
		throttles(rules, "rbps")
	})
}
