// SPDX-License-Identifier: Apache-2.0

package ocijson

// Indent appends src, a JSON text as the Append functions write it, to dst in
// the form that people read: one element to a line, a tab for each level, and no
// white space at the end. The result equals that of encoding/json's Indent with
// no prefix and a tab. Text that is not JSON is passed on in some form, but never
// loses anything other than white space.
func Indent(dst, src []byte) []byte {
	text := string(src)
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
		case '"':
			end := min(stringEnd(text, i), len(text))
			dst = append(dst, text[i:end]...)
			i = end - 1
		case '{', '[':
			dst = append(dst, c)
			if next := nextToken(text, i+1); next < len(text) && text[next] == c+2 {
				dst = append(dst, c+2) // '}' or ']'; they lie two after their openings
				i = next
				continue
			}
			depth++
			dst = newline(dst, depth)
		case '}', ']':
			depth--
			dst = append(newline(dst, depth), c)
		case ',':
			dst = newline(append(dst, c), depth)
		case ':':
			dst = append(dst, c, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// nextToken returns the offset of the first byte from i on that isn't white space.
func nextToken(s string, i int) int {
	d := decoder{src: s, pos: i}
	d.space()
	return d.pos
}

func newline(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, '\t')
	}
	return dst
}
