// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"text/template"
)

// A Template prints objects one by one, each with a line's end.
type Template struct{ tmpl *template.Template }

// ParseTemplate reads a --format for single objects: "json" or a template.
func ParseTemplate(text string) (*Template, error) {
	if text == "json" {
		text = "{{json .}}"
	}
	tmpl, err := newTemplate(text)
	if err != nil {
		return nil, &Error{Text: text, Err: err, code: 64}
	}
	return &Template{tmpl}, nil
}

// Print prints an object. What the template doesn't find among the fields of
// its type it looks for among the keys of its JSON. Nothing is printed if it
// is in neither.
func (t *Template) Print(w io.Writer, v any) error {
	var b bytes.Buffer
	first := t.tmpl.Execute(&b, v)
	if first != nil {
		raw, err := generic(v)
		if err != nil {
			return &Error{Err: errors.Join(first, err)}
		}
		b.Reset()
		again, err := t.tmpl.Clone()
		if err != nil {
			return &Error{Err: err}
		}
		if err := again.Option("missingkey=error").Execute(&b, raw); err != nil {
			return &failure{err}
		}
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// A failure is a template that was parsed and asks for what isn't there.
type failure struct{ err error }

func (e *failure) Error() string { return "template parsing error: " + e.err.Error() }
func (e *failure) Unwrap() error { return e.err }
func (e *failure) ExitCode() int { return 1 }
func (e *failure) Hint() string  { return "--format '{{json .}}' shows all that there is" }

// generic is a value as who decodes its JSON without knowing its type has it.
func generic(v any) (raw any, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return raw, d.Decode(&raw)
}

// Inspect prints objects as the commands named inspect do. Without a format
// they are an indented array, with "json" one on a line; a template is
// executed for each of them. What could be printed is, whatever the error.
func Inspect[T any](w io.Writer, text string, list []T) error {
	if list == nil {
		list = []T{}
	}
	switch text {
	case "", "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if text == "" {
			enc.SetIndent("", "    ")
		}
		return enc.Encode(list)
	}
	t, err := ParseTemplate(text)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list {
		if err := t.Print(w, v); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(list) {
		_, err := io.WriteString(w, "\n")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
