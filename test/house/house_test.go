// SPDX-License-Identifier: Apache-2.0

// Package house holds the rules of this source as tests: who may import whom,
// what must be documented, what must not be called and why, how long a
// function may be.
//
// A rule about what the programs do belongs to the package that does it.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "vitro"

// source is a Go file of this module.
type source struct {
	name string // from the module's root: "plan/run/run.go"
	dir  string // "plan/run"; "." is the root
	text string
	file *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// generated is a file that a program wrote, by our convention.
func (s *source) generated() bool {
	return strings.HasPrefix(filepath.Base(s.name), "z")
}

// alone is a file that is a program by itself, such as a generator.
func (s *source) alone() bool { return strings.Contains(s.text, "//go:build ignore\n") }

// path is the import path that a name stands for in this file: "os" for os in
// os.Create. It is empty for a variable or a field.
func (s *source) path(name string) string {
	for _, spec := range s.file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		if spec.Name != nil && spec.Name.Name == name ||
			spec.Name == nil && path[strings.LastIndex(path, "/")+1:] == name {
			return path
		}
	}
	return ""
}

var files = token.NewFileSet()

// line is where in the source a node is, to print.
func line(n ast.Node) int { return files.Position(n.Pos()).Line }

// root is the folder of go.mod.
var root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	panic("no go.mod above the working directory")
})

// sources are the module's Go files, but not what is below a testdata.
var sources = sync.OnceValues(func() ([]*source, error) {
	var list []*source
	err := walk(func(name, text string) error {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			return nil
		}
		f, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
		list = append(list, &source{name, filepath.Dir(name), text, f})
		return err
	})
	return list, err
})

// walk reads the files that belong to the source: not what is made, nor history.
func walk(visit func(name, text string) error) error {
	return filepath.WalkDir(root(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root(), path)
		switch {
		case d.IsDir() && (name == ".git" || name == "bin"):
			return filepath.SkipDir
		case !d.Type().IsRegular() || name == ".git": // a file, in a worktree
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return visit(name, string(text))
	})
}

func load(t *testing.T) []*source {
	t.Helper()
	list, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// matches says whether a name is one of the list: a file, a folder with all
// below it ("cmd/"), or a file wherever it is ("*_unsafe.go").
func matches(name string, list ...string) bool {
	for _, pattern := range list {
		ok, _ := filepath.Match(pattern, filepath.Base(name))
		if ok || name == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(name, pattern) {
			return true
		}
	}
	return false
}
