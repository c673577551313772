// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the two programs as a user would: it runs them, against
// the real kernel, and asks other programs what they have made.
//
// Scripts in testdata say what a command line does; the tests in Go are those
// that need a terminal, time, or a close look at a running container. Nothing
// here believes what vitro says about itself: the oracles are /proc, lsns(8),
// findmnt(8), nsenter(1), ip(8) and the files of the cgroups.
//
// Not for what a single package can be asked: its own tests are faster, and
// say more.
package e2e

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

	"vitro/test/built"
	"vitro/test/world"
)

// stage is what all tests of a process share.
type stage struct {
	dir    string // a folder of their own
	bin    string // holds the command "vitro" that the tests run
	vitro  string // the program itself
	oci    string // its companion
	root   string // what the command gives as --root
	cgroup string // and as --cgroup-parent; "" for an ordinary user
}

var st stage

// Root needs namespaces of its own: bridges, addresses, rules and mounts are
// gone with them, whatever happens.
const inside = "VITRO_E2E_INSIDE"

func TestMain(m *testing.M) {
	world.Main()
	if os.Geteuid() == 0 && os.Getenv(inside) == "" {
		os.Exit(again())
	}
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// again runs this program in new mount and network namespaces.
func again() int {
	runtime.LockOSThread() // whose end is the child's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "e2e: make namespaces:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// play sets the stage, has the tests run, and looks at what they have left.
func play(m *testing.M) (code int, err error) {
	os.Setenv("LC_ALL", "C")
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	if os.Geteuid() == 0 {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return 1, fmt.Errorf("set lo up: %w: %s", err, out)
		}
		st.cgroup = "/vitro-e2e-" + strconv.Itoa(os.Getpid())
	}
	if st.dir, err = os.MkdirTemp("", "vitro-e2e."); err != nil {
		return 1, err
	}
	defer os.RemoveAll(st.dir)
	if err := os.Chmod(st.dir, 0o755); err != nil { // for the users of containers
		return 1, err
	}
	if err := st.set(); err != nil {
		return 1, err
	}
	before := surroundings()
	if err := st.cgroups(func(dir string) error { return os.Mkdir(dir, 0o755) }); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := errors.Join(st.clear(), st.cgroups(os.Remove)); err != nil {
		return 1, err
	}
	if after := surroundings(); code == 0 && after != before {
		return 1, fmt.Errorf("the tests have left something behind; before:\n%s\nafter:\n%s", before, after)
	}
	return code, nil
}

// wrapper is the command "vitro" of the tests.
const wrapper = `#!/bin/sh
# The program under test, with the tests' own folder and cgroup.
case "$1 $2" in
"run -d") shift; set -- run %[1]s "$@" ;;
"run "*) shift; set -- run --rm %[1]s "$@" ;;
"explain run") shift 2; set -- explain run %[1]s "$@" ;;
esac
exec %[2]s --root %[3]s "$@"
`

func (s *stage) set() error {
	s.bin, s.root = filepath.Join(s.dir, "bin"), filepath.Join(s.dir, "root")
	if err := os.Mkdir(s.bin, 0o755); err != nil {
		return err
	}
	programs, err := built.Programs(filepath.Join(s.dir, "programs"), "vitro", "vitro-oci", "vitro-net")
	if err != nil {
		return err
	}
	s.vitro, s.oci = filepath.Join(programs, "vitro"), filepath.Join(programs, "vitro-oci")
	parent := ""
	if s.cgroup != "" {
		parent = "--cgroup-parent " + s.cgroup
	}
	script := fmt.Sprintf(wrapper, parent, s.vitro, s.root)
	if err := os.WriteFile(filepath.Join(s.bin, "vitro"), []byte(script), 0o755); err != nil {
		return err
	}
	os.Setenv("PATH", s.bin+":"+os.Getenv("PATH"))
	// The image is made once, and not by the first of the tests.
	if out, err := exec.Command("vitro", "run", "busybox", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("run a first container: %w: %s", err, out)
	}
	return nil
}

// cgroups does something with the tests' own cgroup, in each tree that there is.
func (s *stage) cgroups(do func(dir string) error) error {
	if s.cgroup == "" {
		return nil
	}
	procs, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if unified() {
		procs = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	for _, p := range procs {
		err = errors.Join(err, do(filepath.Dir(p)+s.cgroup))
	}
	return err
}

// clear removes what the tests have made with the programs' own means, since
// an ordinary user's images have files of other users in them.
func (s *stage) clear() error {
	if out, err := exec.Command("vitro", "system", "sweep").CombinedOutput(); err != nil {
		return fmt.Errorf("sweep: %w: %s", err, out)
	}
	left, err := filepath.Glob(filepath.Join(s.root, "containers", "*"))
	if err != nil || len(left) > 0 {
		return fmt.Errorf("containers are left: %s (%v)", left, err)
	}
	ids, err := exec.Command("vitro", "images", "-q", "--no-trunc").Output()
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for id := range strings.FieldsSeq(string(ids)) {
		if out, err := exec.Command("vitro", "rmi", "-f", id).CombinedOutput(); err != nil && !strings.Contains(string(out), "no such image") {
			return fmt.Errorf("remove image %s: %w: %s", id, err, out)
		}
	}
	return os.RemoveAll(s.root)
}

// surroundings is all that a container touches outside of its own folder.
func surroundings() string {
	var b strings.Builder
	show := [][]string{{"findmnt", "-n", "-l", "-o", "TARGET,FSTYPE"}}
	if os.Geteuid() == 0 {
		show = append(show, []string{"ip", "-o", "link"}, []string{"nft", "list", "ruleset"}, []string{"cat", "/proc/sys/net/ipv4/ip_forward"})
	}
	for _, c := range show {
		out, err := exec.Command(c[0], c[1:]...).Output()
		if err != nil {
			out = []byte(err.Error())
		}
		fmt.Fprintf(&b, "%s:\n%s", c[0], out)
	}
	return b.String()
}
