// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// appendText appends *v, or null if v is nil.
func appendText[T any](dst []byte, v *T, value func([]byte, *T) []byte) []byte {
	return appendPointer(dst, &v, value)
}

// appendMember appends the name of a member, and the comma before all but the
// first. A member's value never ends in an open brace, so that one before the
// name tells the first.
func appendMember(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

func appendBool[T ~bool](dst []byte, p *T) []byte {
	return strconv.AppendBool(dst, bool(*p))
}

func appendInt[T signed](dst []byte, p *T) []byte {
	return strconv.AppendInt(dst, int64(*p), 10)
}

func appendUint[T unsigned](dst []byte, p *T) []byte {
	return strconv.AppendUint(dst, uint64(*p), 10)
}

func appendPointer[T any](dst []byte, p **T, value func([]byte, *T) []byte) []byte {
	if *p == nil {
		return append(dst, "null"...)
	}
	return value(dst, *p)
}

func appendSlice[S ~[]T, T any](dst []byte, p *S, value func([]byte, *T) []byte) []byte {
	if *p == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range *p {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = value(dst, &(*p)[i])
	}
	return append(dst, ']')
}

// appendMap appends the members by sorted key, so that equal values are equal bytes.
func appendMap[M ~map[K]V, K ~string, V any](dst []byte, p *M, value func([]byte, *V) []byte) []byte {
	if *p == nil {
		return append(dst, "null"...)
	}
	keys := make([]K, 0, len(*p))
	for k := range *p {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, &k), ':')
		v := (*p)[k]
		dst = value(dst, &v)
	}
	return append(dst, '}')
}

// AppendString appends a text as a string of JSON.
func AppendString(dst []byte, s string) []byte { return appendString(dst, &s) }

func appendString[T ~string](dst []byte, p *T) []byte {
	s := string(*p)
	dst = append(dst, '"')
	start := 0 // of what is not yet appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if needsEscape(r, size) {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, r)
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// needsEscape says whether a character that is not plain ASCII must be escaped.
// U+2028 and U+2029 need not by JSON's rules, but end a line in old JavaScript.
func needsEscape(r rune, size int) bool {
	return r < utf8.RuneSelf || r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029'
}

func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
