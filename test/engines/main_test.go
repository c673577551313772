// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vitro/test/world"
)

var (
	wanted = flag.Bool("engines", false, "run the tests of this package, as root")
	oci    = flag.String("oci", filepath.Join("..", "..", "bin", "vitro-oci"), "the runtime under test: a `program`")
)

// stage is what all tests share.
type stage struct {
	dir     string // all folders and sockets of the engines are below it
	runtime string // the program
	image   string // a docker-archive of localhost/bb:1 and localhost/pause:1
}

var st stage

// hidden are the folders in which engines keep what no flag of theirs moves.
var hidden = []string{"/run", "/dev/shm", "/var/lib/cni", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/tmp", "/etc/cni/net.d"}

func TestMain(m *testing.M) {
	world.Main()
	flag.Parse()
	if part := os.Getenv(notifying); part != "" {
		if err := notify(part); err != nil {
			fmt.Fprintln(os.Stderr, part+":", err)
			os.Exit(1)
		}
		return
	}
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		code = 1
	}
	os.Exit(code)
}

func play(m *testing.M) (code int, err error) {
	if !*wanted || os.Geteuid() != 0 {
		return m.Run(), nil // which says what is missing
	}
	if !world.Inside() {
		return outside()
	}
	if st.runtime, err = exec.LookPath(*oci); err == nil {
		st.runtime, err = filepath.Abs(st.runtime)
	}
	if err != nil {
		return 1, fmt.Errorf("find the runtime: %w", err)
	}
	if out, err := exec.Command("ip", "route", "add", "default", "dev", "lo").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("set default route, which dockerd looks for: %w: %s", err, out)
	}
	st.dir = os.Getenv(folder)
	if st.image, err = makeImage(st.dir); err != nil {
		return 1, fmt.Errorf("make image: %w", err)
	}
	if err := addUsers(st.dir); err != nil {
		return 1, fmt.Errorf("add users: %w", err)
	}
	return m.Run(), nil
}

// folder names the stage's folder, for those inside.
const folder = "VITRO_ENGINES_DIR"

// outside runs this program again, in a world, and takes its folder away
// afterwards: as long as an engine runs it is in use.
func outside() (code int, err error) {
	dir, err := os.MkdirTemp("", "vitro-engines.")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 19*time.Minute)
	defer cancel()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), folder+"="+dir, "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = world.World{Net: true, Hide: hidden, Label: "-engines"}.Run(ctx, cmd)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// need skips a test that was not asked for, or that has not what it needs.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if !*wanted {
		t.Skip("needs the flag -engines: see make test-engines")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN, for an engine that runs as root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs the program %s: see test/setup", p)
		}
	}
}
