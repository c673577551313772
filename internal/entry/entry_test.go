// SPDX-License-Identifier: Apache-2.0

package entry_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestEntry: a program that starts at entry has its arguments and its
// environment as they were, and hands no setting of entry's on.
func TestEntry(t *testing.T) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		goCommand = filepath.Join(runtime.GOROOT(), "bin", "go")
	}
	bin := filepath.Join(t.TempDir(), "show")
	build := exec.Command(goCommand, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w -E vitro/internal/entry.entry", "-o", bin, "./testdata/show")
	build.Env = append(build.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=norandomizedheapbase64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	long := strings.Repeat("x", 100_000)
	for _, env := range [][]string{
		{},
		{"A=b"},
		{"A=b", "C=", "D=e f"},
		{"GOMAXPROCS=3"},
		{"GODEBUG=asyncpreemptoff=0", "GOMAXPROCS=2"},
		{"GOMAXPROCS=1", "LONG=" + long},
	} {
		for _, args := range [][]string{{}, {"a", "", "b c"}, {long}} {
			cmd := exec.Command(bin, args...)
			cmd.Env = env
			out, err := cmd.Output()
			if want := fmt.Sprintf("%q\n%q\n", env, args); err != nil || string(out) != want {
				t.Errorf("the environment %.200q and the arguments %.200q came out as %.400s, %v", env, args, out, err)
			}
		}
	}
}
