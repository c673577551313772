// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vitro/inspect"
)

var update = flag.Bool("update", false, "write testdata anew")

func load(t *testing.T, name string) *inspect.Snapshot {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	s := new(inspect.Snapshot)
	if err := json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// The recorded machine has a container of Docker's, a container in a container
// whose maker is an ordinary user, a namespace that is mounted, and names that
// mean no good.
func TestDrawings(t *testing.T) {
	s := load(t, "machine.json")
	for _, c := range []struct {
		name string
		show func(io.Writer, *inspect.Tree) error
		q    inspect.Query
	}{
		{"all.txt", Text, inspect.Query{}},
		{"all.dot", DOT, inspect.Query{}},
		{"all.svg", SVG, inspect.Query{}},
		{"pidns.txt", Text, inspect.Query{ByPID: true}},
		{"pidns.svg", SVG, inspect.Query{ByPID: true}},
		{"chosen.txt", Text, inspect.Query{PIDs: []int{1, 69884}, Kinds: []inspect.Kind{inspect.User, inspect.Cgroup, inspect.PID, inspect.UTS}}},
		{"chosen-pidns.txt", Text, inspect.Query{PIDs: []int{69884}, ByPID: true}},
		{"flat.txt", Text, inspect.Query{Kinds: []inspect.Kind{inspect.Network}}},
		{"subtree.txt", Text, inspect.Query{Subtree: 69700, AllPIDs: true}},
		{"subtree-pidns.txt", Text, inspect.Query{Subtree: 69700, ByPID: true}},
		{"tasks.txt", Text, inspect.Query{PIDs: []int{1}, Threads: true, Deep: true}},
		{"chosen.json", JSON, inspect.Query{PIDs: []int{69884}, Kinds: []inspect.Kind{inspect.PID}}},
	} {
		tree, err := s.Tree(c.q)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var b bytes.Buffer
		if err := c.show(&b, tree); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		compare(t, c.name, b.Bytes())
		if !strings.HasSuffix(c.name, ".json") && bytes.ContainsAny(b.Bytes(), "\x1b\x07\r\x00") {
			t.Errorf("%s: holds control characters", c.name)
		}
	}
}

// What a container calls itself is text in the picture, and no part of it.
func TestPicturesAreWellFormed(t *testing.T) {
	tree, err := load(t, "machine.json").Tree(inspect.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := SVG(&b, tree); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(&b)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && !strings.Contains(" svg title style rect text ", " "+e.Name.Local+" ") {
			t.Errorf("the picture has an element %s", e.Name.Local)
		}
	}
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("needs dot, of graphviz, to read the other one")
	}
	b.Reset()
	if err := DOT(&b, tree); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dot, "-Tcanon")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("dot: %v: %s", err, out)
	}
}

func TestNoSuchProcess(t *testing.T) {
	s := load(t, "machine.json")
	for _, q := range []inspect.Query{{PIDs: []int{12345}}, {Subtree: 12345}, {Subtree: 12345, ByPID: true}} {
		var no *inspect.NoProcessError
		if _, err := s.Tree(q); !errors.As(err, &no) || no.PID != 12345 {
			t.Errorf("Tree(%+v) = %v, want a NoProcessError", q, err)
		}
	}
}
