// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/test/bundle"
)

// What no single advisory is about, and each of them needs.

// No descriptor is in the container that was not handed on on purpose, by
// whichever way a process gets there.
func TestNoDescriptorLeaks(t *testing.T) {
	leaky := func(t *testing.T) *bundle.Box {
		b := bundle.New(t, target)
		for range 3 {
			f, err := os.Open(b.Dir)
			must(t, err)
			t.Cleanup(func() { f.Close() })
			b.Files = append(b.Files, f)
		}
		return b
	}
	// Not a Go program: its runtime opens files for itself.
	const look = `n=3; while [ $n -lt 100 ]; do [ -h /proc/$$/fd/$n ] && echo "$n $(readlink /proc/$$/fd/$n)"; n=$((n+1)); done; true`
	none := func(t *testing.T, way, out string) {
		t.Helper()
		if out = strings.TrimSpace(out); out != "" {
			t.Errorf("%s: open are\n%s", way, out)
		}
	}
	t.Run("run", func(t *testing.T) {
		b := leaky(t)
		b.Shell(look)
		r := b.Run()
		none(t, "run", r.Out+r.Err)
	})
	t.Run("create-start", func(t *testing.T) {
		b := leaky(t)
		b.Shell("(" + look + ") >/tmp/said")
		b.Start()
		bundle.Eventually(t, "the end", func() bool { return b.Status() == "stopped" })
		data, err := os.ReadFile(b.Path("tmp/said"))
		must(t, err)
		none(t, "create", string(data))
	})
	t.Run("exec", func(t *testing.T) {
		b := leaky(t)
		b.Spec.Process.Args = []string{"sleep", "100"}
		b.Start()
		r := b.Do("exec", b.ID, "sh", "-c", look)
		none(t, "exec", r.Out+r.Err)
	})
	t.Run("hooks", func(t *testing.T) {
		b := leaky(t)
		b.Spec.Process.Args = []string{"true"}
		say := func(file string) specs.Hook {
			return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "exec >" + file + "; " + look}}
		}
		dir := filepath.Join(filepath.Dir(b.Dir))
		b.Spec.Hooks = &specs.Hooks{
			CreateRuntime: []specs.Hook{say(dir + "/createRuntime")}, CreateContainer: []specs.Hook{say(dir + "/createContainer")},
			StartContainer: []specs.Hook{say("/tmp/startContainer")}, Poststart: []specs.Hook{say(dir + "/poststart")}, Poststop: []specs.Hook{say(dir + "/poststop")},
		}
		if r := b.Run(); r.Code != 0 {
			t.Fatal(r)
		}
		for _, file := range []string{dir + "/createRuntime", dir + "/createContainer", b.Path("tmp/startContainer"), dir + "/poststart", dir + "/poststop"} {
			data, err := os.ReadFile(file)
			must(t, err)
			none(t, filepath.Base(file), string(data))
		}
	})
	t.Run("preserved", func(t *testing.T) {
		b := leaky(t)
		b.Shell(look)
		out := b.Run("--preserve-fds", "2").Out
		if ls := lines(out); len(ls) != 2 || !strings.HasPrefix(ls[0], "3 ") || !strings.HasPrefix(ls[1], "4 ") {
			t.Errorf("open are\n%s\nwant 3 and 4", out)
		}
	})
}

// The session keyring of whoever calls the runtime is not the container's.
func TestKeysStayOutside(t *testing.T) {
	name := "vitro-test-" + strconv.Itoa(os.Getpid())
	runtime.LockOSThread() // keyrings are a thread's; it ends with the test
	ring, err := unix.KeyctlJoinSessionKeyring(name)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("needs a kernel with keys (CONFIG_KEYS)")
	}
	must(t, err)
	_, err = unix.AddKey("user", name, []byte("x"), ring)
	must(t, err)
	b := bundle.New(t, target)
	b.Play("keys", name, strconv.Itoa(ring))
	if r := b.Run(); r.Code != 0 || r.Out != "" {
		t.Error(r)
	}
	if r := b.Run("--no-new-keyring"); r.Code == 0 && r.Out == "" {
		t.Error("with --no-new-keyring the container is to have the keyring: this test can't fail")
	}
}

// A group of the caller's would open the caller's files.
func TestGroupsStayOutside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SETGID, to be in several groups")
	}
	b := bundle.New(t, target)
	b.Attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 6, 24, 54321}}}
	b.Play("status", "Groups")
	if out := strings.TrimSpace(b.Run().Out); out != "Groups" {
		t.Errorf("run: %q; want none", out)
	}
	b.Spec.Process.User.AdditionalGids = []uint32{7}
	if out := b.Run().Out; out != "Groups 7" {
		t.Errorf("run with additionalGids: %q; want 7", out)
	}
	b.Spec.Process.Args = []string{"sleep", "100"}
	b.Start()
	if out := b.Do("exec", b.ID, "/bin/inside", "status", "Groups").Out; out != "Groups 7" {
		t.Errorf("exec: %q; want 7", out)
	}
	b = bundle.New(t, target)
	b.Attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 54321}}}
	userNamespace(b, 0)
	b.Play("status", "Groups")
	if out := strings.TrimSpace(b.Run().Out); out != "Groups" {
		t.Errorf("run in a user namespace: %q; want none", out)
	}
}

// What is hidden stays so for those in the container, though they make
// namespaces of their own.
func TestMasksStay(t *testing.T) {
	b := bundle.New(t, target)
	plant(t, b.Path("host"), map[string]string{"secret": "hidden", "folder/secret": "hidden"})
	b.Spec.Linux.MaskedPaths = append(b.Spec.Linux.MaskedPaths, "/host/secret", "/host/folder")
	b.Caps("CAP_SETFCAP") // what the kernel wants for a user namespace in which root is root
	b.Play("dodge")
	r := b.Run()
	ls := lines(r.Out)
	if r.Code != 0 || len(ls) < 2 || ls[0] != "outer" || ls[1] != "nested" {
		t.Fatal(r)
	}
	for _, harm := range ls[2:] {
		t.Error(harm)
	}
}

func dodge([]string) int {
	fmt.Println("outer")
	tries := looks()
	cmd := exec.Command("/bin/" + bundle.Inside)
	cmd.Args = []string{"dodger"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	id := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID, UidMappings: id, GidMappings: id}
	if err := cmd.Run(); err != nil {
		fmt.Println("nested: ", err)
	}
	tryAll(tries)
	return 0
}

// looks are other ways to what is hidden.
func looks() []try {
	var tries []try
	for _, p := range []string{"/proc/kcore", "/proc/timer_list", "/host/secret", "/host/folder"} {
		for _, way := range []string{"", "/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/thread-self/root", "/../.."} {
			tries = append(tries, try{"to read " + way + p, func() error { return open(way + p) }})
		}
		tries = append(tries,
			try{"to rename " + p, func() error { return os.Rename(p, p+"2") }},
			try{"to remove " + p, func() error { return os.Remove(p) }})
	}
	return tries
}

func dodger([]string) int {
	fmt.Println("nested")
	tries := looks()
	for _, p := range []string{"/proc/kcore", "/host/secret", "/host/folder"} {
		tries = append(tries,
			try{"umount " + p, func() error { return unix.Unmount(p, unix.MNT_DETACH) }},
			try{"to move the mount " + p, func() error { return unix.Mount(p, "/tmp", "", unix.MS_MOVE, "") }})
	}
	for _, p := range []string{"/proc/sys", "/proc/irq"} {
		tries = append(tries, try{"to make writable " + p, func() error { return unix.Mount("", p, "", unix.MS_REMOUNT|unix.MS_BIND, "") }})
	}
	tries = append(tries,
		try{"a new proc", func() error { return unix.Mount("proc", "/tmp", "proc", 0, "") }},
		try{"a new sysfs", func() error { return unix.Mount("sysfs", "/tmp", "sysfs", 0, "") }},
		try{"/proc without what is on it", func() error { return unix.Mount("/proc", "/tmp", "", unix.MS_BIND, "") }},
		try{"/host without what is on it", func() error { return unix.Mount("/host", "/tmp", "", unix.MS_BIND, "") }},
		try{"a copy of /proc without what is on it", func() error {
			fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE)
			if err != nil {
				return err
			}
			return open(fmt.Sprintf("/proc/self/fd/%d/kcore", fd))
		}},
		try{"a copy of /proc with what is on it", func() error {
			if err := unix.Mount("/proc", "/tmp", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return err
			}
			return open("/tmp/kcore")
		}},
	)
	tryAll(tries)
	return 0
}

// A process that joins later is as confined as the first.
func TestExecIsConfined(t *testing.T) {
	b := bundle.New(t, target)
	errno := uint(unix.ENOANO)
	b.Spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow,
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno, ErrnoRet: &errno}}}
	b.Spec.Process.NoNewPrivileges = true
	if os.Geteuid() == 0 {
		userNamespace(b, 0)
		b.Spec.Linux.UIDMappings[0].HostID, b.Spec.Linux.GIDMappings[0].HostID = 100000, 100000
		must(t, chownAll(b.Path(""), 100000))
	}
	const look = "cat /proc/self/uid_map /proc/self/gid_map; inside status Seccomp NoNewPrivs CapBnd CapEff CapPrm Uid Gid; /bin/busybox mkdir /tmp/x 2>&1"
	b.Shell(look)
	want := b.Run()
	if !strings.Contains(want.Out, "Seccomp 2") || !strings.Contains(want.Out, "NoNewPrivs 1") || !strings.Contains(want.Out, "No anode") {
		t.Fatal(want)
	}
	b.Spec.Process.Args = []string{"sleep", "100"}
	b.Start()
	for _, flags := range [][]string{nil, {"--env", "A=B"}, {"--no-new-privs"}} {
		got := b.Do(append(append([]string{"exec"}, flags...), b.ID, "sh", "-c", look)...)
		if got.Out != want.Out {
			t.Errorf("exec %s: %v\nwant %v", flags, got, want)
		}
	}
}

func chownAll(dir string, id int) error {
	return filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, id, id)
	})
}
