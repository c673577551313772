// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	units "github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/spec"
)

// initPath is where the container finds the init that --init runs.
const initPath = "/sbin/vitro-init"

// mounts are the usual file systems, then the engine's own files, then what
// the flags ask for: a mount hides what is below it, so outer ones come first.
func (d *draft) mounts() error {
	if d.ShmSize != "" {
		if _, err := size("shm-size", d.ShmSize); err != nil {
			return err
		}
	}
	ms := spec.Mounts()
	for i := range ms {
		d.adapt(&ms[i])
	}
	if kind, _, _ := strings.Cut(d.IPC, ":"); kind == "host" { // the host's queues, if it shows any
		if _, err := os.Stat("/dev/mqueue"); err != nil {
			ms = slices.DeleteFunc(ms, func(m specs.Mount) bool { return m.Destination == "/dev/mqueue" })
		}
	}
	user, err := d.userMounts()
	if err != nil {
		return err
	}
	var own []specs.Mount
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		own = append(own, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(d.dir, name), Options: []string{"bind", "rprivate"}})
	}
	if d.Init {
		program, err := companion("vitro-oci")
		if err != nil {
			return err
		}
		own = append(own, specs.Mount{Destination: initPath, Type: "bind", Source: program, Options: []string{"bind", "ro", "rprivate"}})
	}
	// What the user mounts stands in for what is usually there.
	replaced := func(m specs.Mount) bool {
		return slices.ContainsFunc(user, func(u specs.Mount) bool { return u.Destination == m.Destination })
	}
	ms, own = slices.DeleteFunc(ms, replaced), slices.DeleteFunc(own, replaced)
	user = append(own, user...)
	slices.SortStableFunc(user, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	d.spec.Mounts = append(ms, user...)
	return nil
}

// adapt changes a usual mount by the flags.
func (d *draft) adapt(m *specs.Mount) {
	switch m.Destination {
	case "/dev/pts":
		if d.maps != nil && d.maps.single() { // group 5, tty, doesn't exist there
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "gid=5" })
		}
	case "/dev/shm":
		if d.ShmSize != "" {
			if n, err := units.RAMInBytes(d.ShmSize); err == nil {
				m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "size=") }), fmt.Sprintf("size=%d", n))
			}
		}
		if kind, _, _ := strings.Cut(d.IPC, ":"); kind == "host" {
			*m = specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: []string{"rbind", "rprivate"}}
		}
	case "/sys", "/sys/fs/cgroup":
		if d.Privileged {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
}
