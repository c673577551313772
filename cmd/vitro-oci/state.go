// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/ocijson"
)

// rootfs is the bundle's root file system on the host.
func (b *bundle) rootfs() string {
	switch {
	case b.spec.Root == nil:
		return ""
	case filepath.IsAbs(b.spec.Root.Path):
		return filepath.Clean(b.spec.Root.Path)
	}
	return filepath.Join(b.dir, b.spec.Root.Path)
}

// lock finds the container that the command is about, for this process to change.
func (inv *invocation) lock() (*container.Container, error) {
	id, err := inv.id()
	if err != nil {
		return nil, err
	}
	return inv.store().Lock(id)
}

// look finds the container that the command is about; one that is still being made is not found.
func (inv *invocation) look(id string) (*container.Container, error) {
	c, err := inv.store().Look(id)
	if err == nil && c.State == nil {
		err = fmt.Errorf("find container %q: %w: it is still being made", id, container.ErrNotFound)
	}
	return c, err
}

// showState prints where a container is in its life.
func showState(inv *invocation) (int, error) {
	id, err := inv.id()
	if err != nil {
		return 1, err
	}
	c, err := inv.look(id)
	if err != nil {
		return 1, err
	}
	_, err = inv.stdout.Write(append(ocijson.Indent(nil, appendState(nil, c)), '\n'))
	return 0, err
}

// appendState appends a container as JSON: the state of the specification, and
// what runc adds to it, in runc's order.
func appendState(dst []byte, c *container.Container) []byte {
	version, status, pid := specs.Version, c.Status(), 0
	if c.State.Version != "" {
		version = c.State.Version
	}
	if status != container.Stopped {
		pid = c.State.Pid
	}
	text := func(name, value string) {
		dst = ocijson.AppendString(append(dst, name...), value)
	}
	text(`{"ociVersion":`, version)
	text(`,"id":`, c.ID)
	dst = strconv.AppendInt(append(dst, `,"pid":`...), int64(pid), 10)
	text(`,"status":`, string(status))
	text(`,"bundle":`, c.State.Bundle)
	text(`,"rootfs":`, c.State.Rootfs)
	text(`,"created":`, c.State.Created.UTC().Format(time.RFC3339Nano))
	before := `,"annotations":{`
	for _, key := range slices.Sorted(maps.Keys(c.State.Annotations)) {
		text(before, key)
		text(":", c.State.Annotations[key])
		before = ","
	}
	if before == "," {
		dst = append(dst, '}')
	}
	text(`,"owner":`, owner(c))
	return append(dst, '}')
}

// owner is the name of the user whose container it is, its number if it has none.
func owner(c *container.Container) string {
	var st unix.Stat_t
	if unix.Stat(c.Dir, &st) != nil {
		return ""
	}
	id := strconv.Itoa(int(st.Uid))
	passwd, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(passwd)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == id {
			return f[0]
		}
	}
	return id
}

// listContainers prints all containers.
func listContainers(inv *invocation) (int, error) {
	if root := inv.get("root"); root != "" {
		if _, err := os.Stat(root); err != nil { // only the usual place may not be there yet
			return 1, fmt.Errorf("list containers: %w", err)
		}
	}
	all, err := inv.store().All()
	if err != nil {
		return 1, err
	}
	inv.sweepNew()
	switch f := inv.get("format"); {
	case inv.has("quiet"):
		for _, c := range all {
			fmt.Fprintln(inv.stdout, c.ID)
		}
		return 0, nil
	case f == "" || f == "table":
		return 0, listTable(inv.stdout, all)
	case f == "json":
		data := []byte("[")
		for i, c := range all {
			if i > 0 {
				data = append(data, ',')
			}
			data = appendState(data, c)
		}
		_, err := inv.stdout.Write(append(data, "]\n"...))
		return 0, err
	default:
		return 1, fmt.Errorf("list containers: unknown format %q: want table or json", f)
	}
}

func listTable(out io.Writer, all []*container.Container) error {
	w := tabwriter.NewWriter(out, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, c := range all {
		status, pid := c.Status(), c.State.Pid
		if status == container.Stopped {
			pid = 0
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", c.ID, pid, status, c.State.Bundle, c.State.Created.UTC().Format(time.RFC3339Nano), owner(c))
	}
	return w.Flush()
}
