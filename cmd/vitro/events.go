// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vitro/event"
	"vitro/filter"
	"vitro/format"
	"vitro/listing"
)

func eventsCommand(a *app) *cobra.Command {
	var l list
	var since, until string
	c := &cobra.Command{
		Use:   "events",
		Short: "show what happens to containers, images, networks and volumes, as it happens",
		Long: "Show what happens to containers, images, networks and volumes, as it happens. With --since what has happened\n" +
			"comes first; with --until it ends. Times are dates, seconds since 1970, or how long ago: 10m.",
		Example: "  vitro events --filter container=web --filter event=die\n" +
			"  vitro events --since 1h --until 0s --format '{{.Time}} {{.Action}} {{.Actor.Attributes.name}}'",
		Args: cobra.NoArgs,
	}
	fl := c.Flags()
	fl.StringVar(&since, "since", "", "begin with the events since then")
	fl.StringVar(&until, "until", "", "end with the events until then")
	fl.StringVar(&l.format, "format", "", "json, or a Go template")
	l.filterFlag(c, filter.Events)
	c.RunE = func(c *cobra.Command, _ []string) error {
		set, err := l.filter()
		if err != nil {
			return err
		}
		p, err := newEventPrinter(os.Stdout, l.format, set)
		if err != nil {
			return err
		}
		now := time.Now()
		if p.since, err = eventTime("since", since, now); err != nil {
			return err
		}
		if p.until, err = eventTime("until", until, now); err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		return p.run(c.Context(), e.Log())
	}
	return c
}

func eventTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := filter.Time(s, now)
	if err != nil {
		return t, fmt.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// An eventPrinter prints what passes.
type eventPrinter struct {
	w            io.Writer
	tmpl         *format.Template // nil: lines of text
	set          filter.Set
	since, until time.Time // zero: no limit
}

func newEventPrinter(w io.Writer, text string, set filter.Set) (*eventPrinter, error) {
	p := &eventPrinter{w: w, set: set}
	if text == "" {
		return p, nil
	}
	var err error
	if p.tmpl, err = format.ParseTemplate(text); err == nil {
		err = p.tmpl.Print(io.Discard, listing.Message{}) // a field that there isn't is told before any event
	}
	return p, err
}

func (p *eventPrinter) visit(e event.Event) error {
	switch {
	case !p.since.IsZero() && e.Time.Before(p.since), !p.until.IsZero() && e.Time.After(p.until), !listing.MatchEvent(e, p.set):
		return nil
	case e.Type == event.Lost:
		_, err := fmt.Fprintln(os.Stderr, "vitro: warning: events were removed before they were shown: too many of them at once")
		return err
	case p.tmpl == nil:
		_, err := io.WriteString(p.w, listing.EventLine(e)+"\n")
		return err
	}
	return p.tmpl.Print(p.w, listing.NewMessage(e))
}

// run prints the past, if it was asked for, and what comes, until the time
// that was given. That is the clock's, wherever it is put meanwhile.
func (p *eventPrinter) run(ctx context.Context, log event.Log) error {
	over := func() bool { return !p.until.IsZero() && !time.Now().Round(0).Before(p.until) }
	if over() {
		if p.since.IsZero() {
			return nil
		}
		return log.Read(p.visit)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !p.until.IsZero() {
		go func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for !over() {
				<-tick.C
			}
			cancel()
		}()
	}
	return log.Follow(ctx, !p.since.IsZero(), p.visit)
}
