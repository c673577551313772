// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/filter"
)

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
			if *t.to, err = filter.Time(t.text, time.Now()); err != nil {
				return &engine.Error{Err: fmt.Errorf("read --%s=%s: no time", t.flag, t.text), Text: "such as 2026-01-02T15:04:05, seconds since 1970, or 42m for how long ago"}
			}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		extra := ""
		if details {
			if extra, err = e.LogDetails(args[0]); err != nil {
				return err
			}
			extra += " "
		}
		return e.Logs(c.Context(), args[0], q, func(l engine.LogLine) error {
			l.Text = extra + l.Text
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
