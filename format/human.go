// SPDX-License-Identifier: Apache-2.0

package format

import (
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
)

// ShortID is the first twelve digits of an ID, without the name of its hash.
func ShortID(id string) string {
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return id[:min(12, len(id))]
}

// Duration is a length of time in words: "About an hour". A clock that was put
// back makes no negative ones.
func Duration(d time.Duration) string { return units.HumanDuration(d) }

// Ago is how long ago a time was, in words.
func Ago(t, now time.Time) string { return Duration(now.Sub(t)) + " ago" }

// Size is a number of bytes in three digits: "4.26MB".
func Size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// Labels are all key=value, sorted, with commas between.
func Labels(m map[string]string) string { return strings.Join(Pairs(m), ",") }

// Pairs are all key=value, sorted.
func Pairs(m map[string]string) []string {
	list := make([]string, 0, len(m))
	for k, v := range m {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// Printable replaces what would command a terminal. Whoever made an image
// chose its words.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
