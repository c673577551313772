// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	after [][]string // and once behind
	argvs func(i int) [][]string
}

// always is a command that is the same each time.
func always(argv ...string) func(int) [][]string {
	return func(int) [][]string { return [][]string{argv} }
}

func contenders(s *scene) []contender {
	oci, vitro := filepath.Join(s.bin, "vitro-oci"), filepath.Join(s.bin, "vitro")
	nothing := s.path("bundle", "rootfs", "true")
	unshare := []string{"unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	list := []contender{
		{group: "floor", name: "unshare, the same namespaces, nothing else", needs: unshare[:1], argvs: always(append(unshare, nothing)...)},
	}
	list = append(list, s.runtimes(oci)...)
	list = append(list, s.engines(vitro)...)
	list = append(list, s.namespaces(vitro)...)
	for _, p := range [...]string{nothing, oci, vitro, "runc", "crun"} {
		name := filepath.Base(p)
		c := contender{group: "start of the program", name: name + " --version", vitro: p == oci, needs: []string{p}, argvs: always(p, "--version")}
		if p == nothing {
			c.name = "the program that does nothing"
		}
		list = append(list, c)
	}
	return list
}

// peer is an OCI runtime, and where it is run.
type peer struct{ program, place string }

// peers are vitro-oci and those that it is measured against.
func peers(oci string) []peer {
	list := []peer{{oci, ""}, {"runc", ""}, {"crun", "v1"}}
	if os.Geteuid() != 0 {
		list[2].place = ""
	}
	return list
}

// runtimes are the OCI runtimes' rows: a group for each thing that they do.
func (s *scene) runtimes(oci string) []contender {
	const running = "vitro-bench-running"
	var run, made, exec, state []contender
	for _, p := range peers(oci) {
		name := filepath.Base(p.program)
		cmd := func(args ...string) []string {
			return append([]string{p.program, "--root", filepath.Join(s.states, name)}, args...)
		}
		id := func(i int) string { return fmt.Sprintf("vitro-bench-%d", i) }
		c := contender{vitro: p.program == oci, place: p.place, needs: []string{p.program}}
		add := func(list *[]contender, group, does string, argvs func(int) [][]string) {
			c.group, c.name, c.argvs = "OCI runtime: "+group, name+" "+does, argvs
			*list = append(*list, c)
		}
		bundle := s.path("bundle")
		add(&run, "run", "run", func(i int) [][]string { return [][]string{cmd("run", "--bundle", bundle, id(i))} })
		add(&made, "create, start, delete", "create, start, delete", func(i int) [][]string {
			return [][]string{cmd("create", "--bundle", bundle, id(i)), cmd("start", id(i)), cmd("delete", "--force", id(i))}
		})
		c.setup = [][]string{cmd("run", "--detach", "--bundle", s.path("sleeper"), running)}
		add(&exec, "exec", "exec", always(cmd("exec", running, "/true")...))
		c.setup, c.after = nil, [][]string{cmd("delete", "--force", running)}
		add(&state, "state", "state", always(cmd("state", running)...))
	}
	run = append(run, contender{group: run[0].group, name: "bwrap --unshare-all", needs: []string{"bwrap"}, argvs: always(
		"bwrap", "--unshare-all", "--bind", s.path("bundle", "rootfs"), "/", "--proc", "/proc", "--dev", "/dev", "/true")})
	return slices.Concat(run, made, exec, state)
}

// benchImage is the image of the peers' containers.
const benchImage = "localhost/vitro-bench:1"

// podman is how podman is called, and what has to be done before.
func (s *scene) podman() (command []string, setup [][]string) {
	command = []string{"podman", "--root", s.path("podman"), "--runroot", s.path("podman-run"), "--cgroup-manager", "cgroupfs", "--runtime", "runc"}
	command = slices.Clip(command)
	return command, [][]string{append(command, "import", s.path("image.tar"), benchImage)}
}

// docker is how docker is called, and what starts its daemon, if it isn't there.
func (s *scene) docker() (command []string, setup [][]string) {
	sock := "unix://" + s.path("docker.sock")
	command = slices.Clip([]string{"docker", "-H", sock})
	return command, [][]string{
		{"sh", "-c", `docker -H "$1" version >/dev/null 2>&1 && exit
			dockerd --data-root "$0/docker" --exec-root "$0/docker-run" --pidfile "$0/docker.pid" -H "$1" ` +
			`--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /` + cgroupName + ` >"$0/docker.log" 2>&1 &
			for i in $(seq 300); do docker -H "$1" version >/dev/null 2>&1 && exit; sleep .1; done
			tail -n 1 "$0/docker.log" >&2; exit 1`, s.dir, sock},
		append(command, "import", s.path("image.tar"), benchImage),
	}
}

// engines are the commands that people type. They run as root, in a network
// namespace that is gone at the end, but for the first, which anybody can run
// anywhere; each has an own folder for its images.
func (s *scene) engines(vitro string) []contender {
	podman, imported := s.podman()
	podmanRun := func(network string) func(int) [][]string {
		return always(append(podman, "run", "--rm", "--cgroup-parent", "/"+cgroupName, "--network", network, benchImage, "/bin/true")...)
	}
	docker, dockerd := s.docker()
	dockerRun := func(network string) func(int) [][]string {
		return always(append(docker, "run", "--rm", "--network", network, benchImage, "/bin/true")...)
	}
	run := func(network string) func(int) [][]string {
		return always(vitro, "--root", s.path("vitro"), "run", "--rm", "--network", network, "busybox", "true")
	}
	list := []contender{
		{group: "engine, without network", name: "vitro run --rm --network none busybox true", vitro: true, needs: []string{vitro}, argvs: run("none")},
		{group: "engine, without network", name: "podman run --rm --network none", needs: []string{"podman", "runc"}, setup: imported, argvs: podmanRun("none")},
		{group: "engine, without network", name: "docker run --rm --network none (the client)", needs: []string{"dockerd", "docker"}, setup: dockerd, argvs: dockerRun("none")},
		{group: "engine, on a bridge", name: "vitro run --rm busybox true", vitro: true, needs: []string{vitro}, argvs: run("bridge")},
		{group: "engine, on a bridge", name: "podman run --rm", needs: []string{"podman", "runc"}, setup: imported, argvs: podmanRun("podman")},
		{group: "engine, on a bridge", name: "docker run --rm (the client)", needs: []string{"dockerd", "docker"}, setup: dockerd, argvs: dockerRun("bridge")},
	}
	list = append(list, s.published(vitro)...)
	for i := range list {
		if os.Geteuid() == 0 {
			list[i].place = "net"
		}
		list[i].root = i > 0
	}
	return list
}
