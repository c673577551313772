// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const growth = "growth"

// some is how many starts are taken together at the beginning and at the end.
const some = 25

// printGrowth starts many containers that stay, and compares the first starts
// with the last.
func (s *scene) printGrowth(w io.Writer, n int, only string) {
	fmt.Fprintf(w, "\n| run --detach, with more and more containers there | the first %d, median ms | the last of %d | ratio |\n|---|--:|--:|--:|\n", some, n)
	for _, p := range peers(filepath.Join(s.bin, "vitro-oci")) {
		name := filepath.Base(p.program)
		if _, err := exec.LookPath(p.program); err != nil || !strings.Contains(growth+": "+name, only) {
			continue
		}
		fmt.Fprintln(os.Stderr, "bench:", n, "containers of", name)
		times, err := s.grow(p, n)
		if err != "" || len(times) < 2*some {
			fmt.Fprintf(w, "| %s | not measured: %s |||\n", name, err)
			continue
		}
		first, last := median(times[:some]), median(times[len(times)-some:])
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f |\n", name, first/1e6, last/1e6, last/first)
	}
}

// grow starts n containers, and removes them all.
func (s *scene) grow(p peer, n int) (times []int64, failed string) {
	cmd := func(i int, args ...string) []string {
		return append([]string{p.program, "--root", filepath.Join(s.states, "many-"+filepath.Base(p.program))}, append(args, fmt.Sprintf("vitro-bench-many-%d", i))...)
	}
	for i := range n {
		a := s.run(p.place, cmd(i, "run", "--detach", "--bundle", s.path("sleeper")))
		if failed = a.Error; failed != "" {
			break
		}
		times = append(times, a.Nanoseconds)
	}
	for i := range times {
		s.run(p.place, cmd(i, "delete", "--force"))
	}
	return times, failed
}

// limits are the memory limits that are tried, in KiB.
var limits = []int{128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384}

// printMemory finds the smallest memory limit under which a container starts
// three times out of three.
func (s *scene) printMemory(w io.Writer) {
	fmt.Fprint(w, "\n| smallest memory limit that a container of the program that does nothing starts under | KiB |\n|---|--:|\n")
	for _, p := range peers(filepath.Join(s.bin, "vitro-oci")) {
		name := filepath.Base(p.program)
		if _, err := exec.LookPath(p.program); err != nil {
			continue
		}
		i := slices.IndexFunc(limits, func(kib int) bool { return s.startsUnder(p, kib) })
		if i < 0 {
			fmt.Fprintf(w, "| %s | none of those tried |\n", name)
			continue
		}
		fmt.Fprintf(w, "| %s | %d |\n", name, limits[i])
	}
}

func (s *scene) startsUnder(p peer, kib int) bool {
	os.Remove(s.path("limited", "config.json"))
	err := s.config("limited", "/true")
	if err == nil {
		err = s.change("limited", func(config map[string]any) {
			config["linux"].(map[string]any)["cgroupsPath"] = "/" + cgroupName + "/limited"
			config["linux"].(map[string]any)["resources"] = map[string]any{"memory": map[string]any{"limit": kib * 1024}}
		})
	}
	for i := 0; err == nil && i < 3; i++ {
		id := fmt.Sprintf("vitro-bench-limited-%d", i)
		cmd := []string{p.program, "--root", filepath.Join(s.states, "limited-"+filepath.Base(p.program))}
		a := s.run(p.place, append(cmd[:3:3], "run", "--bundle", s.path("limited"), id))
		s.run(p.place, append(cmd[:3:3], "delete", "--force", id))
		if a.Error != "" {
			return false
		}
	}
	return err == nil
}

// benchMemory prints the smallest memory limits, and nothing else.
func benchMemory(bin string) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	s, err := newScene(bin)
	if err != nil {
		return err
	}
	s.printMemory(os.Stdout)
	return s.close()
}
