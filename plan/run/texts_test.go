// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"testing"

	"vitro/plan"
)

// pair is an action of two texts.
type pair struct {
	Path  string `json:"path"`
	Below string `json:"below"`
}

func (*pair) Verb() string       { return "pair" }
func (*pair) Line() string       { return "" }
func (*pair) Shell(*plan.Script) {}
func (*pair) Undo() plan.Host    { return nil }
func (*pair) Do(*plan.Env) error { return nil }
func (p *pair) Texts() []plan.Text {
	return []plan.Text{{Name: "path", Value: &p.Path}, {Name: "below", Value: &p.Below}}
}

// FuzzTexts: what is written for an action of texts is what encoding/json
// writes, and is read as that reads it.
func FuzzTexts(f *testing.F) {
	for _, s := range [...][2]string{{"/sys/fs/cgroup/pids/a", "/sys/fs/cgroup/pids"}, {"", ""}, {`a"b`, `\`}, {"<&>", "é\u2028\x00\x7f\xff"}, {"},", "{"}} {
		f.Add(s[0], s[1], `{"path":"`+s[0]+`","below":"`+s[1]+`"}`)
	}
	for _, line := range [...]string{`{"below":"b","path":"a"}`, `{"path":"a"}`, ` { "path" : "a" } `, `{"path":"a","below":"b","more":1}`, `{"path":"a","below":"b"}}`, `{"path":"a","below":"b`, "", "null"} {
		f.Add("", "", line)
	}
	f.Fuzz(func(t *testing.T, path, below, line string) {
		want, err := json.Marshal(&pair{path, below})
		got, err2 := appendValues(nil, &pair{path, below})
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%q, %q: written %s, %v; want %s, %v", path, below, got, err2, want, err)
		}
		for _, text := range [...]string{string(want), line} {
			var a, b pair
			err, err2 := parseValues([]byte(text), &a), json.Unmarshal([]byte(text), &b)
			if (err == nil) != (err2 == nil) || err == nil && a != b {
				t.Errorf("%s: read %+v, %v; want %+v, %v", text, a, err, b, err2)
			}
		}
	})
}
