// SPDX-License-Identifier: Apache-2.0

package see

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// tree is a root file system made of busybox, for engines that want a folder.
var tree = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(st.dir, "tree")
	for _, d := range [...]string{"bin", "proc", "sys", "dev", "etc", "tmp", "run", "usr", "var", "root", "sbin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "busybox"), data, 0o755); err != nil {
		return "", err
	}
	for _, name := range [...]string{"sh", "sleep", "ls"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return "", err
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, "etc", "os-release"), []byte("ID=busybox\n"), 0o644)
})

// subjects are commands that isolate a `sleep N` by other means than vitro's.
var subjects = [...]struct {
	name    string
	engine  string // what vitro calls it
	needs   []string
	command func(t *testing.T, tree, seconds string) []string
	again   bool // vitro-oci makes one that is isolated alike
}{
	{"unshare", "unshare", []string{"unshare"}, func(_ *testing.T, tree, seconds string) []string {
		return []string{"unshare", "--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", seconds}
	}, true},
	// As a browser confines what draws its pages: nothing of its own to see, but our mounts.
	{"our mounts", "unshare", []string{"unshare"}, func(_ *testing.T, tree, seconds string) []string {
		return []string{"unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "sleep", seconds}
	}, false},
	{"bubblewrap", "bubblewrap", []string{"bwrap"}, func(_ *testing.T, tree, seconds string) []string {
		return []string{"bwrap", "--bind", tree, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-all", "--hostname", "wrapped", "--die-with-parent", "/bin/sleep", seconds}
	}, true},
	{"systemd-nspawn", "systemd-nspawn", []string{"systemd-nspawn"}, func(_ *testing.T, tree, seconds string) []string {
		return []string{"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "-M", "box", "-D", tree, "/bin/sleep", seconds}
	}, false}, // five filters, and a /sys put together of parts
	{"lxc", "lxc", []string{"lxc-start"}, func(t *testing.T, tree, seconds string) []string {
		file := filepath.Join(t.TempDir(), "config")
		text := "lxc.uts.name = lx\nlxc.rootfs.path = dir:" + tree + "\nlxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\nlxc.mount.auto = proc:mixed sys:ro\nlxc.pty.max = 16\nlxc.tty.max = 0\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{"lxc-start", "-F", "-n", "lx", "-f", file, "--", "/bin/sleep", seconds}
	}, true},
	{"podman", "podman", []string{"podman", "conmon", "runc"}, func(t *testing.T, tree, seconds string) []string {
		conf := filepath.Join(t.TempDir(), "containers.conf")
		text := "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]\n[engine]\nevents_logger=\"file\"\ncgroup_manager=\"cgroupfs\"\n"
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("CONTAINERS_CONF", conf)
		return []string{"podman", "--runtime", "runc", "run", "--rm", "--name", "pod", "--network", "none", "--rootfs", tree, "/bin/sleep", seconds}
	}, true},
}

func TestOtherEnginesContainers(t *testing.T) {
	need(t, "busybox", "lsns")
	root, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			need(t, s.needs...)
			seconds := nap()
			argv := s.command(t, root, seconds)
			if s.name != "unshare" && s.name != "bubblewrap" {
				if out, err := try(argv, seconds); err != nil {
					t.Skipf("needs %s to work on this machine: %v: %s", s.name, err, out)
				}
			}
			pid := start(t, seconds, argv...)
			engineIs(t, pid, s.engine)
			readsBack(t, pid)
			if s.again {
				alike(t, pid, again(t, pid, seconds))
			}
		})
	}
}

// try runs the same command with a sleep of no time: engines ask for more than
// every machine has.
func try(argv []string, seconds string) ([]byte, error) {
	argv = slices.Clone(argv)
	argv[slices.Index(argv, seconds)] = "0"
	return exec.Command("timeout", append([]string{"30"}, argv...)...).CombinedOutput()
}

// engineIs asks vitro ns whose the process is.
func engineIs(t *testing.T, pid int, engine string) {
	t.Helper()
	var s struct {
		Processes []struct {
			PID       int
			Container struct{ Engine string }
		}
	}
	if err := json.Unmarshal([]byte(vitro(t, "ns", "--json", strconv.Itoa(pid))), &s); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Processes {
		if p.PID == pid && p.Container.Engine != engine {
			t.Errorf("process %d is %q's, want %q's", pid, p.Container.Engine, engine)
		}
	}
}

// readsBack holds what explain says against the kernel's own words.
func readsBack(t *testing.T, pid int) {
	t.Helper()
	var s specs.Spec
	if err := json.Unmarshal([]byte(vitro(t, "explain", "--as", "oci", strconv.Itoa(pid))), &s); err != nil {
		t.Fatal(err)
	}
	names := map[specs.LinuxNamespaceType]string{specs.MountNamespace: "mnt", specs.NetworkNamespace: "net"}
	for _, typ := range [...]specs.LinuxNamespaceType{specs.UserNamespace, specs.MountNamespace, specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace} {
		name := names[typ]
		if name == "" {
			name = string(typ)
		}
		ours, _ := os.Readlink("/proc/self/ns/" + name)
		theirs, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		has := slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == typ })
		// A container can't be without a mount namespace: that is added, and said.
		if want := ours != theirs || typ == specs.MountNamespace; has != want {
			t.Errorf("namespace %s is read as its own: %v, want %v", typ, has, want)
		}
	}
	if host, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-u", "hostname").Output(); err == nil {
		if want := strings.TrimSpace(string(host)); s.Hostname != "" && s.Hostname != want {
			t.Errorf("host name = %q, nsenter says %q", s.Hostname, want)
		}
	}
	// The plan compiles, and says why.
	if text := vitro(t, "explain", strconv.Itoa(pid)); !strings.Contains(text, "clone") {
		t.Errorf("explain has no clone: %s", text)
	}
	vitro(t, "explain", "--as", "sh", strconv.Itoa(pid))
	vitro(t, "contrast", strconv.Itoa(pid))
}
