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
// the process's root, as it is now, where no folder of the host is that root.
// The folder must not be there yet.
func (c *Config) Bundle(pid int, dir string) (err error) {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir) // half of one is of no use
		}
	}()
	s := *c.Spec
	if !filepath.IsAbs(s.Root.Path) {
		if err := copyRoot(pid, filepath.Join(dir, "rootfs")); err != nil {
			return err
		}
		s.Root = &specs.Root{Path: "rootfs", Readonly: c.Spec.Root.Readonly}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), (&Config{Spec: &s}).JSON(), 0o600); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	return nil
}

func copyRoot(pid int, to string) error {
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
	if err := os.Mkdir(to, 0o755); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	top, err := unix.Open(to, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	defer unix.Close(top)
	if err := host.CopyTree(from, top); err != nil {
		return fmt.Errorf("copy the root of process %d: %w", pid, err)
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
