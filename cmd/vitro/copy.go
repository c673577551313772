// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/tree"
)

// cpFlags are how files are copied.
type cpFlags struct {
	archive, follow, quiet bool
}

func cpCommand(a *app) *cobra.Command {
	var f cpFlags
	c := &cobra.Command{
		Use:   "cp [flags] CONTAINER:SOURCE DEST|-\n  vitro cp [flags] SOURCE|- CONTAINER:DEST",
		Short: "copy files between a container, running or not, and the host",
		Example: "  vitro cp web:/etc/nginx/nginx.conf .\n  vitro cp ./site/. web:/srv\n" +
			"  vitro cp web:/var/log - | tar t\n  tar c . | vitro cp - web:/srv",
		Args: cobra.ExactArgs(2),
	}
	c.Flags().BoolVarP(&f.archive, "archive", "a", false, "keep the owners; else files become the container's root's, or yours")
	c.Flags().BoolVarP(&f.follow, "follow-link", "L", false, "copy what a link at SOURCE points to")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("quiet") {
			f.quiet = !isTerminal(1) // a script reads it in its mail
		}
		from, source := splitPlace(args[0])
		to, dest := splitPlace(args[1])
		switch {
		case from != "" && to != "":
			return &engine.Error{Err: errors.New("copy: both are containers"), Text: "vitro cp A:PATH - | vitro cp - B:PATH"}
		case from == "" && to == "":
			return &engine.Error{Err: errors.New("copy: neither is in a container"), Text: "a container's path is CONTAINER:PATH"}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		if from != "" {
			return f.out(e, from, source, dest)
		}
		return f.in(e, source, to, dest)
	}
	c.RunE = a.one(c.RunE)
	return c
}

// splitPlace reads CONTAINER:PATH; what begins like a path is one of the host's.
func splitPlace(arg string) (container, path string) {
	container, path, ok := strings.Cut(arg, ":")
	if !ok || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	return container, path
}

// contents reports whether a path means what is in a folder.
func contents(path string) bool { return path == "." || strings.HasSuffix(path, "/.") }

// hostPath is a path of the host's from its root, with what its end says.
func hostPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	switch {
	case contents(path):
		return strings.TrimSuffix(abs, "/") + "/.", nil
	case strings.HasSuffix(path, "/"):
		return strings.TrimSuffix(abs, "/") + "/", nil
	}
	return abs, nil
}

func (f *cpFlags) out(e *engine.Engine, container, source, dest string) error {
	if dest == "-" {
		if isTerminal(1) {
			return toTerminal("copy")
		}
		return e.CopyFrom(container, source, f.follow, func(r io.Reader) error {
			_, err := io.Copy(os.Stdout, r)
			return err
		})
	}
	path, err := hostPath(dest)
	if err != nil {
		return err
	}
	host, err := engine.Host()
	if err != nil {
		return err
	}
	defer unix.Close(host.FD)
	n := &count{}
	err = e.CopyFrom(container, source, f.follow, func(r io.Reader) error {
		u := tree.Unpacker{Keep: f.archive, Lenient: os.Geteuid() != 0}
		return u.Copy(io.TeeReader(r, n), host, path, contents(source))
	})
	if err == nil {
		f.done(n, dest)
	}
	return err
}

func (f *cpFlags) in(e *engine.Engine, source, container, dest string) error {
	to := engine.CopyTo{Name: container, Dest: dest, Contents: contents(source), Keep: f.archive, Extract: source == "-"}
	if to.Extract {
		in, err := open("-")
		if err != nil {
			return err
		}
		return e.CopyTo(to, func(w io.Writer) error {
			_, err := io.Copy(w, in)
			return err
		})
	}
	path, err := hostPath(source)
	if err != nil {
		return err
	}
	host, err := engine.Host()
	if err != nil {
		return err
	}
	defer unix.Close(host.FD)
	// What can't be read is to be known before anything is written.
	if _, err := os.Lstat(path); err != nil {
		return fmt.Errorf("copy to container %q: %w", container, err)
	}
	n := &count{}
	err = e.CopyTo(to, func(w io.Writer) error {
		return new(tree.Packer).Pack(io.MultiWriter(w, n), host, path, f.follow)
	})
	if err == nil {
		f.done(n, container+":"+dest)
	}
	return err
}

// count counts bytes.
type count struct{ n int64 }

func (c *count) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

func (f *cpFlags) done(n *count, dest string) {
	if !f.quiet {
		fmt.Fprintln(os.Stderr, "Successfully copied", units.HumanSizeWithPrecision(float64(n.n), 3), "to", dest)
	}
}

// toTerminal refuses to write an archive where a person would see it.
func toTerminal(verb string) error {
	return &engine.Error{Err: fmt.Errorf("%s: the output is a terminal", verb), Text: "redirect it to a file, or pipe it to tar"}
}

func diffCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "diff CONTAINER",
		Short: "show which files a container has added (A), changed (C) and deleted (D)",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			list, err := e.Diff(args[0])
			if err != nil {
				return err
			}
			for _, c := range list {
				fmt.Println(c.Kind, c.Path)
			}
			return nil
		},
	}
	c.RunE = a.one(c.RunE)
	return c
}

func exportCommand(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "export [-o FILE] CONTAINER",
		Short:   "write a container's root file system as a tar archive",
		Example: "  vitro export web | vitro import - web:flat",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVarP(&file, "output", "o", "", "the archive; without it, standard output")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		return output(file, "export", func(w io.Writer) error { return e.Export(args[0], w) })
	}
	c.RunE = a.one(c.RunE)
	return c
}

// output has something written to a file that is there only if it is whole, or
// to standard output.
func output(file, verb string, write func(io.Writer) error) (err error) {
	if file == "" {
		if isTerminal(1) {
			return toTerminal(verb)
		}
		return write(os.Stdout)
	}
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() { // such as /dev/null
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// one is a command whose errors are told by the status 1, as Docker's are, but
// for those that make a container.
func (a *app) one(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		err := run(c, args)
		if err != nil {
			a.code = 1
		}
		return err
	}
}
