// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// marks are how engines name the cgroups of their containers. The first that is
// found in a path counts: what stands before the ID, and the engine.
var marks = [...]struct{ before, engine string }{
	{"/libpod-conmon-", ""}, {"/libpod_parent/libpod-", "podman"}, {"/libpod-", "podman"}, {"docker-", "docker"}, {"/docker/", "docker"},
	{"/vitro/", "vitro"}, {"vitro-", "vitro"}, {"cri-containerd-", "containerd"}, {"cri-containerd:", "containerd"}, {"nerdctl-", "nerdctl"}, {"crio-", "cri-o"},
	{"/lxc.payload.", "lxc"}, {"/lxc.payload/", "lxc"}, {"/lxc/", "lxc"}, {"/machine.slice/machine-", "machine"}, {"/k8s.io/", "containerd"}, {"/default/", "containerd"},
}

// containerOf reads /proc/PID/cgroup.
func containerOf(cgroup string) (Container, bool) {
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		for _, m := range marks {
			_, id, ok := strings.Cut(parts[2], m.before)
			if !ok || m.engine == "" {
				continue
			}
			id, _, _ = strings.Cut(id, "/")
			id = strings.TrimSuffix(strings.TrimSuffix(id, ".scope"), ".service")
			if m.engine == "lxc" || m.engine == "machine" || isID(id) {
				return Container{Engine: m.engine, ID: id}, id != ""
			}
		}
	}
	return Container{}, false
}

// isID reports whether a word is an engine's ID: a number of 12 to 64 hexadecimal digits.
func isID(s string) bool {
	return len(s) >= 12 && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// A nameCache knows what containers are called, from the files of their engines, as far as they can be read.
type nameCache struct {
	once  sync.Once
	names map[string]string
}

func (c *nameCache) name(k Container) string {
	c.once.Do(c.read)
	switch k.Engine {
	case "lxc", "machine":
		return k.ID
	case "docker":
		var config struct{ Name string }
		if data, err := os.ReadFile(filepath.Join("/var/lib/docker/containers", k.ID, "config.v2.json")); err == nil && json.Unmarshal(data, &config) == nil {
			return strings.TrimPrefix(config.Name, "/")
		}
	}
	return c.names[k.ID]
}

func (c *nameCache) read() {
	c.names = make(map[string]string)
	if data, err := os.ReadFile("/var/lib/containers/storage/overlay-containers/containers.json"); err == nil {
		var list []struct {
			ID    string   `json:"id"`
			Names []string `json:"names"`
		}
		if json.Unmarshal(data, &list) == nil {
			for _, k := range list {
				if len(k.Names) > 0 {
					c.names[k.ID] = k.Names[0]
				}
			}
		}
	}
	const dir = "/var/lib/vitro/names" // symbolic links: a name to an ID
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if id, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			c.names[filepath.Base(id)] = e.Name()
		}
	}
}
