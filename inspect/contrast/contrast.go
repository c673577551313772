// SPDX-License-Identifier: Apache-2.0

// Package contrast says in what two containers, processes or configurations
// differ: by what it means for the isolation, and with the flag of `vitro run`
// that makes the difference.
//
// Both sides are brought to the same form first, a config.json: package config
// reads a process back into one, and an engine makes one of its flags. What is
// not isolation is not compared: the program, its environment, what is in the
// root file system.
package contrast

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/inspect"
	"vitro/inspect/process"
)

// A Side is one of the two.
type Side struct {
	Name string
	Spec *specs.Spec
	// ID is a container's, that is in paths and in its host name: it says
	// nothing, and is left out of the comparison.
	ID      string
	Links   []string // what its network has besides a loopback: "eth0"
	Filters int      // seccomp filters, if the specification is not all that is known
}

// A Difference is one thing in which the sides differ.
type Difference struct {
	Topic, Item string
	A, B        string
	Flag        string // makes of A what B has: "--network=host"; "" if no flag does
}

// Process is the side that a process is, read back.
func Process(name string, p *process.Process, s *specs.Spec) *Side {
	side := &Side{Name: name, Spec: s, Filters: p.Filters}
	if p.Container != nil {
		side.ID = p.Container.ID
	}
	for _, l := range p.Links {
		if l.Type != "loopback" && l.Name != "lo" {
			side.Links = append(side.Links, l.Name)
		}
	}
	return side
}

// topics are what is compared, in the order in which it is told.
var topics = [...]struct {
	name    string
	compare func(*comparison)
}{
	{"namespaces", (*comparison).namespaces},
	{"users", (*comparison).users},
	{"capabilities", (*comparison).capabilities},
	{"seccomp", (*comparison).seccomp},
	{"rights", (*comparison).rights},
	{"root", (*comparison).root},
	{"mounts", (*comparison).mounts},
	{"hidden paths", (*comparison).paths},
	{"devices", (*comparison).devices},
	{"limits", (*comparison).limits},
	{"ulimits", (*comparison).ulimits},
	{"kernel", (*comparison).parameters},
	{"network", (*comparison).network},
}

// comparison collects differences.
type comparison struct {
	a, b  *Side
	topic string
	list  []Difference
}

// Compare lists the differences. It is pure.
func Compare(a, b *Side) []Difference {
	c := &comparison{a: full(a), b: full(b)}
	for _, t := range topics {
		c.topic = t.name
		t.compare(c)
	}
	return c.list
}

// full is a side without missing parts, so that none has to be asked for.
func full(s *Side) *Side {
	out := *s
	spec := specs.Spec{}
	if s.Spec != nil {
		spec = *s.Spec
	}
	process, linux, root := specs.Process{}, specs.Linux{}, specs.Root{}
	if spec.Process != nil {
		process = *spec.Process
	}
	if spec.Linux != nil {
		linux = *spec.Linux
	}
	if spec.Root != nil {
		root = *spec.Root
	}
	if process.Capabilities == nil {
		process.Capabilities = &specs.LinuxCapabilities{}
	}
	if linux.Resources == nil {
		linux.Resources = &specs.LinuxResources{}
	}
	spec.Process, spec.Linux, spec.Root = &process, &linux, &root
	out.Spec = &spec
	return &out
}

// differ notes a difference, if there is one.
func (c *comparison) differ(item, a, b, flag string) {
	if a != b {
		c.list = append(c.list, Difference{c.topic, item, a, b, flag})
	}
}

// Text shows differences, as a table. Many of a kind, with one flag for each,
// are one line, if not all are asked for.
func Text(w io.Writer, a, b *Side, list []Difference, all bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "%s and %s are isolated alike\n", show(a.Name), show(b.Name))
		return err
	}
	rows := [][]string{{"", "", show(a.Name), show(b.Name), "flag"}}
	topic := ""
	for i := 0; i < len(list); {
		d, alike := list[i], 1
		for !all && i+alike < len(list) && d.kin(list[i+alike]) {
			alike++
		}
		if alike > few {
			d.Item += fmt.Sprintf(" and %d more", alike-1)
			d.Flag = d.flagKind()
		} else {
			alike = 1
		}
		i += alike
		name := d.Topic
		if name == topic {
			name = ""
		}
		topic = d.Topic
		rows = append(rows, []string{name, show(d.Item), show(d.A), show(d.B), show(d.Flag)})
	}
	return table(w, rows)
}

// few is how many differences of a kind have a line of their own.
const few = 4

// kin reports whether two differences are of a kind.
func (d Difference) kin(o Difference) bool {
	return d.Topic == o.Topic && d.A == o.A && d.B == o.B && d.flagKind() == o.flagKind() && strings.Contains(d.Item, " ") == strings.Contains(o.Item, " ")
}

// flagKind is a flag for several: without what is one's own.
func (d Difference) flagKind() string {
	name, value, _ := strings.Cut(d.Flag, " ")
	if name == "--cap-add" || name == "--cap-drop" || name == "--device" {
		return name + " " + map[bool]string{true: "PATH", false: "NAME"}[strings.HasPrefix(value, "/")]
	}
	return d.Flag
}

func table(w io.Writer, rows [][]string) error {
	var widths [5]int
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			fmt.Fprintf(&line, "%s%s  ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// show is foreign text, escaped and cut.
func show(text string) string {
	const most = 64
	text = inspect.Printable(text[:min(len(text), 4*most)])
	if utf8.RuneCountInString(text) > most {
		return string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// sets compares two lists as sets: what is in one only.
func (c *comparison) sets(item string, a, b []string, flag func(name string, inB bool) string) {
	for _, name := range a {
		if !slices.Contains(b, name) {
			c.differ(item+name, "yes", "no", flag(name, false))
		}
	}
	for _, name := range b {
		if !slices.Contains(a, name) {
			c.differ(item+name, "no", "yes", flag(name, true))
		}
	}
}
