// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// row is what all runtimes made of one program, in the order of the runtimes.
type row struct {
	program string
	results []result
}

// cell is a result as the table shows it: ok, not ok, skipped; then how it ended.
func (r result) cell() string {
	text := fmt.Sprintf("%d", r.ok)
	if r.failed > 0 || r.skipped > 0 {
		text = fmt.Sprintf("%d / %d / %d", r.ok, r.failed, r.skipped)
	}
	if r.end != "" {
		text += ", " + r.end
	}
	return text
}

// total sums up one runtime's column.
func total(rows []row, column int) (sum result, clean int) {
	for _, r := range rows {
		one := r.results[column]
		sum.ok, sum.failed, sum.skipped = sum.ok+one.ok, sum.failed+one.failed, sum.skipped+one.skipped
		if one.clean() {
			clean++
		}
	}
	return sum, clean
}

// markdown writes the tables: all runtimes in total, and each program for itself.
func markdown(w io.Writer, runtimes []ociRuntime, rows []row) {
	fmt.Fprintf(w, "\n| runtime | ok | not ok | skipped | programs without a failure |\n|---|--:|--:|--:|--:|\n")
	for i, r := range runtimes {
		sum, clean := total(rows, i)
		fmt.Fprintf(w, "| %s %s | %d | %d | %d | %d of %d |\n", r.name, r.version, sum.ok, sum.failed, sum.skipped, clean, len(rows))
	}
	fmt.Fprint(w, "\nEach cell: ok / not ok / skipped, or ok alone; and how the program ended, if not well.\n\n| program |")
	for _, r := range runtimes {
		fmt.Fprintf(w, " %s |", r.name)
	}
	fmt.Fprintf(w, " |\n|---%s|---|\n", strings.Repeat("|---", len(runtimes)))
	for _, r := range rows {
		fmt.Fprintf(w, "| %s |", r.program)
		for _, one := range r.results {
			fmt.Fprintf(w, " %s |", one.cell())
		}
		fmt.Fprintf(w, " %s |\n", note(r.program))
	}
}

func note(program string) string {
	var list []string
	for _, n := range notes {
		if n.program == program {
			list = append(list, n.note)
		}
	}
	if slices.Contains(flaky, program) {
		list = append(list, "flaky: decides nothing")
	}
	return strings.Join(list, "; ")
}

// verdicts compares our column with those of the peers. What runc passes and
// we don't is bad, but for what is known; what only another peer passes is
// listed too. Without runc nothing is decided.
func verdicts(w io.Writer, runtimes []ociRuntime, rows []row) (bad int) {
	column := func(name string) int {
		return slices.IndexFunc(runtimes, func(r ociRuntime) bool { return r.name == name })
	}
	runc, ours := column("runc"), column(oursName)
	if runc < 0 {
		fmt.Fprintf(w, "NOT CHECKED: runc beside %s: it is not installed.\n", oursName)
		return 0
	}
	for _, r := range rows {
		said := make(map[string]bool)
		lines := make(map[string][]string) // the tests of each sentence
		for i := range runtimes {
			if i == ours {
				continue
			}
			for _, d := range r.worse(i, ours) {
				if said[d.test] {
					continue
				}
				said[d.test] = true
				why := ""
				if slices.Contains(flaky, r.program) {
					why = "; it is flaky"
				} else if i == runc {
					bad++
				}
				sentence := fmt.Sprintf("passes with %s, and %s with %s%s", runtimes[i].name, d.how, oursName, why)
				lines[sentence] = append(lines[sentence], d.test)
			}
		}
		for _, sentence := range sorted(lines) {
			fmt.Fprintf(w, "- %s: %s %s\n", r.program, few(lines[sentence]), sentence)
		}
	}
	return bad
}

// few names the first ones of many.
func few(names []string) string {
	const shown = 2
	list := make([]string, 0, shown)
	for _, n := range names[:min(shown, len(names))] {
		list = append(list, fmt.Sprintf("%q", n))
	}
	text := strings.Join(list, ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// worse is a test that one runtime passes and another does not.
type worse struct{ test, how string }

func (r row) worse(peer, ours int) (list []worse) {
	theirs, mine := r.results[peer], r.results[ours]
	failed, missing := difference(theirs, mine)
	for _, name := range failed {
		list = append(list, worse{name, "fails"})
	}
	for _, name := range missing {
		list = append(list, worse{name, "is not reached"})
	}
	if theirs.end == "" && mine.end != "" {
		list = append(list, worse{"the program's end", "fails"})
	}
	return list
}

// tail is a text's last lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// The part of the page that this program writes stands between two marks.
const (
	beginMark = "<!-- written by make test-oci TESTFLAGS=-update -->\n"
	endMark   = "<!-- end -->\n"
)

// update replaces that part.
func update(name, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(old), beginMark)
	_, foot, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("update %s: it has not the marks %q and %q", name, beginMark, endMark)
	}
	page := head + beginMark + "\nMeasured on " + time.Now().UTC().Format(time.DateOnly) + ".\n" + text + endMark + foot
	return os.WriteFile(name, []byte(page), 0o644)
}
