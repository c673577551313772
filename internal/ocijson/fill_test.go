// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"testing"
)

// A filler sets every field of a value that reflection can reach, so that a
// field which the generator forgot makes a difference to encoding/json.
type filler struct {
	elements int // of lists and maps
	leaf     func(reflect.Value)
}

func (f filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.elements, f.elements))
		for i := range f.elements {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range f.elements {
			elem := reflect.New(v.Type().Elem()).Elem()
			f.fill(elem)
			key := reflect.ValueOf("key." + strconv.Itoa(i)).Convert(v.Type().Key())
			v.SetMapIndex(key, elem)
		}
	case reflect.Interface: // windows.credentialSpec
		v.Set(reflect.ValueOf("any"))
	default:
		f.leaf(v)
	}
}

// counting gives every leaf a value of its own.
func counting() func(reflect.Value) {
	n := 0
	return func(v reflect.Value) {
		n++
		switch {
		case v.CanInt():
			v.SetInt(int64(n))
		case v.CanUint():
			v.SetUint(uint64(n))
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		default:
			v.SetString("a <b> \\ \"c\" \n \x7f ü 😀 " + strconv.Itoa(n))
		}
	}
}

// least and greatest give numbers the ends of their range.
func least(v reflect.Value) {
	if v.CanInt() {
		v.SetInt(-1 << (v.Type().Bits() - 1))
	}
}

func greatest(v reflect.Value) {
	switch {
	case v.CanInt():
		v.SetInt(1<<(v.Type().Bits()-1) - 1)
	case v.CanUint():
		v.SetUint(1<<(v.Type().Bits()-1)<<1 - 1)
	}
}

func TestEveryField(t *testing.T) {
	fillings := []struct {
		name string
		filler
	}{
		{"full", filler{2, counting()}},
		{"greatest", filler{1, greatest}},
		{"least", filler{1, least}},
		{"empty lists and zeros", filler{0, func(reflect.Value) {}}},
	}
	for _, c := range codecs() {
		zero := reflect.New(c.typ)
		t.Run(c.name+"/zero", func(t *testing.T) { roundTrip(t, c, zero.Interface()) })
		for _, f := range fillings {
			t.Run(c.name+"/"+f.name, func(t *testing.T) {
				v := reflect.New(c.typ)
				f.fill(v.Elem())
				roundTrip(t, c, v.Interface())
			})
		}
	}
}

// roundTrip writes v with both encoders and reads what they wrote with both decoders.
func roundTrip(t *testing.T, c codec, v any) {
	t.Helper()
	compare(t, c, stdlibMarshal(t, v)) // with the sections of other platforms
	dropOmitted(v)
	want := stdlibMarshal(t, v)
	got := c.append(nil, v)
	if !bytes.Equal(got, want) {
		t.Fatalf("Append%s:\n got %s\nwant %s", c.name, got, want)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, want, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if got := Indent(nil, got); !bytes.Equal(got, indented.Bytes()) {
		t.Fatalf("Indent:\n got %s\nwant %s", got, indented.Bytes())
	}
	compare(t, c, indented.Bytes())
}

// The filler itself must leave no field empty, or TestEveryField proves nothing.
func TestFillerFillsAll(t *testing.T) {
	for _, c := range codecs() {
		v := reflect.New(c.typ).Elem()
		filler{2, counting()}.fill(v)
		checkFilled(t, c.typ.String(), v)
	}
}

func checkFilled(t *testing.T, path string, v reflect.Value) {
	if v.IsZero() {
		t.Errorf("%s is not filled", path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		checkFilled(t, path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				checkFilled(t, path+"."+f.Name, v.Field(i))
			}
		}
	case reflect.Slice:
		checkFilled(t, path+"[0]", v.Index(0))
	}
}
