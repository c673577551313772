// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"os"
	"strings"
	"testing"
)

const refusedFile = "testdata/refused.txt"

// TestRefused has a case for each thing that Compile refuses: what is asked
// for, and the answer.
func TestRefused(t *testing.T) {
	data, err := os.ReadFile(refusedFile)
	if err != nil {
		t.Fatal(err)
	}
	comment, parts := parseParts(string(data))
	seen := make(map[string]bool)
	updated := comment
	for _, p := range parts {
		if seen[p.name] {
			t.Errorf("%s is there twice", p.name)
		}
		seen[p.name] = true
		ask, want, _ := strings.Cut(p.text, "error: ")
		got := readInput(t, ask).compiled(t)
		updated += "-- " + p.name + " --\n" + ask + got
		if !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: not refused", p.name)
		} else if want = "error: " + want; !*update && got != want {
			t.Errorf("%s:\ngot  %swant %s", p.name, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(refusedFile, []byte(updated), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
