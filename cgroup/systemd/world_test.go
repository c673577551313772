// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
)

// A world is a machine of its own, as far as a systemd sees: namespaces in
// which Debian's systemd is the first process, with cgroups below one of ours.
// It runs this test's program as a service, and ends with it. Nothing of the
// machine's own file system can be written to there.
type world struct {
	dir    string // ours; /run/world there
	layout *cgroup.Layout
	trees  []cgroup.Hierarchy
	name   string // of the cgroups
}

const (
	there    = "/run/world"
	binary   = "/lib/systemd/systemd"
	cgroupFS = "/sys/fs/cgroup"
	who      = "daemon" // a user that every Debian has, with the ID 1
)

// TestMain is also the world's birth.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_TASK") == "boot" {
		runtime.LockOSThread()
		fmt.Fprintln(os.Stderr, "boot:", boot(os.Args[1], os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// unitFiles are all that this systemd knows. The dbus units have the names
// that it looks for before it connects to a bus.
var unitFiles = map[string]string{
	"default.target": "[Unit]\nDescription=everything\nWants=test.service dbus.service\n",
	"dbus.socket":    bus + "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
	"dbus.service":   bus + "Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\nExecStart=" + daemon + "--system\n",
	"test.service": "[Unit]\nDescription=the test\nDefaultDependencies=no\nAfter=dbus.service\nSuccessAction=exit-force\nFailureAction=exit-force\n" +
		"[Service]\nType=oneshot\nEnvironment=SYSTEMD_TEST_WORLD=root\nExecStart=" + there + "/test -test.v -test.run ^TestInside$\n" +
		"StandardOutput=append:" + there + "/out\nStandardError=inherit\n",
	"user@1.service": "[Unit]\nDescription=a user's systemd\nDefaultDependencies=no\n" +
		"[Service]\nType=notify\nUser=" + who + "\nSlice=user-1.slice\nDelegate=pids memory\nExecStart=" + binary + " --user --log-target=console\n" +
		"Environment=XDG_RUNTIME_DIR=/run/user/1 SYSTEMD_UNIT_PATH=/run/userunits:/run/user/1/systemd/transient\nStandardOutput=append:" + there + "/log\nStandardError=inherit\n",
	"session.service": "[Unit]\nDescription=a user's session\nDefaultDependencies=no\nRequires=user@1.service\nAfter=user@1.service\n" +
		"[Service]\nType=oneshot\nUser=" + who + "\nSlice=user-1.slice\nEnvironment=SYSTEMD_TEST_WORLD=user XDG_RUNTIME_DIR=/run/user/1\n" +
		"ExecStart=" + there + "/test -test.v -test.run ^TestInside$\nStandardOutput=append:" + there + "/out\nStandardError=inherit\n",
}

// userUnitFiles are all that the user's systemd knows.
var userUnitFiles = map[string]string{
	"default.target": "[Unit]\nDescription=everything\nWants=dbus.service\nAfter=dbus.service\n",
	"dbus.socket":    bus + "[Socket]\nListenStream=%t/bus\n",
	"dbus.service":   bus + "Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\nExecStart=" + daemon + "--session\n",
}

const (
	bus    = "[Unit]\nDescription=bus\nDefaultDependencies=no\n"
	daemon = "/usr/bin/dbus-daemon --address=systemd: --nofork --nopidfile --systemd-activation "
)

// newWorld makes the cgroups, in the trees of this machine that are wanted.
func newWorld(t *testing.T, unified bool) *world {
	t.Helper()
	for _, tool := range []string{binary, "/usr/bin/dbus-daemon", "/usr/bin/systemctl", "/bin/busybox"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("needs %s: the packages systemd, dbus-daemon and busybox-static", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for namespaces with a systemd in them")
	}
	layout, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: t.TempDir(), layout: layout, name: "vitro-test-" + strconv.Itoa(os.Getpid())}
	for _, h := range layout.Hierarchies {
		if h.V2 && !unified {
			continue
		}
		dir := filepath.Join(h.Mount, w.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			w.removeCgroups(t)
			t.Skipf("needs cgroups that can be made: %v", err)
		}
		w.trees = append(w.trees, h)
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value, err := os.ReadFile(filepath.Join(h.Mount, f)); err == nil && !h.V2 {
				if err := os.WriteFile(filepath.Join(dir, f), value, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Cleanup(func() { w.removeCgroups(t) })
	return w
}

func (w *world) removeCgroups(t *testing.T) {
	for _, h := range w.trees {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(h.Mount, w.name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, dir := range dirs {
			deadline := time.Now().Add(10 * time.Second)
			for {
				err := os.Remove(dir)
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Errorf("left behind: %v", err)
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
}

// run boots it, and returns what the service has printed.
func (w *world) run(t *testing.T) (out string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, w.dir+"/test")
	args := []string{w.dir, w.name}
	for _, h := range w.trees {
		kind := strings.Join(h.Controllers, ",")
		if h.V2 {
			kind = "v2"
		}
		args = append(args, kind+"="+h.Mount)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{"SYSTEMD_TEST_TASK=boot", "PATH=" + os.Getenv("PATH"), "container=vitro", "SYSTEMD_UNIT_PATH=/run/units:/run/systemd/transient"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET}
	log, err := os.Create(w.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	runtime.LockOSThread() // whose end would be the world's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(8*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	text, _ := os.ReadFile(w.dir + "/out")
	if err != nil {
		boot, _ := os.ReadFile(w.dir + "/log")
		kernel, _ := os.ReadFile(w.dir + "/kmsg")
		t.Logf("the world's log:\n%s%s", boot, kernel)
	}
	return string(text), err
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A mount of the world's.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// boot makes the world around this process, which becomes its systemd.
func boot(dir, name string, trees []string) error {
	for _, tree := range trees {
		_, root, _ := strings.Cut(tree, "=/")
		if err := os.WriteFile("/"+root+"/"+name+"/cgroup.procs", []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return err
	}
	mounts := []mount{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		{dir, there, "", unix.MS_BIND, ""},
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		mounts = append(mounts, mount{"/dev/" + d, "/run/dev/" + d, "", unix.MS_BIND, ""})
	}
	mounts = append(mounts,
		mount{"/run/dev", "/dev", "", unix.MS_BIND | unix.MS_REC, ""},
		mount{"", "/", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY, ""},
		mount{"tmpfs", "/tmp", "tmpfs", 0, ""})
	mounts = append(mounts, cgroupMounts(trees)...)
	_ = unix.Unmount(cgroupFS, unix.MNT_DETACH) // one file system is not mounted on itself
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return fmt.Errorf("mount %+v: %w", m, err)
		}
	}
	for dir, files := range map[string]map[string]string{"/run/units/": unitFiles, "/run/userunits/": userUnitFiles} {
		for name, text := range files {
			if err := write(dir+name, text); err != nil {
				return err
			}
		}
	}
	err := errors.Join(os.MkdirAll("/run/user", 0o755), os.Mkdir("/run/user/1", 0o700), os.Chown("/run/user/1", 1, 1),
		write(there+"/kmsg", ""), os.Symlink(there+"/kmsg", "/dev/kmsg"))
	if err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "SYSTEMD_TEST") })
	return unix.Exec(binary, []string{binary, "--system", "--log-target=kmsg", "--log-level=info", "--show-status=0"}, env)
}

// cgroupMounts are the trees at their usual places.
func cgroupMounts(trees []string) (list []mount) {
	if len(trees) == 1 && strings.HasPrefix(trees[0], "v2=") {
		return []mount{{"cgroup2", cgroupFS, "cgroup2", 0, "nsdelegate"}}
	}
	list = append(list, mount{"tmpfs", cgroupFS, "tmpfs", 0, "mode=755"})
	for _, tree := range trees {
		kind, root, _ := strings.Cut(tree, "=/")
		m := mount{"cgroup", cgroupFS + "/" + filepath.Base(root), "cgroup", 0, kind}
		switch {
		case kind == "v2":
			m.kind, m.data = "cgroup2", ""
		case strings.HasPrefix(kind, "name="):
			m.data = "none," + kind
		}
		list = append(list, m)
	}
	return list
}

func (m mount) do() error {
	if m.kind != "" || m.flags&unix.MS_BIND != 0 && m.flags&unix.MS_REMOUNT == 0 {
		if st, err := os.Stat(m.source); err == nil && !st.IsDir() {
			if err := write(m.target, ""); err != nil {
				return err
			}
		} else if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount(m.source, m.target, m.kind, m.flags, m.data)
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
