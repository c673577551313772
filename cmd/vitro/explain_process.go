// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vitro/container"
	"vitro/engine"
	"vitro/inspect"
	"vitro/inspect/config"
	"vitro/inspect/process"
)

// explainProcess adds to vitro explain what it does with a process: it reads
// the isolation back.
func explainProcess(a *app, c *cobra.Command) {
	as, calls, bundle := "text", false, ""
	c.Use = "explain [flags] PID|CONTAINER"
	c.Example = "  vitro explain 4711\n  vitro explain --as oci web >config.json\n  vitro explain --bundle again web && vitro-oci run -b again web2"
	c.Args = cobra.MaximumNArgs(1)
	c.Flags().StringVar(&as, "as", as, "text; sh, a script that does the same; json; oci, a config.json that makes it again")
	c.Flags().BoolVar(&calls, "calls", false, "show the system calls of each step")
	c.Flags().StringVar(&bundle, "bundle", "", "make this folder: the config.json, and a copy of the root file system")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		pid, err := a.process(args[0])
		if err != nil {
			return err
		}
		p, read, err := a.readBack(pid)
		if err != nil {
			return err
		}
		if bundle != "" {
			tell(os.Stderr, "vitro: note: ", read.Notes)
			return read.Bundle(pid, bundle)
		}
		if as == "oci" {
			tell(os.Stderr, "vitro: note: ", read.Notes)
			_, err := os.Stdout.Write(read.JSON())
			return err
		}
		return showPlan(p, read, as, calls)
	}
}

func tell(w io.Writer, lead string, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(w, "%s%s\n", lead, inspect.Printable(n))
	}
}

// readBack reads a process's isolation, with the help of what its engine has
// written down.
func (a *app) readBack(pid int) (*process.Process, *config.Config, error) {
	p, err := process.Read(pid, process.Options{Links: true})
	if err != nil {
		return nil, nil, err
	}
	if len(p.Namespaces) == 0 {
		return nil, nil, &engine.Error{Err: fmt.Errorf("read process %d: %s", pid, strings.Join(p.Missing, "; ")), Text: "it is another user's: run vitro as root"}
	}
	h, err := config.ReadHost()
	if err != nil {
		return nil, nil, err
	}
	origin := config.Origin(p.Container)
	if e, err := a.engine(); origin == nil && err == nil && p.Container != nil && container.CheckID(p.Container.ID) == nil {
		origin = config.ReadFile(filepath.Join(e.Containers.Root, p.Container.ID, "config.json")) // of --root
	}
	return p, config.From(p, h, origin), nil
}

// showPlan compiles what was read, and prints it.
func showPlan(p *process.Process, read *config.Config, as string, calls bool) error {
	id := container.NewID()
	title := fmt.Sprintf("process %d again: %s", p.PID, inspect.Printable(strings.Join(p.Args, " ")))
	dir, err := filepath.Abs("vitro-" + id[:12])
	if err != nil {
		return err
	}
	made, notes, err := read.Plan(id, title, dir)
	if err != nil {
		return &engine.Error{Err: fmt.Errorf("make a plan of process %d: %w", p.PID, err), Text: "vitro explain --as oci shows what was read"}
	}
	notes = append(read.Notes, notes...)
	switch as {
	case "text":
		tell(os.Stdout, "# note: ", notes)
		_, err = io.WriteString(os.Stdout, made.Text(calls))
	case "sh":
		tell(os.Stderr, "vitro: note: ", notes)
		_, err = io.WriteString(os.Stdout, made.Shell())
	case "json":
		tell(os.Stderr, "vitro: note: ", notes)
		var data []byte
		if data, err = made.JSON(); err == nil {
			_, err = os.Stdout.Write(append(data, '\n'))
		}
	default:
		return &engine.Error{Err: fmt.Errorf("explain --as %s: %w", as, errNoForm), Text: "the forms are text, sh, json and oci"}
	}
	return err
}

var errNoForm = errors.New("no such form")
