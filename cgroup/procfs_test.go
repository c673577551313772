// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"reflect"
	"strings"
	"testing"
)

const debianMounts = `24 1 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
25 24 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
26 24 0:24 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd
27 24 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct
28 24 0:26 /docker/abc /cg/my\040memory ro - cgroup cgroup rw,memory
`

func TestMatchMounts(t *testing.T) {
	own := parseMemberships("12:cpu,cpuacct:/user.slice\n7:memory:/docker/abc/x\n6:pids:/\n1:name=systemd:/a:b\n0::/user.slice\nnonsense\n")
	want := []Hierarchy{
		{Mount: "/sys/fs/cgroup/cpu,cpuacct", Own: "/user.slice", Controllers: []string{"cpu", "cpuacct"}},
		{Mount: "/cg/my memory", Own: "/x", Controllers: []string{"memory"}},
		{Mount: "/sys/fs/cgroup/systemd", Own: "/a:b", Controllers: []string{"name=systemd"}},
		{V2: true, Mount: "/sys/fs/cgroup/unified", Own: "/user.slice"},
	}
	if got := match(own, parseMounts(debianMounts)); !reflect.DeepEqual(got, want) {
		t.Errorf("match() = %+v, want %+v", got, want)
	}
	if got := match(parseMemberships("7:memory:/docker/abcd\n"), parseMounts(debianMounts)); len(got) > 0 {
		t.Errorf("a cgroup beside the mounted part is found in it: %+v", got)
	}
}

func FuzzMemberships(f *testing.F) {
	f.Add("12:cpu,cpuacct:/user.slice\n0::/\n")
	f.Add("1:name=systemd:/a:b\n::\n0::/../x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMemberships(text) {
			if !path.IsAbs(m.path) || m.v2 == (len(m.controllers) > 0) {
				t.Errorf("%q gives %+v", text, m)
			}
		}
	})
}

func FuzzMounts(f *testing.F) {
	f.Add(debianMounts)
	f.Add(`1 2 0:3 /\134 /a\011b\8 rw - cgroup2 c rw`)
	f.Fuzz(func(t *testing.T, text string) {
		mounts := parseMounts(text)
		if len(mounts) > strings.Count(text, "cgroup") {
			t.Errorf("%d mounts in %q", len(mounts), text)
		}
		match(parseMemberships("1:cpu:/a\n0::/b\n"), mounts)
	})
}

func FuzzCleanPath(f *testing.F) {
	f.Add("../../../etc")
	f.Add("/a/../..//b/")
	f.Fuzz(func(t *testing.T, p string) {
		clean, err := cleanPath(p)
		if err != nil {
			return
		}
		joined := path.Join("/own/cgroup", clean)
		if path.IsAbs(p) != path.IsAbs(clean) || strings.Contains("/"+clean+"/", "/../") || clean == "" || !strings.HasPrefix(joined, "/own/cgroup/") {
			t.Errorf("cleanPath(%q) = %q", p, clean)
		}
	})
}
