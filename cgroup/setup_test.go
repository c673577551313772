// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup/systemd"
	"vitro/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func resources(t *testing.T, text string) *specs.LinuxResources {
	t.Helper()
	r := new(specs.LinuxResources)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// text is all of a Setup, for people.
func (s *Setup) text() string {
	p := plan.Plan{Title: "cgroups"}
	p.Append(s.Before...)
	p.Add("the child's birth", &plan.Clone{Into: s.Into})
	p.Append(s.Born...)
	p.Append(s.Join...)
	var b strings.Builder
	for i, st := range p.Steps {
		fmt.Fprintf(&b, "%3d %-5s %s\n          # %s\n", i+1, st.Where(), st.Action.Line(), st.Why)
		if start, ok := st.Action.(*systemd.Start); ok {
			for _, p := range start.Properties {
				fmt.Fprintf(&b, "          %s\n", p)
			}
		}
	}
	for _, d := range s.Dirs {
		fmt.Fprintf(&b, "dir %s %v\n", d.Path, d.Controllers)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

const (
	someLimits = `{"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0-1"},"memory":{"limit":10485760,"swap":20971520,"reservation":5242880},"pids":{"limit":80}}`
	manyLimits = `{"cpu":{"shares":2048,"idle":1,"quota":150000,"burst":20000},"memory":{"limit":10485760,"swap":10485760},
"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":100}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1048576}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]},
"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}},"pids":{"limit":0},"unified":{"memory.high":"8000000","io.max":"8:0 rbps=1\\n8:16 wbps=2\\n"}}`
	v1Only  = `{"cpu":{"quota":-1},"memory":{"limit":-1,"swap":-1,"swappiness":0,"disableOOMKiller":true},"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]},"blockIO":{"leafWeight":10}}`
	someDev = `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"}]}`
)

func TestSetup(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout *Layout
		path   string
		res    string
		opt    Options
	}{
		{"v1-some", v1Layout(), "/docker/abc", someLimits, Options{Shared: "/docker"}},
		{"v1-all", v1Layout(), "abc", `{}`, Options{All: true}},
		{"v1-only", v1Layout(), "/abc", v1Only, Options{}},
		{"v1-devices", v1Layout(), "", someDev, Options{Name: "abc"}},
		{"v2-some", v2Layout(), "/docker/abc", someLimits, Options{Shared: "/docker"}},
		{"v2-many", v2Layout(), "/docker/abc", manyLimits, Options{}},
		{"v2-relative", v2Layout(), "../../abc", `{"pids":{"limit":7}}`, Options{}},
		{"v2-all", v2Layout(), "/abc", `{}`, Options{All: true}},
		{"v2-devices", v2Layout(), "/abc", someDev, Options{}},
		{"v2-owner", v2Layout(), "/abc", `{}`, Options{Owner: &Owner{100000, 100000}}},
		{"v2-nothing", v2Layout(), "", `{}`, Options{Name: "abc"}},
		{"user", userLayout(), "", someUser, Options{Name: "abc", Owner: &Owner{1000, 1000}}},
		{"user-devices", userLayout(), "", someDev, Options{Name: "abc"}},
		{"user-all", userLayout(), "abc", `{}`, Options{All: true}},
		{"user-root-path", userLayout(), "/abc", `{}`, Options{}},
		{"inner", innerLayout(), "abc", `{"cpu":{"quota":50000}}`, Options{}},
		{"inner-swap", innerLayout(), "abc", `{"memory":{"limit":10485760,"swap":10485760},"blockIO":{}}`, Options{}},
		{"inner-all", innerLayout(), "abc", `{}`, Options{All: true}},
		{"hybrid", hybridLayout(), "/x/abc", `{"memory":{"limit":10485760},"pids":{"limit":80},"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`, Options{}},
		{"hybrid-track", hybridLayout(), "/abc", `{}`, Options{}},
		{"none", &Layout{FS: fakeFS{}}, "/abc", `{}`, Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.layout.Setup(c.path, resources(t, c.res), c.opt)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, s.text())
		})
	}
}

const someUser = `{"memory":{"limit":10485760},"pids":{"limit":80}}`

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSetupRefuses(t *testing.T) {
	with := func(l *Layout, files map[string]string) *Layout {
		for k, v := range files {
			delete(l.FS.(fakeFS), k)
			delete(l.FS.(fakeFS), "ro "+k)
			if v != "-" {
				l.FS.(fakeFS)[k] = v
			}
		}
		return l
	}
	session := userLayout()
	session.Hierarchies[0].Own = "/user.slice/user-1000.slice/session-1.scope"
	v1User := v1Layout()
	v1User.UID = 1000
	for _, h := range v1User.Hierarchies {
		v1User.FS.(fakeFS)["ro "+h.Mount+"/"] = ""
		v1User.FS.(fakeFS)["ro "+h.Mount+"/user.slice/"] = ""
	}
	for _, c := range []struct {
		name   string
		layout *Layout
		path   string
		res    string
		want   string
	}{
		{"no swap accounting", with(v1Layout(), map[string]string{usual + "/memory/memory.memsw.limit_in_bytes": "-"}), "/x",
			`{"memory":{"limit":100,"swap":200}}`, "set memory.swap: no swap accounting (memory.memsw.limit_in_bytes)"},
		{"swap below memory", v2Layout(), "/x", `{"memory":{"limit":200,"swap":100}}`, `set memory.swap to "100": it counts memory too, and is less than memory.limit`},
		{"swap alone", v2Layout(), "/x", `{"memory":{"swap":100}}`, `set memory.swap to "100": it counts memory too, and memory.limit is not set`},
		{"swappiness", v2Layout(), "/x", `{"memory":{"swappiness":0}}`, "set memory.swappiness: no swappiness of a cgroup in version 2"},
		{"shares", v1Layout(), "/x", `{"cpu":{"shares":1}}`, "set cpu.shares: no 1 shares: the kernel takes 2 to 262144"},
		{"unified on v1", v1Layout(), "/x", `{"unified":{"memory.high":"1"}}`, "set unified.memory.high: invalid configuration: no cgroups of version 2 for it"},
		{"core on v1", v1Layout(), "/x", `{"unified":{"cgroup.max.depth":"1"}}`, "set unified.cgroup.max.depth: invalid configuration: no cgroups of version 2 for it"},
		{"class on v2", v2Layout(), "/x", `{"network":{"classID":1}}`, "set network.classID: no classes of packets in version 2"},
		{"no controller", innerLayout(), "/x", `{"rdma":{"m":{"hcaHandles":1}}}`, "set rdma: no rdma controller"},
		{"no root", v2Layout(), "../..", `{"pids":{"limit":1}}`, `set cgroupsPath to "../..": it names no cgroup`},
		{"in use", v2Layout(), "/system.slice/ssh.service", `{}`, "make cgroup /sys/fs/cgroup/system.slice/ssh.service: container's cgroup is not empty"},
		{"below processes", v2Layout(), "/busy/x", `{"cpu":{"idle":1}}`, ""},
		{"login session", session, "x", someUser, "control memory, pids by cgroup: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: /sys/fs/cgroup/user.slice/user-1000.slice/cgroup.procs is not writable for uid 1000"},
		{"not delegated controller", userLayout(), "x", `{"cpu":{"quota":50000},"pids":{"limit":1}}`, "control cpu by cgroup: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: /sys/fs/cgroup/cgroup.subtree_control is not writable for uid 1000"},
		{"user on v1", v1User, "x", someUser, "control memory, pids by cgroup: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: /sys/fs/cgroup/memory/user.slice is not writable for uid 1000"},
		{"threaded", with(v2Layout(), map[string]string{usual + "/system.slice/cgroup.type": "threaded\n"}), "/system.slice/x", `{}`,
			`make a cgroup in /sys/fs/cgroup/system.slice: its type is "threaded"`},
		{"foreign", with(innerLayout(), map[string]string{usual + "/cgroup.procs": "1\n0\n"}), "x", `{"cpu":{"idle":1}}`,
			"enable controllers below /sys/fs/cgroup: it holds processes of another PID namespace"},
		{"no cgroups", &Layout{FS: fakeFS{}}, "/x", someUser, ErrNone.Error()},
		{"devices nowhere", &Layout{FS: v1Layout().FS, Hierarchies: v1Layout().Hierarchies[:2]}, "/x", someDev, "set devices: no devices controller"},
		{"hole", v1Layout(), "/x", `{"devices":[{"allow":true,"type":"c","major":8,"access":"rwm"},{"allow":false,"type":"c","major":8,"minor":1,"access":"w"}]}`,
			"set devices: no way in version 1 to take c 8:1 w out of a wider rule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "" { // a neighbour's process in the parent
				v2Dir(c.layout.FS.(fakeFS), usual+"/busy", everyController, "", "99\n")
				c.want = "enable controllers below /sys/fs/cgroup/busy: it holds processes itself"
			}
			s, err := c.layout.Setup(c.path, resources(t, c.res), Options{Name: "abc"})
			if err == nil {
				t.Fatalf("got a set-up:\n%s\nwant the error %q", s.text(), c.want)
			}
			if err.Error() != c.want {
				t.Errorf("got the error\n%q, want\n%q", err, c.want)
			}
			var hint interface{ Hint() string }
			if errors.As(err, &hint) && strings.HasSuffix(hint.Hint(), ".") {
				t.Errorf("the hint %q ends in a full stop", hint.Hint())
			}
		})
	}
}
