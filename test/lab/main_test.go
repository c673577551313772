// SPDX-License-Identifier: Apache-2.0

// Package lab takes the lessons of vitro lab as a student would: it types each
// command of each lesson, compares with what the lesson says, asks vitro lab
// check, and looks with other programs whether vitro lab clean has left anything.
//
// As root that happens in a world, where the lessons' links, rules, cgroups and
// mounts meet nobody else's. An ordinary user has nothing that could do harm.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/test/built"
	"vitro/test/world"
)

// stage is what all tests share.
type stage struct {
	dir  string // a folder of their own: HOME
	slow string // by how much this machine is slower than one that a student has
}

var st stage

// hidden is the folder that ip(8) writes to. The one of vitro's, in /var/lib, is
// covered with one on the disk: an overlay in a user namespace needs a file
// system that can be mapped, which a tmpfs is only since Linux 6.3.
var hidden = []string{"/run"}

func TestMain(m *testing.M) {
	world.Main()
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = 1
	}
	os.Exit(code)
}

func play(m *testing.M) (code int, err error) {
	if os.Geteuid() == 0 && !world.Inside() {
		programs, err := build()
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(filepath.Dir(programs))
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), programsIn+"="+programs)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err = world.World{Net: true, Hide: hidden, Label: "-lab"}.Run(context.Background(), cmd)
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
	if st.dir, err = os.MkdirTemp("", "vitro-lab-test."); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, removeAll(st.dir)) }()
	programs := os.Getenv(programsIn)
	if programs == "" {
		if programs, err = build(); err != nil {
			return 1, err
		}
		defer os.RemoveAll(filepath.Dir(programs))
	}
	if world.Inside() {
		lib := filepath.Join(st.dir, ".local", "lib")
		if err := os.MkdirAll(lib, 0o755); err != nil {
			return 1, err
		}
		if err := unix.Mount(lib, "/var/lib", "", unix.MS_BIND, ""); err != nil {
			return 1, fmt.Errorf("cover /var/lib: %w", err)
		}
		defer func() { err = errors.Join(unix.Unmount("/var/lib", unix.MNT_DETACH), err) }()
	}
	os.Setenv("LC_ALL", "C")
	os.Setenv("HOME", st.dir)
	os.Unsetenv("XDG_DATA_HOME")
	os.Setenv("PATH", programs+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	// The image is made once, and the time of a start tells what kind of machine this is.
	if out, err := exec.Command("vitro", "run", "--rm", "busybox", "true").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("run a first container: %w: %s", err, out)
	}
	start := time.Now()
	_ = exec.Command("vitro", "run", "--rm", "busybox", "true").Run()
	st.slow = strconv.Itoa(min(1+int(time.Since(start)/(400*time.Millisecond)), mostSlow))
	return m.Run(), nil
}

// mostSlow is how many times as long as it says a sleep of the lessons takes at most.
const mostSlow = 6

// programsIn names the folder of the program under test, for those inside.
const programsIn = "VITRO_LAB_BIN"

// build copies or makes the program under test to a folder of its own, where
// ordinary users find it too.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "vitro-lab-bin.")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	return built.Programs(dir, "vitro")
}

// removeAll removes the home, in which an ordinary user's vitro has files of
// other users.
func removeAll(dir string) error {
	if os.Geteuid() == 0 {
		return os.RemoveAll(dir)
	}
	ids, _ := exec.Command("vitro", "images", "-q", "--no-trunc").Output()
	for id := range strings.FieldsSeq(string(ids)) {
		_ = exec.Command("vitro", "rmi", "-f", id).Run()
	}
	return os.RemoveAll(dir)
}

// surroundings is all of the machine that lessons touch, by other programs.
func surroundings(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	show := []string{
		"ls -A " + st.dir + " | grep -v '^\\.local$'",
		"findmnt -n -l -o TARGET,FSTYPE | grep " + st.dir,
		"find /sys/fs/cgroup -name 'vitro-lab'",
		"grep -l VITRO_LAB=" + st.dir + " /proc/[0-9]*/environ 2>/dev/null",
	}
	if os.Geteuid() == 0 { // nobody else is in this world
		show = append(show, "findmnt -n -l -o TARGET,FSTYPE", "ps -e -o args= | grep -E '^(sleep|unshare|busybox nc|vitro)'", "ip -o link | grep -v '@' | sed 's/.*: //'", "ip netns", "ls -A /run/netns 2>&1", "nft list ruleset", "cat /proc/sys/net/ipv4/ip_forward")
	}
	for _, c := range show {
		out, _ := exec.Command("sh", "-c", c).CombinedOutput()
		fmt.Fprintf(&b, "%s:\n%s", c, out)
	}
	return b.String()
}
