// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/inspect"
	"vitro/inspect/draw"
)

// nsForms are the ways to show namespaces.
var nsForms = [...]struct {
	name string
	show func(io.Writer, *inspect.Tree) error
}{
	{"text", draw.Text}, {"json", draw.JSON}, {"dot", draw.DOT}, {"svg", draw.SVG},
}

func nsCommand(a *app) *cobra.Command {
	q := inspect.Query{}
	as, kinds, json, dot, svg := "text", "", false, false, false
	c := &cobra.Command{
		Use:   "ns [flags] [PID|CONTAINER...]",
		Short: "show the machine's namespaces, and what holds them",
		Example: "  vitro ns                        # all, by the user namespaces that own them\n" +
			"  vitro ns --pidns $$             # the PID namespaces above this shell\n" +
			"  vitro ns --namespaces user,net web 4711\n" +
			"  vitro ns --svg >machine.svg",
	}
	f := c.Flags()
	f.BoolVar(&q.ByPID, "pidns", false, "PID namespaces, in each other")
	f.StringVar(&kinds, "namespaces", "", "only these kinds: user,pid,net...")
	f.IntVar(&q.Subtree, "subtree", 0, "only what is below this process's user namespace, or PID namespace with --pidns")
	f.BoolVar(&q.AllPIDs, "all-pids", false, "every process of a namespace that is shown")
	f.BoolVar(&q.Threads, "search-tasks", false, "with chosen processes: their threads' namespaces too")
	f.BoolVar(&q.Deep, "deep", false, "also what only a socket or a thread's own descriptor holds; with chosen processes all that they hold")
	f.StringVar(&as, "as", as, "text, json, dot (for Graphviz), svg")
	f.BoolVar(&json, "json", false, "as --as json")
	f.BoolVar(&dot, "dot", false, "as --as dot")
	f.BoolVar(&svg, "svg", false, "as --as svg")
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, short := range [...]struct {
			set  bool
			form string
		}{{json, "json"}, {dot, "dot"}, {svg, "svg"}} {
			if short.set {
				as = short.form
			}
		}
		if kinds != "" {
			list, err := inspect.ParseKinds(kinds)
			if err != nil {
				return err
			}
			q.Kinds = list
		}
		for _, arg := range args {
			pid, err := a.process(arg)
			if err != nil {
				return err
			}
			q.PIDs = append(q.PIDs, pid)
		}
		return showNamespaces(q, as)
	}
	return c
}

func showNamespaces(q inspect.Query, as string) error {
	for _, form := range nsForms {
		if form.name != as {
			continue
		}
		about := q.PIDs
		if q.Subtree != 0 {
			about = append(about, q.Subtree)
		}
		s, err := inspect.Read(inspect.Options{All: q.AllPIDs, Deep: q.Deep, About: about})
		if err != nil {
			return err
		}
		t, err := s.Tree(q)
		if err != nil {
			return err
		}
		return form.show(os.Stdout, t)
	}
	return &engine.Error{Err: fmt.Errorf("ns --as %s: no such form", as), Text: "the forms are text, json, dot and svg"}
}

// process is the process that a PID or the name of a container stands for.
func (a *app) process(arg string) (int, error) {
	if pid, err := strconv.Atoi(arg); err == nil && pid > 0 {
		if _, err := os.Stat("/proc/" + arg); err == nil {
			return pid, nil
		}
	}
	pid, err := a.containerProcess(arg)
	if err != nil {
		return 0, &engine.Error{Err: fmt.Errorf("find %q: %w", arg, err), Text: "give a PID, or the name or ID of a running container of any engine"}
	}
	return pid, nil
}

// containerProcess is the first process of a container: of vitro's own by its
// store, of others by what their engines call it.
func (a *app) containerProcess(name string) (int, error) {
	if e, err := a.engine(); err == nil {
		if id, err := e.Containers.Resolve(name); err == nil {
			if c, err := e.Containers.Look(id); err == nil && c.State != nil && c.State.Alive() {
				return c.State.Pid, nil
			}
		}
	}
	return inspect.FindContainer(name)
}
