// SPDX-License-Identifier: Apache-2.0

package ocijson

import "unicode/utf8"

// str reads the string whose opening quote comes next. Plain ASCII, which nearly
// every string is, is a piece of the source and allocates nothing.
func (d *decoder) str() string {
	start := d.pos + 1
	for i := start; i < len(d.src); i++ {
		switch c := d.src[i]; {
		case c == '"':
			d.pos = i + 1
			return d.src[start:i]
		case c == '\\' || c < ' ' || c >= utf8.RuneSelf:
			return d.strSlow(start, i)
		}
	}
	d.fail(len(d.src), "a closing quote", "the end of input")
	return ""
}

// strSlow reads on at i, where the first byte stands that isn't plain, in the
// string whose text starts at start.
func (d *decoder) strSlow(start, i int) string {
	buf := append(make([]byte, 0, i-start+32), d.src[start:i]...)
	for i < len(d.src) {
		switch c := d.src[i]; {
		case c == '"':
			d.pos = i + 1
			return string(buf)
		case c == '\\':
			r, end := d.escape(i)
			if d.err != nil {
				return ""
			}
			buf, i = utf8.AppendRune(buf, r), end
		case c < ' ':
			d.fail(i, `an escape such as \n for a control character`, describeChar(d.src, i))
			return ""
		case c < utf8.RuneSelf:
			buf, i = append(buf, c), i+1
		default:
			r, size := utf8.DecodeRuneInString(d.src[i:])
			buf, i = utf8.AppendRune(buf, r), i+size
		}
	}
	d.fail(len(d.src), "a closing quote", "the end of input")
	return ""
}

// escape decodes the escape sequence at i and returns the offset behind it.
func (d *decoder) escape(i int) (r rune, end int) {
	if i+1 < len(d.src) {
		switch c := d.src[i+1]; c {
		case '"', '\\', '/':
			return rune(c), i + 2
		case 'b':
			return '\b', i + 2
		case 'f':
			return '\f', i + 2
		case 'n':
			return '\n', i + 2
		case 'r':
			return '\r', i + 2
		case 't':
			return '\t', i + 2
		case 'u':
			return d.unicodeEscape(i)
		}
	}
	d.fail(i+1, `one of "\/bfnrtu after a backslash`, describeChar(d.src, i+1))
	return 0, 0
}

// unicodeEscape decodes \uXXXX at i, or two of them that are a surrogate pair. A
// surrogate without its other half becomes U+FFFD.
func (d *decoder) unicodeEscape(i int) (r rune, end int) {
	r = d.hex4(i + 2)
	end = i + 6
	if d.err != nil || r < 0xd800 || r > 0xdfff {
		return r, end
	}
	if r < 0xdc00 && hasLiteral(d.src[end:], `\u`) {
		low := d.hex4(end + 2)
		if low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, end + 6
		}
	}
	return utf8.RuneError, end
}

// hex4 returns the number that the four hexadecimal digits at i stand for.
func (d *decoder) hex4(i int) rune {
	var r rune
	for j := i; j < i+4; j++ {
		var c byte
		if j < len(d.src) {
			c = d.src[j]
		}
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			d.fail(min(j, len(d.src)), `four hexadecimal digits after \u`, describeChar(d.src, j))
			return 0
		}
	}
	return r
}
