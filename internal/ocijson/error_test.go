// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var errorTests = []struct {
	name, data, want string
}{
	{"empty", "", `want an object, got the end of input (line 1, column 1)`},
	{"white space", " \n\t", `want an object, got the end of input (line 2, column 2)`},
	{"byte order mark", "\ufeff{}", `want an object, got a byte order mark (line 1, column 1)`},
	{"UTF-16", "\xff\xfe{\x00", `want an object, got the byte 0xff (line 1, column 1)`},
	{"top is a list", `[]`, `want an object, got an array (line 1, column 1)`},
	{"second value", "{}\n{}", `want the end of input, got an object (line 2, column 1)`},
	{"comment", "{\n// no\n}", `want a property name or '}', got '/' (line 2, column 1)`},

	{"string is a number", `{"process":{"args":["a",1]}}`, `process.args[1]: want a string, got a number (line 1, column 25)`},
	{"string is an object", `{"hostname":{}}`, `hostname: want a string, got an object (line 1, column 13)`},
	{"string is nothing", `{"hostname":}`, `hostname: want a string, got '}' (line 1, column 13)`},
	{"boolean is a string", `{"root":{"readonly":"true"}}`, `root.readonly: want a boolean, got a string (line 1, column 21)`},
	{"boolean cut short", `{"root":{"readonly":tru}}`, `root.readonly: want true, got 't' (line 1, column 21)`},
	{"number is a string", `{"process":{"user":{"uid":"0"}}}`, `process.user.uid: want a number, got a string (line 1, column 27)`},
	{"list is an object", `{"mounts":{}}`, `mounts: want an array, got an object (line 1, column 11)`},
	{"object is a boolean", `{"linux":true}`, `linux: want an object, got a boolean (line 1, column 10)`},
	{"map key", `{"linux":{"sysctl":{"net.core.somaxconn":128}}}`, `linux.sysctl["net.core.somaxconn"]: want a string, got a number (line 1, column 42)`},
	{"map key is long", `{"annotations":{"` + strings.Repeat("k", 60) + `":0}}`, `annotations["` + strings.Repeat("k", 48) + `"...]: want a string, got a number (line 1, column 80)`},
	{"escaped key", `{"\u0072oot":[]}`, `root: want an object, got an array (line 1, column 14)`},
	{"skipped value", `{"new":[{"a":[1,{}]},{"b":nul}]}`, `new[1].b: want null, got 'n' (line 1, column 27)`},
	{"skipped nothing", `{"new":[,]}`, `new[0]: want a value, got ',' (line 1, column 9)`},
	{"name is null", `{null:1}`, `want a property name or '}', got null (line 1, column 2)`},
	{"column counts characters", `{"hostname":"ü😀","mounts":0}`, `mounts: want an array, got a number (line 1, column 27)`},

	{"too great", `{"process":{"user":{"uid":4294967296}}}`, `process.user.uid: want an integer from 0 to 4294967295, got 4294967296 (line 1, column 27)`},
	{"negative", `{"process":{"user":{"uid":-1}}}`, `process.user.uid: want an integer from 0 to 4294967295, got -1 (line 1, column 27)`},
	{"too small", `{"process":{"scheduler":{"nice":-2147483649}}}`, `process.scheduler.nice: want an integer from -2147483648 to 2147483647, got -2147483649 (line 1, column 33)`},
	{"beyond 64 bits", `{"linux":{"resources":{"memory":{"limit":9223372036854775808}}}}`, `linux.resources.memory.limit: want an integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808 (line 1, column 42)`},
	{"fraction", `{"linux":{"resources":{"pids":{"limit":1.0}}}}`, `linux.resources.pids.limit: want an integer from -9223372036854775808 to 9223372036854775807, got 1.0 (line 1, column 40)`},
	{"exponent", `{"linux":{"resources":{"blockIO":{"weight":1e2}}}}`, `linux.resources.blockIO.weight: want an integer from 0 to 65535, got 1e2 (line 1, column 44)`},
	{"very long number", `{"process":{"user":{"uid":` + strings.Repeat("1", 99) + `}}}`, `process.user.uid: want an integer from 0 to 4294967295, got ` + strings.Repeat("1", 48) + `... (line 1, column 27)`},
	{"leading zero", `{"process":{"user":{"uid":01}}}`, `process.user.uid: want ',' or '}' after a property, got a number (line 1, column 28)`},
	{"no digits", `{"process":{"user":{"uid":-}}}`, `process.user.uid: want a digit, got '}' (line 1, column 28)`},
	{"no fraction", `{"new":1.}`, `new: want a digit, got '}' (line 1, column 10)`},
	{"no exponent", `{"new":1e+`, `new: want a digit, got the end of input (line 1, column 11)`},

	{"no comma", "{\"hostname\":\"a\"\n\"root\":{}}", `hostname: want ',' or '}' after a property, got a string (line 2, column 1)`},
	{"comma at the end", `{"hostname":"a",}`, `want a property name, got '}' (line 1, column 17)`},
	{"comma at the end of a list", `{"process":{"env":["a",]}}`, `process.env[1]: want a string, got ']' (line 1, column 24)`},
	{"no comma in a list", `{"process":{"env":["a" "b"]}}`, `process.env[0]: want ',' or ']' after an element, got a string (line 1, column 24)`},
	{"no colon", `{"hostname" "a"}`, `hostname: want ':' after a property name, got a string (line 1, column 13)`},
	{"open string", `{"hostname":"a`, `hostname: want a closing quote, got the end of input (line 1, column 15)`},
	{"open name", `{"linux":{"sec`, `linux: want a closing quote, got the end of input (line 1, column 15)`},
	{"line end in a string", "{\"hostname\":\"a\nb\"}", `hostname: want an escape such as \n for a control character, got '\n' (line 1, column 15)`},
	{"escape", `{"hostname":"a\x"}`, `hostname: want one of "\/bfnrtu after a backslash, got 'x' (line 1, column 16)`},
	{"open escape", `{"hostname":"\`, `hostname: want one of "\/bfnrtu after a backslash, got the end of input (line 1, column 15)`},
	{"hexadecimal escape", `{"hostname":"\u12g4"}`, `hostname: want four hexadecimal digits after \u, got 'g' (line 1, column 18)`},
	{"open hexadecimal escape", `{"hostname":"\u12`, `hostname: want four hexadecimal digits after \u, got the end of input (line 1, column 18)`},
	{"second half of a pair", `{"hostname":"\ud83d\u"}`, `hostname: want four hexadecimal digits after \u, got '"' (line 1, column 22)`},
}

func TestErrors(t *testing.T) {
	for _, tt := range errorTests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := DecodeSpec([]byte(tt.data))
			if s != nil || err == nil {
				t.Fatalf("DecodeSpec(%q) = %+v, %v; want the error %q", tt.data, s, err, tt.want)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("DecodeSpec(%q):\n got %s\nwant %s", tt.data, got, tt.want)
			}
			compare(t, codecs()[0], []byte(tt.data)) // encoding/json must refuse it too
		})
	}
}

func TestErrorFields(t *testing.T) {
	_, err := DecodeProcess([]byte("{\n  \"cwd\": \"/\",\n  \"args\": [\"sh\", true]\n}"))
	var e *Error
	if !errors.As(fmt.Errorf("process.json: %w", err), &e) {
		t.Fatalf("DecodeProcess: error %v is no *Error", err)
	}
	want := Error{Path: "args[1]", Want: "a string", Got: "a boolean", Offset: 33, Line: 3, Column: 18}
	if *e != want {
		t.Errorf("DecodeProcess: got %#v; want %#v", *e, want)
	}
}

// A text may be as deep as encoding/json allows, and not deeper.
func TestDepth(t *testing.T) {
	for _, open := range []string{"[", `{"a":`} {
		closing := strings.NewReplacer("[", "]", `{"a":`, "}").Replace(open)
		for _, depth := range []int{maxDepth - 1, maxDepth} { // the object around counts too
			data := []byte(`{"new":` + strings.Repeat(open, depth) + "0" + strings.Repeat(closing, depth) + `}`)
			if ours, theirs := depth < maxDepth, json.Valid(data); ours != theirs {
				t.Fatalf("encoding/json says %v to %d levels; want %v", theirs, depth+1, ours)
			}
			_, err := DecodeSpec(data)
			switch {
			case depth < maxDepth && err != nil:
				t.Errorf("DecodeSpec of %d levels: %v; want no error", depth+1, err)
			case depth == maxDepth && (err == nil || !strings.Contains(err.Error(), "want at most 10000 levels of nesting, got more")):
				t.Errorf("DecodeSpec of %d levels: %v; want a refusal of the depth", depth+1, err)
			case depth == maxDepth && len(err.Error()) > 2*maxPath:
				t.Errorf("DecodeSpec of %d levels: an error of %d bytes", depth+1, len(err.Error()))
			}
		}
	}
}

// Texts that are correct, if unusual, are read as encoding/json reads them.
func TestAccepted(t *testing.T) {
	for _, data := range []string{
		`null`, ` { } `, "\r\n\t{}\r\n", `{"process":null,"mounts":null,"annotations":null,"hostname":null}`,
		`{"process":{},"mounts":[],"annotations":{}}`, `{"":"","new":{"":[]}}`,
		`{"process":{"oomScoreAdj":-0}}`, `{"process":{"user":{"uid":4294967295,"umask":18}}}`,
		`{"new":[-0,0.5,-1.25e-7,1E+9,0e0]}`, `{"new":[true,false,null,"",{},[]]}`,
		`{"ociVersion":"\"\\\/\b\f\n\r\t\u0041\u00fc\u20ac"}`, `{"hostname":"\u0000\u001f\u007f"}`,
		`{"hostname":"\ud83d\ude00"}`, `{"hostname":"\uD83D\uDE00\uABcd"}`, `{"hostname":"\ud83d"}`, `{"hostname":"\ud83dx"}`, `{"hostname":"\ud83d\n"}`,
		`{"hostname":"\ud800\udc00\udbff\udfff"}`, `{"hostname":"\udc00\udc00"}`, `{"hostname":"\udfff\ue000\ud7ff"}`,
		`{"hostname":"\ude00\ud83d"}`, `{"hostname":"\ud83d\u0041"}`, `{"hostname":"\ud83d\ud83d\ude00"}`,
		"{\"hostname\":\"\xff\xc3(\xe2\x82\xed\xa0\x80\xf4\x90\x80\x80\"}", "{\"annotations\":{\"\xff\":\"a\",\"\xfe\":\"b\"}}",
		`{"\u006f\u0063iVersion":"1.3.0"}`, "{\"hostname\":\"\x7f\u2028ü😀\"}",
		`{"windows":5,"vm":{"kernel":[]}}`, `{"OCIVERSION":"1","Hostname":"b"}`,
	} {
		compare(t, codecs()[0], []byte(data))
		if _, err := DecodeSpec([]byte(data)); err != nil {
			t.Errorf("DecodeSpec(%q): %v; want no error", data, err)
		}
	}
}

func TestNamesMatchExactly(t *testing.T) {
	s, err := DecodeSpec([]byte(`{"Hostname":"a","hostname":"b","HOSTNAME":"c","root":{"Path":"/"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Hostname != "b" || s.Root.Path != "" {
		t.Errorf("hostname %q, root.path %q; want %q and nothing", s.Hostname, s.Root.Path, "b")
	}
}
