// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// few is how many ports of a band have room for a box each.
const few = 8

// boxWidth is the longest line in a box.
const boxWidth = 72

// Text draws the picture with characters.
func (p *Picture) Text() string {
	var b strings.Builder
	for _, l := range box(p.Host) {
		b.WriteString(l + "\n")
	}
	for i, band := range p.Bands {
		trunk := "  ║"
		if i == len(p.Bands)-1 {
			trunk = "   "
		}
		corner := "  ╠══ "
		if i == len(p.Bands)-1 {
			corner = "  ╚══ "
		}
		fmt.Fprintf(&b, "  ║\n%s%s ══ %s\n", corner, band.Name, band.summary())
		for j, port := range band.Ports {
			for _, l := range port.lines(j == len(band.Ports)-1, len(band.Ports) <= few) {
				b.WriteString(strings.TrimRight(trunk+"    "+l, " ") + "\n")
			}
		}
	}
	if len(p.Lone) > 0 {
		b.WriteString("\nby themselves:\n")
		for _, c := range p.Lone {
			fmt.Fprintf(&b, "  %s  (%s)  %s\n", c.Title, c.Sub, strings.Join(c.Lines, " · "))
		}
	}
	for _, u := range p.Unseen {
		b.WriteString("not seen: " + u + "\n")
	}
	return b.String()
}

func (b *Band) summary() string {
	if len(b.Ports) == 1 {
		return b.Detail + " · 1 port"
	}
	return fmt.Sprintf("%s · %d ports", b.Detail, len(b.Ports))
}

// box draws a card.
func box(c *Card) []string {
	width := utf8.RuneCountInString(c.Title) + 2
	lines := append([]string{c.Sub}, c.Lines...)
	for i, l := range lines {
		lines[i] = short(l, boxWidth)
		width = max(width, utf8.RuneCountInString(lines[i]))
	}
	width = min(width, boxWidth)
	title := short(c.Title, width-2)
	out := []string{"┌─ " + title + " " + strings.Repeat("─", width-1-utf8.RuneCountInString(title)) + "┐"}
	for _, l := range lines {
		out = append(out, "│ "+pad(l, width)+" │")
	}
	return append(out, "└"+strings.Repeat("─", width+2)+"┘")
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0)) }

// lines draws a cable and what it leads to.
func (p *Port) lines(last, boxes bool) []string {
	rail, corner := "│", "├─ "
	if last {
		rail, corner = " ", "└─ "
	}
	line := "──"
	if p.Down {
		line = "╌╌"
	}
	cable := corner + p.Outer + " " + line + " " + p.Inner
	if p.Down {
		cable += " (down)"
	}
	switch {
	case p.Card == nil:
		return []string{cable}
	case p.Card.Engine == "host":
		return []string{cable + "  " + p.Card.Title + "  " + strings.Join(p.Addresses, "  ")}
	case !boxes || p.Again:
		return []string{strings.TrimRight(cable+"  "+p.Card.Title+"  "+strings.Join(p.Addresses, "  "), " ") + "  " + short(p.Card.summary(), 60)}
	}
	c := *p.Card
	c.Lines = append(append([]string(nil), p.Addresses...), c.Lines...)
	rows := box(&c)
	indent := strings.Repeat(" ", utf8.RuneCountInString(cable))
	out := make([]string, len(rows))
	for i, r := range rows {
		switch i {
		case 0:
			out[i] = rail + indent + r
		case 1:
			out[i] = cable + " ┤" + strings.TrimPrefix(r, "│")
		default:
			out[i] = rail + indent + r
		}
	}
	return out
}

// summary is the card in a few words.
func (c *Card) summary() string {
	if len(c.Lines) == 0 {
		return c.Sub
	}
	return c.Lines[0] + " · " + c.Sub
}
