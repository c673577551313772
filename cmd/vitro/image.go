// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/image"
)

// open is a file, or standard input for "-" and nothing. What a person would
// have to type an archive into is refused.
func open(name string) (io.ReadCloser, error) {
	if name != "" && name != "-" {
		return os.Open(name)
	}
	if isTerminal(0) {
		return nil, &engine.Error{Err: errors.New("read archive: the input is a terminal"), Text: "give a file with -i, or pipe an archive in"}
	}
	return io.NopCloser(os.Stdin), nil
}

func loadCommand(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "load [-i FILE]",
		Short:   "load images from an archive, as docker save and skopeo write them",
		Example: "  docker save debian | vitro load\n  vitro load -i debian.tar",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVarP(&file, "input", "i", "", "the archive; - is standard input")
	c.Flags().BoolP("quiet", "q", false, "no progress, which there is none of")
	c.RunE = func(c *cobra.Command, _ []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		in, err := open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		e.Images.Progress = skipped
		imgs, err := e.Images.Load(c.Context(), in)
		if err != nil {
			return err
		}
		for _, img := range imgs {
			e.TellImage("load", strings.Join(img.Refs[:min(1, len(img.Refs))], ""), img)
			if len(img.Refs) == 0 {
				fmt.Println("Loaded image ID:", img.ID)
			}
			for _, ref := range img.Refs {
				fmt.Println("Loaded image:", ref)
			}
		}
		return nil
	}
	return c
}

// skipped tells of device nodes that an ordinary user can't have.
func skipped(ev image.Event) {
	for _, name := range ev.Skipped {
		fmt.Fprintf(os.Stderr, "vitro: warning: left out device node %s: an ordinary user can't make one\n", name)
	}
}

func importCommand(a *app) *cobra.Command {
	var o image.ImportOptions
	c := &cobra.Command{
		Use:     "import [-c CHANGE] FILE|- [NAME[:TAG]]",
		Short:   "make an image of a root file system's tar archive",
		Example: "  tar c -C rootfs . | vitro import - mine\n  vitro import -c 'CMD [\"sh\"]' rootfs.tar mine:1",
		Args:    cobra.RangeArgs(1, 2),
	}
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "an instruction for the image: CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, VOLUME, LABEL, STOPSIGNAL")
	c.Flags().StringVarP(&o.Message, "message", "m", "", "a comment in the image's history")
	c.RunE = func(c *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		var ref image.Reference
		if len(args) == 2 {
			if ref, err = image.ParseReference(args[1]); err != nil {
				return err
			}
		}
		in, err := open(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		e.Images.Progress = skipped
		img, err := e.Images.Import(c.Context(), in, ref, o)
		if err != nil {
			return err
		}
		e.TellImage("import", strings.Join(img.Refs[:min(1, len(img.Refs))], ""), img)
		fmt.Println(img.ID)
		return nil
	}
	return c
}

func rmiCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "rmi [-f] IMAGE [IMAGE...]", Short: "remove images", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&force, "force", "f", false, "remove all names of an ID; no error if there is no such image")
	c.RunE = func(c *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		return errors.Join(removeAll(c.Context(), e, args, force)...)
	}
	return c
}

func removeAll(_ context.Context, e *engine.Engine, names []string, force bool) (errs []error) {
	for _, name := range names {
		res, err := e.RemoveImage(name, force)
		for _, u := range res.Untagged {
			fmt.Println("Untagged:", u)
		}
		for _, d := range res.Deleted {
			fmt.Println("Deleted:", d)
		}
		var none *image.NotFoundError
		switch {
		case force && errors.As(err, &none):
			report(err)
		case err != nil:
			errs = append(errs, err)
		}
	}
	return errs
}
