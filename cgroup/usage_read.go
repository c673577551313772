// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// counts reads one cgroup's files. What a kernel doesn't have counts 0; the
// first other error is kept.
type counts struct {
	dir  string
	read func(dir, file string) (string, error)
	err  error
}

// text is a file, "" if there is none: a kernel may lack it, and PSI may be
// switched off (EOPNOTSUPP).
func (r *counts) text(file string) string {
	s, err := r.read(r.dir, file)
	if err != nil && !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) && r.err == nil {
		r.err = err
	}
	return s
}

// has reports whether there is such a file.
func (r *counts) has(file string) bool { return exists(r.dir + "/" + file) }

func (r *counts) parse(file, s string) uint64 {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return 0
	case "max":
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && strings.HasPrefix(s, "-") { // counters that run ahead of each other
		return 0
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("read %s/%s: %q is not a number", r.dir, file, s)
	}
	return n
}

// number is a file of one number. "max" is the largest.
func (r *counts) number(file string) uint64 { return r.parse(file, r.text(file)) }

// pairs are the lines "key number" of a file.
func (r *counts) pairs(file string) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for line := range strings.Lines(r.text(file)) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
			if ok && !yield(key, r.parse(file, value)) {
				return
			}
		}
	}
}

// list reads a list of numbers and ranges: "0-3,7".
func (r *counts) list(file string) (all []uint16) {
	text := strings.TrimSpace(r.text(file))
	if text == "" || !isList(text) {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		for n := r.parse(file, from); n <= r.parse(file, to); n++ {
			all = append(all, uint16(n))
		}
	}
	return all
}

// pressure is a PSI file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; nil
// if the kernel counts none.
func (r *counts) pressure(file string) *Pressure {
	text := r.text(file)
	if text == "" {
		return nil
	}
	p := new(Pressure)
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(line, " ")
		t := &p.Some
		if kind == "full" {
			t = &p.Full
		}
		for word := range strings.FieldsSeq(rest) {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "avg10":
				t.Avg10 = percent(value)
			case "avg60":
				t.Avg60 = percent(value)
			case "avg300":
				t.Avg300 = percent(value)
			case "total":
				t.Total = r.parse(file, value)
			}
		}
	}
	return p
}

func percent(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// sizes are the page sizes that the cgroup has files of, such as
// "hugetlb.2MB" and suffix, without those of reservations.
func (r *counts) sizes(suffix string) (all []string) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "hugetlb.")
		size, ok2 := strings.CutSuffix(name, suffix)
		if ok && ok2 && !strings.Contains(size, ".") {
			all = append(all, size)
		}
	}
	return all
}

// pids: both versions have the same files.
func (r *counts) pids(u *Usage) {
	u.Pids.Current = r.number("pids.current")
	if n := r.number("pids.max"); n != math.MaxUint64 {
		u.Pids.Limit = n
	}
}

// hugePages counts reservations, where the kernel does: what is reserved can't
// be had by others.
func (r *counts) hugePages(u *Usage, usage string, read func(prefix, size string) HugetlbPage) {
	for _, size := range r.sizes(usage) {
		prefix := "hugetlb." + size
		if r.has(prefix + ".rsvd" + usage) {
			prefix += ".rsvd"
		}
		u.Hugetlb[size] = read(prefix, size)
	}
}
