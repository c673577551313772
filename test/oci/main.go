// SPDX-License-Identifier: Apache-2.0

// Command oci runs the conformance suite of opencontainers/runtime-tools with
// vitro-oci and, in the same run, with runc and crun: so that a fault of the
// suite or of the machine is told from one of ours.
//
//	go run ./test/oci [-short] [-update] [-v] [-runtime vitro-oci] [PROGRAM]...
//
// It exits with 1 if a test that runc passes fails with vitro-oci, unless it is a
// flaky one. Needs root, the go command, and the module of
// tools/oci/go.mod.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"vitro/test/world"
)

const (
	oursName = "vitro-oci"
	page     = "docs/conformance-suite.md"
)

// options are those of the command line.
type options struct {
	short, update, verbose bool
	ours, goCommand        string
	programs               []string
}

func main() {
	world.Main()
	var o options
	flag.BoolVar(&o.short, "short", false, "only a sample of the programs")
	flag.BoolVar(&o.update, "update", false, "write the tables into "+page)
	flag.BoolVar(&o.verbose, "v", false, "show what the programs say about failures, of all runtimes")
	flag.StringVar(&o.ours, "runtime", "bin/vitro-oci", "the `program` under test")
	flag.StringVar(&o.goCommand, "go", "go", "the go `command`")
	flag.Parse()
	o.programs = flag.Args()
	if err := o.main(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func (o options) main(w io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("run the suite: it needs root")
	}
	runtimes, err := findRuntimes(o.ours)
	if err != nil {
		return err
	}
	if o.short { // runc alone decides
		runtimes = slices.DeleteFunc(runtimes, func(r ociRuntime) bool { return r.name == "crun" })
	}
	all, err := listPrograms(o.goCommand)
	if err != nil {
		return err
	}
	programs := o.programs
	switch {
	case len(programs) > 0:
	case o.short:
		programs = short
	default:
		programs = all
	}
	for _, p := range programs {
		if !slices.Contains(all, p) {
			return fmt.Errorf("run program %q: there is none of this name in the suite", p)
		}
	}
	dir, err := filepath.Abs(filepath.Join("bin", "conformance"))
	if err != nil {
		return err
	}
	if err := build(o.goCommand, dir, programs); err != nil {
		return err
	}
	runs, err := openTemp("", "vitro-conformance.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(runs)
	rows, err := suite{dir, runs}.table(programs, runtimes)
	if err != nil {
		return err
	}
	return o.report(w, runtimes, rows)
}

// table runs all programs with all runtimes, a few at a time: most of their time is waiting.
func (s suite) table(programs []string, runtimes []ociRuntime) ([]row, error) {
	rows := make([]row, len(programs))
	errs := make([]error, len(programs))
	var wg sync.WaitGroup
	lanes := make(chan struct{}, 4)
	for i, p := range programs {
		rows[i] = row{p, make([]result, len(runtimes))}
		lanes <- struct{}{}
		wg.Go(func() {
			defer func() { <-lanes }()
			for k, r := range runtimes {
				var err error
				if rows[i].results[k], err = s.run(p, r); err != nil {
					errs[i] = errors.Join(errs[i], err)
				}
			}
		})
	}
	wg.Wait()
	return rows, errors.Join(errs...)
}

func (o options) report(w io.Writer, runtimes []ociRuntime, rows []row) error {
	var text, differences strings.Builder
	markdown(&text, runtimes, rows)
	bad := verdicts(&differences, runtimes, rows)
	fmt.Fprintf(&text, "\nWhat a peer passes, and %s does not:\n\n%s", oursName, cmp.Or(differences.String(), "- nothing\n"))
	fmt.Fprintln(w, text.String())
	for _, r := range rows {
		for i, one := range r.results {
			if o.verbose && !one.clean() {
				fmt.Fprintf(w, "%s with %s:\n\t%s\n", r.program, runtimes[i].name, strings.ReplaceAll(tail(one.output, 30), "\n", "\n\t"))
			}
		}
	}
	if o.update {
		if err := update(filepath.FromSlash(page), text.String()); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d tests that runc passes fail with %s; -v shows what it says", bad, oursName)
	}
	return nil
}
