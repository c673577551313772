// SPDX-License-Identifier: Apache-2.0

package contrast

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func number(n int64) *int64 { return &n }

// base is a container as engines make it.
func base() *specs.Spec {
	return &specs.Spec{
		Hostname: "0e9d76e79b91",
		Root:     &specs.Root{},
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Effective: []string{"CAP_CHOWN", "CAP_KILL"}},
			Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 4096}}},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"size=65536k"}}},
		Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: "mount"}, {Type: "network"}, {Type: "pid"}, {Type: "uts"}},
			Resources:   &specs.LinuxResources{},
			Seccomp:     &specs.LinuxSeccomp{DefaultAction: specs.ActErrno},
			MaskedPaths: []string{"/proc/kcore"},
		},
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*specs.Spec)
		want   Difference
	}{
		{"shared network", func(s *specs.Spec) {
			s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == "network" })
		}, Difference{"namespaces", "network", "its own", "the host's", "--network=host"}},
		{"another's processes", func(s *specs.Spec) { s.Linux.Namespaces[2].Path = "/proc/7/ns/pid" }, Difference{"namespaces", "pid", "its own", "another's: /proc/7/ns/pid", "--pid=ns:/proc/7/ns/pid"}},
		{"user", func(s *specs.Spec) { s.Process.User.UID = 5 }, Difference{"users", "user", "0:0", "5:0", "--user 5:0"}},
		{"capability less", func(s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}}
		}, Difference{"capabilities", "CAP_KILL", "yes", "no", "--cap-drop KILL"}},
		{"no filter", func(s *specs.Spec) { s.Linux.Seccomp = nil }, Difference{"seccomp", "filter", "a filter", "none", "--security-opt seccomp=unconfined"}},
		{"no gain", func(s *specs.Spec) { s.Process.NoNewPrivileges = true }, Difference{"rights", "no_new_privs", "not set", "set", "--security-opt no-new-privileges"}},
		{"root", func(s *specs.Spec) { s.Root.Readonly = true }, Difference{"root", "files", "writable", "read-only", "--read-only"}},
		{"volume", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/d", Type: "bind", Source: "/src", Options: []string{"rbind", "ro", "rprivate"}})
		}, Difference{"mounts", "/d", "nothing", "/src ro", "-v /src:/d:ro"}},
		{"shm", func(s *specs.Spec) { s.Mounts[1].Options = []string{"size=1m"} }, Difference{"mounts", "/dev/shm", "tmpfs size=65536k", "tmpfs size=1m", "--shm-size 1m"}},
		{"paths", func(s *specs.Spec) { s.Linux.MaskedPaths = nil }, Difference{"hidden paths", "masked /proc/kcore", "yes", "no", "--security-opt systempaths=unconfined"}},
		{"memory", func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: number(50 << 20)} }, Difference{"limits", "memory", "no limit", "50MiB", "--memory 50m"}},
		{"processes", func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: number(9)} }, Difference{"limits", "processes", "no limit", "9", "--pids-limit 9"}},
		{"ulimit", func(s *specs.Spec) { s.Process.Rlimits[0].Soft = 5 }, Difference{"ulimits", "nofile", "1024:4096", "5:4096", "--ulimit nofile=5:4096"}},
		{"sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"} }, Difference{"kernel", "net.ipv4.ip_forward", "", "1", "--sysctl net.ipv4.ip_forward=1"}},
		{"device", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse"}} }, Difference{"devices", "/dev/fuse", "no", "yes", "--device /dev/fuse"}},
	} {
		b := base()
		c.change(b)
		got := Compare(&Side{Spec: base()}, &Side{Spec: b})
		if !slices.Equal(got, []Difference{c.want}) {
			t.Errorf("%s: Compare = %+v, want %+v alone", c.name, got, c.want)
		}
	}
}

func TestWhatSaysNothingIsNoDifference(t *testing.T) {
	a, b := base(), base()
	a.Hostname, b.Hostname = "0e9d76e79b91", "111122223333"
	b.Process.Args, b.Process.Env = []string{"other"}, []string{"A=b"}
	b.Mounts[0].Options = []string{"nosuid", "rw", "relatime"}
	list := Compare(&Side{Spec: a, ID: "0e9d76e79b91" + strings.Repeat("0", 52)}, &Side{Spec: b, ID: "111122223333" + strings.Repeat("0", 52)})
	if len(list) > 0 {
		t.Errorf("Compare = %+v, want nothing", list)
	}
	if list := Compare(&Side{}, &Side{}); len(list) > 0 {
		t.Errorf("Compare of nothing = %+v", list)
	}
}

func TestText(t *testing.T) {
	a, b := &Side{Name: "a\x1b[31m"}, &Side{Name: "b"}
	var list []Difference
	for _, name := range []string{"/x", "/y\x1b", "/z", "/u", "/v", "/w"} {
		list = append(list, Difference{"devices", name, "no", "yes", "--device " + name})
	}
	var short, long bytes.Buffer
	if err := Text(&short, a, b, list, false); err != nil {
		t.Fatal(err)
	}
	if err := Text(&long, a, b, list, true); err != nil {
		t.Fatal(err)
	}
	want := "                        a\\x1b[31m  b    flag\ndevices  /x and 5 more  no         yes  --device PATH\n"
	if short.String() != want {
		t.Errorf("Text = %q, want %q", short.String(), want)
	}
	if lines := strings.Count(long.String(), "\n"); lines != 7 || strings.Contains(long.String(), "\x1b") {
		t.Errorf("Text of all = %q, want 7 lines without escapes", long.String())
	}
}
