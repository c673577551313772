// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/test/bundle"
)

// join has a container share another one's namespaces, by their paths.
func join(b *bundle.Box, pid int, kinds ...specs.LinuxNamespaceType) {
	files := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.UserNamespace: "user", specs.PIDNamespace: "pid", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts"}
	for i := range b.Spec.Linux.Namespaces {
		for _, k := range kinds {
			if n := &b.Spec.Linux.Namespaces[i]; n.Type == k {
				n.Path = fmt.Sprintf("/proc/%d/ns/%s", pid, files[k])
			}
		}
	}
}

// A pod: a container that holds the namespaces, and two that share them.
func TestPod(t *testing.T) {
	pause := box(t)
	pause.Start()
	shared := []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.IPCNamespace, specs.PIDNamespace, specs.UTSNamespace}
	if os.Geteuid() != 0 {
		shared = append(shared, specs.UserNamespace)
	}
	var two [2]*bundle.Box
	for i := range two {
		b := box(t)
		join(b, pause.Pid(), shared...)
		b.Spec.Hostname = ""
		if os.Geteuid() != 0 {
			b.Spec.Linux.UIDMappings, b.Spec.Linux.GIDMappings = nil, nil
		}
		b.Start()
		two[i] = b
	}
	for _, ns := range []string{"net", "ipc", "pid", "uts"} {
		want, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pause.Pid(), ns))
		for _, b := range two {
			if got := b.Must("exec", b.ID, "readlink", "/proc/self/ns/"+ns).Out; got != want {
				t.Errorf("%s namespace %s; want %s", ns, got, want)
			}
		}
	}
	if got := two[0].Must("exec", two[0].ID, "ps").Out; strings.Count(got, "sleep 1000") != 3 {
		t.Errorf("in a shared PID namespace there are to be 3 sleeps:\n%s", got)
	}
	two[0].Must("kill", two[0].ID, "KILL")
	bundle.Eventually(t, "stopped", ended(two[0]))
	if s := two[1].Status(); s != "running" {
		t.Errorf("when one of the pod is killed, the other is %s", s)
	}
	two[0].Must("delete", two[0].ID)
	pause.Must("delete", "--force", pause.ID)
	bundle.Eventually(t, "the pod's PIDs end with the first", ended(two[1]))
}

// shareMounts takes the container's mount namespace away.
func shareMounts(b *bundle.Box) {
	b.Spec.Linux.Namespaces = slices.DeleteFunc(b.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
}

// mounts are this process's: what is mounted where.
func mounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	return string(data)
}

// A container without a mount namespace of its own: further processes begin at
// its root as well, and what can't be started leaves nothing mounted.
func TestSharedMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: an ordinary user has no right to mount in a namespace that he shares")
	}
	b := box(t)
	shareMounts(b)
	before := mounts(t)
	b.Start()
	if mounts(t) == before {
		t.Error("it has mounted nothing here")
	}
	if got := b.Must("exec", b.ID, "ls", "/bin/inside", "/..").Out; !strings.HasPrefix(got, "/bin/inside\n") || strings.Contains(got, "usr") {
		t.Errorf("a further process sees %q", got)
	}
	if r := b.Do("checkpoint", b.ID); r.Code == 0 || !strings.Contains(r.Err, "linux.namespaces: mount") {
		t.Error(r)
	}
	b.Must("delete", "--force", b.ID)
	bad := box(t)
	shareMounts(bad)
	bad.Spec.Process.Args = []string{"/no/such/program"}
	if r := bad.Run(); r.Code == 0 || !strings.Contains(r.Err, "/no/such/program") {
		t.Error(r)
	}
	if after := mounts(t); after != before {
		t.Errorf("mounts were\n%s\nand are\n%s", before, after)
	}
}

// A namespace that can't be joined is an error that names it, before anything is made.
func TestJoinNothing(t *testing.T) {
	for _, path := range []string{"/proc/0/ns/net", "/proc/self/ns/mnt", "/dev/null", "relative"} {
		b := box(t)
		for i := range b.Spec.Linux.Namespaces {
			if n := &b.Spec.Linux.Namespaces[i]; n.Type == specs.NetworkNamespace {
				n.Path = path
			}
		}
		b.Save()
		if r := b.Do("create", b.ID); r.Code == 0 {
			t.Errorf("join %s: %v", path, r)
		}
		if s := b.Status(); s != "" {
			t.Errorf("join %s: the container is %s", path, s)
		}
	}
}

// In a user namespace IDs are mapped, for those that join as well.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SETUID, for a map of many users")
	}
	b := box(t)
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 2000}}
	b.Spec.Linux.Namespaces = append(b.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	b.Spec.Linux.UIDMappings, b.Spec.Linux.GIDMappings = m, m
	must(t, filepath.WalkDir(b.Path(""), func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, 100000, 100000)
	}))
	b.Start()
	if got := read(t, fmt.Sprintf("/proc/%d/status", b.Pid())); !strings.Contains(got, "Uid:\t100000\t100000\t100000\t100000\n") {
		t.Errorf("the first process is\n%s", got)
	}
	if out := b.Must("exec", "--user", "1000:1000", b.ID, "sh", "-c", "id -u; touch /tmp/x; cat /proc/self/uid_map").Out; !strings.HasPrefix(out, "1000\n") || !strings.Contains(out, "100000       2000") {
		t.Errorf("exec: %q", out)
	}
	if r := b.Do("exec", "--user", "3000", b.ID, "id"); r.Code == 0 {
		t.Errorf("exec as a user that is not mapped: %v", r)
	}
}

// An ordinary user's container with one ID, and with ranges of their own.
func TestRootless(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is an ordinary user's; test/run runs it as one")
	}
	b := box(t)
	b.Start()
	if out := b.Must("exec", b.ID, "id", "-u").Out; out != "0" {
		t.Errorf("exec: uid %s", out)
	}
	b.Must("kill", b.ID, "KILL")
	bundle.Eventually(t, "stopped", ended(b))
	b.Must("delete", b.ID)

	first := subIDs(t)
	ranges := box(t)
	ranges.Spec.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}, {ContainerID: 1, HostID: first, Size: 65535}}
	ranges.Spec.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}, {ContainerID: 1, HostID: first, Size: 65535}}
	ranges.Start()
	if out := ranges.Must("exec", "--user", "1000:1000", "-g", "7", ranges.ID, "sh", "-c", "id -u; id -G").Out; out != "1000\n1000 7" {
		t.Errorf("exec: %q", out)
	}
}

// subIDs is where the user's range of subordinate IDs begins.
func subIDs(t *testing.T) (first uint32) {
	t.Helper()
	data, _ := os.ReadFile("/etc/subuid")
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && f[0] == os.Getenv("USER") {
			if _, err := fmt.Sscan(f[1], &first); err == nil {
				return first
			}
		}
	}
	t.Skip("needs a range in /etc/subuid")
	return 0
}

// A user namespace without a root: the set-up works as the process's user, and
// so does what is run in it later.
func TestNoRootInside(t *testing.T) {
	b := box(t)
	host := uint32(os.Geteuid())
	if host == 0 {
		host = 100000
		b.Spec.Linux.Namespaces = append(b.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		must(t, filepath.WalkDir(b.Path(""), func(p string, _ os.DirEntry, err error) error { return errors.Join(err, os.Lchown(p, 100000, 100000)) }))
	}
	b.Spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 1000, HostID: host, Size: 1}}
	b.Spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 1000, HostID: uint32(max(os.Getegid(), 0)), Size: 1}}
	if os.Geteuid() == 0 {
		b.Spec.Linux.GIDMappings[0].HostID = host
	}
	b.Spec.Process.User = specs.User{UID: 1000, GID: 1000}
	for i := range b.Spec.Mounts {
		m := &b.Spec.Mounts[i]
		m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "gid=5" })
	}
	b.Start()
	if out := b.Must("exec", b.ID, "sh", "-c", "id -u; id -g; touch /tmp/x; stat -c %u:%g /tmp/x").Out; out != "1000\n1000\n1000:1000" && !isRunc() {
		t.Errorf("exec: %q", out)
	}
}

// A user namespace is joined beside another's network namespace, which belongs
// to the machine's root: root has a right to both, if the order is right.
func TestJoinUserAndForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs the machine's root")
	}
	owner, other := box(t), box(t)
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 2000}}
	owner.Spec.Linux.Namespaces = append(owner.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	owner.Spec.Linux.UIDMappings, owner.Spec.Linux.GIDMappings = m, m
	must(t, filepath.WalkDir(owner.Path(""), func(p string, _ os.DirEntry, err error) error { return errors.Join(err, os.Lchown(p, 100000, 100000)) }))
	owner.Start()
	other.Start()
	b := box(t)
	user, network := fmt.Sprintf("/proc/%d/ns/user", owner.Pid()), fmt.Sprintf("/proc/%d/ns/net", other.Pid())
	b.Spec.Linux.Namespaces = append(dropNamespace(b.Spec.Linux.Namespaces, specs.NetworkNamespace),
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: user}, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: network})
	b.Unmount("/sys") // a sysfs is its network namespace's owner's to mount
	b.Unmount("/sys/fs/cgroup")
	must(t, filepath.WalkDir(b.Path(""), func(p string, _ os.DirEntry, err error) error { return errors.Join(err, os.Lchown(p, 100000, 100000)) }))
	b.Start()
	for kind, path := range map[string]string{"user": user, "net": network} {
		got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", b.Pid(), kind))
		want, _ := os.Readlink(path)
		if err != nil || got != want {
			t.Errorf("%s namespace: %s, %v; want %s", kind, got, err, want)
		}
	}
}
