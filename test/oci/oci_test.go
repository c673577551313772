// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const tapText = `TAP version 13
ok 1 - state of 3b241101-e2bb-4255-8caf-4136c566a962 in /tmp/ocitest1
ok 2 # SKIP hostname not set
not ok 3 - has expected hostname
  ---
  {
    "actual": "x"
  }
  ...
ok 4 - twice
not ok 5 - twice
  ---
  { "stdout": "not ok 1 - nested\n" }
  ...
  ok 1 - indented
1..5
`

func TestParse(t *testing.T) {
	r := parse(strings.NewReader(tapText))
	if r.ok != 2 || r.failed != 2 || r.skipped != 1 {
		t.Errorf("got %d ok, %d not ok, %d skipped; want 2, 2, 1", r.ok, r.failed, r.skipped)
	}
	want := []string{"has expected hostname", "state of … in …", "twice"}
	if got := sorted(r.tests); !slices.Equal(got, want) {
		t.Errorf("got the names %q, want %q", got, want)
	}
	if r.tests["twice"] != (verdict{1, 1}) {
		t.Errorf("got %+v for the test that came twice", r.tests["twice"])
	}
	if !strings.Contains(r.output, `"actual": "x"`) || r.clean() {
		t.Errorf("the failure's diagnosis is not in %q", r.output)
	}
}

func result1(lines string) result { return parse(strings.NewReader(lines)) }

func TestVerdicts(t *testing.T) {
	runtimes := []ociRuntime{{name: "runc"}, {name: "crun"}, {name: oursName}}
	tests := []struct {
		name, program, runc, crun, ours string
		want                            int
		says                            string
	}{
		{"all pass", "kill", "ok 1 - a\n", "ok 1 - a\n", "ok 1 - a\n", 0, ""},
		{"ours is better", "kill", "not ok 1 - a\n", "not ok 1 - a\n", "ok 1 - a\n", 0, ""},
		{"ours fails", "kill", "ok 1 - a\n", "ok 1 - a\n", "not ok 1 - a\n", 1, `"a" passes with runc, and fails`},
		{"ours does not come so far", "kill", "ok 1 - a\nok 2 - b\n", "", "ok 1 - a\n", 1, `"b" passes with runc, and is not reached`},
		{"ours skips", "kill", "ok 1 - a\n", "", "ok 1 # SKIP a\n", 1, "is not reached"},
		{"only crun passes", "kill", "not ok 1 - a\n", "ok 1 - a\n", "not ok 1 - a\n", 0, `"a" passes with crun`},
		{"flaky", "pidfile", "ok 1 - a\n", "", "not ok 1 - a\n", 0, "it is flaky"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var said strings.Builder
			got := verdicts(&said, runtimes, []row{{test.program, []result{result1(test.runc), result1(test.crun), result1(test.ours)}}})
			if got != test.want || !strings.Contains(said.String(), test.says) || test.says == "" && said.Len() > 0 {
				t.Errorf("got %d, %q; want %d, %q", got, said.String(), test.want, test.says)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(name, []byte("head\n"+beginMark+"old\n"+endMark+"foot\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over what the first has written
		if err := update(name, "\n| new |\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if strings.Contains(text, "old") || strings.Count(text, "| new |") != 1 || !strings.HasPrefix(text, "head\n") || !strings.HasSuffix(text, "foot\n") {
		t.Errorf("got %q", text)
	}
}

// A row about a program that is not there any more explains nothing.
func TestTablesNameProgramsOnce(t *testing.T) {
	for i, n := range notes {
		if i > 0 && notes[i-1].program >= n.program {
			t.Errorf("the notes are not in order at %s", n.program)
		}
	}
}
