// SPDX-License-Identifier: Apache-2.0

// Package manual writes manual pages (man(7)) of what programs say about
// themselves in their help. No program links it: `make man` has tests write
// the pages, since only they know the tables of a main package.
package manual

import (
	"fmt"
	"strings"
)

// A Page is one manual page.
type Page struct {
	Name     string // "vitro-run"
	Section  int
	Version  string // of the program
	Date     string // 2006-01-02
	Short    string // what it does, in a line
	Synopsis []string
	Text     string // paragraphs, with an empty line between
	Lists    []List
	Example  string // lines as they are typed
	See      []string
}

// A List is a section of terms and what they mean.
type List struct {
	Title string // "OPTIONS"
	Items []Item
}

// An Item is a line of it. Its own items are printed below it.
type Item struct {
	Term, Text string
	Items      []Item
}

// String is the page's source.
func (p *Page) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %d %s \"vitro %s\"\n", strings.ToUpper(p.Name), p.Section, p.Date, p.Version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\-\n%s.SH SYNOPSIS\n", escape(p.Name), fill(p.Short))
	for i, s := range p.Synopsis {
		if i > 0 {
			b.WriteString(".br\n")
		}
		name, rest, _ := strings.Cut(s, " ")
		fmt.Fprintf(&b, ".B %s\n%s", escape(name), fill(rest))
	}
	if p.Text != "" {
		b.WriteString(".SH DESCRIPTION\n" + paragraphs(p.Text))
	}
	for _, l := range p.Lists {
		if len(l.Items) > 0 {
			b.WriteString(".SH " + l.Title + "\n")
			items(&b, l.Items)
		}
	}
	if p.Example != "" {
		b.WriteString(".SH EXAMPLES\n.EX\n")
		for l := range strings.Lines(strings.TrimRight(p.Example, "\n") + "\n") {
			b.WriteString(escape(strings.TrimPrefix(strings.TrimRight(l, "\n"), "  ")) + "\n")
		}
		b.WriteString(".EE\n")
	}
	for i, s := range p.See {
		if i == 0 {
			b.WriteString(".SH SEE ALSO\n")
		}
		comma := ","
		if i == len(p.See)-1 {
			comma = ""
		}
		name, section, _ := strings.Cut(s, "(")
		fmt.Fprintf(&b, ".BR %s (%s%s\n", escape(name), section, comma)
	}
	return b.String()
}

func items(b *strings.Builder, list []Item) {
	for _, i := range list {
		fmt.Fprintf(b, ".TP\n.B %s\n%s", escape(i.Term), fill(i.Text))
		if len(i.Items) > 0 {
			b.WriteString(".RS\n")
			items(b, i.Items)
			b.WriteString(".RE\n")
		}
	}
}

// paragraphs are those of a text.
func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(fill(p))
	}
	return b.String()
}

// fill is a text in lines of at most 80 bytes, whatever its words begin with.
func fill(s string) string {
	var b strings.Builder
	row := ""
	for _, w := range strings.Fields(s) {
		switch longer := strings.TrimSpace(row + " " + w); {
		case len(escape(longer)) <= 80:
			row = longer
		default:
			b.WriteString(escape(row) + "\n")
			row = w
		}
	}
	if row != "" {
		b.WriteString(escape(row) + "\n")
	}
	return b.String()
}

// escape has roff print a text as it is: backslashes, quotes and hyphens, of
// which people copy options.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
