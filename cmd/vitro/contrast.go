// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vitro/engine"
	"vitro/inspect/contrast"
)

func contrastCommand(a *app) *cobra.Command {
	flags, image, asJSON, all := "", "busybox", false, false
	c := &cobra.Command{
		Use:   "contrast [flags] A [B]",
		Short: "show in what two containers or processes differ, or what flags of run change",
		Long: "A and B are PIDs, or names of containers of any engine; without B it is the host, as this process sees it.\n" +
			"With --flags nothing has to run: two configurations are made, with the flags and without, and compared.",
		Example: "  vitro contrast web db\n  vitro contrast web            # with the host\n  vitro contrast --flags '--privileged'",
		Args:    cobra.MaximumNArgs(2),
	}
	c.Flags().StringVar(&flags, "flags", "", "flags of vitro run: what do they change?")
	c.Flags().StringVar(&image, "image", image, "with --flags: the image")
	c.Flags().BoolVar(&all, "all", false, "a line for each difference, even where many are of a kind")
	c.Flags().BoolVar(&asJSON, "json", false, "for programs")
	c.RunE = func(c *cobra.Command, args []string) error {
		x, y, err := a.sides(c.Context(), flags, image, args)
		if err != nil {
			return err
		}
		list := contrast.Compare(x, y)
		if !asJSON {
			return contrast.Text(os.Stdout, x, y, list, all)
		}
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if list == nil {
			list = []contrast.Difference{}
		}
		return e.Encode(list)
	}
	return c
}

// sides are what is to be compared.
func (a *app) sides(ctx context.Context, flags, image string, args []string) (x, y *contrast.Side, err error) {
	switch {
	case flags != "" && len(args) > 0:
		return nil, nil, fmt.Errorf("read %q: with --flags nothing that runs is compared", args[0])
	case flags != "":
		if x, err = a.prepared(ctx, "run "+image, "", image); err != nil {
			return nil, nil, err
		}
		y, err = a.prepared(ctx, "with "+flags, flags, image)
		return x, y, err
	case len(args) == 0:
		return nil, nil, &engine.Error{Err: fmt.Errorf("read arguments: nothing to compare"), Text: "give two PIDs or containers, one, or --flags"}
	case len(args) == 1: // the host comes first: then the flags say what makes the container differ from it
		if x, err = a.side(strconv.Itoa(os.Getpid())); err != nil {
			return nil, nil, err
		}
		x.Name = "the host"
		y, err = a.side(args[0])
		return x, y, err
	}
	if x, err = a.side(args[0]); err != nil {
		return nil, nil, err
	}
	y, err = a.side(args[1])
	return x, y, err
}

func (a *app) side(arg string) (*contrast.Side, error) {
	pid, err := a.process(arg)
	if err != nil {
		return nil, err
	}
	p, read, err := a.readBack(pid)
	if err != nil {
		return nil, err
	}
	if len(p.Missing) > 0 {
		tell(os.Stderr, "vitro: note: "+arg+": ", p.Missing)
	}
	name := arg
	if p.Container != nil && strconv.Itoa(pid) == arg {
		name += " " + p.Container.String()
	}
	return contrast.Process(name, p, read.Spec), nil
}

// prepared is what vitro run would make of flags. Nothing is made.
func (a *app) prepared(ctx context.Context, name, flags, image string) (*contrast.Side, error) {
	f := &engine.Flags{}
	set := pflag.NewFlagSet("flags", pflag.ContinueOnError)
	set.SetInterspersed(false)
	runFlags(set, f)
	if err := set.Parse(strings.Fields(flags)); err != nil {
		return nil, fmt.Errorf("read --flags %q: %w", flags, err)
	}
	if set.NArg() > 0 {
		return nil, &engine.Error{Err: fmt.Errorf("read --flags %q: %q is no flag", flags, set.Arg(0)), Text: "the image is --image's"}
	}
	f.Image, f.Command = image, []string{"true"}
	e, err := a.engine()
	if err != nil {
		return nil, err
	}
	p, err := e.Prepare(ctx, f)
	if err != nil {
		return nil, err
	}
	side := &contrast.Side{Name: name, Spec: p.Spec, ID: p.ID}
	if p.Plan.Find("veth") >= 0 {
		side.Links = []string{"eth0"}
	}
	return side, nil
}
