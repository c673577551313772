// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	units "github.com/docker/go-units"

	"vitro/inspect"
	"vitro/plan"
)

// page is a text in chapters: a name at the left, lines beside it.
type page struct{ b strings.Builder }

const nameWidth = 14

func (t *page) line(name, format string, args ...any) {
	fmt.Fprintf(&t.b, "%-*s %s\n", nameWidth, name, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// Text shows a process to a person. All that is foreign in it is escaped.
func (p *Process) Text(w io.Writer) error {
	t := &page{}
	for _, chapter := range [...]func(*Process, *page){
		names, levels, users, namespacesText, powers, security, cgroupsText, limitsText, filesText, mountsText, networkText,
	} {
		chapter(p, t)
	}
	for _, m := range p.Missing {
		t.line("not seen", "%s", inspect.Printable(m))
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

func clean(text string) string {
	const most = 200
	text = inspect.Printable(text[:min(len(text), 4*most)])
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}

func names(p *Process, t *page) {
	t.line("process", "%d  %s", p.PID, clean(strings.Join(p.Args, " ")))
	t.line("", "name %s, program %s", clean(p.Name), clean(p.Exe))
	if p.Container != nil {
		t.line("container", "%s", clean(p.Container.String()))
	}
}

// levels show the process's numbers in both directions.
func levels(p *Process, t *page) {
	for i, l := range p.Levels {
		name := ""
		if i == 0 {
			name = "PID"
		}
		where := "in a PID namespace outside of view"
		if l.Namespace != 0 {
			where = fmt.Sprintf("in pid %d", l.Namespace)
			if inspect.IsInitial(inspect.PID, l.Namespace) {
				where += ", the machine's first"
			}
		}
		switch {
		case len(p.Levels) == 1:
		case i == len(p.Levels)-1:
			where += ": what it calls itself"
		case i == 0:
			where += ": what we call it"
		}
		t.line(name, "%d %s", l.PID, where)
	}
	if len(p.Levels) > 1 {
		var inwards, outwards []string
		for _, l := range p.Levels {
			inwards = append(inwards, strconv.Itoa(l.PID))
			outwards = append([]string{strconv.Itoa(l.PID)}, outwards...)
		}
		t.line("", "inwards %s, outwards %s", strings.Join(inwards, " → "), strings.Join(outwards, " → "))
	}
}

func users(p *Process, t *page) {
	who := func(ranges []inspect.Range, id uint32) string {
		in, ok := Inside(ranges, id)
		switch {
		case ranges == nil:
			return strconv.FormatUint(uint64(id), 10)
		case !ok:
			return fmt.Sprintf("%d (unmapped inside)", id)
		case in == id:
			return strconv.FormatUint(uint64(id), 10)
		}
		return fmt.Sprintf("%d (inside %d)", id, in)
	}
	for _, row := range [...]struct {
		name   string
		ids    [4]uint32
		ranges []inspect.Range
	}{{"user", p.UIDs, p.UIDMap}, {"group", p.GIDs, p.GIDMap}} {
		text := who(row.ranges, row.ids[1])
		if row.ids[0] != row.ids[1] || row.ids[2] != row.ids[1] || row.ids[3] != row.ids[1] {
			text += fmt.Sprintf(", real %s, saved %s, of files %s", who(row.ranges, row.ids[0]), who(row.ranges, row.ids[2]), who(row.ranges, row.ids[3]))
		}
		t.line(row.name, "%s", text)
	}
	var groups []string
	for _, g := range p.Groups {
		groups = append(groups, who(p.GIDMap, g))
	}
	if groups != nil {
		t.line("groups", "%s", strings.Join(groups, ", "))
	}
	if n := p.NamespaceOf(inspect.User); n != nil && !n.Shared {
		t.line("maps", "users %s, groups %s%s", ranges(p.UIDMap), ranges(p.GIDMap), map[bool]string{true: ", setgroups denied"}[p.SetgroupsDenied])
	}
}

func ranges(list []inspect.Range) string {
	var parts []string
	for _, r := range list {
		if r.Size == 1 {
			parts = append(parts, fmt.Sprintf("%d inside is %d outside", r.Inside, r.Outside))
		} else {
			parts = append(parts, fmt.Sprintf("%d–%d inside are %d–%d outside", r.Inside, r.Inside+r.Size-1, r.Outside, r.Outside+r.Size-1))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func label(n *Namespace) string { return fmt.Sprintf("%s %d", n.Kind, n.ID) }

func namespacesText(p *Process, t *page) {
	for i := range p.Namespaces {
		n := &p.Namespaces[i]
		name := ""
		if i == 0 {
			name = "namespaces"
		}
		text := "its own"
		switch {
		case n.Initial:
			text = "the machine's first"
		case n.Shared:
			text = "ours"
		}
		if n.Owner != 0 && !n.Initial {
			text += fmt.Sprintf(", owned by user %d", n.Owner)
			if n.Kind == inspect.User {
				text = strings.Replace(text, "owned by", "below", 1)
			}
		}
		t.line(name, "%-18s %s", label(n), text)
	}
	if p.Hostname != "" {
		t.line("", "host name %s", clean(p.Hostname))
	}
	for _, o := range p.Offsets {
		t.line("", "clock %s is %+d.%09d s", o.Clock, o.Seconds, o.Nanos)
	}
}

func powers(p *Process, t *page) {
	for i, s := range [...]struct {
		name string
		set  plan.CapSet
	}{
		{"effective", p.Capabilities.Effective}, {"permitted", p.Capabilities.Permitted}, {"inheritable", p.Capabilities.Inheritable},
		{"bounding", p.Capabilities.Bounding}, {"ambient", p.Capabilities.Ambient},
	} {
		name := ""
		if i == 0 {
			name = "capabilities"
		}
		t.line(name, "%-12s %s", s.name, s.set)
	}
	for i, w := range p.Powers() {
		name := ""
		if i == 0 {
			name = "they hold over"
		}
		text := "nothing: "
		switch {
		case p.Capabilities.Effective == 0:
			text += "it has none"
		case !w.Held && w.Owner != 0:
			text += fmt.Sprintf("user %d owns it, which is outside of the process's own", w.Owner)
		case !w.Held:
			text += "that takes those of the first user namespace"
		case w.Has == 0:
			text += "it has none for " + w.Means
		default:
			text = fmt.Sprintf("%s, by %s", w.Means, w.Has)
		}
		t.line(name, "%-18s %s", w.Over, text)
	}
}

func security(p *Process, t *page) {
	text := [...]string{"none", "strict: read, write, exit, sigreturn"}
	switch {
	case p.Seccomp == 2:
		t.line("seccomp", "%s", count(p.Filters, "filter"))
	case p.Seccomp >= 0 && p.Seccomp < len(text):
		t.line("seccomp", "%s", text[p.Seccomp])
	}
	yes := map[bool]string{true: "set: no exec gives it more rights", false: "not set"}
	t.line("no_new_privs", "%s", yes[p.NoNewPrivs])
	if p.Label != "" {
		t.line("label", "%s %s", clean(p.LabelOf), clean(p.Label))
	}
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func cgroupsText(p *Process, t *page) {
	for i, c := range p.Cgroups {
		name := ""
		if i == 0 {
			name = "cgroups"
		}
		version := "v1"
		if c.V2 {
			version = "v2"
		}
		t.line(name, "%s %-22s %s", version, strings.Join(c.Controllers, ","), clean(c.Path))
		for _, v := range c.Values {
			text := ""
			if v.IsSet() {
				text = "limit " + amount(v.Name, v.Value)
				if v.From != "" {
					text += " (of " + clean(v.From) + ")"
				}
			}
			if v.Use != "" {
				if text != "" {
					text += ", "
				}
				text += "used " + amount(v.Name, v.Use)
			}
			if text != "" {
				t.line("", "   %-22s %s", v.Name, text)
			}
		}
	}
}

// amount shows a gauge's value as people read it.
func amount(name, value string) string {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case err != nil:
		return clean(strings.Join(strings.Fields(value), " "))
	case strings.HasPrefix(name, "memory."):
		return units.BytesSize(float64(n))
	case name == "cpu.time":
		return fmt.Sprintf("%.2f s", float64(n)/1e9)
	}
	return value
}

func limitsText(p *Process, t *page) {
	number := func(n uint64) string {
		if n == Unlimited {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	first := "limits"
	for _, l := range p.Limits {
		if l.Soft == Unlimited && l.Hard == Unlimited {
			continue
		}
		text := number(l.Soft)
		if l.Hard != l.Soft {
			text += ", at most " + number(l.Hard)
		}
		t.line(first, "%-12s %s", strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), text)
		first = ""
	}
	if p.OOMScoreAdj != 0 {
		t.line("oom_score_adj", "%d", p.OOMScoreAdj)
	}
}

func filesText(p *Process, t *page) {
	t.line("root", "%s", rootText(p))
	t.line("folder", "%s, umask %04o", clean(p.Cwd), p.Umask)
}

func rootText(p *Process) string {
	m := p.RootMount()
	if m == nil {
		return clean(p.Root)
	}
	text := fmt.Sprintf("%s of %s (%s %s)", clean(m.Root), clean(m.Source), clean(m.Type), m.Device)
	if p.Root != "/" && p.Root != "" {
		text = clean(p.Root) + ", in " + text
	}
	for _, o := range m.Super {
		if key, value, ok := strings.Cut(o, "="); ok && (key == "lowerdir" || key == "upperdir" || key == "lowerdir+") {
			text += fmt.Sprintf("\n%-*s   %s %s", nameWidth, "", key, clean(value))
		}
	}
	return text
}

func mountsText(p *Process, t *page) {
	points := make(map[int]string)
	for _, m := range p.Mounts {
		points[m.ID] = m.Point
	}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		name := ""
		if i == 0 {
			name = "mounts"
		}
		text := fmt.Sprintf("%s  %s", clean(m.Point), clean(m.Type))
		if m.Root != "/" {
			text += " (" + clean(m.Root) + ")"
		}
		text += " " + clean(strings.Join(m.Options, ","))
		share := "private"
		if len(m.Propagation) > 0 {
			share = clean(strings.Join(m.Propagation, " "))
		}
		text += ", " + share
		if m.Hidden != 0 {
			text += ", hidden under the one on " + clean(points[m.Hidden])
		}
		t.line(name, "%s", text)
	}
}

func networkText(p *Process, t *page) {
	for i, l := range p.Links {
		name := ""
		if i == 0 {
			name = "network"
		}
		parts := []string{clean(l.Name)}
		for _, part := range [...]string{l.Type, l.State, strings.Join(l.Addresses, " ")} {
			if part != "" && part != "unknown" {
				parts = append(parts, clean(part))
			}
		}
		if l.Master != "" {
			parts = append(parts, "in bridge "+clean(l.Master))
		}
		text := strings.Join(parts, ", ")
		if q := l.Peer; q != nil {
			other := clean(q.Name)
			if other == "" {
				other = fmt.Sprintf("link %d", q.Index)
			}
			text += ", its other end is " + other
			if q.Master != "" {
				text += " in bridge " + clean(q.Master)
			}
			if q.Whose != "" {
				text += " of " + clean(q.Whose)
			} else if q.Namespace == 0 && q.Name == "" {
				text += " of a network that can't be seen from here"
			}
		}
		t.line(name, "%s", text)
	}
}
