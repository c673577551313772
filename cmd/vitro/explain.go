// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vitro/engine"
)

// forms are the ways to show a plan.
var forms = [...]struct {
	name string
	show func(w io.Writer, p *engine.Prepared, calls bool) error
}{
	{"text", func(w io.Writer, p *engine.Prepared, calls bool) error {
		_, err := io.WriteString(w, p.Plan.Text(calls))
		return err
	}},
	{"sh", func(w io.Writer, p *engine.Prepared, _ bool) error {
		shebang, script, _ := strings.Cut(p.Plan.Shell(), "\n")
		_, err := fmt.Fprintf(w, "%s\n%s%s", shebang, notes(p), script)
		return err
	}},
	{"json", func(w io.Writer, p *engine.Prepared, _ bool) error {
		data, err := p.Plan.JSON()
		if err == nil {
			_, err = w.Write(append(data, '\n'))
		}
		return err
	}},
}

func explainCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "explain",
		Short: "show what would be done, and why, without doing it; or what was done to a running process",
	}
	explainProcess(a, c)
	c.AddCommand(explainRunCommand(a))
	return c
}

func explainRunCommand(a *app) *cobra.Command {
	f := &engine.Flags{}
	as, calls := "text", false
	c := &cobra.Command{
		Use:     "run [flags] IMAGE [COMMAND [ARG...]]",
		Short:   "show the steps that make a container",
		Example: "  vitro explain run -m 50m busybox\n  vitro explain run --as sh busybox echo hello | sh",
		Args:    cobra.MinimumNArgs(1),
	}
	runFlags(c.Flags(), f)
	lifeFlags(c.Flags(), f)
	c.Flags().StringVar(&as, "as", as, "text; sh, a script that does the same; json")
	c.Flags().BoolVar(&calls, "calls", false, "show the system calls of each step")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := readArgs(c, f, args); err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		if as != "sh" { // a script runs where it is started
			if code, done, err := e.Within(os.Args, always, nil); err == nil && done {
				a.code = code
				return nil
			}
		}
		p, err := e.Prepare(c.Context(), f)
		if err != nil {
			return err
		}
		for _, form := range forms {
			if form.name == as {
				if as == "text" {
					fmt.Print(notes(p))
				}
				return form.show(os.Stdout, p, calls)
			}
		}
		return &engine.Error{Err: fmt.Errorf("explain --as %s: no such form", as), Text: "the forms are text, sh and json"}
	}
	return c
}

// notes say in what the plan is not what was asked for.
func notes(p *engine.Prepared) string {
	var b strings.Builder
	for _, n := range slices.Concat(p.Notes, p.Warnings) {
		fmt.Fprintln(&b, "# note:", n)
	}
	return b.String()
}
