// SPDX-License-Identifier: Apache-2.0

// Package near finds what somebody meant who mistyped a name.
package near

import (
	"cmp"
	"slices"
	"strings"
)

// Names are at most three of the names, by how few letters are to be changed
// in word to have them. One that differs in more than a quarter isn't meant,
// unless one of the two is the other's beginning.
func Names(word string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var all []candidate
	for _, n := range names {
		far := Distance(word, n)
		if far <= 1+len(word)/4 || begins(n, word) || begins(word, n) {
			all = append(all, candidate{n, far})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Or(a.far-b.far, cmp.Compare(a.name, b.name)) })
	var list []string
	for _, c := range all {
		if len(list) < 3 && !slices.Contains(list, c.name) {
			list = append(list, c.name)
		}
	}
	return list
}

func begins(name, with string) bool { return len(with) > 1 && strings.HasPrefix(name, with) }

// Hint is the sentence for it: `did you mean "web1"?`. It is empty if nothing is near.
func Hint(word string, names []string) string {
	list := Names(word, names)
	if len(list) == 0 {
		return ""
	}
	text := "did you mean "
	for i, n := range list {
		if i > 0 {
			text += " or "
		}
		text += `"` + n + `"`
	}
	return text + "?"
}

// Distance is Levenshtein's: how many bytes are to be put in, left out or exchanged.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
