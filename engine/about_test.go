// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"

	"vitro/cgroup"
)

// controllersFS is a cgroup file system of which only that one file matters.
type controllersFS struct {
	text     string
	writable bool
}

func (f controllersFS) Read(string) (string, error) { return f.text, nil }
func (f controllersFS) Exists(string) bool          { return true }
func (f controllersFS) Writable(string) bool        { return f.writable }

func TestWhichLimitsThereAre(t *testing.T) {
	v2 := []cgroup.Hierarchy{{V2: true, Mount: "/sys/fs/cgroup", Own: "/user"}}
	v1 := []cgroup.Hierarchy{{Controllers: []string{"memory"}}, {Controllers: []string{"cpu", "cpuacct"}}}
	for name, tt := range map[string]struct {
		layout cgroup.Layout
		root   bool
		limits string
		warns  string
	}{
		"v2":                {cgroup.Layout{Hierarchies: v2, FS: controllersFS{"cpuset cpu memory pids", true}}, true, "memory cpu cpuset pids", ""},
		"v2, user":          {cgroup.Layout{Hierarchies: v2, FS: controllersFS{"memory pids", true}}, false, "memory pids", "cpu is not there|cpuset is not there"},
		"v2, not delegated": {cgroup.Layout{Hierarchies: v2, FS: controllersFS{"memory pids", false}}, false, "", "no cgroup is delegated"},
		"v1":                {cgroup.Layout{Hierarchies: v1}, true, "memory cpu", "cpuset is not there|pids is not there"},
		"v1, user":          {cgroup.Layout{Hierarchies: v1}, false, "", "cgroup v2 alone"},
	} {
		var a About
		a.readCgroups(&tt.layout, tt.root)
		var limits []string
		for _, l := range []struct {
			name string
			has  bool
		}{{"memory", a.MemoryLimit}, {"cpu", a.CPUShares}, {"cpuset", a.CPUSet}, {"pids", a.PidsLimit}} {
			if l.has {
				limits = append(limits, l.name)
			}
		}
		if got := strings.Join(limits, " "); got != tt.limits {
			t.Errorf("%s: %q, want %q", name, got, tt.limits)
		}
		n := 0
		for w := range strings.SplitSeq(tt.warns, "|") {
			if w != "" {
				n++
			}
			if !strings.Contains(strings.Join(a.Warnings, "\n"), w) {
				t.Errorf("%s: %q, want %q", name, a.Warnings, w)
			}
		}
		if len(a.Warnings) != n {
			t.Errorf("%s: %q", name, a.Warnings)
		}
	}
}
