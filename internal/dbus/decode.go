// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

var (
	errShort = errors.New("it ends in the middle of a value")
	errValue = errors.New("a value that its type doesn't have")
)

// A decoder reads values in the wire's format. It believes nothing: what it
// reads was written by somebody else.
type decoder struct {
	b   []byte
	at  int // in b; b begins where a message or its body does
	err error
}

// Decode reads the values of a body, one for each type of the signature.
func Decode(b []byte, sig string) ([]any, error) {
	d := &decoder{b: b}
	var values []any
	for sig != "" && d.err == nil {
		one, rest, err := Next(sig)
		if err != nil {
			d.fail(err)
			break
		}
		values = append(values, d.value(one, 0))
		sig = rest
	}
	if d.err == nil && d.at != len(b) {
		d.fail(fmt.Errorf("%d bytes more than values", len(b)-d.at))
	}
	if d.err != nil {
		return nil, fmt.Errorf("decode at byte %d: %w", d.at, d.err)
	}
	return values, nil
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// take is the next n bytes, of which those to read past come first.
func (d *decoder) take(align, n int) []byte {
	for d.at%align != 0 && d.err == nil {
		if d.at >= len(d.b) {
			d.fail(errShort)
		} else if d.b[d.at] != 0 {
			d.fail(errors.New("something between values"))
		}
		d.at++
	}
	if d.err != nil || n > len(d.b)-d.at {
		d.fail(errShort)
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) u8() byte {
	if b := d.take(1, 1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// text is a string of n bytes with a zero behind it.
func (d *decoder) text(n int) string {
	if n >= len(d.b) { // also what would overflow below
		d.fail(errShort)
		return ""
	}
	b := d.take(1, n+1)
	if b == nil {
		return ""
	}
	s := string(b[:n])
	if b[n] != 0 || strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		d.fail(errValue)
	}
	return s
}

func (d *decoder) value(sig string, depth int) any {
	if depth > maxDepth {
		d.fail(errDepth)
	}
	if d.err != nil {
		return nil
	}
	switch sig[0] {
	case 'y':
		return d.u8()
	case 'b':
		n := d.u32()
		if n > 1 {
			d.fail(errValue)
		}
		return n == 1
	case 'n':
		return int16(d.u16())
	case 'q':
		return d.u16()
	case 'i':
		return int32(d.u32())
	case 'u':
		return d.u32()
	case 'x':
		return int64(d.u64())
	case 't':
		return d.u64()
	case 'd':
		return math.Float64frombits(d.u64())
	case 's', 'o':
		return d.text(int(d.u32()))
	case 'g':
		return d.text(int(d.u8()))
	case 'v':
		v := Variant{Sig: d.text(int(d.u8()))}
		if err := single(v.Sig); err != nil {
			d.fail(err)
			return nil
		}
		v.Value = d.value(v.Sig, depth+1)
		return v
	case 'a':
		return d.array(sig[1:], depth)
	}
	return d.members(sig[1:len(sig)-1], depth)
}

// array reads the elements, whose length in bytes stands in front.
func (d *decoder) array(elem string, depth int) any {
	n := int(d.u32())
	d.take(alignment(elem[0]), 0)
	if d.err != nil || n > len(d.b)-d.at {
		d.fail(errShort)
		return nil
	}
	if elem == "y" {
		return append([]byte(nil), d.take(1, n)...)
	}
	list := []any{}
	for end := d.at + n; d.at != end && d.err == nil; {
		list = append(list, d.value(elem, depth+1))
		if d.at > end {
			d.fail(errShort)
		}
	}
	return list
}

// members reads a struct, or an entry of a dictionary.
func (d *decoder) members(sig string, depth int) []any {
	d.take(8, 0)
	var list []any
	for sig != "" && d.err == nil {
		one, rest, err := Next(sig)
		if err != nil {
			d.fail(err)
			break
		}
		list = append(list, d.value(one, depth+1))
		sig = rest
	}
	return list
}
