// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// Gen writes zdecode.go and zencode.go: a pair of functions for every struct
// that the types in the table roots reach. It refuses what the functions could
// not treat as encoding/json does, such as floats, interfaces and types with
// methods of their own for JSON.
package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"vitro/internal/ocijson/testdata/kinds"
)

type root struct {
	name string
	typ  reflect.Type
}

// roots are the types that get an exported DecodeX and AppendX, where X is the
// name. To have a type of another package read and written, add a line here, and
// its package above; that package must not import ocijson itself.
var roots = []root{
	{"Spec", reflect.TypeFor[specs.Spec]()},
	{"Process", reflect.TypeFor[specs.Process]()},
	{"LinuxResources", reflect.TypeFor[specs.LinuxResources]()},
	{"State", reflect.TypeFor[specs.State]()},
	{"ContainerProcessState", reflect.TypeFor[specs.ContainerProcessState]()},
	{"Features", reflect.TypeFor[features.Features]()},
}

// omitted are fields that are neither read nor written.
var omitted = map[reflect.Type][]string{
	reflect.TypeFor[specs.Spec](): {"Solaris", "Windows", "VM", "ZOS", "FreeBSD"},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	dir := flag.String("dir", ".", "write the files to this folder")
	kind := flag.String("kind", "", "for the tests: treat this type of testdata/kinds too")
	flag.Parse()
	if *kind != "" {
		roots = append(roots, root{*kind, kinds.Types[*kind]})
	}

	types := collect()
	var decode, encode bytes.Buffer
	for _, r := range roots {
		writeRoot(&decode, &encode, r.name, r.typ)
	}
	for _, t := range types {
		fields := fieldsOf(t)
		writeDecode(&decode, t, fields)
		writeEncode(&encode, t, fields)
	}
	save(filepath.Join(*dir, "zdecode.go"), decode.Bytes(), types)
	save(filepath.Join(*dir, "zencode.go"), encode.Bytes(), types)
}

// A field is what encoding/json knows of a struct's field.
type field struct {
	selector  string // Go expression after "v."
	name      string // in JSON
	typ       reflect.Type
	omitEmpty bool
	omitZero  bool
}

// collect returns every struct type that a root reaches, by function name.
func collect() []reflect.Type {
	var types []reflect.Type
	names := map[string]reflect.Type{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if names[title(t)] == t {
				return
			}
			if names[title(t)] != nil {
				log.Fatalf("%v and %v would have functions of one name", t, names[title(t)])
			}
			names[title(t)] = t
			types = append(types, t)
			for _, f := range fieldsOf(t) {
				visit(f.typ)
			}
		}
	}
	for _, r := range roots {
		visit(r.typ)
	}
	slices.SortFunc(types, func(a, b reflect.Type) int { return strings.Compare(title(a), title(b)) })
	return types
}

// title is the part of a struct's function names that follows the verb. Names
// from packages other than specs carry their package's name.
func title(t reflect.Type) string {
	pkg, name, ok := strings.Cut(t.String(), ".")
	switch {
	case !ok || t.Name() == "" || t.Kind() != reflect.Struct:
		log.Fatalf("%v: want a struct with a name", t)
	case pkg == "specs":
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// fieldsOf returns the fields in the order of the struct, those of embedded
// structs in their place.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for sf := range t.Fields() {
		tag := sf.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-" || slices.Contains(omitted[t], sf.Name):
			continue
		case sf.Anonymous && name == "" && sf.IsExported() && sf.Type.Kind() == reflect.Struct:
			for _, f := range fieldsOf(sf.Type) {
				f.selector = sf.Name + "." + f.selector
				fields = append(fields, f)
			}
			continue
		case sf.Anonymous:
			log.Fatalf("%v.%s: only exported structs without a name in JSON may be embedded", t, sf.Name)
		case !sf.IsExported():
			continue
		}
		fields = append(fields, newField(t, sf, name, options))
	}
	refuseSameName(t, fields)
	return fields
}

func newField(t reflect.Type, sf reflect.StructField, name, options string) field {
	f := field{selector: sf.Name, name: name, typ: sf.Type}
	if name == "" {
		f.name = sf.Name
	}
	if strings.ContainsFunc(f.name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		log.Fatalf("%v.%s: the name %q would have to be escaped", t, sf.Name, f.name)
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "":
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		default:
			log.Fatalf("%v.%s: the option %q is not provided for", t, sf.Name, option)
		}
	}
	refuse(sf.Type, fmt.Sprintf("%v.%s", t, sf.Name))
	return f
}

func refuseSameName(t reflect.Type, fields []field) {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.name] {
			log.Fatalf("%v: two fields are named %q in JSON", t, f.name)
		}
		seen[f.name] = true
	}
}

// refuse ends the program if values of type t, found at where, can't be treated.
func refuse(t reflect.Type, where string) {
	for _, method := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Implements(method) || reflect.PointerTo(t).Implements(method) {
			log.Fatalf("%s: %v has the methods of %v", where, t, method)
		}
	}
	switch k := t.Kind(); {
	case k == reflect.Struct, k == reflect.String, k == reflect.Bool, k >= reflect.Int && k <= reflect.Uint64:
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		log.Fatalf("%s: bytes in base64 are not provided for", where)
	case k == reflect.Map && t.Key().Kind() != reflect.String:
		log.Fatalf("%s: a map whose keys are %v is not provided for", where, t.Key())
	case k == reflect.Map:
		refuse(t.Key(), where)
		refuse(t.Elem(), where)
	case k == reflect.Pointer && t.Name() == "", k == reflect.Slice:
		refuse(t.Elem(), where)
	default:
		log.Fatalf("%s: %v is not provided for", where, t)
	}
}

func writeRoot(decode, encode *bytes.Buffer, name string, t reflect.Type) {
	fmt.Fprintf(decode, `
// Decode%[1]s decodes a [%[2]v]. Its errors are of type [*Error].
func Decode%[1]s(data []byte) (*%[2]v, error) {
	return decodeText(data, decode%[3]s)
}
`, name, t, title(t))
	fmt.Fprintf(encode, `
// Append%[1]s appends *v as compact JSON, or null if v is nil.
func Append%[1]s(dst []byte, v *%[2]v) []byte {
	return appendText(dst, v, append%[3]s)
}
`, name, t, title(t))
}

func writeDecode(w *bytes.Buffer, t reflect.Type, fields []field) {
	fmt.Fprintf(w, `
func decode%s(d *decoder, v *%v) {
	for more := d.openObject(); more; more = d.nextMember() {
		switch d.key {
`, title(t), t)
	for _, f := range fields {
		fmt.Fprintf(w, "case %q:\n%s\n", f.name, call("decode", "d", "&v."+f.selector, f.typ))
	}
	fmt.Fprint(w, "default:\nd.skip()\n}\n}\n}\n")
}

func writeEncode(w *bytes.Buffer, t reflect.Type, fields []field) {
	fmt.Fprintf(w, "\nfunc append%s(dst []byte, v *%v) []byte {\n", title(t), t)
	fmt.Fprint(w, "dst = append(dst, '{')\n")
	for _, f := range fields {
		member := fmt.Sprintf("appendMember(dst, %q)", f.name)
		line := "dst = " + call("append", member, "&v."+f.selector, f.typ)
		if cond := condition(t, f); cond != "" {
			line = "if " + cond + " {\n" + line + "\n}"
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprint(w, "return append(dst, '}')\n}\n")
}

// call is the call that decodes or appends the value of type t behind pointer.
func call(verb, first, pointer string, t reflect.Type) string {
	args := first + ", " + pointer
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		args += ", " + function(verb, t.Elem())
	}
	return fmt.Sprintf("%s(%s)", verb+suffix(t), args)
}

// function is an expression for the function that call would call.
func function(verb string, t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if verb == "decode" {
			return fmt.Sprintf("func(d *decoder, p *%v) { %s }", t, call(verb, "d", "p", t))
		}
		return fmt.Sprintf("func(dst []byte, p *%v) []byte { return %s }", t, call(verb, "dst", "p", t))
	}
	return verb + suffix(t)
}

// suffix is what follows the verb in the name of the function for type t.
func suffix(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Struct:
		return title(t)
	case k >= reflect.Int && k <= reflect.Int64:
		return "Int"
	case k >= reflect.Uint && k <= reflect.Uint64:
		return "Uint"
	case k == reflect.Pointer:
		return "Pointer"
	}
	return strings.ToUpper(t.Kind().String()[:1]) + t.Kind().String()[1:]
}

// condition is what must hold for the field to be written; empty means always.
func condition(t reflect.Type, f field) string {
	value := "v." + f.selector
	zero := map[reflect.Kind]string{
		reflect.Bool: value, reflect.String: value + ` != ""`,
		reflect.Pointer: value + " != nil", reflect.Slice: value + " != nil", reflect.Map: value + " != nil",
	}[f.typ.Kind()]
	switch k := f.typ.Kind(); {
	case f.omitZero && hasIsZero(f.typ):
		log.Fatalf("%v.%s: omitzero with the method IsZero is not provided for", t, f.selector)
	case k == reflect.Struct && f.omitZero && f.typ.Comparable():
		return fmt.Sprintf("%s != (%v{})", value, f.typ)
	case k == reflect.Struct && f.omitZero:
		log.Fatalf("%v.%s: omitzero of a struct that can't be compared is not provided for", t, f.selector)
	case k == reflect.Struct || !f.omitEmpty && !f.omitZero:
		return ""
	case k >= reflect.Int && k <= reflect.Uint64:
		return value + " != 0"
	case (k == reflect.Slice || k == reflect.Map) && f.omitEmpty:
		return "len(" + value + ") != 0"
	}
	return zero
}

func hasIsZero(t reflect.Type) bool {
	_, ok := reflect.PointerTo(t).MethodByName("IsZero")
	return ok
}

// imports adds the package of t, and of what it is made of, by the name that
// stands before the dot in the type's name.
func imports(paths map[string]string, t reflect.Type) {
	if t.PkgPath() != "" {
		name, _, _ := strings.Cut(t.String(), ".")
		if old := paths[name]; old != "" && old != t.PkgPath() {
			log.Fatalf("%s and %s have one package name", old, t.PkgPath())
		}
		paths[name] = t.PkgPath()
	}
	switch t.Kind() {
	case reflect.Map:
		imports(paths, t.Key())
		imports(paths, t.Elem())
	case reflect.Pointer, reflect.Slice:
		imports(paths, t.Elem())
	}
}

// save formats the file and writes it with the imports that it needs.
func save(path string, body []byte, types []reflect.Type) {
	paths := map[string]string{}
	for _, t := range types {
		imports(paths, t)
		for _, f := range fieldsOf(t) {
			imports(paths, f.typ)
		}
	}
	var out bytes.Buffer
	out.WriteString("// SPDX-License-Identifier: Apache-2.0\n\n")
	out.WriteString("// Code generated by gen.go; DO NOT EDIT.\n\npackage ocijson\n\nimport (\n")
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if regexp.MustCompile(`\b` + name + `\.`).Match(body) {
			fmt.Fprintf(&out, "%q\n", paths[name])
		}
	}
	out.WriteString(")\n")
	out.Write(body)
	src, err := format.Source(out.Bytes())
	if err != nil {
		log.Fatalf("format %s: %v\n%s", path, err, out.Bytes())
	}
	if err := os.WriteFile(path, src, 0o644); err != nil {
		log.Fatal(err)
	}
}
