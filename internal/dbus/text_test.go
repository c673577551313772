// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	for _, c := range []struct {
		text string
		want Variant
	}{
		{"true", Variant{"b", true}},
		{" 42 ", Variant{"i", int32(42)}},
		{"-0x10", Variant{"i", int32(-16)}},
		{"1e3", Variant{"d", 1000.0}},
		{"uint64 18446744073709551615", Variant{"t", uint64(1<<64 - 1)}},
		{"byte 0xff", Variant{"y", byte(255)}},
		{"'on-failure'", Variant{"s", "on-failure"}},
		{`"it's \"so\" \u00e9\n"`, Variant{"s", "it's \"so\" é\n"}},
		{"objectpath '/a/b'", Variant{"o", "/a/b"}},
		{"['a', 'b']", Variant{"as", []any{"a", "b"}}},
		{"@as []", Variant{"as", []any{}}},
		{"[byte 1, 0x02]", Variant{"ay", []byte{1, 2}}},
		{"b'hi'", Variant{"ay", []byte("hi\x00")}},
		{"[('/dev/null', 'rwm')]", Variant{"a(ss)", []any{[]any{"/dev/null", "rwm"}}}},
		{"@a(st) [('/a', 5)]", Variant{"a(st)", []any{[]any{"/a", uint64(5)}}}},
		{"{'a': <1>, 'b': <'x'>}", Variant{"a{sv}", []any{[]any{"a", Variant{"i", int32(1)}}, []any{"b", Variant{"s", "x"}}}}},
		{"(1,)", Variant{"(i)", []any{int32(1)}}},
		{"<uint16 7>", Variant{"v", Variant{"q", uint16(7)}}},
	} {
		got, err := ParseText(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseText(%q) = %#v, %v; want %#v", c.text, got, err, c.want)
		}
	}
}

func TestParseTextRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "a value is missing",
		"inactive-or-failed":     "is no value",
		"1 2":                    `"2" behind the value`,
		"[]":                     "needs its type",
		"[1, 'a']":               `a string where a "i" is due`,
		"uint32 -1":              "invalid syntax",
		"byte 256":               "out of range",
		"'abc":                   "without an end",
		"@as":                    "a type without a value",
		"@zz 1":                  "no type begins",
		"uint32 'a'":             "a string where",
		"()":                     "empty tuple",
		"{1 2}":                  "a colon is due",
		strings.Repeat("[", 100): "nested too deep",
		"nothing":                "is no value",
	} {
		if _, err := ParseText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseText(%q): %v; want %q", text, err, want)
		}
	}
}

// What can be read can be sent, and is received as it was.
func FuzzParseText(f *testing.F) {
	for _, s := range []string{"uint64 5", "[('/dev/null', 'rwm')]", "{'a': <1>}", "@a(st) []", "b'x'", "(1.5, true, <<'a'>>)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseText(s)
		if err != nil {
			return
		}
		b, err := Encode("v", v)
		if err != nil {
			return // such as a signature of more than 255 types
		}
		if _, err := Decode(b, "v"); err != nil && !strings.Contains(err.Error(), errValue.Error()) && !strings.Contains(err.Error(), errDepth.Error()) {
			t.Errorf("%q is sent as %x, which is refused: %v", s, b, err)
		}
	})
}
