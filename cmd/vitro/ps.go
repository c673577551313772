// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
)

func psCommand(a *app) *cobra.Command {
	var all, quiet bool
	c := &cobra.Command{Use: "ps [-a] [-q]", Short: "list containers", Args: cobra.NoArgs}
	c.Flags().BoolVarP(&all, "all", "a", false, "those that don't run, too")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	c.RunE = func(*cobra.Command, []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		list, err := e.List()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		for _, i := range list {
			if !all && i.State == nil {
				continue
			}
			if quiet {
				fmt.Fprintln(w, i.ID[:12])
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.ID[:12], i.Flags.Image, i.Status, i.Name)
		}
		return w.Flush()
	}
	return c
}

func logsCommand(a *app) *cobra.Command {
	var q engine.LogQuery
	var since, until, tail string
	var times, details bool
	c := &cobra.Command{Use: "logs [-f] CONTAINER", Short: "show what a container has printed", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what it prints")
	c.Flags().StringVarP(&tail, "tail", "n", "all", "the last lines only: so many")
	c.Flags().StringVar(&since, "since", "", "from then on: a time, or how long ago (42m)")
	c.Flags().StringVar(&until, "until", "", "up to then")
	c.Flags().BoolVarP(&times, "timestamps", "t", false, "each line with its time")
	c.Flags().BoolVar(&details, "details", false, "with the labels and variables that --log-opt names")
	c.RunE = func(c *cobra.Command, args []string) error {
		q.Tail = -1
		if tail != "all" {
			n, err := strconv.Atoi(tail)
			if err != nil {
				return &engine.Error{Err: fmt.Errorf("read --tail=%s: no number", tail), Text: "how many lines, or all"}
			}
			q.Tail = n
		}
		for _, t := range []struct {
			flag, text string
			to         *time.Time
		}{{"since", since, &q.Since}, {"until", until, &q.Until}} {
			if t.text == "" {
				continue
			}
			var err error
			if *t.to, err = parseTime(t.text); err != nil {
				return &engine.Error{Err: fmt.Errorf("read --%s=%s: no time", t.flag, t.text), Text: "such as 2026-01-02T15:04:05, seconds since 1970, or 42m for how long ago"}
			}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		return e.Logs(c.Context(), args[0], q, func(l engine.LogLine) error {
			out := os.Stdout
			if l.Stream == "stderr" {
				out = os.Stderr
			}
			if times {
				l.Text = l.Time.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + l.Text
			}
			_, err := out.WriteString(l.Text)
			return err
		})
	}
	return c
}

// parseTime reads a time in Docker's forms: how long ago, seconds since 1970,
// or a date with as much of the time as one likes.
func parseTime(text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d), nil
	}
	if s, frac, _ := strings.Cut(text, "."); len(s) > 0 && strings.Trim(s, "0123456789") == "" {
		sec, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}, err
		}
		ns, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		return time.Unix(sec, ns), err
	}
	var err error
	for _, form := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02"} {
		var t time.Time
		if t, err = time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}
