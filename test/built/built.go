// SPDX-License-Identifier: Apache-2.0

// Package built is where tests get this project's programs from. Not for a
// package that can call the code itself.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// From is the environment variable that names a folder of programs that are made
// already: make test has made them.
const From = "VITRO_BIN"

// Programs puts programs of cmd into the folder bin in dir, where every user may
// run them, and returns it. The caller's folder is two below the source's. Where
// there is nothing to build with, as for an ordinary user of make test and in
// the virtual machine, they are those of make build.
func Programs(dir string, names ...string) (string, error) {
	top, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	from, goCmd := os.Getenv(From), os.Getenv("GO")
	if goCmd == "" {
		goCmd, _ = exec.LookPath("go")
	}
	_, source := os.Stat(filepath.Join(top, "cmd"))
	if from == "" && goCmd != "" && source == nil {
		return bin, build(top, bin, goCmd, names)
	}
	if from == "" {
		from = filepath.Join(top, "bin")
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return "", fmt.Errorf("find a program that can't be built here: %w; make build makes it", err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), data, 0o755); err != nil {
			return "", err
		}
	}
	return bin, os.Chmod(bin, 0o755)
}

func build(top, bin, goCmd string, names []string) error {
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", bin + "/"}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.Command(goCmd, args...)
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return os.Chmod(bin, 0o755)
}
