// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"unicode"
)

// newTemplate parses a template with Docker's functions.
func newTemplate(text string) (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"json":     compactJSON,
		"split":    strings.Split,
		"join":     join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
	}).Parse(text)
}

// headerFuncs take the place of those that would spoil a column's title. What
// pads it stays.
func headerFuncs() template.FuncMap {
	same := func(s string) string { return s }
	sameBy := func(s, _ string) string { return s }
	return template.FuncMap{
		"json": same, "title": same, "lower": same, "upper": same,
		"split": sameBy, "join": sameBy,
		"truncate": func(s string, _ int) string { return s },
	}
}

// compactJSON leaves < > & as they are: this is no web page.
func compactJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// title begins each word with a capital.
func title(s string) string {
	prev := ' '
	return strings.Map(func(r rune) rune {
		begins := !unicode.IsLetter(prev) && !unicode.IsDigit(prev) && prev != '_' && prev != '\''
		prev = r
		if begins {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

// join takes any list: what a template walks through was read from JSON.
func join(list any, by string) (string, error) {
	v := reflect.ValueOf(list)
	if !v.IsValid() { // null
		return "", nil
	}
	if v.Kind() != reflect.Slice {
		return "", fmt.Errorf("join %T: not a list", list)
	}
	words := make([]string, v.Len())
	for i := range words {
		words[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(words, by), nil
}

func truncate(s string, n int) string { return s[:min(len(s), max(n, 0))] }
