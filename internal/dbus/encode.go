// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Variant is a value that brings its type along.
type Variant struct {
	Sig   string
	Value any
}

// An encoder appends values in the wire's format, little-endian. What it has
// is counted from the start of a message or of its body: alignment goes by it.
type encoder struct {
	b   []byte
	err error
}

// Encode is the wire format of values, one for each type of the signature.
func Encode(sig string, values ...any) ([]byte, error) {
	e := new(encoder)
	for _, v := range values {
		one, rest, err := Next(sig)
		if err != nil {
			return nil, fmt.Errorf("encode %v: %w", v, err)
		}
		e.value(one, v)
		sig = rest
	}
	if e.err == nil && sig != "" {
		e.err = fmt.Errorf("encode: no value for %q", sig)
	}
	return e.b, e.err
}

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u32(n uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, n)
}

func (e *encoder) u64(n uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, n)
}

func (e *encoder) u16(n uint16) {
	e.align(2)
	e.b = binary.LittleEndian.AppendUint16(e.b, n)
}

func (e *encoder) text(s string) {
	e.u32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) signature(s string) {
	if len(s) > math.MaxUint8 {
		e.mismatch("g", s)
		return
	}
	e.b = append(append(append(e.b, byte(len(s))), s...), 0)
}

func (e *encoder) mismatch(sig string, v any) {
	if e.err == nil {
		e.err = fmt.Errorf("encode %v: a %T is no %q", v, v, sig)
	}
}

// value appends a value of one type, which has been checked.
func (e *encoder) value(sig string, v any) {
	switch v := v.(type) {
	case byte:
		e.is(sig, "y", v)
		e.b = append(e.b, v)
	case bool:
		e.is(sig, "b", v)
		n := uint32(0)
		if v {
			n = 1
		}
		e.u32(n)
	case int16:
		e.is(sig, "n", v)
		e.u16(uint16(v))
	case uint16:
		e.is(sig, "q", v)
		e.u16(v)
	case int32:
		e.is(sig, "i", v)
		e.u32(uint32(v))
	case uint32:
		e.is(sig, "u", v)
		e.u32(v)
	case int64:
		e.is(sig, "x", v)
		e.u64(uint64(v))
	case uint64:
		e.is(sig, "t", v)
		e.u64(v)
	case float64:
		e.is(sig, "d", v)
		e.u64(math.Float64bits(v))
	case string:
		switch sig {
		case "s", "o":
			e.text(v)
		case "g":
			e.signature(v)
		default:
			e.mismatch(sig, v)
		}
	case Variant:
		e.is(sig, "v", v)
		if err := single(v.Sig); err != nil && e.err == nil {
			e.err = err
		}
		if e.err == nil {
			e.signature(v.Sig)
			e.value(v.Sig, v.Value)
		}
	case []byte:
		e.is(sig, "ay", v)
		e.u32(uint32(len(v)))
		e.b = append(e.b, v...)
	case []any:
		e.container(sig, v)
	default:
		e.mismatch(sig, v)
	}
}

func (e *encoder) is(sig, want string, v any) {
	if sig != want {
		e.mismatch(sig, v)
	}
}

// container appends an array, a struct or an entry of a dictionary.
func (e *encoder) container(sig string, list []any) {
	switch sig[0] {
	case 'a':
		e.u32(0)
		at := len(e.b)
		e.align(alignment(sig[1])) // not counted in the length
		start := len(e.b)
		for _, v := range list {
			e.value(sig[1:], v)
		}
		binary.LittleEndian.PutUint32(e.b[at-4:], uint32(len(e.b)-start))
	case '(', '{':
		e.align(8)
		members := sig[1 : len(sig)-1]
		for _, v := range list {
			one, rest, err := Next(members)
			if err != nil {
				e.mismatch(sig, list)
				return
			}
			e.value(one, v)
			members = rest
		}
		if members != "" {
			e.mismatch(sig, list)
		}
	default:
		e.mismatch(sig, list)
	}
}
