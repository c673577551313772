// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// keywords are the types that stand in front of a value as a word.
var keywords = [...]struct{ word, sig string }{
	{"boolean", "b"}, {"byte", "y"}, {"int16", "n"}, {"uint16", "q"}, {"int32", "i"}, {"uint32", "u"},
	{"int64", "x"}, {"uint64", "t"}, {"double", "d"}, {"string", "s"}, {"objectpath", "o"}, {"signature", "g"},
}

// ParseText reads a value in GVariant's text format: "uint64 5000000",
// "'on-failure'", "[('/dev/null', 'rwm')]", "@as []".
//
// A number without a type is an int32, or a double if it looks like one. The
// first element of an array says what the others are; GLib looks at all. Maybe
// types and handles have no place in D-Bus.
func ParseText(s string) (Variant, error) {
	p := &text{s: s}
	v, err := p.value("", 0)
	if err == nil && p.space() != "" {
		err = fmt.Errorf("%q behind the value", p.s)
	}
	if err != nil {
		return Variant{}, fmt.Errorf("parse value %q: %w", s, err)
	}
	return v, nil
}

// A text is what is left to be read.
type text struct{ s string }

// space passes over white space, and returns what is left.
func (p *text) space() string {
	p.s = strings.TrimLeft(p.s, " \t\n\r")
	return p.s
}

// eat takes a token, if it comes next.
func (p *text) eat(token string) bool {
	rest, ok := strings.CutPrefix(p.space(), token)
	if ok {
		p.s = rest
	}
	return ok
}

// word is the next run of letters, digits and what numbers are made of.
func (p *text) word() string {
	n := 0
	for n < len(p.s) && (isAlnum(p.s[n]) || strings.IndexByte("+-._", p.s[n]) >= 0) {
		n++
	}
	w := p.s[:n]
	p.s = p.s[n:]
	return w
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// value reads a value that is to be of a type; "" is any.
func (p *text) value(want string, depth int) (v Variant, err error) {
	if depth > maxDepth {
		return v, errDepth
	}
	p.space()
	switch {
	case p.s == "":
		err = errors.New("a value is missing")
	case p.eat("@"):
		return p.typed(want, depth)
	case p.eat("["):
		v, err = p.array(want, depth)
	case p.eat("("):
		v, err = p.tuple(want, depth)
	case p.eat("{"):
		v, err = p.dict(want, depth)
	case p.eat("<"):
		inner, e := p.value("", depth+1)
		if e == nil && !p.eat(">") {
			e = errors.New("a variant without an end")
		}
		v, err = Variant{"v", inner}, e
	case p.s[0] == '\'' || p.s[0] == '"':
		v, err = p.quoted(want)
	case strings.HasPrefix(p.s, "b'") || strings.HasPrefix(p.s, `b"`):
		p.s = p.s[1:]
		v, err = p.quoted("s")
		s, _ := v.Value.(string)
		v = Variant{"ay", append([]byte(s), 0)}
	default:
		return p.plain(want, depth)
	}
	if err == nil && want != "" && v.Sig != want {
		err = fmt.Errorf("a %q where a %q is due", v.Sig, want)
	}
	return v, err
}

// typed reads "@as []": a type, and a value of it.
func (p *text) typed(want string, depth int) (Variant, error) {
	n := strings.IndexAny(p.s, " \t\n\r")
	if n < 0 {
		return Variant{}, errors.New("a type without a value")
	}
	sig := p.s[:n]
	if err := single(sig); err != nil {
		return Variant{}, err
	}
	if want != "" && sig != want {
		return Variant{}, fmt.Errorf("a %q where a %q is due", sig, want)
	}
	p.s = p.s[n:]
	return p.value(sig, depth+1)
}

// plain reads what begins with a letter or a digit: true, a number, or a type
// and a value.
func (p *text) plain(want string, depth int) (Variant, error) {
	w := p.word()
	for _, k := range keywords {
		if k.word == w {
			if want != "" && want != k.sig {
				return Variant{}, fmt.Errorf("a %s where a %q is due", w, want)
			}
			return p.value(k.sig, depth+1)
		}
	}
	if w == "true" || w == "false" {
		if want != "" && want != "b" {
			return Variant{}, fmt.Errorf("%s where a %q is due", w, want)
		}
		return Variant{"b", w == "true"}, nil
	}
	return number(w, want)
}

// number reads a number as the type that is wanted.
func number(w, want string) (Variant, error) {
	digits := strings.TrimLeft(w, "+-")
	if digits == "" || !(digits[0] >= '0' && digits[0] <= '9' || digits[0] == '.' || digits == "inf" || digits == "nan") {
		return Variant{}, fmt.Errorf("%q is no value", w)
	}
	if want == "" {
		want = "i"
		if !strings.HasPrefix(digits, "0x") && strings.ContainsAny(digits, ".eEin") {
			want = "d"
		}
	}
	w = strings.TrimPrefix(w, "+")
	var v any
	var err error
	signed := func(bits int) (n int64) { n, err = strconv.ParseInt(w, 0, bits); return n }
	unsigned := func(bits int) (n uint64) { n, err = strconv.ParseUint(w, 0, bits); return n }
	switch want {
	case "y":
		v = byte(unsigned(8))
	case "n":
		v = int16(signed(16))
	case "q":
		v = uint16(unsigned(16))
	case "i":
		v = int32(signed(32))
	case "u":
		v = uint32(unsigned(32))
	case "x":
		v = signed(64)
	case "t":
		v = unsigned(64)
	case "d":
		v, err = strconv.ParseFloat(w, 64)
	default:
		return Variant{}, fmt.Errorf("a number where a %q is due", want)
	}
	return Variant{want, v}, err
}

// quoted reads a string.
func (p *text) quoted(want string) (Variant, error) {
	if want == "" {
		want = "s"
	}
	if want != "s" && want != "o" && want != "g" {
		return Variant{}, fmt.Errorf("a string where a %q is due", want)
	}
	quote := p.s[0]
	p.s = p.s[1:]
	var b []byte
	for p.s != "" {
		c := p.s[0]
		switch {
		case c == quote:
			p.s = p.s[1:]
			return Variant{want, string(b)}, nil
		case c == '\\':
			r, multi, rest, err := strconv.UnquoteChar(p.s, quote)
			if err != nil {
				return Variant{}, fmt.Errorf("the escape at %.10q: %w", p.s, err)
			}
			if multi {
				b = append(b, string(r)...)
			} else {
				b = append(b, byte(r))
			}
			p.s = rest
		default:
			b = append(b, c)
			p.s = p.s[1:]
		}
	}
	return Variant{}, errors.New("a string without an end")
}

// list reads values up to the end of a container.
func (p *text) list(end string, one func(i int) error) error {
	for i := 0; ; i++ {
		if p.eat(end) {
			return nil
		}
		if i > 0 {
			if !p.eat(",") {
				return fmt.Errorf("%.10q where %q or a comma is due", p.s, end)
			}
			if p.eat(end) { // "(1,)"
				return nil
			}
		}
		if err := one(i); err != nil {
			return err
		}
	}
}

// array reads behind "[".
func (p *text) array(want string, depth int) (Variant, error) {
	elem := ""
	if strings.HasPrefix(want, "a") {
		elem = want[1:]
	}
	list := []any{}
	err := p.list("]", func(int) error {
		v, err := p.value(elem, depth+1)
		elem = v.Sig
		list = append(list, v.Value)
		return err
	})
	if err == nil && elem == "" {
		err = errors.New("an empty array needs its type, as in @as []")
	}
	if err != nil || elem != "y" {
		return Variant{"a" + elem, list}, err
	}
	b := make([]byte, len(list))
	for i := range list {
		b[i], _ = list[i].(byte)
	}
	return Variant{"ay", b}, nil
}

// tuple reads behind "(".
func (p *text) tuple(want string, depth int) (Variant, error) {
	var sig strings.Builder
	members := ""
	if strings.HasPrefix(want, "(") {
		members = want[1 : len(want)-1]
	}
	var list []any
	err := p.list(")", func(int) error {
		one := ""
		if members != "" {
			one, members, _ = Next(members)
		}
		v, err := p.value(one, depth+1)
		sig.WriteString(v.Sig)
		list = append(list, v.Value)
		return err
	})
	if err == nil && len(list) == 0 {
		err = errors.New("an empty tuple has no place in D-Bus")
	}
	return Variant{"(" + sig.String() + ")", list}, err
}

// dict reads behind "{".
func (p *text) dict(want string, depth int) (Variant, error) {
	key, val := "", ""
	if strings.HasPrefix(want, "a{") {
		key, val = want[2:3], want[3:len(want)-1]
	}
	list := []any{}
	err := p.list("}", func(int) error {
		k, err := p.value(key, depth+1)
		if err != nil {
			return err
		}
		if len(k.Sig) != 1 || k.Sig == "v" {
			return fmt.Errorf("a %q can't be the key of a dictionary", k.Sig)
		}
		if !p.eat(":") {
			return fmt.Errorf("%.10q where a colon is due", p.s)
		}
		v, err := p.value(val, depth+1)
		key, val = k.Sig, v.Sig
		list = append(list, []any{k.Value, v.Value})
		return err
	})
	if err == nil && key == "" {
		err = errors.New("an empty dictionary needs its type, as in @a{sv} {}")
	}
	return Variant{"a{" + key + val + "}", list}, err
}
