// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"slices"
	"strings"
	"testing"

	"vitro/cgroup"
	"vitro/plan"
)

// seen is a container that shows something of everything.
func seen() *Seen {
	return &Seen{
		PID: 7,
		Mounts: []Mount{
			{1, "/", "overlay"}, {2, "/proc", "proc"}, {3, "/real/x", "ext4"}, {4, "/real/x/sub", "tmpfs"},
			{5, "/proc/kcore", "devtmpfs"}, {6, "/proc/acpi", "tmpfs"}, {7, "/sys/fs/cgroup", "cgroup2"}, {8, "/tree/b", "xfs"}, {9, "/tree", "ext4"},
		},
		Places:     map[string]string{"/link/x": "/real/x", "/tree": "/tree", "/gone": "/gone", "/proc/kcore": "/proc/kcore", "/proc/acpi": "/proc/acpi"},
		Streams:    [3]string{"pipe:[9]", "file[1f:40014]", "file[1f:40014]"},
		Namespaces: map[string]uint64{"net": 11, "pid": 12},
	}
}

func outside() []Outside {
	return []Outside{
		{Place: "/link/x", Name: "/link/x", Source: "/srv/x"},
		{Place: "/tree", Name: "/tree", Source: "/srv/tree", Tree: true},
		{Place: "/gone", Name: "/gone", Source: "/srv/gone"},
		{Place: "/missing", Name: "/missing", Source: "/srv/missing"},
		{Place: "/proc/kcore", Name: "/dev/null", Source: "/dev/null", Hidden: true},
		{Place: "/proc/acpi", Name: "/dev/null", Source: "/dev/null", Hidden: true},
	}
}

func TestDumpArgs(t *testing.T) {
	common := "criu dump --images-dir /i --log-file dump.log -v4 --manage-cgroups=soft --tree 7 "
	mounts := "--external mnt[/real/x]:/link/x --external mnt[/tree]:/tree --external mnt[/proc/kcore]:/dev/null"
	for _, c := range []struct {
		name string
		d    Dump
		want string
	}{
		{"mounts", Dump{CgroupNS: true, Outside: outside()},
			common + "--external net[11]:extRootNetNS " + mounts + " --external mnt[/tree/b]:/tree/b --external file[1f:40014]"},
		{"no cgroup namespace, a PID namespace that is joined", Dump{JoinsPID: true},
			common + "--external net[11]:extRootNetNS --external pid[12]:extRootPidNS --external mnt[/sys/fs/cgroup]:/sys/fs/cgroup --external file[1f:40014]"},
		{"memory only", Dump{PreDump: true, LeaveRunning: true, Outside: outside()},
			"criu pre-dump --images-dir /i --log-file pre-dump.log -v4 --manage-cgroups=soft --tree 7 --track-mem"},
		{"memory elsewhere", Dump{PreDump: true, Parent: "../1", PageServer: [2]string{"::1", "80"}, NFTables: true, SkipInFlight: true},
			"criu pre-dump --images-dir /i --log-file pre-dump.log -v4 --manage-cgroups=soft --tree 7 --prev-images-dir ../1 --track-mem" +
				" --page-server --address ::1 --port 80 --network-lock nftables --skip-in-flight"},
		{"pages on demand, flags", Dump{PreDump: true, Status: true, PageServer: [2]string{"127.0.0.1", "80"}, Dirs: cgroup.Dirs{{Path: "/c/x", V2: true}}, Options: Options{
			LazyPages: true, Work: "/w", Config: "/etc/c", TCPEstablished: true, ExtUnixSk: true, ShellJob: true, FileLocks: true, AutoDedup: true, Cgroups: "full"}},
			"criu pre-dump --images-dir /i --log-file pre-dump.log -v4 --work-dir /w --config /etc/c --tcp-established --ext-unix-sk --shell-job --file-locks" +
				" --auto-dedup --lazy-pages --manage-cgroups=full --tree 7 --freeze-cgroup /c/x --track-mem --address 127.0.0.1 --port 80 --status-fd 900"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Images, c.d.Seen = "/i", seen()
			if got := strings.Join(c.d.Args(), " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFreezerIsOfTheVersionThereIs(t *testing.T) {
	v1 := cgroup.Dirs{{Path: "/cpu/x", Controllers: []string{"cpu"}}, {Path: "/freezer/x", Controllers: []string{"freezer"}}}
	if got := freezer(v1); got != "/freezer/x" {
		t.Errorf("got %q", got)
	}
	if got := freezer(v1[:1]); got != "" {
		t.Errorf("got %q without a freezer", got)
	}
}

func TestRestoreSteps(t *testing.T) {
	r := &Restore{PIDFile: "/c/restored", Streams: [3]string{"pipe:[9]", "file[1f:40014]", "/dev/null"}, TCPClose: true, LSMProfile: "apparmor:x", LSMContext: "y"}
	r.Criu, r.Images = "/usr/sbin/criu", "/i"
	r.Mounts = []Mount{{1, "/", "ext4"}, {2, "/srv/tree/b", "xfs"}, {3, "/srv/x/not-a-tree", "xfs"}, {4, "/srv/treeb", "xfs"}}
	at := &Place{Root: "/c/rootfs", Outside: outside(), Cgroups: []string{"/c", "cpu:/d"}, Net: "/proc/self/ns/net", PID: "/proc/1/ns/pid", Join: []string{"ipc:/proc/1/ns/ipc"}}
	p := &plan.Plan{Steps: r.Steps(at)}
	exec := p.Steps[p.Last()].Action.(*plan.Exec)
	want := "criu restore --images-dir /i --log-file restore.log -v4 --manage-cgroups=soft --restore-detached --restore-sibling --evasive-devices" +
		" --pidfile /c/restored --root /c/rootfs --cgroup-root /c --cgroup-root cpu:/d --tcp-close --lsm-profile apparmor:x --lsm-mount-context y" +
		" --join-ns ipc:/proc/1/ns/ipc --external mnt[/link/x]:/srv/x --external mnt[/tree]:/srv/tree --external mnt[/gone]:/srv/gone" +
		" --external mnt[/missing]:/srv/missing --external mnt[/dev/null]:/dev/null --external mnt[/tree/b]:/srv/tree/b --inherit-fd fd[0]:pipe:[9] --inherit-fd fd[1]:file[1f:40014]" +
		" --inherit-fd fd[900]:extRootNetNS --inherit-fd fd[901]:extRootPidNS"
	if got := strings.Join(exec.Args, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var inherited []string
	closed := -1
	for i, s := range p.Steps {
		switch a := s.Action.(type) {
		case *plan.Inherit:
			inherited = append(inherited, a.Line())
		case *plan.CloseOthers:
			closed = i
		}
	}
	if want := []string{"open /proc/self/ns/net as descriptor 900", "open /proc/1/ns/pid as descriptor 901"}; !slices.Equal(inherited, want) {
		t.Errorf("inherited: %q, want %q", inherited, want)
	}
	if closed != 0 {
		t.Errorf("descriptors are closed at step %d, behind those that are to stay", closed)
	}
}
