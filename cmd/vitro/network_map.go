// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/network/topology"
)

func networkMapCommand(a *app) *cobra.Command {
	format := "text"
	c := &cobra.Command{
		Use:   "map",
		Short: "draw how this machine's network namespaces are joined, whoever made them",
		Long: "map finds the machine's network namespaces (by processes, bind mounts and open descriptors), looks into each, and draws which\n" +
			"link leads where, with addresses, routes, published ports and NAT rules. It changes nothing. As an ordinary user it shows what\n" +
			"may be seen, and says what may not.",
		Example: "  vitro network map\n  vitro network map --format svg >map.svg\n  vitro network map --format json | jq '.namespaces[].links[].name'",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&format, "format", format, "text, svg or json")
	c.RunE = func(*cobra.Command, []string) error {
		m, err := a.whole()
		if err != nil {
			return err
		}
		switch format {
		case "text":
			_, err = fmt.Print(topology.Arrange(m).Text())
		case "svg":
			_, err = fmt.Print(topology.Arrange(m).SVG())
		case "json":
			e := json.NewEncoder(os.Stdout)
			e.SetIndent("", "  ")
			err = e.Encode(m)
		default:
			err = &engine.Error{Err: fmt.Errorf("map --format %q: no such form", format), Text: "the forms are text, svg and json"}
		}
		return err
	}
	return c
}

// topology reads the machine, with our own containers by name. Who can't read those sees the rest.
func (a *app) topology() (*topology.Machine, error) {
	known := make(map[int]topology.Container)
	if e, err := a.engine(); err == nil {
		cards, _ := e.List()
		for _, k := range cards {
			if k.Pid > 0 {
				known[k.Pid] = topology.Container{Engine: "vitro", ID: k.ID, Name: k.Name}
			}
		}
	}
	return topology.Read(known)
}

// whole is the machine with what only the root of the user's networks sees of it, if there are some.
func (a *app) whole() (*topology.Machine, error) {
	m, err := a.topology()
	if err != nil {
		return nil, err
	}
	e, err := a.engine()
	if err != nil || !e.Aside() {
		return m, nil
	}
	fd, err := unix.MemfdCreate("vitro-map", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	out := os.NewFile(uintptr(fd), "the picture of the user's networks")
	defer out.Close()
	code, done, err := e.Within(append(slices.Clone(os.Args), "--format=json"), ifThere, out)
	if err != nil || !done {
		return m, err
	}
	if a.code = code; code != 0 {
		return m, nil // it has said why
	}
	var inside topology.Machine
	if _, err = out.Seek(0, io.SeekStart); err == nil {
		err = json.NewDecoder(out).Decode(&inside)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", out.Name(), err)
	}
	m.Learn(&inside)
	return m, nil
}
