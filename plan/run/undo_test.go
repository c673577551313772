// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run"
)

// recall is an inverse that notes in which order it is done.
type recall struct {
	Name string `json:"name"`
	log  *[]string
	fail map[string]error
}

func (a *recall) Verb() string       { return "recall" }
func (a *recall) Line() string       { return "recall " + a.Name }
func (a *recall) Shell(*plan.Script) {}
func (a *recall) Undo() plan.Host    { return nil }
func (a *recall) Do(*plan.Env) error {
	*a.log = append(*a.log, a.Name)
	return a.fail[a.Name]
}

// A memory makes recalls.
type memory struct {
	log  []string
	fail map[string]error
}

func (m *memory) make(verb string) plan.Host {
	if verb == "recall" {
		return &recall{log: &m.log, fail: m.fail}
	}
	return nil
}

func list(t *testing.T) (*run.UndoList, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "undo")
	u, err := run.CreateUndo(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u, path
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// TestUndoIsWrittenBefore: when a step is done, its inverse is in the file; when
// it fails, it is not any more, and what follows it stands where it stood.
func TestUndoIsWrittenBefore(t *testing.T) {
	u, path := list(t)
	step := func(name string, err error) *acts {
		return &acts{name: name, undo: &recall{Name: name}, do: func(*plan.Env) error {
			l := lines(t, path)
			if want := `recall {"name":"` + name + `"}`; l[len(l)-1] != want {
				t.Errorf("while %s is done, the last line is %q; want %q", name, l[len(l)-1], want)
			}
			return err
		}}
	}
	p := planOf(step("a", nil), &acts{name: "no inverse"}, step("b", nil), step("c", unix.EXDEV), &plan.Clone{}, shell("exit 0"))
	if f := faults(t, p, run.Options{Undo: u}); f.Index != 3 {
		t.Errorf("%v at step %d", f, f.Index)
	}
	if got := lines(t, path); !slices.Equal(got, []string{`recall {"name":"a"}`, `recall {"name":"b"}`}) {
		t.Errorf("after the fault the list is %q", got)
	}
	// the list goes on behind what was taken back
	p = planOf(&plan.Clone{}, step("d", nil), &plan.Exec{Paths: []string{"/nowhere"}, Args: []string{"x"}})
	faults(t, p, run.Options{Undo: u})
	m := &memory{}
	if err := run.Undo(path, m.make); err != nil {
		t.Fatal(err)
	}
	if want := []string{"d", "b", "a"}; !slices.Equal(m.log, want) {
		t.Errorf("undone %q; want %q", m.log, want)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the list is there still: %v", err)
	}
	if err := run.Undo(path, m.make); err != nil || len(m.log) != 3 {
		t.Errorf("a second time: %v, %q", err, m.log)
	}
}

// TestUndoFailInjected: a step that is made to fail is not in the list.
func TestUndoFailInjected(t *testing.T) {
	u, path := list(t)
	p := planOf(&acts{name: "a", undo: &recall{Name: "a"}}, &acts{name: "b", undo: &recall{Name: "b"}}, &plan.Clone{}, shell("exit 0"))
	faults(t, p, run.Options{Undo: u, Fail: map[int]unix.Errno{1: unix.EIO}})
	if got := lines(t, path); !slices.Equal(got, []string{`recall {"name":"a"}`}) {
		t.Errorf("the list is %q", got)
	}
}

func TestUndoList(t *testing.T) {
	line := func(name string) string { return `recall {"name":"` + name + `"}` + "\n" }
	for _, c := range []struct {
		name, text string
		fail       map[string]error
		want       []string
		errs       []string // parts of the error; none: the list is gone
	}{
		{"empty", "", nil, nil, nil},
		{"two", line("a") + line("b"), nil, []string{"b", "a"}, nil},
		{"last line cut off", line("a") + line("b") + `recall {"name":"c"}`, nil, []string{"b", "a"}, nil},
		{"last line cut off early", line("a") + "rec", nil, []string{"a"}, nil},
		{"only a cut off line", "recall {", nil, nil, nil},
		{"one fails, the others are done", line("a") + line("b") + line("c"), map[string]error{"b": unix.EBUSY}, []string{"c", "b", "a"}, []string{`undo recall {"name":"b"}: device or resource busy`}},
		{"all fail", line("a") + line("b"), map[string]error{"a": unix.EBUSY, "b": unix.EIO}, []string{"b", "a"}, []string{"busy", "input/output error"}},
		{"unknown verb", line("a") + "dance {}\n" + line("b"), nil, []string{"b", "a"}, []string{`undo dance {}: unknown verb "dance"`}},
		{"no values", line("a") + "recall\n", nil, []string{"a"}, []string{"not a verb and values"}},
		{"empty line", line("a") + "\n", nil, []string{"a"}, []string{"not a verb and values"}},
		{"values of another type", line("a") + `recall {"name":3}` + "\n", nil, []string{"a"}, []string{"cannot unmarshal number"}},
		{"values cut off", line("a") + `recall {"name"` + "\n", nil, []string{"a"}, []string{"unexpected end of JSON input"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "undo")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			m := &memory{fail: c.fail}
			err := run.Undo(path, func(string) plan.Host { return nil }, m.make)
			if !slices.Equal(m.log, c.want) {
				t.Errorf("undone %q; want %q", m.log, c.want)
			}
			_, there := os.Stat(path)
			if (err == nil) != (len(c.errs) == 0) || (there == nil) != (err != nil) {
				t.Errorf("%v; the list: %v", err, there)
			}
			for _, e := range c.errs {
				if !strings.Contains(fmt.Sprint(err), e) {
					t.Errorf("%v; want %q in it", err, e)
				}
			}
			if err != nil && c.fail != nil { // the next try
				m.fail = nil
				if err := run.Undo(path, m.make); err != nil {
					t.Errorf("the second try: %v", err)
				}
			}
		})
	}
	if _, err := run.CreateUndo(filepath.Join(t.TempDir(), "none", "undo")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
	_, path := list(t)
	if _, err := run.CreateUndo(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second list: %v", err)
	}
}

// FuzzUndo: whatever the file holds, what is done is what whole lines say, the
// last first, and the file stays if one of them says nothing.
func FuzzUndo(f *testing.F) {
	for _, seed := range []string{"", "\n", "recall {}\n", `recall {"name":"a"}` + "\nrecall {\"name\":\"b\"}\nrec", "x y\n", "recall null\n", "recall  {}\n", "recall {}\r\n"} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "undo")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m := &memory{}
		err := run.Undo(path, m.make)
		var want []string
		bad := 0
		all := strings.Split(text, "\n")
		for _, l := range slices.Backward(all[:len(all)-1]) {
			r := recall{}
			values, ok := strings.CutPrefix(l, "recall ")
			if !ok || json.Unmarshal([]byte(values), &r) != nil {
				bad++
				continue
			}
			want = append(want, r.Name)
		}
		if !slices.Equal(m.log, want) || (err == nil) != (bad == 0) {
			t.Errorf("undone %q, %v; want %q and %d bad lines", m.log, err, want, bad)
		}
	})
}
