// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/format"
	"vitro/listing"
)

func statsCommand(a *app) *cobra.Command {
	var all, once, long bool
	var text string
	c := &cobra.Command{Use: "stats [CONTAINER...]", Short: "show what containers use, as it changes", Example: "  vitro stats --no-stream --format '{{.Name}} {{.MemUsage}}'"}
	c.Flags().BoolVarP(&all, "all", "a", false, "containers that don't run, too")
	c.Flags().BoolVar(&once, "no-stream", false, "measure once")
	c.Flags().BoolVar(&long, "no-trunc", false, "don't shorten IDs")
	c.Flags().StringVar(&text, "format", "", "table, \"table TEMPLATE\", json, or a Go template")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := format.Parse(text, listing.Stats)
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, unix.SIGTERM)
		defer stop()
		m, err := e.Meter(args, all)
		if err != nil {
			return err
		}
		table := text == "" || strings.HasPrefix(text, "table")
		span := time.Second
		if once {
			span /= 2
		}
		for first := true; ; first = false {
			if err := pauseFor(ctx, span); err != nil { // a share of a processor takes a time to be one
				return nil
			}
			used, err := m.Measure()
			if err != nil {
				return err
			}
			if err := printUsage(f, used, long, table && !once && isTerminal(1), first); err != nil || once {
				return err
			}
		}
	}
	return c
}

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// printUsage prints a measurement: on a terminal in the place of the last one.
func printUsage(f *format.Format, used []engine.Usage, long, live, first bool) error {
	table := make([]listing.UsageRow, 0, len(used))
	for _, u := range used {
		l := listing.Usage(u)
		table = append(table, l.Row(long))
	}
	var b bytes.Buffer
	if err := format.Rows(&b, f, table); err != nil {
		return err
	}
	out := b.String()
	if live { // cursor up to the left corner; each line clears what was behind it, the end what was below
		out = "\x1b[H" + strings.ReplaceAll(out, "\n", "\x1b[K\n") + "\x1b[J"
		if first {
			out = "\x1b[2J" + out
		}
	}
	_, err := os.Stdout.WriteString(out)
	return err
}
