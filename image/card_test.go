// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fill gives every field a value of its own, so that a field that a card forgets is found.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("x", int(*n)))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(val, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, val)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(*n, *n).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	}
}

func TestCardHasEveryField(t *testing.T) {
	var full Image
	var n int64
	fill(reflect.ValueOf(&full).Elem(), &n)
	full.Refs, full.Layers, full.Links = nil, nil, nil // not of the card
	empty := Image{Config: Config{Cmd: []string{}, Labels: map[string]string{}}}
	for _, want := range []Image{full, empty} {
		var w codec
		w.image(&want)
		var got Image
		r := codec{data: w.data, decode: true}
		r.image(&got)
		if r.bad || len(r.data) != 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, bad %v\nwant %+v", got, r.bad, want)
		}
	}
}

func FuzzCard(f *testing.F) {
	var w codec
	w.image(&Image{ID: someDigest, Config: Config{Cmd: []string{"a"}, Labels: map[string]string{"k": "v"}, Healthcheck: &Healthcheck{}}})
	f.Add(w.data)
	f.Fuzz(func(t *testing.T, b []byte) {
		var img, again Image
		r := codec{data: b, decode: true}
		r.image(&img)
		if r.bad || len(r.data) != 0 {
			return
		}
		var w codec
		w.image(&img)
		r = codec{data: w.data, decode: true}
		r.image(&again)
		var w2 codec
		w2.image(&again)
		if r.bad || !bytes.Equal(w.data, w2.data) {
			t.Errorf("%+v became %+v", img, again)
		}
	})
}

// The quick answer is the documents', and they win when they differ.
func TestGetQuick(t *testing.T) {
	s := testStore(t)
	img := mustLoad(t, s, tarOf(t, oldSave(t, "a:1", "a:2")...))[0]
	quick, ok := s.quick("a:1")
	if !ok || !reflect.DeepEqual(quick, img) {
		t.Errorf("quick = %v\n%+v\nwant\n%+v", ok, quick, img)
	}
	idx, err := s.index()
	if err != nil {
		t.Fatal(err)
	}
	slow, err := s.load(idx.Manifests[0], idx.Manifests)
	if err != nil || !reflect.DeepEqual(quick, slow) {
		t.Errorf("documents: %+v, %v\nquick: %+v", slow, err, quick)
	}
	for _, name := range []string{"a:3", "a", "2", "end"} {
		if _, ok := s.quick(name); ok {
			t.Errorf("quick(%q) found something", name)
		}
	}

	names, err := os.ReadFile(s.path("names"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove("a:1", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("names"), names, 0o600); err != nil { // as if the write of names had been cut off by a kill
		t.Fatal(err)
	}
	if got, err := s.Get("a:1"); err == nil {
		t.Errorf("Get(a:1), which is removed = %v", got.ID)
	}
	if got, err := s.Get("a:2"); err != nil || got.ID != img.ID {
		t.Errorf("Get(a:2) = %s, %v; want %s", got.ID, err, img.ID)
	}
	if err := os.Truncate(s.cardPath(img.Manifest), 20); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("a:2"); err != nil || got.ID != img.ID {
		t.Errorf("Get(a:2) with a broken card = %s, %v; want %s", got.ID, err, img.ID)
	}
}

func BenchmarkGet(b *testing.B) {
	s := testStore(b)
	base, _ := twoLayers(b)
	if _, err := s.Import(context.Background(), bytes.NewReader(base), mustParse(b, "a"), ImportOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get("a"); err != nil {
			b.Fatal(err)
		}
	}
}
