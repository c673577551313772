// SPDX-License-Identifier: Apache-2.0

// Package format prints lists and objects the way --format asks for: as a
// table, as JSON, or by a Go template, with Docker's words and to the byte as
// Docker's client does it.
//
// A list is a slice of rows. A row is a struct of what can be printed: its
// exported fields, in the order of their names, are what a template calls
// {{.Name}} and what JSON has as keys; the tag `header` is a field's column
// title. Package listing has the rows of containers, images and so on.
//
//	f, err := format.Parse(flag, "table {{.ID}}\t{{.Names}}")
//	...
//	err = format.Rows(os.Stdout, f, rows)
//
// Nothing is parsed or reflected on before that: who imports this package and
// prints nothing pays nothing.
package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

const tableWord = "table"

// A Format is what --format says, parsed.
type Format struct {
	table bool
	json  bool // the word
	text  string
	tmpl  *template.Template
}

// Parse reads a --format: "json", "table TEMPLATE", or a template. Where it is
// empty or "table" it stands for def, which is the list's own.
func Parse(text, def string) (*Format, error) {
	if text == "" || text == tableWord {
		text = def
	}
	f := &Format{}
	switch rest, table := strings.CutPrefix(text, tableWord); {
	case table:
		f.table, f.text = true, rest
	case text == "json":
		f.json, f.text = true, "{{json .}}"
	case text == "raw" || text == "pretty":
		return nil, &Error{Text: text, Err: errors.New("this old form is not supported"), Fields: "use json, table, or a template"}
	default:
		f.text = text
	}
	f.text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.Trim(f.text, " "))
	var err error
	if f.tmpl, err = newTemplate(f.text); err != nil {
		return nil, &Error{Text: f.text, Err: err}
	}
	return f, nil
}

// An Error is a --format that cannot be used.
type Error struct {
	Text   string // the template
	Err    error
	Fields string // what could be said instead

	code int
}

func (e *Error) Error() string { return fmt.Sprintf("template parsing error: %v", e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Hint names the fields that there are.
func (e *Error) Hint() string { return e.Fields }

// ExitCode is that of Docker's client: 1, and 64 for a single object's
// template that can't be parsed.
func (e *Error) ExitCode() int { return max(1, e.code) }

// Uses says whether the template may look at a field of its row: what is dear
// to find out is found out only then. As in Docker the word json asks for
// nothing dear, but {{json .}} does.
func (f *Format) Uses(field string) bool { return !f.json && uses(f.tmpl.Tree.Root, field) }

// Prints says whether a field of the row may be printed, be it by the word json.
func (f *Format) Prints(field string) bool { return uses(f.tmpl.Tree.Root, field) }

func uses(n parse.Node, field string) bool {
	any := func(nodes ...parse.Node) bool {
		for _, n := range nodes {
			if uses(n, field) {
				return true
			}
		}
		return false
	}
	switch n := n.(type) {
	case *parse.ListNode:
		return n != nil && any(n.Nodes...)
	case *parse.ActionNode:
		return any(n.Pipe)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			if any(c.Args...) {
				return true
			}
		}
	case *parse.IfNode:
		return any(n.Pipe, n.List, n.ElseList)
	case *parse.RangeNode:
		return any(n.Pipe, n.List, n.ElseList)
	case *parse.WithNode:
		return any(n.Pipe, n.List, n.ElseList)
	case *parse.ChainNode:
		return any(n.Node)
	case *parse.FieldNode:
		return n.Ident[0] == field
	case *parse.VariableNode: // $ is the row too
		return n.Ident[0] == "$" && (len(n.Ident) == 1 || n.Ident[1] == field)
	case *parse.DotNode, *parse.TemplateNode:
		return true
	}
	return false
}

// Rows prints a list: a line for each row, with a header above if the format is a table.
func Rows[T any](w io.Writer, f *Format, rows []T) error {
	f.tmpl.Funcs(template.FuncMap{"json": rowJSON[T]})
	var b bytes.Buffer
	for i := range rows {
		if err := f.tmpl.Execute(&b, &rows[i]); err != nil {
			return &Error{Text: f.text, Err: err, Fields: fieldsOf[T]()}
		}
		b.WriteByte('\n')
	}
	if !f.table {
		_, err := w.Write(b.Bytes())
		return err
	}
	var head bytes.Buffer
	// What a header can't be made of leaves it short: Docker's rule, and a table without rows is still one.
	_ = f.tmpl.Funcs(headerFuncs()).Execute(&head, headersOf[T]())
	head.WriteByte('\n')
	_, err := io.WriteString(w, align(head.String()+b.String()))
	return err
}

// rowJSON is the function json for a list of T. A row's own < > & are escaped,
// those of a field are not: so it is in Docker's output.
func rowJSON[T any](v any) (string, error) {
	if row, ok := v.(*T); ok {
		b, err := json.Marshal(row)
		return string(b), err
	}
	return compactJSON(v)
}

// headers are the titles of a table's columns, by field.
type headers map[string]string

// Label is the title of {{.Label "a.b"}}.
func (headers) Label(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(name)
}

func headersOf[T any]() headers {
	h := make(headers)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if title := f.Tag.Get("header"); title != "" {
			h[f.Name] = title
		}
	}
	return h
}

// fieldsOf lists what a template can name.
func fieldsOf[T any]() string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if f.IsExported() {
			names = append(names, f.Name)
		}
	}
	return "the fields are " + strings.Join(names, ", ")
}
