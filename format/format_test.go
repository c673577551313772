// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

type row struct {
	ID    string `header:"THE ID"`
	Names string `header:"NAMES"`
	Size  string `header:"SIZE"`

	labels
}

type labels map[string]string

func (l labels) Label(name string) string { return l[name] }

var list = []row{{"1", "web", "2MB", labels{"a.b": "x"}}, {"22", "a rather long name", "", nil}}

func print(t *testing.T, text, def string) string {
	t.Helper()
	var b bytes.Buffer
	f, err := Parse(text, def)
	if err == nil {
		err = Rows(&b, f, list)
	}
	if err != nil {
		return err.Error()
	}
	return b.String()
}

// What Docker's client prints is compared by the tests of package listing, where that client is. These are for
// machines without it.
func TestRows(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "THE ID    NAMES\n1         web\n22        a rather long name\n",
		`table {{.Names}}\t{{.ID}}`: "NAMES                THE ID\nweb                  1\na rather long name   22\n",
		"table {{upper .Names}}\t{{.Label \"a.b_c\"}}": "NAMES                b c\nWEB                  \nA RATHER LONG NAME   \n",
		"{{.Label \"a.b\"}}":                           "x\n\n",
		"json":                                         `{"ID":"1","Names":"web","Size":"2MB"}` + "\n" + `{"ID":"22","Names":"a rather long name","Size":""}` + "\n",
		"{{pad .ID 1 2}}|":                             " 1  |\n 22  |\n",
		"{{title .Names}} {{truncate .Names 3}}":       "Web web\nA Rather Long Name a r\n",
	} {
		if got := print(t, text, "table {{.ID}}\t{{.Names}}"); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestBadFormatsNameTheFields(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Nam}}":    "the fields are ID, Names, Size",
		"{{.Names":    "",
		"raw":         "use json, table, or a template",
		"{{nothing}}": "",
	} {
		f, err := Parse(text, "")
		if err == nil {
			err = Rows(&bytes.Buffer{}, f, list)
		}
		var e *Error
		if !errors.As(err, &e) || e.Hint() != want || !strings.HasPrefix(e.Error(), "template parsing error: ") {
			t.Errorf("%q: %v, want a hint %q", text, err, want)
		}
	}
}

func TestUses(t *testing.T) {
	for text, want := range map[string]bool{
		"{{.Size}}": true, "{{.ID}} {{upper .Size}}": true, "{{.ID}}": false, "table {{.ID}}": false, "json": false,
		"{{json .}}": true, "{{if .Size}}x{{end}}": true, "{{if .ID}}{{else}}{{.Size}}{{end}}": true, "{{with .Size}}{{.}}{{end}}": true,
		"{{range .Names}}{{$.Size}}{{end}}": true, "{{$x := .ID}}{{$x}}": false, "{{(print .Size)}}": true, "Size": false,
		"{{/* .Size */}}": false,
	} {
		f, err := Parse(text, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Uses("Size"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestEllipsis(t *testing.T) {
	for _, tt := range []struct {
		s     string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"", 3, ""}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"a", 0, "…"},
	} {
		if got := Ellipsis(tt.s, tt.width); got != tt.want {
			t.Errorf("%q, %d: %q, want %q", tt.s, tt.width, got, tt.want)
		}
	}
}

func TestInspect(t *testing.T) {
	type state struct{ Pid int }
	type object struct {
		Name  string
		State state
		Other map[string]string `json:"other"`
		Words []string          `json:"words"`
	}
	list := []object{{"<a>", state{7}, map[string]string{"x.y": "z"}, []string{"p", "q"}}, {"b", state{}, nil, nil}}
	for text, want := range map[string]string{
		"{{.Name}} {{.State.Pid}}": "<a> 7\nb 0\n",
		"{{.other}}":               "map[x.y:z]\n<no value>\n",
		`{{index .Other "x.y"}}`:   "z\n\n",
		"{{json .State}}":          "{\"Pid\":7}\n{\"Pid\":0}\n",
		"{{json .Name}}":           "\"<a>\"\n\"b\"\n",
		"json":                     `[{"Name":"<a>","State":{"Pid":7},"other":{"x.y":"z"},"words":["p","q"]},{"Name":"b","State":{"Pid":0},"other":null,"words":null}]` + "\n",
		`{{join .Words "-"}}`:      "p-q\n\n",
		// By JSON's names, whose lists are of anything.
		`{{.other}}{{join .words "-"}}`: "map[x.y:z]p-q\n<no value>\n",
		"{{.State.Foo}}":                "\n",
	} {
		var b bytes.Buffer
		err := Inspect(&b, text, list)
		if b.String() != want || (err != nil) != (text == "{{.State.Foo}}") {
			t.Errorf("%q: %v\n%s\nwant\n%s", text, err, b.String(), want)
		}
	}
	var b bytes.Buffer
	if err := Inspect(&b, "", []object(nil)); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing: %q, %v", b.String(), err)
	}
}

func TestPrintable(t *testing.T) {
	if got, want := Printable("a\tb\x1b[31m\u009b\n日"), "a b\ufffd[31m\ufffd 日"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHuman(t *testing.T) {
	now := time.Now()
	if got := Ago(now.Add(time.Hour), now); got != "Less than a second ago" {
		t.Errorf("a time to come: %s", got)
	}
	if got := ShortID("sha256:0123456789abcdef"); got != "0123456789ab" {
		t.Error(got)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("table {{.ID}}\t{{.Names}}")
	f.Add("{{range $i, $e := split .Names \"\"}}{{$e}}{{end}}")
	f.Fuzz(func(t *testing.T, text string) {
		f, err := Parse(text, "json")
		if err == nil && !strings.Contains(text, "printf") && !strings.Contains(text, "pad") { // which can ask for gigabytes
			f.Uses("ID")
			_ = Rows(&bytes.Buffer{}, f, list)
		}
	})
}
