// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/lab"
)

func labCommand(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "lab",
		Short: "lessons on what a container is made of, on this kernel",
		Example: "  vitro lab                 # the lessons, and how far each one is\n" +
			"  vitro lab show overlay    # one of them: what to type, and why\n" +
			"  vitro lab check overlay   # was it done right?\n" +
			"  vitro lab clean           # remove all that the lessons have made",
		Args: cobra.NoArgs,
	}
	c.PersistentFlags().StringVar(&dir, "dir", "", "the lab's folder (default ~/vitro-lab)")
	c.RunE = withLab(&dir, func(l *lab.Lab, _ []string) error { return labList(l, os.Stdout) })
	c.AddCommand(
		&cobra.Command{Use: "show LESSON", Short: "print a lesson, by number or name", Args: cobra.ExactArgs(1),
			RunE: withLab(&dir, func(_ *lab.Lab, args []string) error { return labShow(args[0]) })},
		&cobra.Command{Use: "check [LESSON...]", Short: "ask the kernel whether a lesson was done right; without a name, all", Args: cobra.ArbitraryArgs,
			RunE: withLab(&dir, func(l *lab.Lab, args []string) error { return a.labCheck(l, args) })},
		&cobra.Command{Use: "clean", Short: "remove all that the lessons have made; safe at any moment", Args: cobra.NoArgs,
			RunE: withLab(&dir, func(l *lab.Lab, _ []string) error { return a.labClean(l) })},
		&cobra.Command{Use: "dir", Short: "make the lab's folder, if it isn't there, and print its path", Args: cobra.NoArgs,
			RunE: withLab(&dir, func(l *lab.Lab, _ []string) error {
				if err := l.Begin(); err != nil {
					return err
				}
				fmt.Println(l.Dir)
				return nil
			})},
	)
	return c
}

// withLab opens the lab for a command.
func withLab(dir *string, do func(*lab.Lab, []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		l, err := lab.Open(*dir)
		if err != nil {
			return err
		}
		return do(l, args)
	}
}

// labList prints a line for each lesson.
func labList(l *lab.Lab, w io.Writer) error {
	lessons, err := lab.Lessons()
	if err != nil {
		return err
	}
	for _, n := range lessons {
		state, _ := l.Check(n.Name)
		how, who := state.String(), ""
		if n.Name == "clean" {
			how = "" // it is right before the first lesson, too
		}
		if n.Root {
			who = " (root)"
		}
		fmt.Fprintf(w, "%2d  %-9s %-7s %s%s\n", n.Number, n.Name, how, n.Title[strings.Index(n.Title, ": ")+2:], who)
	}
	fmt.Fprintf(w, "\nvitro lab show 1 begins; its files are in %s\n", l.Dir)
	return nil
}

// labShow prints a lesson: as a page on a terminal, as Markdown elsewhere.
func labShow(name string) error {
	n, err := lab.Find(name)
	if err != nil {
		return err
	}
	var p lab.Page
	if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil {
		p.Width = 100
		if size.Col > 0 {
			p.Width = min(max(int(size.Col)-2, 20), 100)
		}
		p.Color = os.Getenv("NO_COLOR") == ""
		p.Only = lab.Version()
	}
	return p.Show(os.Stdout, n)
}

func (a *app) labCheck(l *lab.Lab, names []string) error {
	var list []lab.Lesson
	var err error
	if len(names) == 0 {
		list, err = lab.Lessons()
	}
	for _, name := range names {
		n, err := lab.Find(name)
		if err != nil {
			return err
		}
		list = append(list, n)
	}
	if err != nil {
		return err
	}
	for _, n := range list {
		state, findings := l.Check(n.Name)
		fmt.Printf("%d %s: %s\n", n.Number, n.Name, state)
		if state != lab.Done {
			a.code = 1
		}
		if state == lab.NotBegun && len(names) == 0 {
			continue
		}
		labFindings(findings)
	}
	return nil
}

// labFindings prints what was asked, and for what is not right the command that shows it.
func labFindings(list []lab.Finding) {
	for _, f := range list {
		switch {
		case f.Open:
			fmt.Printf("  -    %s\n", f.What)
		case f.Differs == "":
			fmt.Printf("  ok   %s\n", f.What)
		default:
			fmt.Printf("  not  %s: %s\n       see: %s\n", f.What, f.Differs, f.See)
		}
	}
}

// labClean removes vitro's own containers that have the lab's name, and then
// all that the lessons have made by hand.
func (a *app) labClean(l *lab.Lab) error {
	e, err := a.engine()
	if err != nil {
		return err
	}
	made, err := labContainers(e)
	removed, cerr := l.Clean()
	if made.Count > 0 {
		removed = append([]lab.Removed{made}, removed...)
	}
	for _, r := range removed {
		fmt.Printf("removed %s: %d\n", r.What, r.Count)
	}
	if err = errors.Join(err, cerr); err == nil && len(removed) == 0 {
		fmt.Println("nothing of the lab's was there")
	}
	return errors.Join(err, e.Sweep())
}

// labContainers removes the containers vitro-lab-NAME, and the image vitro-lab:1.
func labContainers(e *engine.Engine) (lab.Removed, error) {
	made := lab.Removed{What: "containers and images"}
	list, err := e.List()
	if err != nil {
		return made, fmt.Errorf("remove containers: %w", err)
	}
	for _, c := range list {
		if !strings.HasPrefix(c.Name, lab.Containers) {
			continue
		}
		if err := e.Remove(c.ID, true, true); err != nil {
			return made, fmt.Errorf("remove container %s: %w", c.Name, err)
		}
		made.Count++
	}
	if _, err := e.Images.Get(lab.Image); err != nil {
		return made, nil // it isn't there
	}
	if _, err := e.RemoveImage(lab.Image, true); err != nil {
		return made, fmt.Errorf("remove image: %w", err)
	}
	made.Count++
	return made, nil
}
