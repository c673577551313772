// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/inspect/process"
	"vitro/internal/ocijson"
	"vitro/plan"
	"vitro/rootfs"
	"vitro/spec"
)

// JSON is the config.json.
func (c *Config) JSON() []byte {
	return append(ocijson.Indent(nil, ocijson.AppendSpec(nil, c.Spec)), '\n')
}

// Bundle makes a folder that a runtime can run: the config.json, and a copy of
// the process's root, as it is now. The folder must not be there yet.
func (c *Config) Bundle(pid int, dir string) error {
	tree, err := process.RootTree(pid)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	from, err := unix.Openat(tree, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root of process %d: %w", pid, err)
	}
	defer unix.Close(from)
	if err := os.Mkdir(dir, 0o711); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	top := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(top, 0o755); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	to, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	defer unix.Close(to)
	if err := host.CopyTree(from, to); err != nil {
		return fmt.Errorf("copy the root of process %d: %w", pid, err)
	}
	s := *c.Spec
	s.Root = &specs.Root{Path: "rootfs", Readonly: c.Spec.Root.Readonly}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), (&Config{Spec: &s}).JSON(), 0o600); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	return nil
}

// Plan compiles the config.json: all that is done to make the isolation again,
// below a folder that is used for nothing yet.
func (c *Config) Plan(id, title, dir string) (*plan.Plan, []string, error) {
	facts, err := spec.ReadFacts(c.Spec, dir)
	if err != nil {
		return nil, nil, err
	}
	r := &spec.Request{ID: id, Spec: c.Spec, Facts: facts, Title: title, Bundle: dir}
	if c.Layers != nil {
		root := &rootfs.Root{Layers: c.Layers, Dir: dir, Memory: true, Append: facts.OverlayAppend(), UserXattr: c.Spec.Linux.UIDMappings != nil}
		r.Before, r.At = root.Before(), root.At()
		if r.Root, err = root.Mount(); err != nil {
			return nil, nil, err
		}
	}
	res, err := spec.Compile(r)
	if err != nil {
		return nil, nil, err
	}
	return res.Plan, res.Notes, nil
}
