// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/inspect"
	"vitro/inspect/process"
	"vitro/internal/ocijson"
)

// ReadHost finds out what From has to know of the machine.
func ReadHost() (*Host, error) {
	self, err := process.Read(os.Getpid(), process.Options{})
	if err != nil {
		return nil, fmt.Errorf("look at ourselves: %w", err)
	}
	h := &Host{Mounts: self.Mounts, Limits: self.Limits, OOMScoreAdj: self.OOMScoreAdj, Caps: self.Capabilities.Bounding}
	h.Fresh = map[string]string{"net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv4.ping_group_range": "1 0", "net.ipv4.ip_forward": "0"}
	_ = process.OnThread(func() error { // an ordinary user may not, and has the usual ones
		err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC)
		if err == nil {
			for _, s := range process.Parameters(inspect.Network, inspect.IPC) {
				h.Fresh[s.Name] = s.Value
			}
		}
		return err
	})
	return h, nil
}

// Origin finds the config.json that an engine has kept of a container: where
// it names the container, and its runtime has made it of that. Nil if there is
// none to be read.
func Origin(c *inspect.Container) *specs.Spec {
	if c == nil || c.ID == "" || strings.ContainsAny(c.ID, "/*?[\\") {
		return nil
	}
	for _, place := range [...]struct{ engine, pattern string }{
		{"vitro", "/var/lib/vitro/containers/ID/config.json"},
		{"vitro-oci", "/run/vitro-oci/ID/config.json"},
		{"podman", "/var/lib/containers/storage/*-containers/ID/userdata/config.json"},
		{"podman", "/run/user/*/containers/*-containers/ID/userdata/config.json"},
		{"cri-o", "/run/containers/storage/*-containers/ID/userdata/config.json"},
		{"docker", "/run/containerd/io.containerd.runtime.v2.task/moby/ID/config.json"},
		{"docker", "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/ID/config.json"},
		{"", "/run/containerd/io.containerd.runtime.v2.task/*/ID/config.json"},
	} {
		if place.engine != "" && place.engine != c.Engine {
			continue
		}
		files, _ := filepath.Glob(strings.Replace(place.pattern, "ID", c.ID, 1))
		for _, file := range files {
			if s := ReadFile(file); s != nil {
				return s
			}
		}
	}
	return nil
}

// ReadFile reads a config.json; nil if it can't be.
func ReadFile(file string) *specs.Spec {
	const most = 16 << 20
	if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() || st.Size() > most {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	s, err := ocijson.DecodeSpec(data)
	if err != nil {
		return nil
	}
	return s
}
