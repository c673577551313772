// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// contender is a command to be measured.
type contender struct {
	group string // the ratios are to the vitro of the same group
	name  string
	vitro bool
	place string     // see scene.front
	needs []string   // programs
	root  bool       // it needs root
	setup [][]string // commands to run once before
	argv  func(i int) []string
}

// always is a command that is the same each time.
func always(argv ...string) func(int) []string {
	return func(int) []string { return argv }
}

func contenders(s *scene) []contender {
	oci, vitro := filepath.Join(s.bin, "vitro-oci"), filepath.Join(s.bin, "vitro")
	nothing := s.path("bundle", "rootfs", "true")
	unshare := []string{"unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	list := []contender{
		{group: "floor", name: "unshare, the same namespaces, nothing else", needs: unshare[:1], argv: always(append(unshare, nothing)...)},
		s.runtime(oci, "", true),
		s.runtime("runc", "", false),
		s.runtime("crun", "v1", false),
		{group: "OCI runtime", name: "bwrap --unshare-all", needs: []string{"bwrap"}, argv: always(
			"bwrap", "--unshare-all", "--bind", s.path("bundle", "rootfs"), "/", "--proc", "/proc", "--dev", "/dev", "/true")},
	}
	list = append(list, s.engines(vitro)...)
	for _, p := range [...]string{nothing, oci, vitro, "runc", "crun"} {
		name := filepath.Base(p)
		c := contender{group: "start of the program", name: name + " --version", vitro: p == oci, needs: []string{p}, argv: always(p, "--version")}
		if p == nothing {
			c.name = "the program that does nothing"
		}
		list = append(list, c)
	}
	return list
}

// runtime is an OCI runtime that runs the bundle.
func (s *scene) runtime(program, place string, vitro bool) contender {
	name := filepath.Base(program)
	if place != "" && os.Geteuid() != 0 {
		place = ""
	}
	return contender{
		group: "OCI runtime", name: name + " run", vitro: vitro, place: place, needs: []string{program},
		argv: func(i int) []string {
			return []string{program, "--root", s.path("state-" + name), "run", "--bundle", s.path("bundle"), fmt.Sprintf("vitro-bench-%d", i)}
		},
	}
}

// engines are the commands that people type. They run as root, in a network
// namespace that is gone at the end, but for the first, which anybody can run
// anywhere; each has an own folder for its images.
func (s *scene) engines(vitro string) []contender {
	const image = "localhost/vitro-bench:1"
	sock := "unix://" + s.path("docker.sock")
	podman := []string{"podman", "--root", s.path("podman"), "--runroot", s.path("podman-run"), "--cgroup-manager", "cgroupfs", "--runtime", "runc"}
	podmanRun := func(network string) func(int) []string {
		return always(append(podman[:len(podman):len(podman)], "run", "--rm", "--cgroup-parent", "/"+cgroupName, "--network", network, image, "/bin/true")...)
	}
	imported := [][]string{append(podman[:len(podman):len(podman)], "import", s.path("image.tar"), image)}
	dockerd := [][]string{
		{"sh", "-c", `dockerd --data-root "$0/docker" --exec-root "$0/docker-run" --pidfile "$0/docker.pid" -H "$1" ` +
			`--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /` + cgroupName + ` >"$0/docker.log" 2>&1 &
			for i in $(seq 300); do docker -H "$1" version >/dev/null 2>&1 && exit; sleep .1; done
			tail -n 1 "$0/docker.log" >&2; exit 1`, s.dir, sock},
		{"docker", "-H", sock, "import", s.path("image.tar"), image},
	}
	dockerRun := func(network string) func(int) []string {
		return always("docker", "-H", sock, "run", "--rm", "--network", network, image, "/bin/true")
	}
	run := func(network string) func(int) []string {
		return always(vitro, "--root", s.path("vitro"), "run", "--rm", "--network", network, "busybox", "true")
	}
	list := []contender{
		{group: "engine, without network", name: "vitro run --rm --network none busybox true", vitro: true, needs: []string{vitro}, argv: run("none")},
		{group: "engine, without network", name: "podman run --rm --network none", needs: []string{"podman", "runc"}, setup: imported, argv: podmanRun("none")},
		{group: "engine, without network", name: "docker run --rm --network none (the client)", needs: []string{"dockerd", "docker"}, setup: dockerd, argv: dockerRun("none")},
		{group: "engine, on a bridge", name: "vitro run --rm busybox true", vitro: true, needs: []string{vitro}, argv: run("bridge")},
		{group: "engine, on a bridge", name: "podman run --rm", needs: []string{"podman", "runc"}, argv: podmanRun("podman")},
		{group: "engine, on a bridge", name: "docker run --rm (the client)", needs: []string{"dockerd", "docker"}, argv: dockerRun("bridge")},
	}
	for i := range list {
		if os.Geteuid() == 0 {
			list[i].place = "net"
		}
		list[i].root = i > 0
	}
	return list
}
