// SPDX-License-Identifier: Apache-2.0

package ocijson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

// FuzzDecode holds every decoder against encoding/json.
func FuzzDecode(f *testing.F) {
	for i, c := range codecs() {
		v := reflect.New(c.typ)
		filler{1, counting()}.fill(v.Elem())
		dropOmitted(v.Interface())
		f.Add(uint(i), c.append(nil, v.Interface()))
	}
	f.Add(uint(0), readTestdata(f, "runc-spec.json"))
	f.Add(uint(0), []byte(`{"linux":{"sysctl":{"a.b":"\ud83d\ude00"}},"mounts":[{},null],"mounts":[]}`))
	f.Add(uint(2), []byte(`{"memory":{"limit":-1e3,"swap":00},"pids":null,"unified":{"\xff":""}}`))
	f.Fuzz(func(t *testing.T, i uint, data []byte) {
		c := codecs()[i%uint(len(codecs()))]
		compare(t, c, data)
	})
}

// FuzzIndent holds Indent against encoding/json, and checks that it keeps all
// of a text that is not JSON.
func FuzzIndent(f *testing.F) {
	f.Add(readTestdata(f, "runc-spec.json"))
	f.Add([]byte(`{"a":[ ],"b":{ },"c":[{}],"d":"\"{"}`))
	f.Add([]byte(`}]{"a`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := Indent(nil, data)
		var want bytes.Buffer
		if err := json.Indent(&want, bytes.Trim(data, " \t\r\n"), "", "\t"); err == nil && !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("Indent(%q):\n got %s\nwant %s", data, got, want.Bytes())
		}
		if got, want := squeeze(got), squeeze(data); !bytes.Equal(got, want) {
			t.Fatalf("Indent(%q) changed %q to %q", data, want, got)
		}
	})
}

// squeeze returns data without JSON's white space.
func squeeze(data []byte) []byte {
	return slices.DeleteFunc(bytes.Clone(data), func(c byte) bool {
		return c == ' ' || c == '\t' || c == '\r' || c == '\n'
	})
}
