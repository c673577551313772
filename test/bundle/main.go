// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"vitro/test/built"
)

// Inside is the test's own program, as the container knows it.
const Inside = "inside"

// A Part is what the test's program plays when it is started by another name,
// or as Inside with the part's name as its first argument.
type Part struct {
	Name string
	Play func(args []string) int
}

const again = "VITRO_BUNDLE_INSIDE"

// Main is for TestMain. It runs the tests, when stage has made in a new folder
// what they share. If they are root's, they are in a mount namespace of their
// own then: none can damage the host's mounts.
func Main(m *testing.M, parts []Part, stage func(dir string) error) int {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == Inside && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	file, _ := os.Readlink("/proc/self/exe") // a program that was started by a lure has another name
	for _, called := range []string{name, filepath.Base(file)} {
		for _, p := range parts {
			if p.Name == called {
				return p.Play(args)
			}
		}
	}
	if os.Geteuid() == 0 && os.Getenv(again) == "" {
		return unshared()
	}
	code, err := play(m, stage)
	if err != nil {
		fmt.Fprintln(os.Stderr, "set the stage:", err)
		return 1
	}
	return code
}

func play(m *testing.M, stage func(dir string) error) (int, error) {
	dir, err := os.MkdirTemp("", "vitro-test.")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the users of containers
		return 1, err
	}
	if err := stage(dir); err != nil {
		return 1, err
	}
	code := m.Run()
	for _, dir := range cgroups() {
		_ = os.Remove(dir)
	}
	return code, nil
}

func unshared() int {
	runtime.LockOSThread() // whose end is the child's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), again+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "make a mount namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// cgroupParent is the cgroup that a process's containers are below.
func cgroupParent() string { return "/vitro-test-" + strconv.Itoa(os.Getpid()) }

// cgroups are the folders of cgroupParent, in each tree.
func cgroups() []string {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + cgroupParent())
	if _, err := os.Stat("/sys/fs/cgroup" + cgroupParent()); err == nil {
		dirs = append(dirs, "/sys/fs/cgroup"+cgroupParent())
	}
	return dirs
}

// CgroupsLeft are the cgroups that containers of this process have left.
func CgroupsLeft() (left []string) {
	for _, dir := range cgroups() {
		below, _ := filepath.Glob(dir + "/*/cgroup.procs")
		left = append(left, below...)
	}
	return left
}

// Build gets vitro-oci, in dir: see built.Programs.
func Build(dir string) (string, error) {
	bin, err := built.Programs(dir, "vitro-oci")
	return filepath.Join(bin, "vitro-oci"), err
}
