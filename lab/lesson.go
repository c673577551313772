// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"

	lessons "vitro/docs/lab"
)

// A Lesson is one text.
type Lesson struct {
	Number   int
	Name     string // "overlay"
	Title    string
	Question string
	Root     bool     // it can't be done without root
	Programs []string // that its commands use
	Text     string   // Markdown
}

// Lessons are all, in order.
func Lessons() ([]Lesson, error) {
	names, err := fs.Glob(lessons.Files, "*.md")
	if err != nil {
		return nil, err
	}
	list := make([]Lesson, 0, len(names))
	for _, n := range names {
		data, err := lessons.Files.ReadFile(n)
		if err != nil {
			return nil, err
		}
		l, err := parse(n, string(data))
		if err != nil {
			return nil, fmt.Errorf("read lesson %q: %w", n, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// Find is the lesson of a number or a name.
func Find(name string) (Lesson, error) {
	list, err := Lessons()
	if err != nil {
		return Lesson{}, err
	}
	n, _ := strconv.Atoi(name)
	for _, l := range list {
		if l.Name == name || l.Number == n && n > 0 {
			return l, nil
		}
	}
	return Lesson{}, &Error{fmt.Errorf("find lesson %q: there is none of this name or number", name), "vitro lab lists them"}
}

// parse reads a lesson: its head and its blocks have a fixed form.
func parse(file, text string) (Lesson, error) {
	var l Lesson
	l.Text = text
	number, name, ok := strings.Cut(strings.TrimSuffix(file, ".md"), "-")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || name == "" {
		return l, errors.New("its name is not NN-NAME.md")
	}
	l.Number, l.Name = n, name
	head, _, ok := strings.Cut(text, "\n## ")
	if !ok {
		return l, errors.New("it has no section")
	}
	for part := range strings.SplitSeq(head, "\n\n") {
		part = strings.Join(strings.Fields(part), " ")
		if t, ok := strings.CutPrefix(part, fmt.Sprintf("# %d. ", n)); ok {
			l.Title = t
		}
		if t, ok := strings.CutPrefix(part, "**Question.** "); ok {
			l.Question = t
		}
		if t, ok := strings.CutPrefix(part, "**Needs.** "); ok {
			l.needs(t)
		}
	}
	if l.Title == "" || l.Question == "" || l.Programs == nil {
		return l, errors.New("its head lacks a title, a question, or what it needs")
	}
	return l, nil
}

// needs reads "root; `ip`, `nft`. And in words …".
func (l *Lesson) needs(t string) {
	first, _, _ := strings.Cut(t, ". ")
	l.Root = strings.HasPrefix(first, "root")
	l.Programs = []string{}
	for i, part := range strings.Split(first, "`") {
		if i%2 == 1 {
			l.Programs = append(l.Programs, part)
		}
	}
}

// Missing are the programs that are not in PATH here.
func (l Lesson) Missing() (list []string) {
	for _, p := range l.Programs {
		if _, err := exec.LookPath(p); err != nil {
			list = append(list, p)
		}
	}
	return list
}

// A Block is commands that are typed one after the other.
type Block struct {
	Section string // "By hand"
	Only    string // v1 or v2: of machines whose controllers live there; "" for all
	Lines   []string
}

// fence begins and ends a block of commands.
const fence = "```"

// Blocks are the lesson's blocks of commands, for sh.
func (l Lesson) Blocks() []Block {
	var list []Block
	section := ""
	var open *Block
	for line := range strings.Lines(l.Text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case open != nil && line == fence:
			list, open = append(list, *open), nil
		case open != nil:
			open.Lines = append(open.Lines, line)
		case strings.HasPrefix(line, "## "):
			section = line[3:]
		case line == fence+"sh" || strings.HasPrefix(line, fence+"sh "):
			open = &Block{Section: section, Only: strings.TrimSpace(line[len(fence)+2:])}
		}
	}
	return list
}

// A Command is one that is typed, over one line or several.
type Command struct {
	Text  string
	Want  string // what it prints, "…" standing for anything
	Fails bool
}

// Commands are those of a block. A comment "# => text" says what a command
// prints, "# !> text" that it fails and with what words.
func (b Block) Commands() []Command {
	var list []Command
	var c Command
	for _, line := range b.Lines {
		if c.Text != "" {
			c.Text += "\n"
		}
		c.Text += line
		if unfinished(c.Text) {
			continue
		}
		if strings.TrimSpace(c.Text) != "" {
			list = append(list, c.expect())
		}
		c = Command{}
	}
	return list
}

// expect reads the comment at a command's end.
func (c Command) expect() Command {
	for _, mark := range [...]string{"# =>", "# !>"} {
		if i := strings.LastIndex(c.Text, mark); i >= 0 {
			c.Want, c.Fails = strings.TrimSpace(c.Text[i+len(mark):]), mark == "# !>"
			c.Text = strings.TrimSpace(c.Text[:i])
		}
	}
	return c
}

// unfinished says whether a shell would ask for more: a quotation or a loop is
// open, or the line ends with a backslash.
func unfinished(s string) bool {
	var quote rune
	escaped, comment := false, false
	depth := 0
	var word strings.Builder
	end := func() {
		switch word.String() {
		case "do", "then", "case":
			depth++
		case "done", "fi", "esac":
			depth--
		}
		word.Reset()
	}
	for _, r := range s {
		switch {
		case comment:
			comment = r != '\n'
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
			word.WriteRune(r)
		case r == '#' && word.Len() == 0:
			comment = true
		case r == ' ' || r == '\n' || r == '\t' || r == ';':
			end()
		default:
			word.WriteRune(r)
		}
	}
	end()
	return quote != 0 || escaped || depth > 0
}

// Error is one with a hint.
type Error struct {
	Err  error
	Text string // the hint
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Text }
