// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vitro/filter"
	"vitro/format"
)

// A list is the flags that all commands have that print one.
type list struct {
	format  string
	filters []string
	quiet   bool
	long    bool
	keys    filter.Keys
}

// flags defines them; keys are what the list can be filtered by, nil if it can't.
func (l *list) flags(c *cobra.Command, keys filter.Keys) {
	fl := c.Flags()
	fl.BoolVarP(&l.quiet, "quiet", "q", false, "print IDs or names only")
	fl.BoolVar(&l.long, "no-trunc", false, "don't shorten IDs and texts")
	fl.StringVar(&l.format, "format", "", "table, \"table TEMPLATE\", json, or a Go template")
	if keys != nil {
		l.filterFlag(c, keys)
	}
}

// filterFlag defines --filter alone.
func (l *list) filterFlag(c *cobra.Command, keys filter.Keys) {
	l.keys = keys
	c.Flags().StringArrayVarP(&l.filters, "filter", "f", nil, "show those only: KEY=VALUE, with the keys "+strings.Join(keys, " "))
	_ = c.RegisterFlagCompletionFunc("filter", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return keys.Complete(word), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
}

// filter is what the flags --filter say.
func (l *list) filter() (filter.Set, error) { return filter.Parse(l.filters, l.keys) }

// rows prints a list in the format that was asked for, or that of the list.
func rows[T any](l *list, own string, rows []T) error {
	f, err := format.Parse(l.format, own)
	if err != nil {
		return err
	}
	return format.Rows(os.Stdout, f, rows)
}
