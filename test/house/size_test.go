// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"strings"
	"testing"
)

// How long a function and a file may be, in lines: what a person can hold in
// mind. Where it is too little, look for the missing table. A test's table may
// be longer.
const (
	functionLines = 70
	fileLines     = 600

	testFunctionLines = 120
	testFileLines     = 800
)

func TestFunctionsFitAScreen(t *testing.T) {
	for _, s := range load(t) {
		if s.generated() {
			continue
		}
		maxFunction, maxFile := functionLines, fileLines
		if s.test() {
			maxFunction, maxFile = testFunctionLines, testFileLines
		}
		if n := strings.Count(s.text, "\n"); n > maxFile {
			t.Errorf("%s: %d lines, of at most %d", s.name, n, maxFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := files.Position(f.End()).Line - line(f) + 1; n > maxFunction {
				t.Errorf("%s:%d: %s has %d lines, of at most %d", s.name, line(f), f.Name.Name, n, maxFunction)
			}
		}
	}
}
