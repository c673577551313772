// SPDX-License-Identifier: Apache-2.0

// Command report makes the output of go test -v readable.
//
// Without arguments it copies standard input to standard output, but of a
// package that passed only its closing line, and exits with 1 if one failed.
//
// With arguments, the kept output of several runs of the same tests (as root,
// as a user), it lists what none of the runs could check, and why. A test
// that one run skipped and another did not is checked.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	err := filter(os.Stdin, os.Stdout, os.Args[1:])
	if err != nil {
		if err != errFailed { // which is there to read
			fmt.Fprintln(os.Stderr, "report:", err)
		}
		os.Exit(1)
	}
}

func filter(stdin io.Reader, stdout io.Writer, files []string) error {
	if len(files) == 0 {
		return follow(stdin, stdout)
	}
	tests := make(map[string]*test)
	var runs []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = collect(f, filepath.Base(name), tests)
		f.Close()
		if err != nil {
			return err
		}
		runs = append(runs, filepath.Base(name))
	}
	summarize(stdout, runs, tests)
	return nil
}

var errFailed = errors.New("a package failed")

// closing says whether a line ends a package's output, and how.
func closing(line string) (pkg string, failed, ok bool) {
	fields := strings.Fields(line)
	switch {
	case len(fields) < 2:
	case strings.HasPrefix(line, "ok  \t"), strings.HasPrefix(line, "?   \t"):
		return fields[1], false, true
	case strings.HasPrefix(line, "FAIL\t"):
		return fields[1], true, true
	}
	return "", false, false
}

// follow shows each package as it ends: what its failed tests said, and its closing line.
func follow(r io.Reader, w io.Writer) error {
	var said []string
	var bad error
	ended, parallel, kept := false, false, 0
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		_, failed, end := closing(line)
		if !end {
			said = append(said, line)
			switch how, _ := verdict(line); {
			case strings.HasPrefix(line, "=== PAUSE"):
				parallel = true // whose line is whose is not to be told any more
			case how == "FAIL" || parallel:
				kept = len(said)
			case how != "":
				said = said[:kept]
			}
			continue
		}
		if failed {
			bad = errFailed
			fmt.Fprintln(w, strings.Join(slices.DeleteFunc(said, noise), "\n"))
		}
		if !strings.Contains(line, "[no test files]") {
			fmt.Fprintln(w, line)
		}
		said, ended, parallel, kept = nil, true, false, 0
	}
	// What go test itself says, and what a run that broke off left behind.
	if said = slices.DeleteFunc(said, noise); len(said) > 0 {
		fmt.Fprintln(w, strings.Join(said, "\n"))
	}
	if !ended && bad == nil {
		bad = errors.New("no package was tested")
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return bad
}

// noise is a line that says nothing once a package has failed. A test that
// runs tests in another process logs such lines too.
func noise(line string) bool {
	if i := strings.Index(line, ".go:"); i >= 0 {
		_, line, _ = strings.Cut(line[i+len(".go:"):], ": ")
	}
	for _, prefix := range [...]string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "--- PASS", "PASS", "FAIL"} {
		if strings.HasPrefix(strings.TrimLeft(line, " "), prefix) {
			return true
		}
	}
	return false
}

// test is what the runs made of one test.
type test struct {
	passed bool
	runs   []string // that skipped it
	reason string   // of the last that did
}

// collect reads one run's output into tests, by package and name.
func collect(r io.Reader, run string, tests map[string]*test) error {
	var package_ []*test
	var names []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	var last *test
	said := "" // by the test that runs: a skip's reason stands before its verdict
	flush := func(pkg string) {
		for i, t := range package_ {
			key := pkg + " " + names[i]
			old := tests[key]
			if old == nil {
				tests[key] = t
				continue
			}
			old.passed = old.passed || t.passed
			old.runs = append(old.runs, t.runs...)
			if t.reason != "" {
				old.reason = t.reason
			}
		}
		package_, names, last = nil, nil, nil
	}
	for lines.Scan() {
		line := strings.TrimLeft(lines.Text(), " ")
		if pkg, _, end := closing(lines.Text()); end {
			flush(pkg)
			continue
		}
		verdict, name := verdict(line)
		switch {
		case verdict == "SKIP":
			last = &test{runs: []string{run}, reason: reason(said)}
			package_, names = append(package_, last), append(names, name)
		case verdict != "":
			package_, names = append(package_, &test{passed: true}), append(names, name)
			last = nil
		case strings.Contains(line, ".go:"):
			said = line
			if last != nil && last.reason == "" {
				last.reason = reason(line)
			}
		}
		if verdict != "" || strings.HasPrefix(line, "=== RUN") {
			said = ""
		}
	}
	return lines.Err()
}

// verdict takes "--- SKIP: TestName (0.00s)" apart.
func verdict(line string) (verdict, name string) {
	rest, ok := strings.CutPrefix(line, "--- ")
	if !ok {
		return "", ""
	}
	verdict, name, _ = strings.Cut(rest, ": ")
	name, _, _ = strings.Cut(name, " ")
	return verdict, name
}

// reason is what a test said, without where it said it: "file_test.go:12: needs …".
func reason(said string) string {
	if i := strings.Index(said, ".go:"); i >= 0 {
		if _, text, ok := strings.Cut(said[i+len(".go:"):], ": "); ok {
			return text
		}
	}
	return said
}

// summarize lists what was skipped in every run, one line for each reason.
func summarize(w io.Writer, runs []string, tests map[string]*test) {
	byReason := make(map[string][]string)
	passed := 0
	for key, t := range tests {
		if t.passed {
			passed++
			continue
		}
		if strings.HasPrefix(t.reason, "is run by ") {
			continue // a part of another test, which runs it as a process of its own
		}
		_, name, _ := strings.Cut(key, " ")
		byReason[t.reason] = append(byReason[t.reason], name)
	}
	fmt.Fprintf(w, "== %d tests ran (%s)\n", passed, strings.Join(runs, ", "))
	reasons := make([]string, 0, len(byReason))
	for r := range byReason {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		names := byReason[r]
		slices.Sort(names)
		if len(names) > 4 {
			names = append(names[:3:3], fmt.Sprintf("and %d more", len(names)-3))
		}
		fmt.Fprintf(w, "== NOT CHECKED: %s: %s\n", strings.Join(names, ", "), r)
	}
}
