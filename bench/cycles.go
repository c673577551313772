// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cycles is the name of what containers leave when they have come and gone.
const cycles = "cycles"

// remains are what is counted before and after. The last is the whole
// machine's, which others use as well.
var remains = [...]struct {
	name  string
	count func(s *scene, e *engine) int
}{
	{"processes", func(s *scene, e *engine) int {
		return strings.Count(s.read(e.place, `grep -hs '^State:' /proc/[0-9]*/status | grep -v zombie`), "\n")
	}},
	{"files in the state folder", func(s *scene, _ *engine) int { return entries(s.path("vitro"), false) }},
	{"mounts", func(s *scene, e *engine) int { return strings.Count(s.read(e.place, `cat /proc/self/mountinfo`), "\n") }},
	{"links", func(s *scene, e *engine) int { return strings.Count(s.read(e.place, `cat /proc/net/dev`), "\n") - 2 }},
	{"cgroups of containers", func(*scene, *engine) int {
		tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroupName)
		n := 0
		for _, top := range append(tops, "/sys/fs/cgroup/"+cgroupName) {
			n += max(0, entries(top, true)-1)
		}
		return n
	}},
	{"the machine's memory that the kernel can't take back, MiB", func(*scene, *engine) int { return kernelMemory() / 1024 }},
}

// printCycles creates, starts and removes containers on a bridge, and counts
// what there is before and after.
func (s *scene) printCycles(w io.Writer, n int) {
	e := s.livers()[0]
	if os.Geteuid() != 0 {
		fmt.Fprintf(w, "\ncycles are not measured: needs root\n")
		return
	}
	const script = `n=$1; shift; for i in $(seq $n); do
		"$@" create --name cycle --cgroup-parent /` + cgroupName + ` busybox /bin/busybox sleep 1000000 && "$@" start cycle && "$@" rm --force cycle || exit
	done >/dev/null`
	cycle := func(n int) string {
		return s.run(e.place, append([]string{"bash", "-c", script, "bash", fmt.Sprint(n)}, e.command...)).Error
	}
	failed := cycle(10) // what is made once is there then
	var before [len(remains)]int
	for i, r := range remains {
		before[i] = r.count(s, &e)
	}
	fmt.Fprintln(os.Stderr, "bench:", n, "cycles")
	if failed == "" {
		failed = cycle(n)
	}
	if failed != "" {
		fmt.Fprintf(w, "\ncycles are not measured: %s\n", failed)
		return
	}
	fmt.Fprintf(w, "\n| vitro create, start, rm --force, %d times, on a bridge | before | after |\n|---|--:|--:|\n", n)
	for i, r := range remains {
		fmt.Fprintf(w, "| %s | %d | %d |\n", r.name, before[i], r.count(s, &e))
	}
}

// read is what a shell command in a place prints.
func (s *scene) read(place, command string) string {
	file := s.path("said")
	if s.run(place, []string{"sh", "-c", command + ` >"$0"`, file}).Error != "" {
		return ""
	}
	text, _ := os.ReadFile(file)
	return string(text)
}

// entries counts what is below a folder, with itself.
func entries(dir string, folders bool) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && (!folders || d.IsDir()) {
			n++
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return n
}

// kernelMemory is what the kernel holds and can't give back, in KiB.
func kernelMemory() (kib int) {
	info, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(info)) {
		var n int
		for _, key := range [...]string{"SUnreclaim", "Percpu", "KernelStack", "PageTables"} {
			if k, _ := fmt.Sscanf(line, key+": %d kB", &n); k == 1 {
				kib += n
			}
		}
	}
	return kib
}
