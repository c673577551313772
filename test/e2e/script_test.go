// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestScripts plays the scripts in testdata, each in a folder of its own.
//
// Besides testscript's own words there are
//
//	exits N COMMAND...   the command ends with status N
//
// and the conditions root, user (not root), v1 and v2 (where the limits are
// kept), and subids (an ordinary user who has a range of them).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:             "testdata",
		ContinueOnError: true,
		Setup:           setup,
		Condition:       condition,
		Cmds:            map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func setup(e *testscript.Env) error {
	for _, k := range []string{"PATH", "LC_ALL", "USER", "XDG_RUNTIME_DIR"} {
		e.Setenv(k, os.Getenv(k))
	}
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("VITRO", st.vitro)
	e.Setenv("UNIQUE", strconv.Itoa(os.Getpid()))
	e.Setenv("BIN", filepath.Dir(st.vitro))
	e.Setenv("CGROUP", st.cgroup)
	e.Setenv("UID", strconv.Itoa(os.Geteuid()))
	e.Setenv("GID", strconv.Itoa(os.Getegid()))
	return nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit status %d; want %d", code, want)
	}
}

func condition(cond string) (bool, error) {
	switch cond {
	case "root":
		return os.Geteuid() == 0, nil
	case "user":
		return os.Geteuid() != 0, nil
	case "v1":
		return !unified(), nil
	case "v2":
		return unified(), nil
	case "subids":
		return os.Geteuid() != 0 && subids(), nil
	}
	return false, errors.New("unknown condition")
}

// unified reports whether version 2 of the cgroups is all there is.
func unified() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// subids reports whether the user has IDs to lend (subuid(5)).
func subids() bool {
	u, err := user.Current()
	if err != nil {
		return false
	}
	data, err := os.ReadFile("/etc/subuid")
	_, tool := exec.LookPath("newuidmap")
	return err == nil && tool == nil && strings.Contains("\n"+string(data), "\n"+u.Username+":")
}
