// SPDX-License-Identifier: Apache-2.0

// Command bench starts the same container with vitro and with its peers, in
// turn, many times, and prints a table of medians, with ratios.
//
// It compares whole commands, from start to exit, as a user meets them. It
// asserts nothing, and it does not say where the time goes: for that there is
// vitro's own trace. All it makes is in one folder, and gone at the end.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == loopVerb {
		if err := loop(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	n := flag.Int("n", 20, "how often each command is measured")
	warm := flag.Int("warm", 3, "how often each runs before that")
	bin := flag.String("bin", "bin", "folder of vitro and vitro-oci")
	out := flag.String("o", "", "file to write the table to, besides stdout")
	only := flag.String("only", "", "measure only the commands whose group and name contain this, and the floor; growth: NAME, that of a runtime")
	grow := flag.Int("grow", 1000, "how many containers are there at last, to see what that costs; 0: not")
	crowd := flag.Int("crowd", 1000, "how many containers vitro is asked about at most")
	peers := flag.Int("peers", 100, "how many its peers are asked about at most: 1000 take them half an hour, and 14 GiB")
	cycles := flag.Int("cycles", 300, "how many times a container is created, started and removed, to see what that leaves; 0: not")
	memory := flag.Bool("memory", false, "look only for the smallest memory limit that a container starts under")
	flag.Parse()
	var err error
	if *memory {
		err = benchMemory(*bin)
	} else {
		err = bench(options{*n, *warm, *grow, *crowd, *peers, *cycles, *bin, *only, *out})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	n, warm, grow        int
	crowd, peers, cycles int
	bin, only, out       string
}

func bench(o options) (err error) {
	if o.n < 1 || o.warm < 0 {
		return errors.New("-n must be positive, -warm not negative")
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	s, err := newScene(o.bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var rows []*row
	for _, c := range contenders(s) {
		if !matches(o.only)(c) && c.group != "floor" {
			continue
		}
		r := &row{contender: c}
		if r.missing = s.ready(&c); r.missing == "" {
			fmt.Fprintln(os.Stderr, "bench:", c.name)
		}
		rows = append(rows, r)
	}
	measure(s, rows, o.n, o.warm)

	w := io.Writer(os.Stdout)
	if o.out != "" {
		f, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = io.MultiWriter(w, f)
	}
	printTable(w, rows, o.n)
	s.printLife(w, &o)
	if o.cycles > 0 && strings.HasPrefix(life+", "+cycles, o.only) {
		s.printCycles(w, o.cycles)
	}
	if o.grow > 0 && (o.only == "" || strings.HasPrefix(o.only, growth)) {
		s.printGrowth(w, o.grow, o.only)
	}
	if o.only == "" {
		s.printMemory(w)
		printPrograms(w, o.bin)
	}
	return nil
}

// row is a command and what was measured of it.
type row struct {
	contender
	missing string // why it was not measured, if so
	times   []int64
	peak    int64 // KiB
}

// measure runs all commands in turn, A B C A B C, so that what else the
// machine does meets them alike.
func measure(s *scene, rows []*row, n, warm int) {
	for i := range warm + n {
		for _, r := range rows {
			if r.missing != "" {
				continue
			}
			a := s.all(r.place, r.argvs(i))
			switch {
			case a.Error != "":
				r.missing = a.Error
			case i >= warm:
				r.times = append(r.times, a.Nanoseconds)
				r.peak = max(r.peak, a.PeakKB)
			}
		}
	}
	for _, r := range rows {
		for _, argv := range r.after {
			s.run(r.place, argv)
		}
	}
}

// all runs commands one after the other, as one.
func (s *scene) all(place string, argvs [][]string) (sum answer) {
	for _, argv := range argvs {
		a := s.run(place, argv)
		sum.Nanoseconds += a.Nanoseconds
		sum.PeakKB = max(sum.PeakKB, a.PeakKB)
		if sum.Error = a.Error; a.Error != "" {
			return sum
		}
	}
	return sum
}

// ready runs what a command needs once before it, and says what is missing.
func (s *scene) ready(c *contender) string {
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			return "needs " + program
		}
	}
	if c.root && os.Geteuid() != 0 {
		return "needs root"
	}
	for _, argv := range c.setup {
		if a := s.run(c.place, argv); a.Error != "" {
			return a.Error
		}
	}
	return ""
}
