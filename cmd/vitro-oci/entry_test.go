// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	bin := filepath.Join(t.TempDir(), "vitro-oci")
	build := exec.Command(goCommand, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w -E main.entry", "-o", bin, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
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
		cmd := exec.Command(bin, "/usr/bin/env")
		cmd.Args[0] = initName
		cmd.Env = env
		out, err := cmd.Output()
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(env) == 0 {
			env = []string{""}
		}
		if err != nil || !slices.Equal(got, env) {
			t.Errorf("the environment %.200q came out as %.200q, %v", env, got, err)
		}
	}
	out, err := exec.Command(bin, "--root", "/no where", "state", "a", "b").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "want one argument") {
		t.Errorf("two arguments too many: %q, %v", out, err)
	}
}
