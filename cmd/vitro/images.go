// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vitro/filter"
	"vitro/listing"
)

func imagesCommand(a *app) *cobra.Command {
	var l list
	var digests, all bool
	c := &cobra.Command{
		Use:   "images [REPOSITORY[:TAG]]",
		Short: "list images",
		Example: "  vitro images --filter reference='debian*' --format '{{.ID}} {{.Size}}'\n" +
			"  vitro images --filter dangling=true -q",
		Args: cobra.MaximumNArgs(1),
	}
	l.flags(c, filter.Images)
	c.Flags().BoolVar(&digests, "digests", false, "show the digests of the manifests too")
	c.Flags().BoolVarP(&all, "all", "a", false, "all images; there are none that are not shown without it")
	c.RunE = func(_ *cobra.Command, args []string) error {
		for _, name := range args {
			l.filters = append(l.filters, "reference="+name)
		}
		set, err := l.filter()
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		all, err := e.ImageListings()
		if err != nil {
			return err
		}
		now := time.Now()
		found, err := listing.MatchImages(all, set, now)
		if err != nil {
			return err
		}
		own := listing.Images(l.quiet, digests)
		if digests && strings.HasPrefix(l.format, "table ") && !strings.Contains(l.format, ".Digest") {
			l.format += "\t{{.Digest}}"
		}
		digests = digests || strings.Contains(l.format, ".Digest")
		var list []listing.ImageRow
		for _, img := range found {
			list = append(list, img.Rows(now, l.long, digests)...)
		}
		return rows(&l, own, list)
	}
	return c
}
