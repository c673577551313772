// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/filter"
	"vitro/format"
	"vitro/listing"
	"vitro/volume"
)

func volumeCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "volume", Short: "look after volumes: folders that outlive containers"}
	c.AddCommand(volumeCreateCommand(a), volumeListCommand(a), volumeInspectCommand(a), volumeRemoveCommand(a), volumePruneCommand(a))
	return c
}

func volumeCreateCommand(a *app) *cobra.Command {
	var v volume.Volume
	var driver string
	var labels, opts []string
	c := &cobra.Command{
		Use:     "create [NAME]",
		Short:   "make a volume",
		Example: "  vitro volume create data\n  vitro volume create -o type=none -o o=bind -o device=/srv/data data",
		Args:    cobra.MaximumNArgs(1),
	}
	c.Flags().StringVarP(&driver, "driver", "d", volume.Driver, "the driver: local")
	c.Flags().StringArrayVar(&labels, "label", nil, "a label: KEY=VALUE")
	c.Flags().StringArrayVarP(&opts, "opt", "o", nil, "an option of the driver: type, device or o, as mount(8) has them")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		if len(args) > 0 {
			v.Name = args[0]
		}
		v.Labels, v.Options = pairs(labels), pairs(opts)
		if v, err = e.CreateVolume(v, driver); err != nil {
			return err
		}
		fmt.Println(v.Name)
		return nil
	}
	c.RunE = a.one(c.RunE)
	return c
}

// pairs reads KEY=VALUE.
func pairs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string)
	for _, text := range list {
		k, v, _ := strings.Cut(text, "=")
		m[k] = v
	}
	return m
}

// A volumeView is a volume as Docker's inspect shows it.
type volumeView struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

func viewVolume(v volume.Volume) volumeView {
	return volumeView{v.Created.Local().Format(time.RFC3339), volume.Driver, v.Labels, v.Data(), v.Name, v.Options, "local"}
}

// listVolume is what a list needs to know of a volume.
func listVolume(v volume.Volume, links int) listing.Volume {
	return listing.Volume{Name: v.Name, Driver: volume.Driver, Mountpoint: v.Data(), Labels: v.Labels, Links: links, Size: -1}
}

func volumeListCommand(a *app) *cobra.Command {
	var l list
	c := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "list volumes", Args: cobra.NoArgs,
		Example: "  vitro volume ls --filter dangling=true -q"}
	l.flags(c, filter.Volumes)
	_ = c.Flags().MarkHidden("no-trunc") // names are always whole
	c.RunE = func(*cobra.Command, []string) error {
		set, err := l.filter()
		if err == nil {
			err = listing.CheckVolumes(set)
		}
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		all, err := e.Volumes.List()
		if err != nil {
			return err
		}
		users := e.VolumeUsers()
		var found []listing.VolumeRow
		for _, v := range all {
			if it := listVolume(v, users[v.Name]); it.Match(set) {
				found = append(found, it.Row())
			}
		}
		return rows(&l, listing.Volumes(l.quiet), found)
	}
	c.RunE = a.one(c.RunE)
	return c
}

func volumeInspectCommand(a *app) *cobra.Command {
	var text string
	c := &cobra.Command{Use: "inspect VOLUME [VOLUME...]", Short: "show all that is known of volumes, as JSON", Args: cobra.MinimumNArgs(1)}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		var errs []error
		views := []volumeView{}
		for _, name := range args {
			v, err := e.Volumes.Get(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			views = append(views, viewVolume(v))
		}
		return errors.Join(append(errs, format.Inspect(os.Stdout, text, views))...)
	}
	c.RunE = a.one(c.RunE)
	return c
}

func volumeRemoveCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "rm [-f] VOLUME [VOLUME...]", Aliases: []string{"remove"}, Short: "remove volumes", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&force, "force", "f", false, "no error if there is no such volume")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		var errs []error
		for _, name := range args {
			err := e.RemoveVolume(name)
			if err != nil && !(force && errors.Is(err, volume.ErrNotFound)) {
				errs = append(errs, err)
				continue
			}
			fmt.Println(name)
		}
		return errors.Join(errs...)
	}
	c.RunE = a.one(c.RunE)
	return c
}

// pruneKeys are what volumes to be removed can be chosen by.
var pruneKeys = [...]string{"all", "label", "label!"}

func volumePruneCommand(a *app) *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{Use: "prune", Short: "remove volumes that no container uses", Args: cobra.NoArgs}
	c.Flags().BoolVarP(&all, "all", "a", false, "those with a name too")
	c.Flags().BoolVarP(&force, "force", "f", false, "don't ask")
	c.Flags().StringArrayVar(&filters, "filter", nil, "only those: label=KEY[=VALUE], label!=KEY[=VALUE], all=true")
	c.RunE = func(*cobra.Command, []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		set, err := filter.Parse(filters, pruneKeys[:])
		if err != nil {
			return err
		}
		named, err := set.Bool("all", false)
		if err != nil {
			return err
		}
		all = all || named
		kind := "anonymous"
		if all {
			kind = "all"
		}
		if !force && !confirm(os.Stdin, os.Stdout, "WARNING! This will remove "+kind+" local volumes not used by at least one container.") {
			return nil
		}
		freed, err := pruneVolumes(e, all, set)
		fmt.Println("Total reclaimed space:", format.Size(freed))
		return err
	}
	c.RunE = a.one(c.RunE)
	return c
}

// confirm asks a person; only y and yes are consent.
func confirm(in io.Reader, out io.Writer, warning string) bool {
	fmt.Fprintf(out, "%s\nAre you sure you want to continue? [y/N] ", warning)
	line, _ := bufio.NewReader(in).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// pruneVolumes removes volumes that no container uses, of those that a filter lets through; of those with a name only if all is set.
func pruneVolumes(e *engine.Engine, all bool, set filter.Set) (freed int64, err error) {
	list, err := e.Volumes.List()
	if err != nil {
		return 0, err
	}
	users := e.VolumeUsers()
	var gone []string
	var errs []error
	for _, v := range list {
		if users[v.Name] > 0 || !all && !v.Anonymous || !set.Label(v.Labels) {
			continue
		}
		size := folderSize(v.Data())
		var used *volume.InUseError
		switch err := e.RemoveVolume(v.Name); {
		case err == nil:
			gone, freed = append(gone, v.Name), freed+size
		case !errors.As(err, &used) && !errors.Is(err, volume.ErrNotFound):
			errs = append(errs, err)
		}
	}
	printRemoved("Volumes", gone)
	return freed, errors.Join(errs...)
}

// folderSize is what the files below a folder take up, as far as we may look.
func folderSize(dir string) (n int64) {
	seen := map[uint64]bool{} // files with several names
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.Mode().IsRegular() || seen[st.Ino] {
			return nil
		}
		seen[st.Ino] = st.Nlink > 1
		n += info.Size()
		return nil
	})
	return n
}
