// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vitro/filter"
	"vitro/image"
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
		imgs, err := e.Images.List()
		if err != nil {
			return err
		}
		now := time.Now()
		found, err := listing.MatchImages(listImages(imgs), set, now)
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

// listImages is what a list needs to know of images, newest first.
func listImages(imgs []image.Image) []listing.Image {
	var list []listing.Image
	for _, img := range imgs {
		it := listing.Image{
			ID: string(img.ID), Digest: string(img.Manifest), Created: img.Created, Labels: img.Config.Labels,
			Size: img.Size, Containers: -1, SharedSize: -1,
		}
		for _, ref := range img.Refs {
			if r, err := image.ParseReference(ref); err == nil {
				it.Names = append(it.Names, listing.Name{Repository: r.FamiliarName(), Tag: r.Tag})
			}
		}
		list = append(list, it)
	}
	slices.SortStableFunc(list, func(a, b listing.Image) int {
		return cmp.Or(b.Created.Compare(a.Created), slices.CompareFunc(a.Names, b.Names, func(a, b listing.Name) int {
			return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Tag, b.Tag))
		}))
	})
	return list
}
