// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/inspect/process"
)

func pidCommand(a *app) *cobra.Command {
	inside, of, asJSON := 0, "", false
	c := &cobra.Command{
		Use:   "pid [flags] [PID|CONTAINER]",
		Short: "show one process at every level: its numbers, users, rights, limits, mounts, network",
		Example: "  vitro pid 4711\n  vitro pid web\n" +
			"  vitro pid --inside 17 --of web   # the process that web calls 17",
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().IntVar(&inside, "inside", 0, "the process that has this number in the PID namespace of --of")
	c.Flags().StringVar(&of, "of", "", "container or process whose PID namespace --inside is of")
	c.Flags().BoolVar(&asJSON, "json", false, "for programs")
	c.RunE = func(_ *cobra.Command, args []string) error {
		pid, err := a.chosen(args, inside, of)
		if err != nil {
			return err
		}
		p, err := process.Read(pid, process.Options{Links: true})
		if err != nil {
			return err
		}
		if !asJSON {
			return p.Text(os.Stdout)
		}
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(p)
	}
	return c
}

// chosen is the process that the arguments of vitro pid stand for.
func (a *app) chosen(args []string, inside int, of string) (int, error) {
	switch {
	case (inside != 0) != (of != ""):
		return 0, &engine.Error{Err: errors.New("read --inside and --of: one needs the other"), Text: "for instance --inside 17 --of web"}
	case inside != 0 && len(args) > 0:
		return 0, fmt.Errorf("read %q: with --inside there is no other process", args[0])
	case inside != 0:
		pid, err := a.process(of)
		if err != nil {
			return 0, err
		}
		return process.Find(inside, pid)
	case len(args) == 0:
		return 0, &engine.Error{Err: errors.New("read arguments: no process"), Text: "give a PID, or a container's name: vitro pid " + strconv.Itoa(os.Getppid())}
	}
	return a.process(args[0])
}
