// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Page is how a text is to look.
type Page struct {
	Width int    // of lines; 0 leaves the text as it is: Markdown
	Color bool   // with what a terminal knows to emphasize
	Only  string // v1 or v2: blocks of commands for the other one are left out
}

// styles are what a terminal is told.
const (
	bold  = "\x1b[1m"
	faint = "\x1b[2m"
	code  = "\x1b[36m"
	plain = "\x1b[0m"
)

// Show writes a lesson as a page.
func (p Page) Show(w io.Writer, l Lesson) error {
	if p.Width == 0 {
		_, err := io.WriteString(w, l.Text)
		return err
	}
	var b strings.Builder
	var para []string
	flush := func() {
		p.paragraph(&b, p.inline(strings.Join(para, " ")))
		para = para[:0]
	}
	in, hidden := false, false
	for line := range strings.Lines(l.Text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, fence):
			flush()
			in = !in
			if !in && !hidden {
				b.WriteByte('\n')
			}
			only := strings.TrimPrefix(line, fence+"sh ")
			hidden = in && (only == "v1" || only == "v2") && p.Only != "" && only != p.Only
		case hidden:
		case in:
			b.WriteString("    " + p.style(code, line) + "\n")
		case strings.HasPrefix(line, "#"):
			flush()
			b.WriteString(p.style(bold, strings.TrimLeft(line, "# ")) + "\n\n")
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, "- "):
			flush()
			para = append(para, line)
		default:
			para = append(para, strings.TrimSpace(line))
		}
	}
	flush()
	if m := l.Missing(); len(m) > 0 {
		fmt.Fprintf(&b, "%s\n\n", p.style(bold, "Not in PATH here: "+strings.Join(m, ", ")+"."))
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (p Page) style(s, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return s + text + plain
}

// visible is a text without what a terminal only obeys.
var visible = strings.NewReplacer(bold, "", code, "", plain, "")

// inline turns Markdown's marks within a line into the terminal's.
func (p Page) inline(text string) string {
	if !p.Color {
		return text
	}
	for _, m := range [...]struct{ mark, style string }{{"**", bold}, {"`", code}} {
		parts := strings.Split(text, m.mark)
		for i := 1; i < len(parts); i += 2 {
			parts[i] = m.style + parts[i] + plain
		}
		text = strings.Join(parts, "")
	}
	return text
}

// paragraph writes words as lines, with an indent for what a list says.
func (p Page) paragraph(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	indent := ""
	if strings.HasPrefix(text, "- ") {
		indent = "  "
	}
	at := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(visible.Replace(word))
		switch {
		case i == 0:
		case at+1+n > p.Width:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteString("\n\n")
}
