// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runcVersion is of the suite, and of the runc beside vitro-oci.
const runcVersion = "v1.5.3"

// images makes the images that runc's suite wants, in place of its get-images.sh.
//
//go:embed images.sh
var images []byte

// getRunc gets runc's source as a Go module, and builds it and the programs that
// its suite calls. They need cgo, and libseccomp's headers.
func getRunc(dir string) (*suite, error) {
	for _, p := range []string{"bats", "jq", "gawk", "busybox", "script"} {
		if _, err := exec.LookPath(p); err != nil {
			return nil, err
		}
	}
	dir, done, err := fresh(dir)
	if err != nil {
		return nil, err
	}
	tests := filepath.Join(dir, "tests", "integration")
	if !done {
		out, err := do("", nil, "go", "mod", "download", "-json", "github.com/opencontainers/runc@"+runcVersion)
		if err != nil {
			return nil, err
		}
		var module struct{ Dir string }
		if err := json.Unmarshal(out, &module); err != nil {
			return nil, err
		}
		cgo := []string{"CGO_ENABLED=1", "GOFLAGS=-mod=mod"}
		testdata := filepath.Join(tests, "testdata")
		for _, c := range [][]string{
			{"cp", "-rT", "--no-preserve=mode", module.Dir, dir},
			{"find", "tests", "-name", "*.sh", "-exec", "chmod", "+x", "{}", "+"},
			{"go", "build", "-trimpath", "-tags", "seccomp urfave_cli_no_docs netgo osusergo", "-ldflags", "-X main.gitCommit=" + runcVersion + " -extldflags -static", "-o", "runc", "."},
			{"mkdir", "-p", "tests/cmd/_bin"},
			{"go", "build", "-tags", "seccomp", "-o", "tests/cmd/_bin/", "./tests/cmd/..."},
		} {
			if _, err := do(dir, cgo, c...); err != nil {
				return nil, err
			}
		}
		script := filepath.Join(tests, "get-images.sh")
		if err := os.WriteFile(script, images, 0o755); err != nil {
			return nil, err
		}
		if _, err := do(tests, nil, "bash", script, testdata); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "got"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	s := &suite{dir: tests, peer: filepath.Join(dir, "runc")}
	s.command = func(file, runtime string) *exec.Cmd {
		cmd := exec.Command("bats", "--tap", file)
		cmd.Env = append(os.Environ(), "RUNC="+runtime)
		return cmd
	}
	s.files, err = names(tests, "*.bats")
	return s, err
}

// getCrun gets the source of Debian's crun; a list with deb-src has to be among
// apt's sources.
func getCrun(dir string) (*suite, error) {
	peer, err := exec.LookPath("crun")
	if err != nil {
		return nil, err
	}
	dir, done, err := fresh(dir)
	if err != nil {
		return nil, err
	}
	if !done {
		if _, err := do(dir, nil, "apt-get", "source", "-q", "crun"); err != nil {
			return nil, err
		}
	}
	sources, err := filepath.Glob(filepath.Join(dir, "crun-*", "tests"))
	if err != nil || len(sources) != 1 {
		return nil, errors.Join(err, fmt.Errorf("find crun's tests in %s: %d folders", dir, len(sources)))
	}
	top := filepath.Dir(sources[0])
	if !done {
		// The program in the containers includes what configure would write.
		config := "#define HAVE_SECCOMP 1\n#define HAVE_ERROR_H 1\n"
		if err := os.WriteFile(filepath.Join(top, "config.h"), []byte(config), 0o644); err != nil {
			return nil, err
		}
		if _, err := do(top, nil, "cc", "-I.", "-static", "-O1", "-o", "tests/init", "tests/init.c", "-lseccomp"); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "got"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	s := &suite{dir: top, peer: peer, noV2: true}
	s.command = func(file, runtime string) *exec.Cmd {
		// Left by a run that was ended in the middle; the number in its name is one of a PID namespace.
		cmd := exec.Command("sh", "-c", "rm -rf .testsuite-run-*; exec python3 tests/"+file)
		cmd.Env = append(os.Environ(), "OCI_RUNTIME="+runtime, "INIT="+filepath.Join(top, "tests", "init"))
		return cmd
	}
	s.files, err = names(filepath.Join(top, "tests"), "test_*.py")
	return s, err
}

func names(dir, pattern string) (list []string, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	for _, p := range paths {
		list = append(list, filepath.Base(p))
	}
	return list, err
}
