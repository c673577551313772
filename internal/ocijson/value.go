// SPDX-License-Identifier: Apache-2.0

package ocijson

import "strconv"

// The functions here decode the kinds that structs are built of. Each leaves *p
// as encoding/json would leave it, also when *p was filled before by a property
// of the same name.

type signed interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64
}

type unsigned interface {
	~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func decodeString[T ~string](d *decoder, p *T) {
	switch d.peek() {
	case '"':
		*p = T(d.str())
	case 'n':
		d.literal("null")
	default:
		d.want("a string")
	}
}

func decodeBool[T ~bool](d *decoder, p *T) {
	switch d.peek() {
	case 't':
		*p = T(d.literal("true"))
	case 'f':
		*p = T(!d.literal("false"))
	case 'n':
		d.literal("null")
	default:
		d.want("a boolean")
	}
}

func decodeInt[T signed](d *decoder, p *T) {
	start, text := d.numberOrNull()
	if text == "" {
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || int64(T(n)) != n {
		top := int64(limit[T]())
		d.wantInteger(start, text, strconv.FormatInt(-top-1, 10), strconv.FormatInt(top, 10))
		return
	}
	*p = T(n)
}

func decodeUint[T unsigned](d *decoder, p *T) {
	start, text := d.numberOrNull()
	if text == "" {
		return
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || uint64(T(n)) != n {
		d.wantInteger(start, text, "0", strconv.FormatUint(uint64(limit[T]()), 10))
		return
	}
	*p = T(n)
}

func (d *decoder) wantInteger(off int, got, low, high string) {
	if len(got) > 48 {
		got = got[:48] + "..."
	}
	d.fail(off, "an integer from "+low+" to "+high, got)
}

// limit returns the greatest value of T: all its bits set, but for the sign's.
func limit[T signed | unsigned]() T {
	n := T(1)
	for n<<1|1 > n {
		n = n<<1 | 1
	}
	return n
}

// numberOrNull returns the number that comes next, and its offset. The number is
// empty for null and after a mistake.
func (d *decoder) numberOrNull() (start int, text string) {
	switch c := d.peek(); {
	case c == '-' || isDigit(c):
		start = d.pos
		if d.number() {
			return start, d.src[start:d.pos]
		}
	case c == 'n':
		d.literal("null")
	default:
		d.want("a number")
	}
	return 0, ""
}

// number steps over a number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (d *decoder) number() bool {
	d.takeByte('-')
	if !d.takeByte('0') && !d.digits() {
		return false
	}
	if d.takeByte('.') && !d.digits() {
		return false
	}
	if d.takeByte('e') || d.takeByte('E') {
		if !d.takeByte('+') {
			d.takeByte('-')
		}
		return d.digits()
	}
	return true
}

// takeByte is take without white space before.
func (d *decoder) takeByte(c byte) bool {
	if d.pos == len(d.src) || d.src[d.pos] != c {
		return false
	}
	d.pos++
	return true
}

// digits steps over one digit or more.
func (d *decoder) digits() bool {
	start := d.pos
	for d.pos < len(d.src) && isDigit(d.src[d.pos]) {
		d.pos++
	}
	if d.pos == start {
		d.fail(start, "a digit", describeChar(d.src, start))
		return false
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func decodePointer[T any](d *decoder, p **T, value func(*decoder, *T)) {
	if d.peek() == 'n' {
		d.literal("null")
		*p = nil
		return
	}
	if *p == nil {
		*p = new(T)
	}
	value(d, *p)
}

// decodeSlice keeps what stands in the array behind *p and decodes over it, as
// encoding/json does. It shows only where a property is given twice.
func decodeSlice[S ~[]T, T any](d *decoder, p *S, value func(*decoder, *T)) {
	if d.peek() == 'n' {
		d.literal("null")
		*p = nil
		return
	}
	s := (*p)[:0]
	for more := d.openArray(); more; more = d.nextElement() {
		if len(s) < cap(s) {
			s = s[:len(s)+1]
		} else {
			var zero T
			s = append(s, zero)
		}
		value(d, &s[len(s)-1])
	}
	if len(s) == 0 {
		s = S{}
	}
	*p = s
}

func decodeMap[M ~map[K]V, K ~string, V any](d *decoder, p *M, value func(*decoder, *V)) {
	if d.peek() == 'n' {
		d.literal("null")
		*p = nil
		return
	}
	if *p == nil {
		*p = M{}
	}
	for more := d.openObject(); more; more = d.nextMember() {
		key := K(d.key)
		var v V
		value(d, &v)
		(*p)[key] = v
	}
}
