// SPDX-License-Identifier: Apache-2.0

// Package island gives a test a network that it may do with as it likes: the test starts itself once more, in namespaces of its own,
// as root or as an ordinary user, and what it makes there is gone with it.
//
//	func TestX(t *testing.T) {
//		if !island.Fresh(t, "ip", "nft") {
//			return // it has run over there
//		}
//
// For foreign engines, with cgroups and folders, there is package world.
package island

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const there = "VITRO_TEST_ISLAND"

// Fresh runs the rest of the test in a new process that has a network and a mount namespace of its own, with the loopback up, and as
// an ordinary user a user namespace, too. The caller returns if it says false. A test that lacks one of
// the programs is skipped.
func Fresh(t *testing.T, programs ...string) bool {
	t.Helper()
	return fresh(t, "ip link set lo up", 0, programs)
}

// FreshProcesses is Fresh with a PID namespace besides, its own /proc, and an empty /run.
func FreshProcesses(t *testing.T, programs ...string) bool {
	t.Helper()
	return fresh(t, "mount -t proc proc /proc; mount -t tmpfs tmpfs /run; mkdir /run/netns; ip link set lo up", syscall.CLONE_NEWPID, programs)
}

func fresh(t *testing.T, furnish string, more uintptr, programs []string) bool {
	t.Helper()
	if os.Getenv(there) == t.Name() {
		Sh(t, furnish)
		return true
	}
	for _, p := range append([]string{"ip", "mount"}, programs...) {
		_, err := exec.LookPath(p)
		_, of := exec.LookPath("/usr/sbin/" + p) // which isn't in every user's PATH
		if err != nil && of != nil {
			t.Skipf("needs %s", p)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=240s")
	for _, a := range os.Args[1:] {
		if !strings.HasPrefix(a, "-test.") {
			cmd.Args = append(cmd.Args, a) // -update
		}
	}
	cmd.Env = append(os.Environ(), there+"="+t.Name(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "XTABLES_LOCKFILE=/dev/null")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | more, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	} else {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // with propagation off; a user's mounts don't come out anyway
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("needs CAP_SYS_ADMIN, or user namespaces for ordinary users: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if said, _, skipped := strings.Cut(string(out), "\n--- SKIP"); skipped {
		t.Skip(strings.TrimSpace(said[strings.LastIndexByte(said, '\n')+1:])) // with the place where it is said
	}
	return false
}

// Sh runs a shell script and returns what it prints.
func Sh(t testing.TB, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", script, err, out, stderr.Bytes())
	}
	return string(out)
}

// Process starts a process in a network namespace of its own, and returns its PID and what ends it. It ends with the
// test in any case.
func Process(t testing.TB) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
	t.Cleanup(end)
	return cmd.Process.Pid, end
}
