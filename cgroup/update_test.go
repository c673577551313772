// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"strings"
	"testing"

	"vitro/host"
	"vitro/plan"
)

func TestUpdate(t *testing.T) {
	files := fakeFS{
		"/c/memory.limit_in_bytes": "1000\n", "/c/memory.memsw.limit_in_bytes": "2000\n", "/c/memory.oom_control": "a 1\nb 0\n",
		"/u/memory.max": "max\n", "/u/memory.current": "5000\n", "/u/memory.swap.max": "0\n", "/u/cpu.max": "max 100000\n", "/u/cpu.weight": "100\n",
	}
	v1 := Dirs{{Path: "/c", Controllers: []string{"memory"}}}
	v2 := Dirs{{Path: "/u", V2: true, Controllers: []string{"memory", "cpu"}}}
	for _, c := range []struct {
		name string
		dirs Dirs
		res  string
		want string
	}{
		{"raise on v1", v1, `{"memory":{"limit":3000,"swap":4000}}`, "memory.memsw.limit_in_bytes=4000<2000 memory.limit_in_bytes=3000<1000"},
		{"lower on v1", v1, `{"memory":{"limit":500,"swap":600}}`, "memory.limit_in_bytes=500<1000 memory.memsw.limit_in_bytes=600<2000"},
		{"no limit on v1", v1, `{"memory":{"limit":-1,"swap":-1}}`, "memory.memsw.limit_in_bytes=-1<2000 memory.limit_in_bytes=-1<1000"},
		{"a file of lines", v1, `{"memory":{"disableOOMKiller":true}}`, "memory.oom_control=1<"},
		{"v2", v2, `{"memory":{"limit":3000,"swap":4000},"cpu":{"shares":1024,"quota":5000}}`, "cpu.weight=100<100 cpu.max=5000 100000<max 100000 memory.max=3000<max memory.swap.max=1000<0"},
		{"check", v2, `{"memory":{"limit":3000,"checkBeforeUpdate":true}}`, `set memory.limit to "3000": the container uses 4.883 KiB already`},
		{"check, room", v2, `{"memory":{"limit":6000,"checkBeforeUpdate":true}}`, "memory.max=6000<max"},
		{"not there", v2, `{"pids":{"limit":1}}`, "set pids.limit: no pids controller in the container's cgroups"},
		{"no file", v2, `{"memory":{"reservation":1}}`, "set memory.reservation: no file memory.low in this kernel"},
		{"not in v2", v2, `{"memory":{"swappiness":1}}`, "set memory.swappiness: no swappiness of a cgroup in version 2"},
		{"nothing", v2, `{}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, err := (&Layout{FS: files}).Update(c.dirs, resources(t, c.res))
			got := writes(steps)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// writes says which value replaces which.
func writes(steps []plan.Step) string {
	var all []string
	for _, s := range steps {
		w := s.Action.(*host.Write)
		all = append(all, w.Path[3:]+"="+w.Value+"<"+w.Before)
	}
	return strings.Join(all, " ")
}
