// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Clean makes foreign text harmless for a terminal: what is no printable character
// stands as an escape of Go's, and so do bytes that are no UTF-8.
func Clean(s string) string {
	ok := utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0
	if ok {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// short is text of at most n characters.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}
