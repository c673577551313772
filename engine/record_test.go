// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"vitro/container"
	"vitro/image"
)

// fill gives each field that there is a value that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key := reflect.New(v.Type().Key()).Elem()
		fill(key)
		v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
	case reflect.String:
		v.SetString(strings.Repeat("x", 1+rand.IntN(9)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + rand.Int64N(99))
	default:
		v.SetUint(1 + rand.Uint64N(99))
	}
}

func store(t *testing.T, r *Record) (dir, text string) {
	t.Helper()
	s := &container.Store{Root: t.TempDir()}
	c, err := s.Create("c")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := saveRecord(c, r); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(c.Dir, recordFile))
	if err != nil {
		t.Fatal(err)
	}
	return c.Dir, string(data)
}

// TestRecord: each flag comes back as it was given, and one that was not given
// is not written down.
func TestRecord(t *testing.T) {
	r := &Record{ID: "c", Created: time.Now().UTC().Round(0)}
	fill(reflect.ValueOf(&r.Flags).Elem())
	dir, _ := store(t, r)
	got, err := loadRecord(dir)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v, %v\nwritten %+v", got, err, r)
	}
	if _, text := store(t, &Record{ID: "c", Flags: Flags{Image: "i"}}); strings.Contains(text, "Health") || strings.Contains(text, "null") {
		t.Errorf("flags that nobody gave are written down: %s", text)
	}
}

// TestCard: what a list reads of a record is what the record says.
func TestCard(t *testing.T) {
	for name, r := range map[string]*Record{
		"image's": {Flags: Flags{Image: "i"}, Config: image.Config{Entrypoint: []string{"e"}, Cmd: []string{"c"}, Labels: map[string]string{"a": "1"}}},
		"asked": {Flags: Flags{Image: "i", Command: []string{"x"}, Labels: map[string]string{"a": "2", "b": "3"}},
			Config: image.Config{Entrypoint: []string{"e"}, Cmd: []string{"c"}, Labels: map[string]string{"a": "1"}}},
		"entrypoint dropped": {Flags: Flags{Image: "i", EntrypointSet: true, Command: []string{"x"}}, Config: image.Config{Entrypoint: []string{"e"}}},
	} {
		r.ID, r.Name, r.Created, r.ImageID, r.DiffIDs = "c", "n", time.Now().UTC().Round(0), image.Digest("sha256:"+strings.Repeat("1", 64)), []image.Digest{image.Digest("sha256:" + strings.Repeat("2", 64))}
		dir, _ := store(t, r)
		got, err := loadCard(dir)
		want := &Card{ID: r.ID, Name: r.Name, Created: r.Created, Image: r.Flags.Image, ImageID: r.ImageID, DiffIDs: r.DiffIDs,
			Dir: dir, Command: r.Command(), Labels: r.Labels()}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, %v\nwant %+v", name, got, err, want)
		}
	}
}
