// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"strconv"
	"unicode/utf8"
)

// Error says what is wrong with a JSON text, and where. Every error of the
// Decode functions is an *Error. It doesn't know the name of the file; put that
// before it:
//
//	config.json: process.args[1]: want a string, got a number (line 12, column 8)
type Error struct {
	Path string // the value at fault, such as `process.args[1]`; empty for the whole text
	Want string // what is allowed there, such as "a string"
	Got  string // what is there, such as "a number"; foreign text is quoted and cut short

	Offset int // in bytes, from 0
	Line   int // from 1
	Column int // in characters, from 1; a tab counts as one
}

func (e *Error) Error() string {
	msg := "want " + e.Want + ", got " + e.Got +
		" (line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ")"
	if e.Path == "" {
		return msg
	}
	return e.Path + ": " + msg
}

// newError makes the error for the byte at off. Everything before off must have
// been scanned without one: path, line and column are worked out only now, so
// that reading a correct file doesn't pay for them.
func newError(src string, off int, want, got string) *Error {
	e := &Error{Path: pathTo(src[:off]), Want: want, Got: got, Offset: off, Line: 1}
	start := 0
	for i := range off {
		if src[i] == '\n' {
			e.Line++
			start = i + 1
		}
	}
	e.Column = utf8.RuneCountInString(src[start:off]) + 1
	return e
}

// describe names the kind of value that starts at off, or else the character.
func describe(src string, off int) string {
	if off >= len(src) {
		return "the end of input"
	}
	switch c := src[off]; {
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '-' || isDigit(c):
		return "a number"
	case hasLiteral(src[off:], "true"), hasLiteral(src[off:], "false"):
		return "a boolean"
	case hasLiteral(src[off:], "null"):
		return "null"
	}
	return describeChar(src, off)
}

// describeChar names the character at off, whatever it would begin.
func describeChar(src string, off int) string {
	if off >= len(src) {
		return "the end of input"
	}
	r, size := utf8.DecodeRuneInString(src[off:])
	switch {
	case r == utf8.RuneError && size == 1:
		return "the byte 0x" + strconv.FormatUint(uint64(src[off]), 16)
	case r == '\ufeff':
		return "a byte order mark"
	}
	return strconv.QuoteRune(r)
}

// quote cuts foreign text to a length that fits a message.
func quote(s string) string {
	const limit = 48
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:limit]) + "..."
}
