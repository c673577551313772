// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// life is what the names of the groups of containers that live on begin with.
const life = "life"

// An engine is a program that keeps containers, and how it is asked for them.
type engine struct {
	name    string
	command []string
	run     []string // what follows the command for one that stays
	image   []string // and, behind further flags, what is in it
	setup   [][]string
	needs   []string
	vitro   bool
	place   string
	beside  string   // the program that stays beside each container
	daemons []string // and those that stay for all of them
}

// livers are vitro and those that it is measured against. A container's
// program ends by the first signal of stop: what is waited for is the engine.
func (s *scene) livers() []engine {
	vitro := filepath.Join(s.bin, "vitro")
	stays := []string{"run", "--detach", "--network", "none", "--stop-signal", "KILL", "--cgroup-parent", "/" + cgroupName}
	podman, imported := s.podman()
	docker, dockerd := s.docker()
	image := []string{benchImage, "/bin/busybox", "sleep", "1000000"}
	list := []engine{
		{name: "vitro", command: []string{vitro, "--root", s.path("vitro")}, image: []string{"busybox", "/bin/busybox", "sleep", "1000000"},
			needs: []string{vitro, "busybox"}, vitro: true, beside: "vitro-oci"},
		{name: "podman", command: podman, image: image, setup: imported, needs: []string{"podman", "runc", "busybox"}, beside: "conmon"},
		{name: "docker", command: docker, image: image, setup: dockerd, needs: []string{"docker", "dockerd", "busybox"}, beside: "containerd-shim",
			daemons: []string{"dockerd", "containerd"}},
	}
	for i := range list {
		list[i].run = stays
		if os.Geteuid() == 0 {
			list[i].place = "net"
		}
	}
	return list
}

func (e *engine) does(verb ...string) []string { return slices.Concat(e.command, verb) }

// starts is one more container of a name.
func (e *engine) starts(name string) []string {
	return slices.Concat(e.command, e.run, []string{"--name", name}, e.image)
}

func (e *engine) row(group, name string, argvs func(int) [][]string) contender {
	return contender{group: life + ", " + group, name: e.name + " " + name, vitro: e.vitro, place: e.place,
		needs: e.needs, root: !e.vitro, argvs: argvs}
}

// atOnce is how many starts are made at the same time.
const atOnce = 16

// together is a script that starts containers of the names $0-1 to $0-$1 at the
// same time, and fails if one of them does.
const together = `name=$0; n=$1; shift; for i in $(seq $n); do "$@" --name "$name-$i" $LIFE_IMAGE & pids="$pids $!"; done
	for p in $pids; do wait $p || exit; done`

// lives are the rows of a container's life. In each round the container that
// the first row starts is the one that the next ones meet.
func lives(list []engine) []contender {
	one := func(i int) string { return fmt.Sprintf("life-%d", i) }
	var rows []contender
	for n, verb := range [...]struct {
		group, name string
		argv        func(e *engine, i int) []string
	}{
		{"run", "run --detach", func(e *engine, i int) []string { return e.starts(one(i)) }},
		{"exec", "exec", func(e *engine, i int) []string { return e.does("exec", one(i), "/bin/busybox", "true") }},
		{"stop", "stop", func(e *engine, i int) []string { return e.does("stop", one(i)) }},
		{"start", "start", func(e *engine, i int) []string { return e.does("start", one(i)) }},
		{"rm", "rm --force", func(e *engine, i int) []string { return e.does("rm", "--force", one(i)) }},
		{"at once", fmt.Sprintf("run --detach, %d at once", atOnce), func(e *engine, i int) []string {
			argv := []string{"env", "LIFE_IMAGE=" + strings.Join(e.image, " "), "bash", "-c", together, one(i), fmt.Sprint(atOnce)}
			return slices.Concat(argv, e.command, e.run)
		}},
		{"at once, rm", fmt.Sprintf("rm --force, of %d", atOnce), func(e *engine, i int) []string {
			argv := e.does("rm", "--force")
			for k := range atOnce {
				argv = append(argv, fmt.Sprintf("%s-%d", one(i), k+1))
			}
			return argv
		}},
	} {
		for _, e := range list {
			r := e.row(verb.group, verb.name, func(i int) [][]string { return [][]string{verb.argv(&e, i)} })
			if n == 0 {
				r.setup = e.setup
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// crowds are how many containers run when the engines are asked for them.
var crowds = [...]int{1, 100, 1000}

// grown starts containers until there are as many as asked, four at a time.
const grown = `from=$1; to=$2; n=$3; shift 3
	for i in $(seq $from $to); do "$@" --name "crowd-$i" $LIFE_IMAGE >/dev/null & [ $((i % 4)) = 0 ] && wait; done; wait
	got=$("${@:1:n}" ps -q | wc -l); [ "$got" = "$to" ] || { echo "$got containers run, not $to" >&2; exit 1; }`

// grow has an engine have as many containers as asked.
func (e *engine) grow(s *scene, from, to int) string {
	argv := []string{"env", "LIFE_IMAGE=" + strings.Join(e.image, " "), "bash", "-c", grown, "bash", fmt.Sprint(from + 1), fmt.Sprint(to), fmt.Sprint(len(e.command))}
	return s.run(e.place, slices.Concat(argv, e.command, e.run)).Error
}

// asked are the rows of questions to an engine that has many containers.
func asked(list []engine, n int) []contender {
	var rows []contender
	for _, verb := range [...][]string{{"ps"}, {"inspect", "crowd-1"}, {"exec", "crowd-1", "/bin/busybox", "true"}, {"stats", "--no-stream"}} {
		for _, e := range list {
			rows = append(rows, e.row(fmt.Sprintf("with %d: %s", n, verb[0]), verb[0], always(e.does(verb...)...)))
		}
	}
	return rows
}

// removeAll removes what an engine has.
func (e *engine) removeAll(s *scene) string {
	return s.run(e.place, slices.Concat([]string{"bash", "-c", `ids=$("$@" ps -aq) && [ -z "$ids" ] || "$@" rm --force $ids`, "bash"}, e.command)).Error
}

// printLife measures containers that live on: one after the other, and then
// questions to the engines that have a crowd of them.
func (s *scene) printLife(w io.Writer, o *options) {
	list := s.livers()
	s.printRows(w, lives(list), o)
	there := make([]int, len(list))
	for _, size := range crowds {
		var here []engine
		for i := range list {
			e := &list[i]
			if size > o.crowd || !e.vitro && size > o.peers || !slices.ContainsFunc(asked(list[i:i+1], size), matches(o.only)) {
				continue
			}
			if failed := s.crowd(e, &there[i], size); failed != "" {
				fmt.Fprintf(w, "\n%s with %d containers is not measured: %s\n", e.name, size, failed)
				continue
			}
			here = append(here, *e)
		}
		s.printRows(w, asked(here, size), o)
		s.printBeside(w, here, size)
	}
	for i := range list {
		if there[i] > 0 {
			list[i].removeAll(s)
		}
	}
}

// crowd has an engine have as many containers as asked, and no others.
func (s *scene) crowd(e *engine, there *int, size int) (failed string) {
	row := e.row("", "", nil)
	row.setup = e.setup
	if failed = s.ready(&row); failed != "" {
		return failed
	}
	fmt.Fprintln(os.Stderr, "bench:", size, "containers of", e.name)
	if *there == 0 {
		failed = e.removeAll(s)
	}
	if failed == "" {
		failed = e.grow(s, *there, size)
	}
	*there = size
	return failed
}

// matches says which rows were asked for.
func matches(only string) func(contender) bool {
	return func(c contender) bool { return strings.Contains(c.group+": "+c.name, only) }
}

// printRows measures those rows that were asked for, and prints them.
func (s *scene) printRows(w io.Writer, list []contender, o *options) {
	var rows []*row
	for _, c := range list {
		if matches(o.only)(c) {
			rows = append(rows, &row{contender: c})
			rows[len(rows)-1].missing = s.ready(&c)
		}
	}
	if len(rows) > 0 {
		measure(s, rows, o.n, o.warm)
		printGroups(w, rows)
	}
}

// printBeside writes the memory of what stays beside containers that do
// nothing, and of the daemons: what no other process has a share in.
func (s *scene) printBeside(w io.Writer, list []engine, size int) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| beside %d idle containers | processes | private memory of each, MiB | for each container |\n|---|--:|--:|--:|\n", size)
	for _, e := range list {
		for _, name := range append([]string{e.beside}, e.daemons...) {
			count, kib := s.private(e.place, name)
			if count == 0 {
				fmt.Fprintf(w, "| %s | 0 | | |\n", name)
				continue
			}
			total := float64(kib) / 1024
			fmt.Fprintf(w, "| %s | %d | %.2f | %.2f |\n", name, count, total/float64(count), total/float64(size))
		}
	}
}

// private sums up the private memory of the processes of a name in a place, or
// of all that have the same user where that has no PID namespace.
func (s *scene) private(place, name string) (count, kib int) {
	p := s.places[place]
	if p == nil {
		return 0, 0
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid_for_children", p.cmd.Process.Pid))
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		comm, _ := os.ReadFile(dir + "/comm")
		pid, err2 := os.Readlink(dir + "/ns/pid")
		// The kernel cuts a name off at 15 letters.
		if name[:min(15, len(name))] != strings.TrimSpace(string(comm)) || err != nil || err2 != nil || pid != own {
			continue
		}
		rollup, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			continue
		}
		count++
		for line := range strings.Lines(string(rollup)) {
			if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
				n, _ := strconv.Atoi(f[1])
				kib += n
			}
		}
	}
	return count, kib
}
