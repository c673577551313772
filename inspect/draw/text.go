// SPDX-License-Identifier: Apache-2.0

// Package draw shows trees of namespaces: as text, as JSON, in Graphviz's
// language, and as a picture.
//
// Commands, cgroups and mount points are foreign text: in the forms for people
// they are escaped (inspect.Printable) and cut to a bounded length, in JSON
// they are as they are.
package draw

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"vitro/inspect"
)

// commandLength is how much of a command line is shown.
const commandLength = 60

// Text shows a tree with lines between what belongs together.
func Text(w io.Writer, t *inspect.Tree) error {
	var b strings.Builder
	width := 0
	t.Nodes(func(n *inspect.Node, depth int) { width = max(width, 3*depth+len(head(n))) })
	var walk func(list []*inspect.Node, lead string, top bool)
	walk = func(list []*inspect.Node, lead string, top bool) {
		for i, n := range list {
			branch, below := "├─ ", "│  "
			if i == len(list)-1 {
				branch, below = "└─ ", "   "
			}
			if top {
				branch, below = "", ""
			}
			front := lead + branch + head(n)
			line := front + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(front))) + "  " + summary(n)
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			inner := lead + below
			bar := "   "
			if len(n.Children) > 0 {
				bar = "│  "
			}
			for _, line := range details(n) {
				fmt.Fprintf(&b, "%s%s     %s\n", inner, bar, line)
			}
			walk(n.Children, inner, false)
		}
	}
	walk(t.Roots, "", true)
	for _, line := range hidden(t.Hidden) {
		fmt.Fprintf(&b, "\n%s", line)
	}
	if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON shows the namespaces of a tree, and the processes in them, for programs.
func JSON(w io.Writer, t *inspect.Tree) error {
	s := inspect.Snapshot{Hidden: t.Hidden, Namespaces: []*inspect.Namespace{}, Processes: []*inspect.Process{}}
	seen := make(map[int]bool)
	t.Nodes(func(n *inspect.Node, _ int) {
		s.Namespaces = append(s.Namespaces, n.Namespace)
		for _, p := range n.Members {
			if !seen[p.PID] {
				seen[p.PID] = true
				s.Processes = append(s.Processes, p)
			}
		}
	})
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(&s)
}

func head(n *inspect.Node) string { return fmt.Sprintf("%s %d", n.Kind, n.ID) }

// summary is what is said of a namespace in its line.
func summary(n *inspect.Node) string {
	var parts []string
	if n.Initial {
		parts = append(parts, "the machine's first")
	}
	if n.Kind == inspect.User && !n.Initial {
		parts = append(parts, owner(n.Namespace))
	}
	if who := Containers(n); who != "" {
		parts = append(parts, who)
	}
	switch count := len(n.Processes); {
	case n.Above:
	case !n.Chosen && len(n.Members) == 1:
		text := member(n.Members[0])
		if n.More > 0 {
			text += fmt.Sprintf(" and %d more", n.More)
		}
		parts = append(parts, text)
	case count > 0:
		parts = append(parts, plural(count, "process"))
	default:
		parts = append(parts, "no process")
	}
	return strings.Join(parts, ", ")
}

// Containers are the containers of a namespace's processes, but not units of
// systemd where there are several: those are what a machine is made of.
func Containers(n *inspect.Node) string {
	var names []string
	for _, c := range n.Containers {
		if n.Initial && len(n.Containers) > 1 {
			continue
		}
		names = append(names, inspect.Printable(c.String()))
	}
	return strings.Join(names, " ")
}

func owner(n *inspect.Namespace) string {
	text := "made by a user outside of view"
	if n.UID != nil {
		text = fmt.Sprintf("made by UID %d", *n.UID)
	}
	if len(n.UIDMap) > 0 {
		text += ", UIDs " + Ranges(n.UIDMap) + ", GIDs " + Ranges(n.GIDMap)
	}
	return text
}

// Ranges shows a map of IDs, inside first: "0=100000+65536".
func Ranges(list []inspect.Range) string {
	var parts []string
	for i, r := range list {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		text := fmt.Sprintf("%d=%d", r.Inside, r.Outside)
		if r.Size > 1 {
			text += fmt.Sprintf("+%d", r.Size)
		}
		parts = append(parts, text)
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, " ")
}

// details are the lines below a namespace: its processes, if they were asked
// for, and what else holds it.
func details(n *inspect.Node) (lines []string) {
	if n.Above {
		return nil
	}
	if n.Chosen {
		for _, p := range n.Members {
			lines = append(lines, member(p))
		}
	}
	return append(lines, Held(n.Namespace)...)
}

// most is how many of the things of one sort that hold a namespace are named.
const most = 3

// Held says what holds a namespace besides processes that are in it.
func Held(n *inspect.Namespace) (lines []string) {
	add := func(count int, line func(i int) string) {
		for i := range min(most, count) {
			lines = append(lines, line(i))
		}
		if count > most {
			lines = append(lines, fmt.Sprintf("and %d more of these", count-most))
		}
	}
	next := len(n.Next)
	if len(n.Processes) > 0 {
		next = 0 // they are the children
	}
	add(next, func(i int) string { return fmt.Sprintf("for the children of process %d", n.Next[i]) })
	add(len(n.Threads), func(i int) string { return fmt.Sprintf("thread %d of process %d", n.Threads[i].TID, n.Threads[i].PID) })
	add(len(n.Mounts), func(i int) string {
		return fmt.Sprintf("mounted on %s in mnt %d", shorten(n.Mounts[i].Path), n.Mounts[i].In)
	})
	add(len(n.Descriptors), func(i int) string {
		return fmt.Sprintf("descriptor %d of process %d", n.Descriptors[i].FD, n.Descriptors[i].PID)
	})
	add(len(n.Sockets), func(i int) string {
		return fmt.Sprintf("socket %d of process %d", n.Sockets[i].FD, n.Sockets[i].PID)
	})
	if len(lines) == 0 && len(n.Processes) == 0 {
		if n.Kind == inspect.User || n.Kind == inspect.PID {
			return []string{"held by what it owns, or is above of"}
		}
		return []string{"nothing that was found holds it"}
	}
	return lines
}

func member(p *inspect.Process) string {
	text := fmt.Sprintf("%d %s", p.PID, shorten(p.Command()))
	if len(p.PIDs) > 1 {
		text += fmt.Sprintf(" (inside: %s)", Numbers(p.PIDs[1:]))
	}
	return text
}

// Numbers are numbers as words.
func Numbers(list []int) string { return strings.Trim(fmt.Sprint(list), "[]") }

// shorten makes foreign text fit to be shown.
func shorten(text string) string {
	if len(text) > 4*commandLength {
		text = text[:4*commandLength] // before it is looked at: it may be long
	}
	text = inspect.Printable(text)
	if utf8.RuneCountInString(text) > commandLength {
		runes := []rune(text)
		return string(runes[:commandLength-1]) + "…"
	}
	return text
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if strings.HasSuffix(word, "s") {
		return fmt.Sprintf("%d %ses", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// hidden says what could not be seen.
func hidden(h inspect.Hidden) (lines []string) {
	for _, row := range [...]struct {
		count int
		what  string
		text  string
	}{
		{h.Processes, "process", "could not be looked at"},
		{h.Files, "process", "did not show what they have open"},
		{h.Mounts, "mount namespace", "did not show what is mounted there"},
		{h.Relations, "namespace", "did not show who owns or contains them"},
	} {
		if row.count > 0 {
			lines = append(lines, fmt.Sprintf("note: %s %s", plural(row.count, row.what), row.text))
		}
	}
	switch {
	case lines == nil:
	case h.UID != 0:
		lines = append(lines, "note: run it as root to see more")
	default:
		lines = append(lines, "note: these have rights that this process lacks, or are outside of its namespaces")
	}
	return lines
}
