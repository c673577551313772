// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"vitro/host"
	"vitro/plan"
)

func updateFiles() fakeFS {
	return fakeFS{
		"/c/memory.limit_in_bytes": "1000\n", "/c/memory.memsw.limit_in_bytes": "2000\n", "/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n",
		"/c/cpu.cfs_period_us": "100000\n", "/c/cpu.cfs_quota_us": "50000\n", "/c/cpu.cfs_burst_us": "2000\n", "/c/cpu.idle": "0\n", "/c/cpu.shares": "1024\n",
		"/c/cpu.rt_period_us": "1000000\n", "/c/cpu.rt_runtime_us": "0\n",
		"/c/blkio.throttle.read_bps_device": "8:16 500\n", "/c/net_prio.ifpriomap": "lo 0\neth0 4\n",
		"/u/memory.max": "max\n", "/u/memory.current": "5000\n", "/u/memory.swap.max": "0\n", "/u/cpu.max": "max 100000\n", "/u/cpu.weight": "100\n",
		"/u/cpu.max.burst": "0\n", "/u/cpu.idle": "0\n", "/u/cpuset.cpus": "\n", "/u/memory.high": "max\n",
		"/u/io.max": "8:16 rbps=max wbps=7 riops=max wiops=max\n", "/u/io.weight": "default 100\n", "/u/rdma.max": "mlx4_0 hca_handle=2 hca_object=max\nmlx4_1 hca_handle=max hca_object=max\n",
		"/proc/self/uid_map": rootMap,
	}
}

var (
	updateV1 = Dirs{{Path: "/c", Controllers: []string{"memory", "cpu", "blkio", "net_prio", "devices"}}}
	updateV2 = Dirs{{Path: "/u", V2: true, Controllers: []string{"memory", "cpu", "cpuset", "io", "rdma"}}}
)

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		name     string
		dirs     Dirs
		now, res string
		want     string
	}{
		{"raise on v1", updateV1, `{}`, `{"memory":{"limit":3000,"swap":4000}}`, "memory.memsw.limit_in_bytes=4000<2000 memory.limit_in_bytes=3000<1000"},
		{"lower on v1", updateV1, `{}`, `{"memory":{"limit":500,"swap":600}}`, "memory.limit_in_bytes=500<1000 memory.memsw.limit_in_bytes=600<2000"},
		{"no limit on v1", updateV1, `{}`, `{"memory":{"limit":-1}}`, "memory.memsw.limit_in_bytes=-1<2000 memory.limit_in_bytes=-1<1000"},
		{"memory without swap", updateV1, `{}`, `{"memory":{"limit":2000}}`, "memory.limit_in_bytes=2000<1000"},
		{"more memory than swap of others", updateV1, `{}`, `{"memory":{"limit":2001}}`, `set memory.limit to "2001": more than its memory and swap together, 2000`},
		{"more memory than swap", updateV1, `{"memory":{"limit":1000,"swap":2000}}`, `{"memory":{"limit":2001}}`, `set memory.limit to "2001": more than its memory and swap together, 2000`},
		{"swap alone", updateV1, `{"memory":{"limit":1000,"swap":2000}}`, `{"memory":{"swap":3000}}`, "memory.memsw.limit_in_bytes=3000<2000"},
		{"swap without memory", updateV1, `{}`, `{"memory":{"swap":3000}}`, `set memory.swap to "3000": it counts memory too, and memory.limit is not set`},
		{"0 is unchanged", updateV1, `{"memory":{"limit":1000}}`, `{"memory":{"limit":0,"swap":0,"reservation":0},"cpu":{"shares":0,"quota":0,"period":0,"cpus":""}}`, ""},
		{"do not kill", updateV1, `{}`, `{"memory":{"disableOOMKiller":true}}`, "memory.oom_control=1<0"},
		{"kill again", updateV1, `{"memory":{"disableOOMKiller":true}}`, `{"memory":{"disableOOMKiller":false}}`, "memory.oom_control=0<0"},
		{"longer period first", updateV1, `{}`, `{"cpu":{"quota":60000,"period":200000}}`, "cpu.cfs_period_us=200000<100000 cpu.cfs_quota_us=60000<50000"},
		{"shorter period last", updateV1, `{}`, `{"cpu":{"quota":20000,"period":50000}}`, "cpu.cfs_quota_us=20000<50000 cpu.cfs_period_us=50000<100000"},
		{"smaller burst first", updateV1, `{}`, `{"cpu":{"quota":1000,"burst":0}}`, "cpu.cfs_burst_us=0<2000 cpu.cfs_quota_us=1000<50000"},
		{"larger burst last", updateV1, `{}`, `{"cpu":{"quota":90000,"burst":80000}}`, "cpu.cfs_quota_us=90000<50000 cpu.cfs_burst_us=80000<2000"},
		{"idle last", updateV1, `{}`, `{"cpu":{"shares":2,"idle":1}}`, "cpu.shares=2<1024 cpu.idle=1<0"},
		{"no quota", updateV1, `{}`, `{"cpu":{"quota":-1}}`, "cpu.cfs_quota_us=-1<50000"},
		{"real time", updateV1, `{}`, `{"cpu":{"realtimePeriod":2000000,"realtimeRuntime":5}}`, "cpu.rt_period_us=2000000<1000000 cpu.rt_runtime_us=5<0"},
		{"another disk", updateV1, `{}`, `{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":9}]}}`, "blkio.throttle.read_bps_device=8:0 9<8:0 0"},
		{"a disk", updateV1, `{}`, `{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":9}]}}`, "blkio.throttle.read_bps_device=8:16 9<8:16 500"},
		{"an interface", updateV1, `{}`, `{"network":{"priorities":[{"name":"eth0","priority":5}]}}`, "net_prio.ifpriomap=eth0 5<eth0 4"},
		{"v2", updateV2, `{}`, `{"memory":{"limit":3000,"swap":4000},"cpu":{"shares":1024,"quota":5000}}`, "cpu.weight=100<100 cpu.max=5000 100000<max 100000 memory.swap.max=1000<0 memory.max=3000<max"},
		{"memory, and swap stays", updateV2, `{"memory":{"limit":2000,"swap":4000}}`, `{"memory":{"limit":3000}}`, "memory.swap.max=1000<0 memory.max=3000<max"},
		{"period, and quota stays", updateV2, `{"cpu":{"quota":5000}}`, `{"cpu":{"period":50000}}`, "cpu.max=5000 50000<max 100000"},
		{"period alone", updateV2, `{}`, `{"cpu":{"period":50000}}`, "cpu.max=max 50000<max 100000"},
		{"burst above the quota", updateV2, `{"cpu":{"quota":5000}}`, `{"cpu":{"burst":6000}}`, `set cpu.burst to "6000": larger than the quota`},
		{"burst of v2", updateV2, `{"cpu":{"quota":5000}}`, `{"cpu":{"burst":4000}}`, "cpu.max.burst=4000<0"},
		{"no limit on v2", updateV2, `{"memory":{"limit":2000,"swap":4000}}`, `{"memory":{"limit":-1}}`, "memory.swap.max=max<0 memory.max=max<max"},
		{"what is not named stays", updateV2, `{"cpu":{"shares":512},"memory":{"limit":9000}}`, `{"cpu":{"idle":1}}`, "cpu.idle=1<0"},
		{"what is named is written", updateV2, `{"cpu":{"shares":512}}`, `{"cpu":{"shares":512}}`, "cpu.weight=50<100"},
		{"cpuset", updateV2, `{}`, `{"cpu":{"cpus":"0"}}`, "cpuset.cpus=0<\n"},
		{"a disk on v2", updateV2, `{}`, `{"blockIO":{"throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":9},{"major":8,"minor":0,"rate":9}]}}`,
			"io.max=8:16 wbps=9<8:16 rbps=max wbps=7 riops=max wiops=max io.max=8:0 wbps=9<8:0 rbps=max wbps=max riops=max wiops=max"},
		{"weight", updateV2, `{}`, `{"blockIO":{"weight":1000,"weightDevice":[{"major":8,"minor":0,"weight":10}]}}`, "io.weight=10000<default 100 io.weight=8:0 1<8:0 default"},
		{"rdma", updateV2, `{}`, `{"rdma":{"mlx4_0":{"hcaHandles":3}}}`, "rdma.max=mlx4_0 hca_handle=3<mlx4_0 hca_handle=2 hca_object=max"},
		{"unified", updateV2, `{}`, `{"unified":{"memory.high":"77"}}`, "memory.high=77<max"},
		{"check", updateV2, `{}`, `{"memory":{"limit":3000,"checkBeforeUpdate":true}}`, `set memory.limit to "3000": rejecting memory limit: the container uses 4.883 KiB already`},
		{"check, room", updateV2, `{}`, `{"memory":{"limit":6000,"checkBeforeUpdate":true}}`, "memory.max=6000<max"},
		{"not there", updateV2, `{}`, `{"pids":{"limit":1}}`, "set pids.limit: no pids controller in the container's cgroups"},
		{"no file", updateV2, `{}`, `{"memory":{"reservation":1}}`, "set memory.reservation: no file memory.low in this kernel"},
		{"not in v2", updateV2, `{}`, `{"memory":{"swappiness":1}}`, "set memory.swappiness: no swappiness of a cgroup in version 2"},
		{"nothing", updateV2, `{}`, `{}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			change, err := (&Layout{FS: updateFiles()}).Update(c.dirs, resources(t, c.now), resources(t, c.res))
			got := ""
			if err != nil {
				got = err.Error()
			} else if got = writes(change.Steps); len(change.Properties) != len(change.Steps) {
				t.Errorf("%d properties for %d steps", len(change.Properties), len(change.Steps))
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

// A property goes with its step, wherever that moves.
func TestUpdateProperties(t *testing.T) {
	c, err := (&Layout{FS: updateFiles()}).Update(updateV1, nil, resources(t, `{"cpu":{"quota":1000,"burst":0,"shares":5},"memory":{"limit":3000,"swap":4000}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cpu.shares", "cpu.burst", "cpu.quota", "memory.swap", "memory.limit"}
	if !slices.Equal(c.Properties, want) {
		t.Errorf("the properties are %q, want %q; the steps are %s", c.Properties, want, writes(c.Steps))
	}
}

func TestUpdateHints(t *testing.T) {
	_, err := (&Layout{FS: updateFiles()}).Update(updateV1, nil, resources(t, `{"memory":{"limit":2001}}`))
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "--memory-swap") {
		t.Errorf("%v: no hint of --memory-swap", err)
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ now, change, want string }{
		{`{}`, `{}`, `{}`},
		{`{"cpu":{"shares":1,"cpus":"0"},"pids":{"limit":5}}`, `{"cpu":{"shares":0,"quota":-1,"mems":"1"}}`, `{"cpu":{"shares":1,"quota":-1,"cpus":"0","mems":"1"},"pids":{"limit":5}}`},
		{`{"cpu":{"burst":5,"idle":1}}`, `{"cpu":{"burst":0,"idle":0}}`, `{"cpu":{"burst":0,"idle":0}}`},
		{`{"pids":{"limit":5}}`, `{"pids":{"limit":0}}`, `{"pids":{"limit":0}}`},
		{`{"memory":{"limit":5,"swap":7}}`, `{"memory":{"limit":-1}}`, `{"memory":{"limit":-1,"swap":-1}}`},
		{`{"memory":{"limit":5,"swap":7}}`, `{"memory":{"limit":-1,"swap":9}}`, `{"memory":{"limit":-1,"swap":9}}`},
		{`{"memory":{"limit":5}}`, `{"memory":{"swap":-1,"reservation":-1}}`, `{"memory":{"limit":5,"swap":-1,"reservation":-1}}`},
		{`{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":2}]}`, `{"hugepageLimits":[{"pageSize":"2MB","limit":3}]}`,
			`{"hugepageLimits":[{"pageSize":"1GB","limit":2},{"pageSize":"2MB","limit":3}]}`},
		{`{"unified":{"memory.high":"1","memory.low":"2"}}`, `{"unified":{"memory.high":"3"}}`, `{"unified":{"memory.high":"3","memory.low":"2"}}`},
		{`{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}]}}`, `{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1,"rate":2}]}}`,
			`{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":1,"rate":2}]}}`},
		{`{"devices":[{"allow":true,"type":"c","access":"r"}]}`, `{"devices":[]}`, `{"devices":[{"allow":true,"type":"c","access":"r"}]}`},
	} {
		now, change := resources(t, c.now), resources(t, c.change)
		got, want := asJSON(t, Merge(now, change)), asJSON(t, resources(t, c.want))
		if got != want {
			t.Errorf("Merge(%s, %s) = %s, want %s", c.now, c.change, got, want)
		}
		if again := asJSON(t, now); again != asJSON(t, resources(t, c.now)) {
			t.Errorf("Merge(%s, %s) has changed its first argument to %s", c.now, c.change, again)
		}
	}
	if got := asJSON(t, Merge(nil, nil)); got != `{}` {
		t.Errorf("Merge(nil, nil) = %s", got)
	}
}

// Rules for devices are changed by what differs, and only if something does.
func TestUpdateDevices(t *testing.T) {
	const (
		none = `{}`
		deny = `{"devices":[{"allow":false,"access":"rwm"}]}`
		fuse = `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]}`
		read = `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"r"}]}`
		all  = `{"devices":[{"allow":true,"access":"rwm"}]}`
	)
	for _, c := range []struct{ name, now, change, want string }{
		{"the same", fuse, fuse, ""},
		{"none", fuse, none, ""},
		{"one more", deny, fuse, "write devices.allow c 10:229 rwm in /c"},
		{"one less", fuse, deny, "write devices.deny c 10:229 rwm in /c"},
		{"less of one", fuse, read, "write devices.deny c 10:229 w in /c"},
		{"everything", fuse, all, "write devices.allow a in /c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			change, err := (&Layout{FS: updateFiles()}).Update(updateV1, resources(t, c.now), resources(t, c.change))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range change.Steps {
				got += s.Action.Line()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	_, err := (&Layout{UID: 1000, FS: updateFiles()}).Update(updateV1, nil, resources(t, deny))
	var missing *Unsupported
	if !errors.As(err, &missing) || missing.Property != "devices" {
		t.Errorf("device rules by an ordinary user: %v, want *Unsupported", err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
