// SPDX-License-Identifier: Apache-2.0

// Package see tests what vitro says of running processes, on containers of its
// own and of other engines: read back, made again and compared, or held
// against what the kernel and other programs say.
//
// It runs in a world of its own (package world), as root: where else would
// there be engines to look at. What an ordinary user sees is tested in package
// inspect.
package see

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vitro/test/built"
	"vitro/test/world"
)

// stage is what all tests share.
type stage struct {
	dir, vitro, oci string
}

var st stage

// folder names the stage's folder, for those inside.
const folder = "VITRO_SEE_DIR"

func TestMain(m *testing.M) {
	world.Main()
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "see:", err)
		code = 1
	}
	os.Exit(code)
}

func play(m *testing.M) (int, error) {
	switch {
	case os.Geteuid() != 0:
		return m.Run(), nil // which says what is missing
	case !world.Inside():
		return outside()
	}
	st.dir = os.Getenv(folder)
	st.vitro, st.oci = filepath.Join(st.dir, "bin", "vitro"), filepath.Join(st.dir, "bin", "vitro-oci")
	return m.Run(), nil
}

// outside builds the programs, runs this one again in a world, and takes its
// folder away afterwards.
func outside() (code int, err error) {
	dir, err := os.MkdirTemp("", "vitro-see.")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if _, err := built.Programs(dir, "vitro", "vitro-oci", "vitro-net"); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), folder+"="+dir, "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = world.World{Net: true, Hide: []string{"/run", "/dev/shm", "/var/lib/containers", "/var/lib/lxc"}, Label: "-see"}.Run(ctx, cmd)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// need skips a test that has not what it needs.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for a world of its own")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
}

// naps makes commands that no other test's is like.
var naps = 100000

func nap() string { naps++; return strconv.Itoa(naps) }

// start runs a command that ends with `sleep N`, and finds that process. It is
// ended with the test.
func start(t *testing.T, seconds string, argv ...string) int {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		for _, pid := range sleepers(seconds) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	for deadline := time.Now().Add(60 * time.Second); ; {
		if list := sleepers(seconds); len(list) > 0 {
			return list[0]
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%q: %v: %s", argv, err, out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q: has not started: %s", argv, out.String())
		}
	}
}

// sleepers are the processes that have become `sleep N`.
func sleepers(seconds string) (list []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if len(args) == 2 && strings.HasSuffix(args[0], "sleep") && args[1] == seconds {
			list = append(list, pid)
		}
	}
	return list
}

// vitro runs the engine.
func vitro(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(st.vitro, append([]string{"--root", filepath.Join(st.dir, "root")}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("vitro %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}
