// SPDX-License-Identifier: Apache-2.0

package format

import (
	"strings"
	"unicode"
)

// A column of a table is as wide as its widest cell and three blanks, and ten at least.
const (
	columnGap = 3
	columnMin = 10
)

// align makes columns of lines whose cells end with tabs. What stands behind
// a line's last tab is in no column.
func align(text string) string {
	var widths []int
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "\t")
		for i, c := range cells[:len(cells)-1] {
			if i == len(widths) {
				widths = append(widths, columnMin)
			}
			widths[i] = max(widths[i], Width(c)+columnGap)
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "\t")
		last := len(cells) - 1
		for i, c := range cells[:last] {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-Width(c)))
		}
		b.WriteString(cells[last])
	}
	return b.String()
}

// Width is how many places of a terminal a text takes.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// wide are the ranges whose letters take two places: Unicode's East Asian
// Width W and F (UAX 11), the larger blocks.
var wide = [...][2]rune{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x2329, 0x232a}, {0x23e9, 0x23ec}, {0x25fd, 0x25fe}, {0x2614, 0x2615},
	{0x2648, 0x2653}, {0x2e80, 0x303e}, {0x3041, 0x33ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf},
	{0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6},
	{0x17000, 0x18cff}, {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	for _, w := range wide {
		if w[0] <= r && r <= w[1] {
			return 2
		}
	}
	return 1
}

// Ellipsis cuts a text off to a width, with … at its end if something is missing.
func Ellipsis(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}
