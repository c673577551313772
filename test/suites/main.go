// SPDX-License-Identifier: Apache-2.0

// Command suites runs other runtimes' own test suites with vitro-oci, and in the
// same run with the runtime that each of them is of.
//
//	go run ./test/suites [-runtime bin/vitro-oci] [-run NAME] [-user NAME] [-v] [runc|crun|cri]...
//
// runc's is its tests/integration (bats), from its Go module, with a runc built of
// the same source beside; crun's is its tests (Python), from Debian's source
// package, with Debian's crun. Each file runs in a world of its own (package
// test/world), with a terminal, and nothing is fetched in it: the images that
// runc's wants are made of this machine's busybox and of its own programs. cri is
// critest, which has containerd's CRI plugin start pods with the runtime; its
// images come from a registry that this program is in the world.
//
// It ends with 1 if a case that the peer passes fails with vitro-oci. Needs root.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/test/world"
)

// A suite is one of the table below, got and built.
type suite struct {
	dir   string        // where its files are run
	files []string      // their names
	peer  string        // the runtime that it is of
	limit time.Duration // of a file
	noV2  bool          // which refuses v1 hierarchies beside a unified one
	user  string        // who runs them, if not root
	hide  []string      // folders that are to be empty
	// command runs a file with a runtime.
	command func(file, runtime string) *exec.Cmd
}

var suites = []struct {
	name string
	get  func(dir string) (*suite, error)
}{
	{"runc", getRunc},
	{"crun", getCrun},
	{"cri", getCRI},
}

func main() {
	world.Main()
	if world.Inside() { // what getCRI's command is
		if err := critest(os.Stdout, os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Println("Bail out!", err)
			os.Exit(1)
		}
		return
	}
	ours := flag.String("runtime", "bin/vitro-oci", "the `program` under test")
	only := flag.String("run", "", "only files whose name matches this regular `expression`")
	limit := flag.Duration("limit", 10*time.Minute, "how long one file may take with one runtime")
	user := flag.String("user", "", "run runc's suite as this ordinary `user`, who has subordinate IDs")
	verbose := flag.Bool("v", false, "show what failures say")
	flag.Parse()
	if err := run(os.Stdout, *ours, *only, *user, *limit, *verbose, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, ours, only, user string, limit time.Duration, verbose bool, names []string) error {
	if os.Geteuid() != 0 {
		return errors.New("run suites: they need root")
	}
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if ours, err = filepath.Abs(ours); err != nil {
		return err
	}
	var worse []string
	for _, row := range suites {
		if len(names) > 0 && !strings.Contains(" "+strings.Join(names, " ")+" ", " "+row.name+" ") {
			continue
		}
		if user != "" && row.name != "runc" {
			continue
		}
		s, err := row.get(filepath.Join("bin", "suites", row.name))
		if err != nil {
			return fmt.Errorf("get %s's suite: %w", row.name, err)
		}
		s.limit, s.user = limit, user
		fmt.Fprintf(w, "| %s's | vitro-oci | %s | passes there, not with vitro-oci |\n|---|--:|--:|---|\n", row.name, row.name)
		for _, file := range s.files {
			if !pattern.MatchString(file) {
				continue
			}
			mine, err := s.run(file, ours, false)
			if err != nil {
				return err
			}
			theirs, err := s.run(file, s.peer, s.noV2)
			if err != nil {
				return err
			}
			var lost []string
			for _, name := range theirs.passed {
				if !contains(mine.passed, name) && !contains(mine.skipped, name) {
					lost = append(lost, name)
				}
			}
			fmt.Fprintf(w, "| %s | %v | %v | %s |\n", file, mine, theirs, strings.Join(lost, "; "))
			if verbose && (len(mine.failed) > 0 || len(mine.passed) == 0) {
				fmt.Fprintf(w, "\n%s\n", mine.said)
			}
			worse = append(worse, lost...)
		}
	}
	if len(worse) > 0 {
		return fmt.Errorf("%d cases that a peer passes fail with vitro-oci; -v shows what they say, docs/conformance-suite.md which are known", len(worse))
	}
	return nil
}

// result are the cases of a file.
type result struct {
	passed, failed, skipped []string
	said                    string
}

func (r result) String() string {
	return fmt.Sprintf("%d / %d / %d", len(r.passed), len(r.failed), len(r.skipped))
}

// asUser runs a command as an ordinary user.
//
//go:embed user.sh
var asUser []byte

// run runs a file in a world. Its controlling terminal is one that nobody types at.
func (s *suite) run(file, runtime string, noV2 bool) (result, error) {
	tmp, err := os.MkdirTemp("", "vitro-suite.")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // for containers whose root is another user outside
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	inner := s.command(file, runtime)
	if s.user != "" {
		script := filepath.Join(tmp, "user.sh")
		if err := os.WriteFile(script, asUser, 0o644); err != nil {
			return result{}, err
		}
		inner.Args = append([]string{"bash", script, s.user}, inner.Args...)
	}
	out := filepath.Join(tmp, "out")
	// script(1) makes the terminal; its own input is a pipe that stays open.
	words := make([]string, len(inner.Args))
	for i, a := range inner.Args {
		words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	cmd := exec.Command("script", "-qec", strings.Join(words, " ")+" >'"+out+"' 2>&1", "/dev/null")
	cmd.Dir, cmd.Env = s.dir, append(inner.Environ(), "TMPDIR="+tmp)
	r, held, err := os.Pipe()
	if err != nil {
		return result{}, err
	}
	defer r.Close()
	defer held.Close()
	cmd.Stdin = r
	err = world.World{Net: true, NoV2: noV2, Hide: s.hide, Label: "-suites"}.Run(ctx, cmd)
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return result{}, fmt.Errorf("run %s: %w", file, err)
	}
	said, err := os.ReadFile(out)
	return parse(said), err
}

var line = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(not ok|ok) \d+ (?:- )?(.*?)\s*(# ?(?i:skip).*|#SKIP)?$`)
})

// parse reads TAP (testanything.org).
func parse(said []byte) result {
	r := result{said: string(said)}
	for _, m := range line().FindAllSubmatch(said, -1) {
		to := &r.passed
		switch {
		case len(m[3]) > 0:
			to = &r.skipped
		case string(m[1]) == "not ok":
			to = &r.failed
		}
		*to = append(*to, string(m[2]))
	}
	return r
}

func contains(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}

// do runs a command; what it says comes with its error.
func do(dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, err
}

// fresh reports whether a suite has been got already, and makes its folder.
func fresh(dir string) (string, bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false, err
	}
	done := unix.Access(filepath.Join(dir, "got"), unix.F_OK) == nil
	return dir, done, os.MkdirAll(dir, 0o755)
}
