// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"vitro/test/world"
)

// limit is how long one program may take. Most take a second, since they ask
// for the state of a container once in a second.
const limit = 60 * time.Second

// ociRuntime is a runtime under test.
type ociRuntime struct {
	name, path string
	noV2       bool // it refuses v1 hierarchies beside a unified one
	version    string
}

func findRuntimes(ours string) ([]ociRuntime, error) {
	path, err := filepath.Abs(ours)
	if err != nil {
		return nil, err
	}
	var list []ociRuntime
	for _, r := range []ociRuntime{{name: "runc", path: "runc"}, {name: "crun", path: "crun", noV2: true}, {name: oursName, path: path}} {
		out, err := exec.Command(r.path, "--version").Output()
		switch {
		case errors.Is(err, exec.ErrNotFound) && r.name != oursName:
			continue
		case err != nil:
			return nil, fmt.Errorf("ask %s for its version: %w", r.path, err)
		}
		r.version, _, _ = strings.Cut(string(out), "\n")
		r.version = strings.TrimPrefix(r.version, r.name+" version ")
		list = append(list, r)
	}
	return list, nil
}

// suite is a folder with the programs, as they want it, and one for their runs.
type suite struct{ dir, runs string }

// module has the programs; its own go.mod pins it.
const module = "github.com/opencontainers/runtime-tools"

// goTool runs a go command in the module that pins the suite.
func goTool(goCommand string, args ...string) (string, error) {
	cmd := exec.Command(goCommand, args...)
	cmd.Dir = filepath.Join("tools", "oci")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s: %w: %s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}

// listPrograms are the names of all programs of the suite.
func listPrograms(goCommand string) (programs []string, err error) {
	list, err := goTool(goCommand, "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, module+"/validation/...")
	for p := range strings.FieldsSeq(list) {
		programs = append(programs, filepath.Base(p))
	}
	return programs, err
}

// build makes programs from source; what is there and still right is kept.
func build(goCommand, dir string, programs []string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", dir + "/", module + "/cmd/runtimetest"}
	for _, p := range programs {
		args = append(args, module+"/validation/"+p)
	}
	if _, err := goTool(goCommand, args...); err != nil {
		return err
	}
	source, err := goTool(goCommand, "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(source, "rootfs-*.tar.gz"))
	for _, a := range archives {
		link := filepath.Join(dir, filepath.Base(a))
		err = errors.Join(err, os.RemoveAll(link), os.Symlink(a, link))
	}
	return err
}

// openTemp makes a folder that others may look into: root of a container with
// users of its own is one of the others.
func openTemp(dir, name string) (string, error) {
	dir, err := os.MkdirTemp(dir, name)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// wrapper is what the suite calls as the runtime: state in a folder of the
// test's. crun 1.8 ends at once at a version later than 1.0; all that the suite
// asks for was in that one.
const wrapper = `#!/bin/sh
if [ %[1]s = crun ]; then
  for arg do
    [ "$last" != --bundle ] || sed -i 's/"ociVersion": *"1[^"]*"/"ociVersion": "1.0.2"/' "$arg/config.json"
    last=$arg
  done
fi
exec %[2]s --root %[3]s "$@"
`

// run has one program test one runtime, in a world of its own: some mount
// over the machine's /proc, and all use the same cgroup.
func (s suite) run(program string, r ociRuntime) (result, error) {
	dir, err := openTemp(s.runs, "run.")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	command := filepath.Join(dir, r.name)
	if err := os.WriteFile(command, fmt.Appendf(nil, wrapper, r.name, r.path, filepath.Join(dir, "state")), 0o755); err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.Command(filepath.Join(s.dir, program))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "RUNTIME="+command, "TMPDIR="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = world.World{Hide: []string{"/run"}, NoV2: r.noV2, Label: "-oci"}.Run(ctx, cmd)
	res := parse(&stdout)
	res.output += stderr.String()
	exit := new(exec.ExitError)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		res.end = fmt.Sprintf("no end after %v", limit)
	case errors.As(err, &exit):
		res.end = fmt.Sprintf("exit status %d", exit.ExitCode())
	case err != nil:
		return res, fmt.Errorf("run %s with %s: %w", program, r.name, err)
	}
	return res, nil
}
