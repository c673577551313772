// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"path/filepath"

	"vitro/container"
	"vitro/internal/outside"
)

// runtimes are the first processes of the containers that OCI runtimes keep a
// state of, by PID. A state outlives its process: what has its number now is
// believed only if it is apart from us.
func runtimes() map[int]Container {
	found := make(map[int]Container)
	add := func(engine, id string, pid int) {
		if pid > 1 {
			found[pid] = Container{Engine: engine, ID: id}
		}
	}
	own, err := outside.Folder()
	if err != nil {
		own = "/var/lib/vitro" // no home, no containers of one's own
	}
	for _, engine := range [...]struct{ name, root string }{
		{"vitro-oci", container.RuntimeDir(false)}, {"vitro-oci", container.RuntimeDir(true)},
		{"vitro", "/var/lib/vitro/containers"}, {"vitro", filepath.Join(own, "containers")},
	} {
		list, _ := (&container.Store{Root: engine.root}).All()
		for _, c := range list {
			if c.State != nil && c.State.Alive() {
				add(engine.name, c.ID, c.State.Pid)
			}
		}
	}
	for _, runtime := range [...]struct{ name, files string }{
		{"runc", "/run/runc/*/state.json"}, {"docker", "/run/docker/runtime-runc/moby/*/state.json"},
		{"containerd", "/run/containerd/runc/*/*/state.json"}, {"crun", "/run/crun/*/status"},
	} {
		states, _ := filepath.Glob(runtime.files)
		for _, file := range states {
			var s struct {
				Init int `json:"init_process_pid"` // runc
				PID  int `json:"pid"`              // crun
			}
			if readJSON(file, &s) {
				add(runtime.name, filepath.Base(filepath.Dir(file)), max(s.Init, s.PID))
			}
		}
	}
	return found
}
