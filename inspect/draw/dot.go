// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"
	"io"
	"strings"

	"vitro/inspect"
)

// colours of the kinds: of the frame, and of what is in it.
var colours = [...]struct{ line, fill string }{
	inspect.User:    {"#5b6770", "#f4f6f7"},
	inspect.Mount:   {"#a8611c", "#fdf1e3"},
	inspect.PID:     {"#2c6e49", "#e6f4ec"},
	inspect.Network: {"#1f5f99", "#e4f0fa"},
	inspect.IPC:     {"#7a3e9d", "#f4eaf9"},
	inspect.UTS:     {"#8a7400", "#fbf7dc"},
	inspect.Cgroup:  {"#9d2f3f", "#fbe8ea"},
	inspect.Time:    {"#33737d", "#e3f3f5"},
}

// DOT shows a tree in the language of Graphviz (dot -Tsvg): a frame for each
// user namespace, around what it owns.
func DOT(w io.Writer, t *inspect.Tree) error {
	var b strings.Builder
	b.WriteString("digraph namespaces {\n\trankdir=LR;\n\tnode [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=10];\n" +
		"\tgraph [fontname=\"sans-serif\", fontsize=11, style=rounded, compound=true];\n\tedge [color=\"#5b6770\"];\n")
	for _, n := range t.Roots {
		dotNode(&b, n, "\t")
	}
	// PID namespaces are in each other, whoever owns them.
	known := make(map[uint64]bool)
	t.Nodes(func(n *inspect.Node, _ int) { known[n.ID] = true })
	t.Nodes(func(n *inspect.Node, _ int) {
		if n.Kind == inspect.PID && n.Parent != 0 && known[n.Parent] {
			fmt.Fprintf(&b, "\tn%d -> n%d;\n", n.Parent, n.ID)
		}
	})
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func dotNode(b *strings.Builder, n *inspect.Node, lead string) {
	colour := colours[n.Kind]
	if n.Kind != inspect.User {
		fmt.Fprintf(b, "%sn%d [label=%s, color=%q, fillcolor=%q];\n", lead, n.ID, dotText(label(n)), colour.line, colour.fill)
		for _, child := range n.Children {
			dotNode(b, child, lead)
		}
		return
	}
	fmt.Fprintf(b, "%ssubgraph cluster_%d {\n%s\tlabel=%s; color=%q; labeljust=l;\n", lead, n.ID, lead, dotText(label(n)), colour.line)
	if len(n.Children) == 0 { // a frame needs something in it to be seen
		fmt.Fprintf(b, "%s\tn%d [label=\"owns none\", style=dashed, color=%q];\n", lead, n.ID, colour.line)
	}
	for _, child := range n.Children {
		dotNode(b, child, lead+"\t")
	}
	fmt.Fprintf(b, "%s}\n", lead)
}

// label is what stands in a namespace's box, a line each.
func label(n *inspect.Node) []string {
	lines := []string{head(n)}
	if text := summary(n); text != "" {
		lines = append(lines, text)
	}
	return append(lines, details(n)...)
}

// dotText quotes lines as DOT has it: a backslash and a quote are escaped, and
// each line ends with \l, which aligns it at the left.
func dotText(lines []string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, line := range lines {
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(line))
		b.WriteString(`\l`)
	}
	b.WriteByte('"')
	return b.String()
}
