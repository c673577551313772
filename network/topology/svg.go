// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strings"
)

// Measures, in pixels.
const (
	svgWidth  = 1240
	svgMargin = 24
	lineStep  = 16
	character = 6.7 // of the small type, which is a monospaced one
	trunkX    = svgMargin + 22
	gridX     = trunkX + 40
)

// engineColours are those of the cards' edges.
var engineColours = [...]struct{ engine, colour string }{
	{"host", "#374151"}, {"vitro", "#0f766e"}, {"docker", "#1d63ed"}, {"podman", "#892ca0"}, {"containerd", "#b45309"}, {"nerdctl", "#b45309"},
	{"cri-o", "#b91c1c"}, {"lxc", "#c2410c"}, {"machine", "#4d7c0f"},
}

func colour(engine string) string {
	for _, e := range engineColours {
		if e.engine == engine {
			return e.colour
		}
	}
	return "#6b7280"
}

// A canvas collects the elements. Lines come first, for cards to lie on them.
type canvas struct{ lines, cards strings.Builder }

// escape makes text harmless in markup.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(s)
}

func (c *canvas) text(x, y int, class, s string) {
	fmt.Fprintf(&c.cards, "<text x=\"%d\" y=\"%d\" class=%q>%s</text>\n", x, y, class, escape(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 int) {
	fmt.Fprintf(&c.lines, "<path d=\"M%d %dL%d %d\" class=%q/>\n", x1, y1, x2, y2, class)
}

// card draws one, and returns its height.
func (c *canvas) card(x, y, width int, card *Card, lines []string, again bool) int {
	room := int(float64(width-24) / character)
	height := 40 + lineStep*len(lines) + 8
	class := "card"
	if again {
		class = "card again"
	}
	fmt.Fprintf(&c.cards, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\" class=%q/>\n", x, y, width, height, class)
	fmt.Fprintf(&c.cards, "<rect x=\"%d\" y=\"%d\" width=\"4\" height=\"%d\" rx=\"2\" fill=%q/>\n", x+6, y+8, height-16, colour(card.Engine))
	c.text(x+18, y+20, "title", short(card.Title, room*8/10))
	c.text(x+18, y+35, "sub", short(card.Sub, room))
	for i, l := range lines {
		c.text(x+18, y+52+lineStep*i, "line", short(l, room))
	}
	return height
}

// SVG draws the picture for a browser, without scripts and without anything from elsewhere.
func (p *Picture) SVG() string {
	c := &canvas{}
	y := svgMargin
	y += c.card(svgMargin, y, svgWidth-2*svgMargin, p.Host, p.Host.Lines, false)
	trunk, bottom := y, y
	for i := range p.Bands {
		y += 26
		bottom = y + 14
		y = c.band(y, &p.Bands[i])
	}
	if len(p.Bands) > 0 {
		c.line("trunk", trunkX, trunk, trunkX, bottom)
	}
	if len(p.Lone) > 0 {
		y += 34
		c.text(svgMargin, y, "band", "by themselves")
		y = c.grid(y+12, p.Lone)
	}
	for _, u := range p.Unseen {
		y += 24
		c.text(svgMargin, y, "sub", "not seen: "+u)
	}
	y += svgMargin
	return fmt.Sprintf(svgHead, svgWidth, y, svgWidth, y) + c.lines.String() + c.cards.String() + "</svg>\n"
}

// band draws a bridge as a rail, from which its ports hang, and returns where it ends.
func (c *canvas) band(y int, b *Band) int {
	c.line("trunk", trunkX, y+14, gridX-8, y+14)
	label := short(b.Name, 40)
	width := int(float64(len([]rune(label)))*8.2) + 24
	fmt.Fprintf(&c.cards, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"28\" rx=\"14\" class=\"pill\"/>\n", gridX-8, y, width)
	c.text(gridX+4, y+19, "pilltext", label)
	c.text(gridX+width+2, y+19, "band", short(b.summary(), 130))
	y += 28
	columns, small := 4, len(b.Ports) > 24
	if small {
		columns = 6
	}
	gap := 14
	cell := (svgWidth - svgMargin - gridX - (columns-1)*gap) / columns
	railX := gridX + 4
	for start := 0; start < len(b.Ports); start += columns {
		row := b.Ports[start:min(start+columns, len(b.Ports))]
		rail := y + 12
		c.line("rail", railX, y, railX, rail)
		tallest := 0
		for i := range row {
			x := gridX + i*(cell+gap)
			middle := x + 22
			class := "cable"
			if row[i].Down {
				class = "cable down"
			}
			c.line("rail", railX, rail, middle, rail)
			c.line(class, middle, rail, middle, rail+22)
			c.text(middle+6, rail+15, "end", short(row[i].Outer+" – "+row[i].Inner, int(float64(cell-30)/6)))
			tallest = max(tallest, c.port(x, rail+22, cell, &row[i], small))
		}
		end := rail + 22 + tallest
		if start+columns < len(b.Ports) {
			c.line("rail", railX, rail, railX, end+4)
		}
		y = end + 4
	}
	return y
}

// port draws what a cable leads to.
func (c *canvas) port(x, y, width int, p *Port, small bool) int {
	if p.Card == nil {
		fmt.Fprintf(&c.cards, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" class=\"open\"/>\n", x+22, y+4)
		return 12
	}
	lines := p.Addresses
	card := *p.Card
	switch {
	case card.Engine == "host" || p.Again:
		card.Sub = "see above"
	case small:
		card.Sub = strings.Join(p.Addresses, " ")
		lines = nil
	default:
		lines = append(append([]string(nil), p.Addresses...), card.Lines...)
	}
	return c.card(x, y, width, &card, lines, p.Again || card.Engine == "host")
}

// grid draws cards that nothing leads to.
func (c *canvas) grid(y int, cards []*Card) int {
	const columns, gap = 4, 14
	width := (svgWidth - 2*svgMargin - (columns-1)*gap) / columns
	for start := 0; start < len(cards); start += columns {
		tallest := 0
		for i, card := range cards[start:min(start+columns, len(cards))] {
			tallest = max(tallest, c.card(svgMargin+i*(width+gap), y, width, card, card.Lines, false))
		}
		y += tallest + gap
	}
	return y
}

const svgHead = `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<style>
text{font:11px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#1f2937}
.title{font:600 14px system-ui,"DejaVu Sans",sans-serif;fill:#111827}
.sub{font-size:10px;fill:#6b7280}.end{font-size:10px;fill:#4b5563}
.band{font:12px system-ui,"DejaVu Sans",sans-serif;fill:#4b5563}
.pilltext{font:600 13px ui-monospace,"DejaVu Sans Mono",monospace;fill:#fff}
.pill{fill:#334155}.card{fill:#fff;stroke:#cbd5e1}.again{fill:#f8fafc;stroke-dasharray:4 3}
path{fill:none;stroke:#94a3b8;stroke-width:2}.trunk{stroke:#334155;stroke-width:3}.rail{stroke:#334155;stroke-width:2}
.down{stroke:#dc2626;stroke-dasharray:4 3}.open{fill:#fff;stroke:#94a3b8;stroke-width:2}
</style>
<rect width="100%%" height="100%%" fill="#f1f5f9"/>
`
