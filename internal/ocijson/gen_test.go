// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// generator builds gen.go and returns a function that runs it in a folder of its own.
func generator(t *testing.T) func(args ...string) (dir string, err error) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command in PATH")
	}
	gen := filepath.Join(t.TempDir(), "gen")
	if out, err := exec.Command("go", "build", "-o", gen, "gen.go").CombinedOutput(); err != nil {
		t.Fatalf("go build gen.go: %v\n%s", err, out)
	}
	return func(args ...string) (string, error) {
		dir := t.TempDir()
		out, err := exec.Command(gen, append(args, "-dir", dir)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return dir, err
	}
}

func TestGeneratedFilesAreFresh(t *testing.T) {
	dir, err := generator(t)()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"zdecode.go", "zencode.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: run go generate", name)
		}
	}
}

// The generator treats kinds of types that the specification doesn't use yet. So
// that they are tested all the same, the tests run once more with the functions
// for testdata/kinds laid over the package's.
func TestGeneratorKinds(t *testing.T) {
	dir, err := generator(t)("-kind", "Kinds")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(here, "zdecode.go"):    filepath.Join(dir, "zdecode.go"),
		filepath.Join(here, "zencode.go"):    filepath.Join(dir, "zencode.go"),
		filepath.Join(here, "kinds_test.go"): filepath.Join(here, "testdata", "kinds", "overlay.txt"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "test", "-overlay", file, "-v", "-run", "^(TestEveryField|TestFillerFillsAll)$", ".").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestEveryField/Kinds/full")) {
		t.Errorf("go test with testdata/kinds: %v\n%s", err, out)
	}
}

// What the functions would treat otherwise than encoding/json is refused.
func TestGeneratorRefuses(t *testing.T) {
	run := generator(t)
	for _, tt := range []struct{ kind, want string }{
		{"Float", "kinds.Float.F: float64 is not provided for"},
		{"Interface", "kinds.Interface.F: interface {} is not provided for"},
		{"Bytes", "kinds.Bytes.F: bytes in base64 are not provided for"},
		{"Array", "kinds.Array.F: [2]int is not provided for"},
		{"IntKey", "kinds.IntKey.F: a map whose keys are int is not provided for"},
		{"Time", "kinds.Time.F: *time.Time has the methods of json.Marshaler"},
		{"Raw", "kinds.Raw.F: json.RawMessage has the methods of json.Marshaler"},
		{"Quoted", `kinds.Quoted.F: the option "string" is not provided for`},
		{"Nameless", "want a struct with a name"},
		{"EmbeddedPointer", "kinds.EmbeddedPointer.Inner: only exported structs"},
		{"EmbeddedPrivate", "kinds.EmbeddedPrivate.private: only exported structs"},
		{"SameName", `kinds.SameName: two fields are named "a" in JSON`},
		{"OddName", `kinds.OddName.F: the name "ü" would have to be escaped`},
		{"ZeroMethod", "kinds.ZeroMethod.F: omitzero with the method IsZero is not provided for"},
		{"ZeroList", "kinds.ZeroList.F: omitzero of a struct that can't be compared is not provided for"},
	} {
		if _, err := run("-kind", tt.kind); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("gen -kind %s: got error %v; want one with %q", tt.kind, err, tt.want)
		}
	}
}

// Every exported pair of functions is in the table that the tests walk.
func TestEveryRootIsTested(t *testing.T) {
	var want []string
	for _, c := range codecs() {
		want = append(want, c.name)
	}
	for _, file := range []struct{ name, verb string }{{"zdecode.go", "Decode"}, {"zencode.go", "Append"}} {
		src, err := os.ReadFile(file.name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range regexp.MustCompile(`(?m)^func `+file.verb+`(\w+)\(`).FindAllSubmatch(src, -1) {
			got = append(got, string(m[1]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v; codecs has %v", file.name, got, want)
		}
	}
}

// The package is on the way of every container's start, so that an import which
// costs time before main must not come in unseen.
func TestImports(t *testing.T) {
	allowed := []string{
		"slices", "strconv", "unicode/utf8",
		"github.com/opencontainers/runtime-spec/specs-go",
		"github.com/opencontainers/runtime-spec/specs-go/features",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range files {
		if name == "gen.go" || regexp.MustCompile(`_test\.go$`).MatchString(name) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s, which isn't among %v", name, path, allowed)
			}
		}
		checked++
	}
	if checked < 5 {
		t.Errorf("checked %d files; want all of the package's", checked)
	}
}
