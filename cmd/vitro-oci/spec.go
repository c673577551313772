// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
	"vitro/spec"
)

// version is what --version shows, in the lines that engines read of runc's.
// Which commit it is built from only the Go command knows; package
// runtime/debug, which could tell, costs every start.
var version = "vitro-oci version 0.1.0\ncommit: " + commit + "\nspec: " + specs.Version + "\n"

// commit is set by the linker (-X main.commit=…).
var commit = "unknown"

// writeSpec writes a config.json to start from. One that is there already stays.
func writeSpec(inv *invocation) (int, error) {
	s := spec.Example()
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		// As runc's: with v1 hierarchies, users look in the container's /proc for
		// where it is in the host's.
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace })
	}
	if inv.has("rootless") {
		spec.Rootless(s, os.Geteuid(), os.Getegid())
	}
	file := filepath.Join(inv.get("bundle"), "config.json")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return 1, fmt.Errorf("write config.json: %w", err)
	}
	_, err = f.Write(append(ocijson.Indent(nil, ocijson.AppendSpec(nil, s)), '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(file)
		return 1, err
	}
	return 0, nil
}
