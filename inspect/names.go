// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vitro/internal/outside"
)

// namer looks up what people call containers, in the folders where engines
// keep their state; each of them once.
type namer map[Container]Container

// name fills in what the engine's folder says of a process's container. A
// folder that can't be read leaves the ID.
func (n namer) name(p *Process) {
	c := *p.Container
	named, ok := n[c]
	if !ok {
		named = c
		for _, look := range lookups {
			if look.engine == c.Engine {
				if name := look.find(c.ID, p.UID); name != "" {
					named.Name = name
					break
				}
			}
		}
		n[c] = named
	}
	*p.Container = named
}

// lookups are where engines keep names. What they find is foreign text.
var lookups = [...]struct {
	engine string
	find   func(id string, uid uint32) string
}{
	{"docker", func(id string, _ uint32) string { return dockerName("/var/lib/docker", id) }},
	{"podman", podmanName},
	{"containerd", containerdName},
	{"kubernetes", containerdName},
	{"cri-o", func(id string, _ uint32) string {
		return labelName("/var/lib/containers/storage/overlay-containers/" + id + "/userdata/config.json")
	}},
	{"vitro", vitroName},
}

// readJSON reads a file of bounded size.
func readJSON(path string, to any) bool {
	const most = 8 << 20
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > most {
		return false
	}
	return json.NewDecoder(f).Decode(to) == nil
}

func dockerName(root, id string) string {
	var c struct {
		Name   string
		Config struct{ Labels map[string]string }
	}
	if !readJSON(filepath.Join(root, "containers", id, "config.v2.json"), &c) {
		return ""
	}
	if name := fromLabels(c.Config.Labels); name != "" {
		return name
	}
	return strings.TrimPrefix(c.Name, "/")
}

// podmanName looks where Podman keeps its containers: root's, and the user's
// whose process it is.
func podmanName(id string, uid uint32) string {
	roots := []string{"/var/lib/containers/storage"}
	if home := homeOf(uid); home != "" {
		roots = append(roots, filepath.Join(home, ".local/share/containers/storage"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".local/share/containers/storage"))
	}
	for _, root := range roots {
		for _, driver := range [...]string{"overlay", "vfs"} {
			var list []struct {
				ID    string   `json:"id"`
				Names []string `json:"names"`
			}
			if !readJSON(filepath.Join(root, driver+"-containers", "containers.json"), &list) {
				continue
			}
			for _, c := range list {
				if c.ID == id && len(c.Names) > 0 {
					return c.Names[0]
				}
			}
		}
	}
	return ""
}

// homeOf is the home folder that /etc/passwd names for a user.
func homeOf(uid uint32) string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && f[2] == strconv.FormatUint(uint64(uid), 10) {
			return f[5]
		}
	}
	return ""
}

// containerdName looks through containerd's namespaces for the bundle.
func containerdName(id string, _ uint32) string {
	bundles, _ := filepath.Glob("/run/containerd/io.containerd.runtime.v2.task/*/" + id + "/config.json")
	for _, b := range bundles {
		if name := labelName(b); name != "" {
			return name
		}
	}
	return ""
}

// labelName is the name that the annotations of a config.json tell.
func labelName(config string) string {
	var c struct {
		Annotations map[string]string `json:"annotations"`
	}
	if !readJSON(config, &c) {
		return ""
	}
	return fromLabels(c.Annotations)
}

// fromLabels is what Kubernetes calls a container: POD/CONTAINER.
func fromLabels(labels map[string]string) string {
	for _, keys := range [...][3]string{
		{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.container-name"},
		{"io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"},
		{"", "", "nerdctl/name"},
	} {
		var parts []string
		for _, key := range keys {
			if v := labels[key]; v != "" {
				parts = append(parts, v)
			}
		}
		if len(parts) > 0 {
			return strings.Join(parts, "/")
		}
	}
	return ""
}

// vitroName finds the name that links to a container of vitro's own.
// vitroName looks where root's containers are, ours, and those of the user
// whose process it is.
func vitroName(id string, uid uint32) string {
	roots := []string{"/var/lib/vitro"}
	if own, err := outside.Folder(); err == nil {
		roots = append(roots, own)
	}
	if home := homeOf(uid); home != "" {
		roots = append(roots, filepath.Join(home, ".local/share/vitro"))
	}
	for _, root := range roots {
		var c struct{ Name string }
		if readJSON(filepath.Join(root, "containers", id, "container.json"), &c) && c.Name != "" {
			return c.Name
		}
	}
	return ""
}

// FindContainer is the first process of a container of any engine's: by its
// name, its ID or the beginning of that, as Describe tells them.
func FindContainer(name string) (pid int, err error) {
	pids, err := (&reader{}).pids()
	if err != nil {
		return 0, err
	}
	found := make(map[Container]int)
	first := 0
	for _, p := range Describe(pids) {
		c := p.Container
		if c == nil || c.Engine == "systemd" || c.Name != name && (len(name) < 4 || !strings.HasPrefix(c.ID, name)) {
			continue
		}
		// The monitor beside the container is in the machine's namespaces.
		if len(p.PIDs) < 2 && found[*c] == 0 && !own(p.PID) {
			continue
		}
		if found[*c] == 0 {
			found[*c] = p.PID
			first = p.PID
		}
	}
	switch len(found) {
	case 0:
		return 0, errors.New("there is no running container of this name")
	case 1:
		return first, nil
	}
	return 0, fmt.Errorf("%d containers are called so", len(found))
}

// own reports whether a process has a mount namespace apart from ours.
func own(pid int) bool { return namespacesOf(pid)[Mount] != namespacesOf(os.Getpid())[Mount] }
