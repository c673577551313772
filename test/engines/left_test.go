// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// look lists all that containers leave when something goes wrong.
func look() []string {
	var list []string
	add := func(kind, name string) { list = append(list, kind+" "+name) }
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		add("mount", strings.Fields(line)[4])
	}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			add("cgroup", path)
		}
		return nil
	})
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		if name, err := os.ReadFile(c); err == nil {
			add("process", strings.TrimSpace(string(name)))
		}
	}
	links, _ := exec.Command("ip", "-o", "link").Output()
	for line := range strings.Lines(string(links)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], "veth") {
			add("link", f[1])
		}
	}
	for _, pattern := range []string{"/run/vitro-oci/*", "/run/runc/*", filepath.Join(st.dir, "*", "run", "runtime*", "*", "*")} {
		found, _ := filepath.Glob(pattern)
		for _, f := range found {
			add("state", f)
		}
	}
	slices.Sort(list)
	return list
}

// nothingLeft compares what is there with what was. The last container's shim
// or monitor may still be about to end.
func (e engine) nothingLeft(t *testing.T, before []string) {
	t.Helper()
	known := make(map[string]int)
	for _, b := range before {
		known[b]++
	}
	var left []string
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		left = nil
		count := make(map[string]int)
		for _, l := range look() {
			if count[l]++; count[l] > known[l] && !e.keeps(l) {
				left = append(left, l)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("is left behind:\n%s", strings.Join(left, "\n"))
}

// keeps says what an engine itself keeps, whatever the runtime.
func (e engine) keeps(thing string) bool {
	for _, k := range [...]struct{ engine, prefix string }{
		{"podman", "mount " + filepath.Join(st.dir, "podman")}, // its storage, mounted on itself
		{"podman", "mount /run/netns"},
		{"podman", "mount /run/containers"},
		{"podman", "cgroup /sys/fs/cgroup/systemd/libpod_parent/"}, // of pods, for which it asks no runtime
		{"podman", "cgroup /sys/fs/cgroup/unified/libpod_parent/"},
		{"docker", "mount /run/docker/netns"},
		{"rootless", "process podman"}, // its pause process, which holds the user namespace
		{"rootless", "process catatonit"},
		{"docker", "mount " + filepath.Join(st.dir, "docker", "run", "netns")},
		// The kernel's, and those that start and end beside us.
		{"", "process kworker"},
		{"", "process exe"},
	} {
		if (k.engine == "" || k.engine == e.name) && strings.HasPrefix(thing, k.prefix) {
			return true
		}
	}
	// Folders that are made once, not for each container.
	for _, c := range [...]string{"libpod_parent", "docker", "test", "k8s.io", "kube"} {
		if strings.HasPrefix(thing, "cgroup ") && filepath.Base(thing) == c {
			return true
		}
	}
	return false
}
