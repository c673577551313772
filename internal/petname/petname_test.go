// SPDX-License-Identifier: Apache-2.0

package petname

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+_[a-z]+[0-9]*$`)
	seen := make(map[string]bool)
	for range 2000 {
		name := New(func(s string) bool { return seen[s] })
		if seen[name] || !form.MatchString(name) {
			t.Fatalf("%q", name)
		}
		seen[name] = true
	}
	// A machine on which all plain names are taken.
	name := New(func(s string) bool { return !strings.ContainsAny(s, "0123456789") })
	if !form.MatchString(name) {
		t.Error(name)
	}
}

func TestWordsAreThereOnce(t *testing.T) {
	for _, words := range []string{adjectives, surnames} {
		list := strings.Fields(words)
		if len(slices.Compact(slices.Sorted(slices.Values(list)))) != len(list) || len(list) < 100 {
			t.Errorf("%d words, some of them twice: %v", len(list), list)
		}
	}
}
