// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each lesson has its rows, each row a lesson, and each lesson its form.
func TestLessonsAndRows(t *testing.T) {
	list, err := Lessons()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range list {
		if l.Number != i+1 {
			t.Errorf("%s: number %d; want %d", l.Name, l.Number, i+1)
		}
		if !strings.HasPrefix(l.Title, l.Name+": ") || !strings.HasSuffix(l.Title, "?") {
			t.Errorf("%s: title %q; want its name, and a question", l.Name, l.Title)
		}
		if i >= len(checks) || checks[i].lesson != l.Name {
			t.Errorf("%s: the table of checks has another lesson in its place", l.Name)
		}
		if len(l.Programs) == 0 || !strings.HasSuffix(l.Question, "?") {
			t.Errorf("%s: programs %q, question %q", l.Name, l.Programs, l.Question)
		}
		if n := strings.Count(l.Text, "\n"); n > 100 {
			t.Errorf("%s: %d lines; a lesson is short", l.Name, n)
		}
		var sections []string
		for line := range strings.Lines(l.Text) {
			if s, ok := strings.CutPrefix(line, "## "); ok {
				sections = append(sections, strings.TrimSpace(s))
			}
		}
		if want := []string{"By hand", "With vitro", "What to see, and why"}; !slices.Equal(sections, want) {
			t.Errorf("%s: sections %q; want %q", l.Name, sections, want)
		}
		for _, b := range l.Blocks() {
			if b.Section == sections[2] || b.Only != "" && b.Only != "v1" && b.Only != "v2" {
				t.Errorf("%s: a block of %q in %q", l.Name, b.Only, b.Section)
			}
			for _, c := range b.Commands() {
				if unfinished(c.Text) {
					t.Errorf("%s: a command that does not end: %q", l.Name, c.Text)
				}
			}
		}
	}
	if len(checks) != len(list) {
		t.Errorf("%d lessons, and checks of %d", len(list), len(checks))
	}
}

func TestCommands(t *testing.T) {
	b := Block{Lines: []string{
		"echo one   # => one", "", "false # !> no", "echo 'a", "b' \\", "  c", "for i in 1 2; do", "  echo $i # it's two", "done", `echo "it's # not" # => it's # not`,
		"if true; then echo x; fi", "echo do not wait",
	}}
	want := []Command{
		{"echo one", "one", false}, {"false", "no", true}, {"echo 'a\nb' \\\n  c", "", false},
		{"for i in 1 2; do\n  echo $i # it's two\ndone", "", false}, {`echo "it's # not"`, "it's # not", false},
		{"if true; then echo x; fi", "", false},
	}
	got := b.Commands()
	if len(got) != len(want) || !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "# 1. a: b?\n\n**Question.** C?\n\n**Needs.** root; `ip`, `nft`. Without: nothing.\n\n## By hand\n"
	l, err := parse("01-a.md", good)
	if err != nil || !l.Root || !slices.Equal(l.Programs, []string{"ip", "nft"}) || l.Title != "a: b?" || l.Question != "C?" {
		t.Errorf("got %+v, %v", l, err)
	}
	for _, bad := range []struct{ file, text string }{
		{"a.md", good}, {"x-a.md", good}, {"01-.md", good}, {"02-a.md", good}, {"01-a.md", ""},
		{"01-a.md", strings.Replace(good, "**Question.**", "", 1)}, {"01-a.md", strings.Replace(good, "## ", "", 1)},
	} {
		if _, err := parse(bad.file, bad.text); err == nil {
			t.Errorf("%s, %q: no error", bad.file, bad.text)
		}
	}
}

func TestShow(t *testing.T) {
	l := Lesson{Text: "# 1. a: b?\n\nSome **bold** words and `code`\nthat go on.\n\n```sh v1\none\n```\n\n```sh v2\ntwo\n```\n\n- an item that is\n  long\n", Programs: []string{"no-such-program"}}
	var b strings.Builder
	if err := (Page{Width: 20, Only: "v2"}).Show(&b, l); err != nil {
		t.Fatal(err)
	}
	const want = "1. a: b?\n\nSome **bold** words\nand `code` that go\non.\n\n    two\n\n- an item that is\n  long\n\nNot in PATH here: no-such-program.\n"
	if b.String() != want {
		t.Errorf("got %q\nwant %q", b.String(), want)
	}
	b.Reset()
	if err := (Page{Width: 80, Color: true}).Show(&b, l); err != nil || !strings.Contains(b.String(), "Some "+bold+"bold"+plain+" words and "+code+"code"+plain) {
		t.Errorf("got %q, %v", b.String(), err)
	}
	b.Reset()
	if err := (Page{}).Show(&b, l); err != nil || b.String() != l.Text {
		t.Errorf("without a terminal: got %q, %v", b.String(), err)
	}
}

func TestMark(t *testing.T) {
	l := &Lab{"/home/me/vitro-lab"}
	for env, want := range map[string]string{
		"A=b\x00VITRO_LAB=/home/me/vitro-lab/uts\x00": "uts",
		"VITRO_LAB=/home/me/vitro-lab/uts":            "uts",
		"VITRO_LAB=/home/me/vitro-lab":                "",
		"VITRO_LAB=/home/me/vitro-lab/":               "",
		"VITRO_LAB=/home/me/vitro-lab/a/b":            "",
		"VITRO_LAB=/home/me/vitro-lab2/uts":           "",
		"VITRO_LAB=/home/you/vitro-lab/uts":           "",
		"XVITRO_LAB=/home/me/vitro-lab/uts":           "",
		"":                                            "",
	} {
		if got := l.marked(env); got != want {
			t.Errorf("%q: got %q; want %q", env, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, dir := range []string{"/a:b", "/a,b", "/a\nb", `/a\b`} {
		if _, err := Open(dir); err == nil {
			t.Errorf("%q: no error", dir)
		}
	}
}

// The note has to be a file of its own, not a link to somebody's.
func TestBegin(t *testing.T) {
	dir := t.TempDir()
	l := &Lab{filepath.Join(dir, "lab")}
	for range 2 {
		if err := l.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	if !l.begun() {
		t.Error("the folder is no lab after Begin")
	}
	if err := os.Remove(l.path(note)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", l.path(note)); err != nil {
		t.Fatal(err)
	}
	if l.begun() {
		t.Error("a link is taken for the note")
	}
	if _, err := l.removeFolder(); err == nil {
		t.Error("a folder with a link for a note is removed")
	}
}

func FuzzUnfinished(f *testing.F) {
	f.Add("for i in a; do\n echo 'x\ny'; done # => a")
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		for _, c := range (Block{Lines: strings.Split(s, "\n")}).Commands() {
			n += len(c.Text) + len(c.Want)
		}
		if n > len(s) {
			t.Errorf("%q: commands of %d bytes", s, n)
		}
	})
}
