// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"vitro/inspect"
)

// The picture's measures, in pixels.
const (
	boxWidth   = 128
	boxHeight  = 36
	gap        = 8
	lineHeight = 15
	titleSpace = 20
	margin     = 14
	charWidth  = 6.4 // of the font, at its widest usual letters
)

// SVG shows a tree as a picture: a frame for each user namespace, and in it a
// row of boxes for each group of processes that share their namespaces. In a
// tree of PID namespaces the frames are those.
func SVG(w io.Writer, t *inspect.Tree) error {
	c := &canvas{}
	y, width := margin, 0
	for _, f := range c.frames(t) {
		f.place(margin, y)
		y += f.height + gap
		width = max(width, f.width)
		f.draw(c)
	}
	for _, line := range hidden(t.Hidden) {
		c.text(margin, y+lineHeight, "note", line, 0)
		width = max(width, textWidth(line))
		y += lineHeight
	}
	y += margin
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Verdana, sans-serif" font-size="11">
<title>namespaces of this machine</title>
<style>.b{font-weight:bold}.small,.note{font-size:10px;fill:#444}.small{font-family:DejaVu Sans Mono,monospace;font-size:9px}rect{stroke-width:1.2}</style>
<rect width="100%%" height="100%%" fill="#ffffff"/>
`, width+2*margin, y, width+2*margin, y)
	_, err := io.WriteString(w, head+c.b.String()+"</svg>\n")
	return err
}

// canvas collects what is drawn.
type canvas struct{ b strings.Builder }

func (c *canvas) rect(x, y, w, h, radius int, line, fill string) {
	fmt.Fprintf(&c.b, `<rect x="%d" y="%d" width="%d" height="%d" rx="%d" stroke="%s" fill="%s"/>`+"\n", x, y, w, h, radius, line, fill)
}

// text draws a line, cut to a width if it has one. Markup in it is text.
func (c *canvas) text(x, y int, class, text string, width int) {
	if most := int(float64(width) / charWidth); width > 0 && utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:max(0, most-1)]) + "…"
	}
	fmt.Fprintf(&c.b, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, markup(text))
}

// markup escapes what XML would take for its own.
func markup(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(text)
}

func textWidth(text string) int { return int(charWidth * float64(utf8.RuneCountInString(text)+2)) }

// A frame is a namespace with others in it.
type frame struct {
	node                *inspect.Node
	title               []string
	rows                []*row
	inner               []*frame
	x, y, width, height int
}

// A row is a group of processes, and the namespaces that they share.
type row struct {
	title []string
	boxes []*inspect.Node
}

func (c *canvas) frames(t *inspect.Tree) []*frame {
	var frames []*frame
	var rest []*inspect.Node
	for _, n := range t.Roots {
		if t.ByPID || n.Kind == inspect.User {
			frames = append(frames, newFrame(n, t.ByPID))
		} else {
			rest = append(rest, n)
		}
	}
	if rest != nil { // the owner is not in the picture
		f := &frame{rows: rows(rest)}
		f.measure()
		frames = append(frames, f)
	}
	return frames
}

func newFrame(n *inspect.Node, byPID bool) *frame {
	f := &frame{node: n, title: label(n)}
	var owned []*inspect.Node
	for _, child := range n.Children {
		if byPID || child.Kind == inspect.User {
			f.inner = append(f.inner, newFrame(child, byPID))
		} else {
			owned = append(owned, child)
		}
	}
	f.rows = rows(owned)
	f.measure()
	return f
}

// rows puts those namespaces beside each other that the same process is the
// first of.
func rows(list []*inspect.Node) (out []*row) {
	first := func(n *inspect.Node) int {
		switch {
		case n.Initial:
			return -1
		case len(n.Processes) > 0:
			return n.Processes[0]
		}
		return 1 << 30
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *inspect.Node) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(a.Kind, b.Kind))
	})
	for i, n := range list {
		if i == 0 || first(n) != first(list[i-1]) || first(n) == 1<<30 && len(out[len(out)-1].boxes) == int(inspect.Time)+1 {
			out = append(out, &row{title: []string{rowTitle(n)}})
		}
		r := out[len(out)-1]
		r.boxes = append(r.boxes, n)
		for _, line := range Held(n.Namespace) {
			if len(r.title) < 6 {
				r.title = append(r.title, head(n)+": "+line)
			}
		}
	}
	return out
}

func rowTitle(n *inspect.Node) string {
	switch {
	case n.Initial:
		return "the machine's first"
	case len(n.Members) > 0:
		if who := Containers(n); who != "" {
			return who + ": " + member(n.Members[0])
		}
		return member(n.Members[0])
	case len(n.Processes) > 0:
		return fmt.Sprintf("process %d", n.Processes[0])
	}
	return "no process is in these"
}

// measure finds out how large the frame is.
func (f *frame) measure() {
	f.height = margin
	for _, line := range f.title {
		f.height += lineHeight
		f.width = max(f.width, min(textWidth(line), 900))
	}
	for _, r := range f.rows {
		f.height += len(r.title)*lineHeight + boxHeight + gap + 4
		f.width = max(f.width, len(r.boxes)*(boxWidth+gap)-gap)
		for _, line := range r.title {
			f.width = max(f.width, min(textWidth(line), 900))
		}
	}
	for _, in := range f.inner {
		f.height += in.height + gap
		f.width = max(f.width, in.width)
	}
	f.width += 2 * margin
	f.height += gap
}

func (f *frame) place(x, y int) { f.x, f.y = x, y }

func (f *frame) draw(c *canvas) {
	colour := colours[inspect.User]
	if f.node != nil {
		colour = colours[f.node.Kind]
	}
	c.rect(f.x, f.y, f.width, f.height, 10, colour.line, colour.fill)
	y := f.y + margin
	for i, line := range f.title {
		class := "b"
		if i > 0 {
			class = "note"
		}
		c.text(f.x+margin, y+4, class, line, f.width-2*margin)
		y += lineHeight
	}
	for _, r := range f.rows {
		for i, line := range r.title {
			class := "small"
			if i == 0 {
				class = "t"
			}
			c.text(f.x+margin, y+8, class, line, f.width-2*margin)
			y += lineHeight
		}
		x := f.x + margin
		for _, n := range r.boxes {
			c.box(x, y, n)
			x += boxWidth + gap
		}
		y += boxHeight + gap + 4
	}
	for _, in := range f.inner {
		in.place(f.x+margin, y)
		in.draw(c)
		y += in.height + gap
	}
}

// box draws one namespace.
func (c *canvas) box(x, y int, n *inspect.Node) {
	colour := colours[n.Kind]
	c.rect(x, y, boxWidth, boxHeight, 5, colour.line, colour.fill)
	c.text(x+7, y+15, "b", n.Kind.String(), 0)
	c.text(x+58, y+15, "small", fmt.Sprint(n.ID), 0)
	count := plural(len(n.Processes), "process")
	if len(n.Processes) == 0 {
		count = "no process"
	}
	c.text(x+7, y+29, "note", count, boxWidth-12)
}
