// SPDX-License-Identifier: Apache-2.0

package ocijson

// maxDepth is how deep objects and arrays may nest, as in encoding/json. It
// bounds the stack that skip needs.
const maxDepth = 10000

// A decoder walks once over a JSON text. Its methods expect to stand before a
// value, leave it standing behind, and record the first mistake in err; after
// that, loops end and what is decoded is worthless.
type decoder struct {
	src   string
	pos   int
	depth int
	key   string // name of the member that openObject or nextMember stopped at
	err   *Error
}

// decodeText decodes data, which must hold one value and nothing else.
func decodeText[T any](data []byte, value func(*decoder, *T)) (*T, error) {
	d := &decoder{src: string(data)}
	v := new(T)
	value(d, v)
	d.space()
	if d.pos < len(d.src) {
		d.fail(d.pos, "the end of input", describe(d.src, d.pos))
	}
	if d.err != nil {
		return nil, d.err
	}
	return v, nil
}

// fail records a mistake at off unless there was one before.
func (d *decoder) fail(off int, want, got string) {
	if d.err == nil {
		d.err = newError(d.src, off, want, got)
	}
}

// want records that the next value isn't one.
func (d *decoder) want(one string) {
	d.fail(d.pos, one, describe(d.src, d.pos))
}

func (d *decoder) space() {
	for d.pos < len(d.src) {
		switch d.src[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the byte after it. At the end it returns 0,
// which no token starts with.
func (d *decoder) peek() byte {
	d.space()
	if d.pos == len(d.src) {
		return 0
	}
	return d.src[d.pos]
}

// take steps over c if it comes next.
func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.pos++
	return true
}

// literal steps over word, one of true, false and null.
func (d *decoder) literal(word string) bool {
	if !hasLiteral(d.src[d.pos:], word) {
		d.want(word)
		return false
	}
	d.pos += len(word)
	return true
}

func hasLiteral(s, word string) bool {
	return len(s) >= len(word) && s[:len(word)] == word
}

// openObject enters an object and stops behind the name of its first member. It
// returns false when there is none: the object is empty, or is null.
//
//	for more := d.openObject(); more; more = d.nextMember() {
//		switch d.key { ... }
//	}
func (d *decoder) openObject() bool {
	if !d.open('{', "an object") {
		return false
	}
	if d.take('}') {
		d.depth--
		return false
	}
	return d.name("a property name or '}'")
}

// nextMember stops behind the name of the next member, or leaves the object.
func (d *decoder) nextMember() bool {
	switch {
	case d.err != nil:
		return false
	case d.take(','):
		return d.name("a property name")
	case d.take('}'):
		d.depth--
		return false
	}
	d.want("',' or '}' after a property")
	return false
}

// name reads the name of a member and its colon.
func (d *decoder) name(want string) bool {
	if d.peek() != '"' {
		d.want(want)
		return false
	}
	d.key = d.str()
	if d.err == nil && !d.take(':') {
		d.want("':' after a property name")
	}
	return d.err == nil
}

// openArray enters an array and stops before its first element. It returns false
// when there is none: the array is empty, or is null.
func (d *decoder) openArray() bool {
	if !d.open('[', "an array") {
		return false
	}
	if d.take(']') {
		d.depth--
		return false
	}
	return true
}

// nextElement stops before the next element, or leaves the array.
func (d *decoder) nextElement() bool {
	switch {
	case d.err != nil:
		return false
	case d.take(','):
		return true
	case d.take(']'):
		d.depth--
		return false
	}
	d.want("',' or ']' after an element")
	return false
}

// open enters an object or array. It returns false for null, and for anything
// else, which is a mistake.
func (d *decoder) open(bracket byte, kind string) bool {
	switch d.peek() {
	case bracket:
		if d.depth++; d.depth > maxDepth {
			d.fail(d.pos, "at most 10000 levels of nesting", "more")
			return false
		}
		d.pos++
		return true
	case 'n':
		d.literal("null")
	default:
		d.want(kind)
	}
	return false
}

// skip steps over any value, checking that it is well-formed.
func (d *decoder) skip() {
	switch c := d.peek(); {
	case c == '{':
		for more := d.openObject(); more; more = d.nextMember() {
			d.skip()
		}
	case c == '[':
		for more := d.openArray(); more; more = d.nextElement() {
			d.skip()
		}
	case c == '"':
		d.str()
	case c == '-' || isDigit(c):
		d.number()
	case c == 't':
		d.literal("true")
	case c == 'f':
		d.literal("false")
	case c == 'n':
		d.literal("null")
	default:
		d.want("a value")
	}
}
