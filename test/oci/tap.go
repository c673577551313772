// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"strings"
)

// result is what one program of the suite said of one runtime.
type result struct {
	ok, failed, skipped int
	tests               map[string]verdict // by name
	end                 string             // how the program ended, if not with status 0
	output              string             // all it said on stderr, and about its failures
}

// verdict counts the tests of one name: a few names come more than once.
type verdict struct{ ok, failed int }

// clean says whether the program ended well, and had something to say.
func (r result) clean() bool { return r.failed == 0 && r.end == "" && r.ok > 0 }

// parse reads TAP, the Test Anything Protocol, version 13. Its plan is
// ignored: some programs of the suite never write theirs, or twice.
// TAP of the program in the container, that stands indented in a diagnosis, is
// not counted: the program outside has judged it.
func parse(r io.Reader) result {
	res := result{tests: make(map[string]verdict)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	last := false // whether the last test failed, and its diagnosis is wanted
	for lines.Scan() {
		line := lines.Text()
		rest, failed := strings.CutPrefix(line, "not ")
		rest, test := strings.CutPrefix(rest, "ok ")
		if !test {
			if last && len(line) < 2000 {
				res.output += line + "\n"
			}
			continue
		}
		name, skip := title(rest)
		v := res.tests[name]
		switch {
		case skip:
			res.skipped++
		case failed:
			res.failed++
			v.failed++
			res.output += line + "\n"
		default:
			res.ok++
			v.ok++
		}
		last = failed && !skip
		if !skip {
			res.tests[name] = v
		}
	}
	return res
}

// title is a test's name, without its number and what differs in each run.
func title(rest string) (name string, skip bool) {
	rest = strings.TrimLeft(rest, "0123456789")
	name, directive, _ := strings.Cut(rest, "# ")
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(name), "- "))
	for i, w := range words {
		if strings.Contains(w, "/tmp/") || strings.Count(w, "-") == 4 && len(w) >= 36 {
			words[i] = "…"
		}
	}
	return strings.Join(words, " "), strings.HasPrefix(directive, "SKIP")
}

// difference lists the tests that passed with one runtime and not with
// another: those that failed, and those that were not reached.
func difference(theirs, ours result) (failed, missing []string) {
	for _, name := range sorted(theirs.tests) {
		want, got := theirs.tests[name], ours.tests[name]
		switch {
		case want.failed > 0 || want.ok == 0:
		case got.failed > 0:
			failed = append(failed, name)
		case got.ok == 0:
			missing = append(missing, name)
		}
	}
	return failed, missing
}
