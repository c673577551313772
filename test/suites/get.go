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

// images makes the images that the suites want; for runc's it is in place of its
// get-images.sh.
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
		source, err := module("github.com/opencontainers/runc@" + runcVersion)
		if err != nil {
			return nil, err
		}
		cgo := []string{"CGO_ENABLED=1", "GOFLAGS=-mod=mod"}
		testdata := filepath.Join(tests, "testdata")
		for _, c := range [][]string{
			{"cp", "-rT", "--no-preserve=mode", source, dir},
			{"find", "tests", "-name", "*.sh", "-exec", "chmod", "+x", "{}", "+"},
			{"go", "build", "-trimpath", "-tags", "seccomp urfave_cli_no_docs netgo osusergo", "-ldflags", "-X main.gitCommit=" + runcVersion + " -extldflags -static", "-o", "runc", "."},
			{"mkdir", "-p", "tests/cmd/_bin"},
			{"go", "build", "-tags", "seccomp", "-o", "tests/cmd/_bin/", "./tests/cmd/..."},
		} {
			if _, err := do(dir, cgo, c...); err != nil {
				return nil, err
			}
		}
		if err := os.WriteFile(filepath.Join(tests, "get-images.sh"), images, 0o755); err != nil {
			return nil, err
		}
		if err := makeImages(testdata, "busybox", "debian"); err != nil {
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

// module fetches a Go module and says where its files are.
func module(name string) (string, error) {
	out, err := do("", nil, "go", "mod", "download", "-json", name)
	if err != nil {
		return "", err
	}
	var m struct{ Dir string }
	err = json.Unmarshal(out, &m)
	return m.Dir, err
}

// makeImages makes root file systems of this machine's programs: NAME.tar in dir.
func makeImages(dir string, names ...string) error {
	_, err := do("", nil, append([]string{"bash", "-c", string(images), "get-images.sh", dir}, names...)...)
	return err
}

// aptSource gets a Debian package's source into the working directory, from where
// the machine's packages are from; its own lists are left alone.
const aptSource = `set -e
mkdir -p apt/parts apt/lists/partial
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -f "$f" ] && sed 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /' "$f" >apt/parts/"${f##*/}"
done
get() { apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$PWD/apt/parts" -o Dir::State::Lists="$PWD/apt/lists" "$@"; }
get update
get source "$1"
`

// getCrun gets the source of Debian's crun.
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
		if _, err := do(dir, nil, "bash", "-c", aptSource, "bash", "crun"); err != nil {
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
