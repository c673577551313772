// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/format"
	"vitro/listing"
)

func versionCommand(*app) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use:     "version",
		Short:   "show the versions of the program and of what it works with",
		Example: "  vitro version --format '{{.Server.Version}}'",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template; client and engine are the same program")
	c.RunE = func(*cobra.Command, []string) error {
		v := engine.NewVersions(version)
		if text != "" {
			return printOne(text, v)
		}
		fields(os.Stdout, "", []field{
			{"Version", v.Client.Version}, {"Go version", v.Client.GoVersion}, {"Git commit", v.Client.GitCommit},
			{"Committed", v.Client.BuildTime}, {"OS/Arch", v.Client.Os + "/" + v.Client.Arch},
			{"Kernel version", v.Server.KernelVersion}, {"Runtime", v.Server.Runtime},
		})
		return nil
	}
	return c
}

// printOne prints an object by a --format.
func printOne(text string, v any) error {
	t, err := format.ParseTemplate(text)
	if err != nil {
		return err
	}
	return t.Print(os.Stdout, v)
}

// A field is a line of a description. It is left out if it has no value.
type field struct{ name, value string }

func fields(w io.Writer, indent string, list []field) {
	for _, f := range list {
		if f.value != "" {
			fmt.Fprintf(w, "%s%s: %s\n", indent, f.name, f.value)
		}
	}
}

func infoCommand(a *app) *cobra.Command {
	var text string
	c := &cobra.Command{Use: "info", Short: "show what the engine has, and what this machine can do", Args: cobra.NoArgs}
	c.Flags().StringVarP(&text, "format", "f", "", "json, or a Go template")
	c.RunE = func(*cobra.Command, []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		about, err := e.About(version)
		if err != nil {
			return err
		}
		if text != "" {
			return printOne(text, about)
		}
		showAbout(os.Stdout, about)
		for _, w := range about.Warnings {
			fmt.Fprintln(os.Stderr, "vitro: warning:", w)
		}
		return nil
	}
	return c
}

func showAbout(w io.Writer, a *engine.About) {
	limits := []string{}
	for _, l := range [...]struct {
		name string
		has  bool
	}{{"memory", a.MemoryLimit}, {"swap", a.SwapLimit}, {"cpu", a.CPUShares}, {"cpuset", a.CPUSet}, {"pids", a.PidsLimit}} {
		if l.has {
			limits = append(limits, l.name)
		}
	}
	fields(w, "", []field{{"Containers", fmt.Sprint(a.Containers)}})
	fields(w, " ", []field{{"Running", fmt.Sprint(a.ContainersRunning)}, {"Paused", fmt.Sprint(a.ContainersPaused)}, {"Stopped", fmt.Sprint(a.ContainersStopped)}})
	fields(w, "", []field{
		{"Images", fmt.Sprint(a.Images)}, {"Version", a.ServerVersion}, {"Storage Driver", a.Driver}, {"Logging Driver", a.LoggingDriver},
		{"Cgroup Driver", a.CgroupDriver}, {"Cgroup Version", a.CgroupVersion + " (" + a.CgroupLayout + ")"}, {"Limits", strings.Join(limits, " ")},
		{"Default Runtime", a.DefaultRuntime}, {"Security Options", strings.Join(a.SecurityOptions, " ")},
		{"Kernel Version", a.KernelVersion}, {"Operating System", a.OperatingSystem}, {"OSType", a.OSType}, {"Architecture", a.Architecture},
		{"CPUs", fmt.Sprint(a.NCPU)}, {"Total Memory", units.BytesSize(float64(a.MemTotal))}, {"Name", a.Name},
		{"Root Dir", a.DockerRootDir}, {"Rootless", fmt.Sprint(a.Rootless)},
	})
}

func diskCommand(a *app) *cobra.Command {
	var text string
	var verbose bool
	c := &cobra.Command{
		Use:   "df",
		Short: "show what images, containers and volumes take on the disk",
		Long: "Show what images, containers and volumes take on the disk. Images are counted as archives, a layer that several have\n" +
			"once; containers by the files that they have written, as far as the user may see them.",
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "each of them")
	c.Flags().StringVar(&text, "format", "", "table, \"table TEMPLATE\", json, or a Go template")
	c.RunE = func(*cobra.Command, []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		u, err := measure(e)
		if err != nil {
			return err
		}
		if !verbose {
			return rows(&list{format: text}, listing.Disk, listing.DiskUsage(u.layers, u.images, u.containers, u.volumes))
		}
		return u.show(text)
	}
	return c
}

// A usage is what things take on the disk.
type usage struct {
	layers     int64
	images     []listing.Image
	containers []listing.Container
	volumes    []listing.Volume
}

func measure(e *engine.Engine) (u usage, err error) {
	infos, err := e.List(engine.WithNetworks, engine.WithHealth)
	if err != nil {
		return u, err
	}
	for _, i := range infos {
		c := listContainer(i)
		c.SizeRw, _ = e.Sizes(i)
		u.containers = append(u.containers, *c)
	}
	volumes, err := e.Volumes.List()
	if err != nil {
		return u, err
	}
	users := e.VolumeUsers()
	for _, v := range volumes {
		it := listVolume(v, users[v.Name])
		it.Size = engine.SizeOf(v.Data())
		u.volumes = append(u.volumes, it)
	}
	u.layers, u.images, err = e.ImageUsage(infos)
	return u, err
}

// show prints all that takes space. A template is executed once, for all
// of it together.
func (u *usage) show(text string) error {
	var all struct {
		Images     []listing.ImageRow
		Containers []listing.ContainerRow
		Volumes    []listing.VolumeRow
	}
	now := time.Now()
	for _, i := range u.images {
		all.Images = append(all.Images, i.Rows(now, false, false)[:1]...)
	}
	for _, c := range u.containers {
		all.Containers = append(all.Containers, c.Row(now, false))
	}
	for _, v := range u.volumes {
		all.Volumes = append(all.Volumes, v.Row())
	}
	if text != "" && text != "table" {
		return printOne(text, all)
	}
	fmt.Print("Images space usage:\n\n")
	if err := rows(new(list), listing.DiskImages, all.Images); err != nil {
		return err
	}
	fmt.Print("\nContainers space usage:\n\n")
	if err := rows(new(list), listing.DiskContainers, all.Containers); err != nil {
		return err
	}
	fmt.Print("\nLocal Volumes space usage:\n\n")
	return rows(new(list), listing.DiskVolumes, all.Volumes)
}
