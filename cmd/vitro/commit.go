// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/image"
	"vitro/listing"
)

func commitCommand(a *app) *cobra.Command {
	o := engine.Commit{}
	c := &cobra.Command{
		Use:   "commit [flags] CONTAINER [NAME[:TAG]]",
		Short: "make an image of what a container has changed",
		Example: "  vitro commit web web:patched\n" +
			"  vitro commit -c 'CMD [\"nginx\", \"-g\", \"daemon off;\"]' -m 'with our site' web site:1",
		Args: cobra.RangeArgs(1, 2),
	}
	c.Flags().StringVarP(&o.Author, "author", "a", "", "who has made it")
	c.Flags().StringVarP(&o.Message, "message", "m", "", "a comment in the image's history")
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "an instruction for the image: CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, VOLUME, LABEL, STOPSIGNAL")
	c.Flags().BoolVarP(&o.Pause, "pause", "p", true, "have a running container stand still meanwhile")
	c.RunE = func(c *cobra.Command, args []string) error {
		var ref image.Reference
		if len(args) == 2 {
			var err error
			if ref, err = image.ParseReference(args[1]); err != nil {
				return err
			}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		if !c.Flags().Changed("pause") {
			o.Warn = func(w string) { fmt.Fprintln(os.Stderr, "vitro: warning:", w) }
		}
		img, err := e.Commit(c.Context(), args[0], ref, o)
		if err != nil {
			return err
		}
		fmt.Println(img.ID)
		return nil
	}
	c.RunE = a.one(c.RunE)
	return c
}

func saveCommand(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "save [-o FILE] IMAGE [IMAGE...]",
		Short:   "write images as an archive, which docker load, podman load and skopeo read",
		Example: "  vitro save -o web.tar web:1 web:2\n  vitro save web | ssh host podman load",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&file, "output", "o", "", "the archive; without it, standard output")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		list, err := e.Saving(args)
		if err != nil {
			return err
		}
		return output(file, "save", func(w io.Writer) error { return e.Images.Save(w, list) })
	}
	c.RunE = a.one(c.RunE)
	return c
}

func tagCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "tag IMAGE NAME[:TAG]",
		Short:   "give an image a further name",
		Example: "  vitro tag web registry.example/web:1",
		Args:    cobra.ExactArgs(2),
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		return e.TagImage(args[0], args[1])
	}
	c.RunE = a.one(c.RunE)
	return c
}

func historyCommand(a *app) *cobra.Command {
	var l list
	var human bool
	c := &cobra.Command{Use: "history IMAGE", Short: "show how an image's layers came to be", Args: cobra.ExactArgs(1)}
	l.flags(c, nil)
	c.Flags().BoolVarP(&human, "human", "H", true, "sizes and times as people say them")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		layers, err := e.History(args[0])
		if err != nil {
			return err
		}
		now := time.Now()
		var list []listing.LayerRow
		for _, h := range layers {
			it := listing.Layer{ID: "<missing>", Created: h.Created, CreatedBy: h.CreatedBy, Comment: h.Comment, Size: h.Size}
			if h.ID != "" {
				it.ID = string(h.ID)
			}
			list = append(list, it.Row(now, l.long, human))
		}
		return rows(&l, listing.History(l.quiet, human), list)
	}
	c.RunE = a.one(c.RunE)
	return c
}
