// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const conformanceFile = "../docs/conformance.md"

// TestConformanceIsWhole: each property that the specification's types have for
// Linux is in the table, and so is each mount option that we know.
func TestConformanceIsWhole(t *testing.T) {
	data, err := os.ReadFile(conformanceFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs the module's source around")
	}
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	words := regexp.MustCompile("[A-Za-z_]+").FindAllString(strings.Join(regexp.MustCompile("`[^`]*`").FindAllString(text, -1), " "), -1)
	have := make(map[string]bool)
	for _, w := range words {
		have[w] = true
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[specs.Spec](), reflect.TypeFor[specs.Process](), reflect.TypeFor[specs.User](),
		reflect.TypeFor[specs.Root](), reflect.TypeFor[specs.Mount](), reflect.TypeFor[specs.Linux]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			platform := f.Tag.Get("platform")
			if platform != "" && !strings.Contains(platform, "linux") && f.Name != "Username" {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !have[name] && name != "linux" {
				t.Errorf("%s: %s.%s is not in it", conformanceFile, typ.Name(), name)
			}
		}
	}
	for _, w := range plainWords(Known().MountOptions) {
		if !have[w] {
			t.Errorf("%s: the mount option %s is not in it", conformanceFile, w)
		}
	}
}

// plainWords are the options without the r-forms, which are in the table as one.
func plainWords(options []string) (list []string) {
	for _, o := range options {
		plain := slices.Contains(superWords[:], o)
		for i := range words {
			plain = plain || words[i].word == o
		}
		if plain && !(strings.HasPrefix(o, "r") && propagation(o) != 0) {
			list = append(list, o)
		}
	}
	return list
}

// TestConformanceIsTrue: what the table names is there.
func TestConformanceIsTrue(t *testing.T) {
	data, err := os.ReadFile(conformanceFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs the module's source around")
	}
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, dir := range []string{".", "../host"} {
		names, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			part, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source += string(part)
		}
	}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(data), -1) {
		if !strings.Contains(source, "func "+name+"(") {
			t.Errorf("%s names %s, which there is not", conformanceFile, name)
		}
	}
	for _, list := range regexp.MustCompile(`golden ([a-z0-9\\*, -]+?)(;| \|)`).FindAllStringSubmatch(string(data), -1) {
		for name := range strings.SplitSeq(list[1], ",") {
			pattern := "testdata/" + strings.ReplaceAll(strings.TrimSpace(name), `\`, "") + ".txtar"
			if found, _ := filepath.Glob(pattern); len(found) == 0 {
				t.Errorf("%s names the golden plan %s, which there is not", conformanceFile, name)
			}
		}
	}
}
