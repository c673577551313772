// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// A codec is a pair of exported functions, without their types.
type codec struct {
	name   string
	typ    reflect.Type
	decode func([]byte) (any, error)
	append func([]byte, any) []byte
}

func codecOf[T any](name string, decode func([]byte) (*T, error), appendTo func([]byte, *T) []byte) codec {
	return codec{
		name:   name,
		typ:    reflect.TypeFor[T](),
		decode: func(data []byte) (any, error) { return decode(data) },
		append: func(dst []byte, v any) []byte { return appendTo(dst, v.(*T)) },
	}
}

// extraCodecs are those of testdata/kinds, when TestGeneratorKinds runs the tests.
var extraCodecs []codec

func codecs() []codec {
	return append([]codec{
		codecOf[specs.Spec]("Spec", DecodeSpec, AppendSpec),
		codecOf[specs.Process]("Process", DecodeProcess, AppendProcess),
		codecOf[specs.LinuxResources]("LinuxResources", DecodeLinuxResources, AppendLinuxResources),
		codecOf[specs.State]("State", DecodeState, AppendState),
		codecOf[specs.ContainerProcessState]("ContainerProcessState", DecodeContainerProcessState, AppendContainerProcessState),
		codecOf[features.Features]("Features", DecodeFeatures, AppendFeatures),
	}, extraCodecs...)
}

// dropOmitted empties what the package documents to be neither read nor written.
func dropOmitted(v any) {
	if s, ok := v.(*specs.Spec); ok {
		s.Solaris, s.Windows, s.VM, s.ZOS, s.FreeBSD = nil, nil, nil, nil, nil
	}
}

// stdlibMarshal is the encoding that the Append functions promise.
func stdlibMarshal(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// compare decodes data with c and with encoding/json, and reports every
// difference that isn't documented. What was read is then written, and compared.
func compare(t *testing.T, c codec, data []byte) {
	t.Helper()
	want := reflect.New(c.typ).Interface()
	wantErr := json.Unmarshal(data, want)
	got, err := c.decode(data)
	if err != nil {
		checkError(t, data, err)
	}
	dropOmitted(want)
	sameError := (err == nil) == (wantErr == nil)
	same := sameError && (err != nil || reflect.DeepEqual(got, want))
	switch {
	case !same && differs(c, data, wantErr != nil):
		return
	case !sameError:
		t.Fatalf("Decode%s(%q): got error %v; encoding/json's is %v", c.name, data, err, wantErr)
	case !same:
		t.Fatalf("Decode%s(%q):\n got %s\nwant %s", c.name, data, stdlibMarshal(t, got), stdlibMarshal(t, want))
	case err != nil:
		return
	}
	if out, wantOut := c.append(nil, got), stdlibMarshal(t, want); !bytes.Equal(out, wantOut) {
		t.Fatalf("Append%s:\n got %s\nwant %s", c.name, out, wantOut)
	}
}

// checkError checks that an error is an *Error whose position agrees with data.
func checkError(t *testing.T, data []byte, err error) {
	t.Helper()
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("error %v is a %T; want an *Error", err, err)
	}
	if e.Offset < 0 || e.Offset > len(data) || e.Want == "" || e.Got == "" {
		t.Fatalf("error %#v doesn't fit a text of %d bytes", e, len(data))
	}
	before := string(data[:e.Offset])
	line := before[strings.LastIndexByte(before, '\n')+1:]
	if got, want := e.Line, strings.Count(before, "\n")+1; got != want {
		t.Fatalf("%v: line %d; want %d", e, got, want)
	}
	if got, want := e.Column, len([]rune(line))+1; got != want {
		t.Fatalf("%v: column %d; want %d", e, got, want)
	}
}

// differs says whether data shows a difference that the package documents: a
// name in another case, or a mistake in a section for another platform.
func differs(c codec, data []byte, failed bool) bool {
	names := knownNames(c.typ, map[string]bool{})
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		s, ok := token.(string)
		if !ok {
			continue
		}
		switch s {
		case "solaris", "windows", "vm", "zos", "freebsd":
			if failed {
				return true
			}
		}
		for name := range names {
			if s != name && strings.EqualFold(s, name) && !names[s] {
				return true
			}
		}
	}
}

func knownNames(t reflect.Type, names map[string]bool) map[string]bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		knownNames(t.Elem(), names)
	case reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names[name] = true
			knownNames(f.Type, names)
		}
	}
	return names
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Files as their writers write them: testdata/runc-spec.json is the output of
// "runc spec"; docker-config.json has Docker's mounts and default seccomp profile.
func TestRealFiles(t *testing.T) {
	for _, name := range []string{"runc-spec.json", "docker-config.json"} {
		t.Run(name, func(t *testing.T) {
			data := readTestdata(t, name)
			compare(t, codecs()[0], data)
			s, err := DecodeSpec(data)
			if err != nil {
				t.Fatal(err)
			}
			if s.Process == nil || len(s.Mounts) < 7 || s.Linux == nil || len(s.Linux.Namespaces) < 5 {
				t.Errorf("DecodeSpec: parts of the container are missing: %+v", s)
			}
		})
	}
}

// Every byte of a file is changed once to each of a few that matter to JSON.
func TestChangedByte(t *testing.T) {
	var data bytes.Buffer
	if err := json.Compact(&data, readTestdata(t, "runc-spec.json")); err != nil {
		t.Fatal(err)
	}
	c := codecs()[0]
	for i := range data.Len() {
		for _, b := range []byte("\"\\{]:,0-e n\x00\xff") {
			changed := bytes.Clone(data.Bytes())
			changed[i] = b
			compare(t, c, changed)
		}
	}
}

// Every beginning of a file is refused, and is refused at its end at the latest.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"runc-spec.json", "docker-config.json"} {
		data := bytes.TrimSpace(readTestdata(t, name))
		for n := range data {
			s, err := DecodeSpec(data[:n])
			if err == nil || s != nil {
				t.Fatalf("%s: the first %d bytes give %v, %v; want an error", name, n, s, err)
			}
			checkError(t, data[:n], err)
		}
	}
}

func TestDuplicates(t *testing.T) {
	for _, data := range []string{
		`{"hostname":"a","hostname":"b"}`,
		`{"hostname":"a","hostname":null}`,
		`{"root":{"path":"a","readonly":true},"root":{"path":"b"}}`,
		`{"root":{"path":"a"},"root":null}`,
		`{"root":null,"root":{"path":"a"}}`,
		`{"annotations":{"a":"1","b":"2"},"annotations":{"b":"3","c":null}}`,
		`{"annotations":{"a":"1"},"annotations":null}`,
		`{"linux":{"netDevices":{"a":{"name":"b"}},"netDevices":{"a":{}}}}`,
		`{"linux":{"resources":{"rdma":{"a":{"hcaHandles":1}},"rdma":{"a":{"hcaObjects":2}}}}}`,
		`{"mounts":[{"source":"a"},{"source":"b"},{"source":"c"}],"mounts":[{"type":"x"}]}`,
		`{"mounts":[{"source":"a"},{"source":"b"},{"source":"c"}],"mounts":[{"type":"x"}],"mounts":[{},{},{},{},{}]}`,
		`{"mounts":[{"source":"a"}],"mounts":[null,null]}`,
		`{"mounts":[{"source":"a"}],"mounts":[]}`,
		`{"mounts":[{"source":"a"}],"mounts":null}`,
		`{"process":{"oomScoreAdj":5,"oomScoreAdj":null}}`,
		`{"process":{"user":{"uid":5},"user":{"gid":6},"user":null}}`,
		`{"process":{"args":["a","b"],"args":[null,"c","d"]}}`,
	} {
		compare(t, codecs()[0], []byte(data))
	}
}

func TestInputIsCopied(t *testing.T) {
	data := []byte(`{"hostname":"glass"}`)
	s, err := DecodeSpec(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if s.Hostname != "glass" {
		t.Errorf("hostname is %q after its input was overwritten; want %q", s.Hostname, "glass")
	}
}

func TestAppend(t *testing.T) {
	t.Run("nil", func(t *testing.T) {
		if got := string(AppendSpec([]byte("x"), nil)); got != "xnull" {
			t.Errorf("AppendSpec(x, nil) = %s; want xnull", got)
		}
	})
	t.Run("prefix", func(t *testing.T) {
		got := string(AppendState([]byte("{"), &specs.State{ID: "a"}))
		if want := "{" + string(stdlibMarshal(t, &specs.State{ID: "a"})); got != want {
			t.Errorf("AppendState({) = %s; want %s", got, want)
		}
	})
	t.Run("strings", func(t *testing.T) {
		for r := range rune(0x3000) {
			s := &specs.State{ID: "a" + string(r) + "b", Annotations: map[string]string{string(r): "", "k": string(r)}}
			if got, want := AppendState(nil, s), stdlibMarshal(t, s); !bytes.Equal(got, want) {
				t.Fatalf("AppendState with %q = %s; want %s", r, got, want)
			}
		}
	})
	t.Run("invalid UTF-8", func(t *testing.T) {
		s := &specs.State{ID: "a\xff\xc0b\xed\xa0\x80{"}
		if got, want := AppendState(nil, s), stdlibMarshal(t, s); !bytes.Equal(got, want) {
			t.Fatalf("AppendState = %s; want %s", got, want)
		}
	})
}
