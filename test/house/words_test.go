// SPDX-License-Identifier: Apache-2.0

package house

import (
	"strings"
	"testing"
)

// foreign are words that have no business in this source. They are in two
// parts, so that they are not in this file either.
var foreign = [...]struct{ head, tail, reason string }{
	{"TO", "DO", "do it, or refuse it with an error that says so"},
	{"FIX", "ME", "fix it"},
	{"X", "XX", "say what it is"},
	{"lorem ", "ipsum", "write what is meant"},
	{"/wo", "rk/main", "a path of one machine"},
	{"/wo", "rk/shared", "a path of one machine"},
	{"/wo", "rk/.l", "a path of one machine"},
	{"sha", "red/design", "the project speaks of itself only"},
	{"sha", "red/style", "the project speaks of itself only"},
	{"sha", "red/suites", "the project speaks of itself only"},
	{"sha", "red/cli.md", "the project speaks of itself only"},
	{"sha", "red/dependencies", "the project speaks of itself only"},
	{"sha", "red/prototype", "the project speaks of itself only"},
	{"sha", "red/vm", "the project speaks of itself only"},
	{"/tmp/he", "lper", "a path of one machine"},
	{"/tmp/ba", "sh_jobs", "a path of one machine"},
	{"<<<<", "<<<", "a merge that was not finished"},
	{">>>>", ">>>", "a merge that was not finished"},
}

func TestNoForeignWords(t *testing.T) {
	err := walk(func(name, text string) error {
		if strings.ContainsRune(text, 0) {
			return nil // not a text
		}
		for _, f := range foreign {
			word := f.head + f.tail
			i := index(text, word)
			if i < 0 {
				continue
			}
			t.Errorf("%s:%d: %q: %s", name, 1+strings.Count(text[:i], "\n"), word, f.reason)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// index is where in the text a word is. In capitals it is one only if no
// letter is beside it: names of temporary files end with many of one.
func index(text, word string) int {
	letter := func(i int) bool {
		return i >= 0 && i < len(text) && (text[i] >= 'A' && text[i] <= 'Z' || text[i] >= 'a' && text[i] <= 'z')
	}
	for at := 0; ; at++ {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return -1
		}
		at += i
		if word != strings.ToUpper(word) || !letter(at-1) && !letter(at+len(word)) {
			return at
		}
	}
}
