// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vitro/internal/manual"
)

var (
	manDir  = flag.String("man", "", "folder to write the manual pages to")
	manDate = flag.String("date", time.Now().Format(time.DateOnly), "their date")
)

// page is a command's manual page: what its help says.
func page(c *cobra.Command) *manual.Page {
	c.InitDefaultHelpFlag()
	p := &manual.Page{
		Name: strings.ReplaceAll(c.CommandPath(), " ", "-"), Section: 1, Version: version, Date: *manDate,
		Short: c.Short, Synopsis: []string{c.UseLine()}, Text: c.Long, Example: c.Example,
	}
	if p.Text == "" {
		p.Text = strings.ToUpper(c.Short[:1]) + c.Short[1:] + "."
	}
	for _, set := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"OPTIONS", c.LocalFlags()}, {"OPTIONS OF ALL COMMANDS", c.InheritedFlags()}} {
		l := manual.List{Title: set.title}
		set.flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				l.Items = append(l.Items, option(f))
			}
		})
		p.Lists = append(p.Lists, l)
	}
	commands := manual.List{Title: "COMMANDS"}
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			commands.Items = append(commands.Items, manual.Item{Term: s.Name(), Text: s.Short})
			p.See = append(p.See, p.Name+"-"+s.Name()+"(1)")
		}
	}
	p.Lists = append(p.Lists, commands)
	if c.HasParent() {
		p.See = append(p.See, strings.ReplaceAll(c.Parent().CommandPath(), " ", "-")+"(1)")
	}
	p.See = append(p.See, "vitro-oci(8)")
	return p
}

func option(f *pflag.Flag) manual.Item {
	value, text := pflag.UnquoteUsage(f)
	value = strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(value, "Array"), "Slice"))
	term := "--" + f.Name
	if f.Shorthand != "" {
		term = "-" + f.Shorthand + ", " + term
	}
	switch {
	case f.NoOptDefVal != "" && value != "":
		term += "[=" + value + "]"
	case value != "":
		term += " " + value
	}
	switch f.DefValue {
	case "", "0", "false", "[]", "0s":
	default:
		text += " (default " + f.DefValue + ")"
	}
	return manual.Item{Term: term, Text: text}
}

// pages are those of a command and all below it.
func pages(c *cobra.Command) []*manual.Page {
	list := []*manual.Page{page(c)}
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			list = append(list, pages(s)...)
		}
	}
	return list
}

// TestManPages is also what make man runs, with -man.
func TestManPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	var files []string
	for _, p := range pages(new(app).command(nil)) {
		text := p.String()
		file := filepath.Join(dir, p.Name+".1")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	text, err := os.ReadFile(filepath.Join(dir, "vitro-images.1"))
	for _, want := range []string{"\n.B \\-f, \\-\\-filter STRING\n", ".SH EXAMPLES\n.EX\n", ".BR vitro (1),\n"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("vitro-images.1: %v: no %q in it:\n%s", err, want, text)
		}
	}
	lint(t, files)
}

// lint has mandoc look at pages. Matters of style are left out: a value with
// all that it can be is one word, and longer than a line.
func lint(t *testing.T, files []string) {
	t.Helper()
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("needs mandoc, to check the pages")
	}
	out, err := exec.Command("mandoc", append([]string{"-T", "lint", "-W", "warning"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}
