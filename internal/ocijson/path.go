// SPDX-License-Identifier: Apache-2.0

package ocijson

import "strconv"

// maxPath bounds a path in an error, in bytes, up to the element that crosses it.
const maxPath = 256

// A place is one object or array that a position lies within.
type place struct {
	array bool
	index int    // of the element, in an array
	key   string // of the member, in an object; quoted as it stands in the text
}

// pathTo names the value that begins where the text before it, which must be the
// correct beginning of a JSON text, ends: `linux.sysctl["net.core.somaxconn"]`.
func pathTo(before string) string {
	var places []place
	for i := 0; i < len(before); i++ {
		top := len(places) - 1
		switch before[i] {
		case '{', '[':
			places = append(places, place{array: before[i] == '['})
		case '}', ']':
			places = places[:max(top, 0)]
		case ',':
			if top >= 0 {
				places[top].index++
				places[top].key = ""
			}
		case '"':
			end := stringEnd(before, i)
			// In an object the first string since '{' or ',' is the name.
			if top >= 0 && !places[top].array && places[top].key == "" && end <= len(before) {
				places[top].key = before[i:end]
			}
			i = end - 1
		}
	}
	return join(places)
}

// stringEnd returns the offset after the string that starts at i, or one more
// than the length of s if s ends within the string.
func stringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s) + 1
}

func join(places []place) string {
	var path []byte
	for _, p := range places {
		if len(path) > maxPath {
			return string(append(path, "..."...))
		}
		switch {
		case p.array:
			path = append(path, '[')
			path = strconv.AppendInt(path, int64(p.index), 10)
			path = append(path, ']')
		case p.key != "":
			path = appendName(path, p.key)
		}
	}
	return string(path)
}

// appendName adds the member whose name in the text, with its quotes, is quoted:
// .name if it is a plain word, else ["na.me"].
func appendName(path []byte, quoted string) []byte {
	d := decoder{src: quoted}
	name := d.str()
	if !isWord(name) {
		path = append(path, '[')
		path = append(path, quote(name)...)
		return append(path, ']')
	}
	if len(path) > 0 {
		path = append(path, '.')
	}
	return append(path, name...)
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && isDigit(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 48
}
