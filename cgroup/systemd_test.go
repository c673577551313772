// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"vitro/cgroup/systemd"
	"vitro/plan"
)

const procDevices = "Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n  8 sd\n"

// managedBy gives a layout a systemd.
func managedBy(l *Layout, version int) *Layout {
	l.FS.(fakeFS)["/proc/devices"] = procDevices
	l.Manager = &systemd.Manager{Version: version, ControlGroup: "/", Bus: systemd.Bus{Socket: "/run/systemd/private", Private: true}}
	if l.UID != 0 {
		l.Manager.Bus = systemd.Bus{Socket: "/run/user/1000/bus", User: true}
		l.Manager.ControlGroup = userService
		v2Dir(l.FS.(fakeFS), usual+userService+"/init.scope", "memory pids", "", "2000\n")
	}
	return l
}

// systemdHybrid is systemd's hybrid layout: its own processes are in version 2.
func systemdHybrid() *Layout {
	l := hybridLayout()
	l.FS.(fakeFS)[usual+"/unified/init.scope/cgroup.procs"] = "1\n"
	l.Hierarchies = append([]Hierarchy{{Mount: usual + "/systemd", Own: "/", Controllers: []string{"name=systemd"}}}, l.Hierarchies...)
	return l
}

func TestSetupUnit(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout *Layout
		path   string
		res    string
		opt    Options
	}{
		{"systemd-v2", managedBy(v2Layout(), 252), "system.slice:docker:abc", someLimits, Options{}},
		{"systemd-v2-many", managedBy(v2Layout(), 257), "a-b.slice:docker:abc", manyLimits, Options{}},
		{"systemd-v2-owner", managedBy(v2Layout(), 252), "", `{}`, Options{Owner: &Owner{100000, 100000}, All: true}},
		{"systemd-v2-devices", managedBy(v2Layout(), 252), "", someDev, Options{}},
		{"systemd-v2-old", managedBy(v2Layout(), 235), "", someLimits, Options{}},
		{"systemd-v2-slice", managedBy(v2Layout(), 252), "::kube-pod.slice", someLimits, Options{}},
		{"systemd-v1", managedBy(v1Layout(), 252), "system.slice:docker:abc", someLimits, Options{}},
		{"systemd-v1-devices", managedBy(v1Layout(), 252), "", someDev, Options{}},
		{"systemd-hybrid", managedBy(systemdHybrid(), 252), "", someUser, Options{}},
		{"systemd-user", managedBy(userLayout(), 252), "", someUser, Options{}},
		{"systemd-annotations", managedBy(v2Layout(), 252), "", `{}`, Options{Properties: []systemd.Property{
			{Name: "Description", Value: "'my unit'"}, {Name: "TimeoutStopUSec", Value: "uint64 5000000"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opt.Systemd, c.opt.Name = true, "abc"
			s, err := c.layout.Setup(c.path, resources(t, c.res), c.opt)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, s.text())
			steps := append(s.Before, s.Born...)
			found := 0
			for _, st := range steps {
				if start, ok := st.Action.(*systemd.Start); ok {
					found++
					if *s.Unit != start.Ref || s.Unit.Description != start.Properties[0].Text() && c.name != "systemd-annotations" {
						t.Errorf("the unit to keep is %+v, the one that is started %+v", s.Unit, start)
					}
				}
			}
			if found != 1 {
				t.Errorf("%d units are started, want 1", found)
			}
		})
	}
}

func TestSetupUnitRefuses(t *testing.T) {
	user := managedBy(v1Layout(), 252)
	user.UID = 1000
	user.Manager.Bus.User = true
	for _, h := range user.Hierarchies {
		user.FS.(fakeFS)["ro "+h.Mount+"/"] = ""
		user.FS.(fakeFS)["ro "+h.Mount+"/user.slice/"] = ""
	}
	for _, c := range []struct {
		name, path, res string
		layout          *Layout
		want            string
	}{
		{"no systemd", "", `{}`, v2Layout(), ErrNoSystemd.Error()},
		{"path", "/docker/abc", `{}`, managedBy(v2Layout(), 252), `read cgroupsPath "/docker/abc": with systemd it has the form "slice:prefix:name"`},
		{"controller", "", `{"cpu":{"quota":50000}}`, managedBy(userLayout(), 252),
			"control cpu by cgroup: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: /sys/fs/cgroup/cgroup.subtree_control is not writable for uid 1000"},
		{"user on v1", "", someUser, user, "control memory, pids by cgroup: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: /sys/fs/cgroup/memory/user.slice is not writable for uid 1000"},
		{"no cgroups", "", someUser, managedBy(&Layout{FS: fakeFS{}}, 252), ErrNone.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.layout.Setup(c.path, resources(t, c.res), Options{Name: "abc", Systemd: true})
			if err == nil {
				t.Fatalf("got a set-up:\n%s\nwant the error %q", s.text(), c.want)
			}
			if err.Error() != c.want {
				t.Errorf("got the error\n%q, want\n%q", err, c.want)
			}
		})
	}
	if _, err := v2Layout().Setup("", nil, Options{Systemd: true}); !errors.Is(err, ErrNoSystemd) {
		t.Errorf("Setup without a manager: %v, want ErrNoSystemd", err)
	}
}

// The step in front of an update says the same as the writes, and so does its inverse.
func TestUpdateUnit(t *testing.T) {
	l := v2Layout()
	files := l.FS.(fakeFS)
	dir := usual + "/system.slice/vitro-abc.scope"
	v2Dir(files, dir, everyController, "", "5\n")
	files[dir+"/memory.max"], files[dir+"/pids.max"], files[dir+"/cpu.max"] = "10485760\n", "max\n", "max 100000\n"
	ref := &systemd.Ref{Unit: "vitro-abc.scope", Version: 252}
	d := Dirs{{Path: dir, V2: true, Controllers: strings.Fields(everyController)}}
	c, err := l.UpdateUnit(ref, d, nil, resources(t, `{"memory":{"limit":20971520},"pids":{"limit":7},"cpu":{"quota":25000,"period":50000}}`))
	if err != nil {
		t.Fatal(err)
	}
	set, ok := c.Steps[0].Action.(*systemd.Set)
	if !ok || len(c.Steps) < 4 || len(c.Properties) != len(c.Steps) {
		t.Fatalf("%d steps for %q, the first %s", len(c.Steps), c.Properties, c.Steps[0].Action.Line())
	}
	const want = "set of unit vitro-abc.scope: MemoryMax=uint64 20971520 TasksMax=uint64 7 CPUQuotaPerSecUSec=uint64 500000 CPUQuotaPeriodUSec=uint64 50000"
	if set.Line() != want {
		t.Errorf("got  %s\nwant %s", set.Line(), want)
	}
	const back = "set of unit vitro-abc.scope: MemoryMax=uint64 10485760 TasksMax=uint64 18446744073709551615 " +
		"CPUQuotaPerSecUSec=uint64 18446744073709551615 CPUQuotaPeriodUSec=uint64 100000"
	if undo := set.Undo(); undo == nil || undo.Line() != back {
		t.Errorf("the inverse is %v\nwant %s", undo, back)
	}
}

// On version 1 the quota and its period are two files, and one property.
func TestUpdateUnitOnV1(t *testing.T) {
	l := v1Layout()
	files := l.FS.(fakeFS)
	dir := usual + "/cpu,cpuacct/x"
	files[dir+"/cpu.cfs_quota_us"], files[dir+"/cpu.cfs_period_us"] = "-1\n", "50000\n"
	c, err := l.UpdateUnit(&systemd.Ref{Unit: "x.scope", Version: 252}, Dirs{{Path: dir, Controllers: []string{"cpu", "cpuacct"}}}, nil,
		resources(t, `{"cpu":{"quota":25000}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "set of unit x.scope: CPUQuotaPerSecUSec=uint64 500000 CPUQuotaPeriodUSec=uint64 50000"
	if got := c.Steps[0].Action.Line(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A device that is added is one that systemd knows of, on version 1; on version
// 2 it has no say.
func TestUpdateUnitDevices(t *testing.T) {
	now := resources(t, `{"devices":[{"allow":false,"access":"rwm"}]}`)
	change := resources(t, `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":1,"access":"r"}]}`)
	ref := &systemd.Ref{Unit: "x.scope", Version: 252}
	l := managedBy(v1Layout(), 252)
	c, err := l.UpdateUnit(ref, Dirs{{Path: usual + "/devices/x", Controllers: []string{"devices"}}}, now, change)
	if err != nil {
		t.Fatal(err)
	}
	set, ok := c.Steps[len(c.Steps)-1].Action.(*systemd.Set)
	if !ok || len(c.Steps) != 2 || !strings.Contains(set.Line(), "('/dev/block/8:1', 'rm')") || strings.Contains(set.Undo().Line(), "8:1") ||
		!strings.Contains(set.Undo().Line(), "('char-pts', 'rwm')") {
		t.Errorf("%d steps, the last %s, its inverse %v", len(c.Steps), c.Steps[len(c.Steps)-1].Action.Line(), set.Undo().Line())
	}
	c, err = managedBy(v2Layout(), 252).UpdateUnit(ref, Dirs{{Path: usual + "/x", V2: true}}, now, change)
	if err != nil || len(c.Steps) != 1 {
		t.Errorf("%d steps, %v; want the filter's alone", len(c.Steps), err)
	}
}

// What takes a unit back is written to a file, and read by another process.
func TestUnitUndoIsReadBack(t *testing.T) {
	ref := systemd.Ref{Bus: systemd.Bus{Socket: "/run/user/1000/bus", User: true}, Unit: `a\x2b.scope`, Description: "container a+", Version: 252}
	for _, a := range []plan.Host{
		&systemd.Start{Ref: ref},
		&systemd.Set{Ref: ref, Before: []systemd.Property{{Name: "TasksMax", Value: "uint64 18446744073709551615"}}},
	} {
		undo := a.Undo()
		text, err := json.Marshal(undo)
		if err != nil {
			t.Fatal(err)
		}
		back := Actions(undo.Verb())
		if back == nil {
			t.Fatalf("the verb %q is not known", undo.Verb())
		}
		if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(undo, back) {
			t.Errorf("%s comes back as %+v, %v", text, back, err)
		}
	}
}
