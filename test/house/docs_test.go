// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"strings"
	"testing"
)

func TestEveryFileHasItsLicence(t *testing.T) {
	const want = "// SPDX-License-Identifier: Apache-2.0\n"
	for _, s := range load(t) {
		head, _, _ := strings.Cut(s.text, "\npackage ")
		if !strings.Contains(head+"\n", want) || !s.generated() && !strings.HasPrefix(s.text, want) {
			t.Errorf("%s: want %q as its first line", s.name, strings.TrimSpace(want))
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs := make(map[string]string)
	for _, s := range load(t) {
		if !s.alone() && (!s.test() || docs[s.dir] == "") {
			docs[s.dir] += s.file.Doc.Text()
		}
	}
	for dir, doc := range docs {
		if !strings.HasPrefix(doc, "Package ") && !strings.HasPrefix(doc, "Command ") {
			t.Errorf("%s: has no package comment", dir)
		}
	}
}

// knownMethods are those of interfaces of the standard library: their
// contract is there.
const knownMethods = " Error Unwrap Is As String GoString Format Read Write Close Seek ReadAt WriteAt WriteTo ReadFrom" +
	" Len Less Swap MarshalJSON UnmarshalJSON MarshalText UnmarshalText Set Type Name Timeout Temporary "

// promised are the methods of the module's own interfaces, which document
// them once for all that have them.
func promised(list []*source) map[string]bool {
	names := make(map[string]bool)
	for _, s := range list {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok {
				for _, m := range i.Methods.List {
					for _, name := range m.Names {
						names[name.Name] = true
					}
				}
			}
			return true
		})
	}
	return names
}

func TestWhatIsExportedIsDocumented(t *testing.T) {
	list := load(t)
	methods := promised(list)
	for _, s := range list {
		if s.test() || s.generated() || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				known := d.Recv != nil && (methods[d.Name.Name] || strings.Contains(knownMethods, " "+d.Name.Name+" "))
				if d.Name.IsExported() && d.Doc == nil && !known && exportedReceiver(d) {
					t.Errorf("%s:%d: %s has no doc comment", s.name, line(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range undocumented(d) {
					t.Errorf("%s:%d: %s has no doc comment", s.name, line(name), name.Name)
				}
			}
		}
	}
}

// exportedReceiver says whether users of the package can see a method.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return !ok || id.IsExported()
}

// undocumented lists the exported names of a declaration that neither it nor
// their own line says anything about.
func undocumented(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if d.Doc == nil && spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
				names = append(names, spec.Name)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}
