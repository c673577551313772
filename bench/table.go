// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func median(times []int64) float64 {
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return float64(sorted[(n-1)/2]+sorted[n/2]) / 2
}

// machine is one line about where this was measured.
func machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	model := ""
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = ", " + strings.TrimSpace(value)
			break
		}
	}
	who := "root"
	if os.Geteuid() != 0 {
		who = "an ordinary user"
	}
	return fmt.Sprintf("Linux %s %s, %d processors%s; as %s; %s", strings.TrimSpace(string(release)), runtime.GOARCH, runtime.NumCPU(), model,
		who, time.Now().UTC().Format(time.DateOnly))
}

// printTable writes a Markdown table for each group. Ratios are of medians.
func printTable(w io.Writer, rows []*row, n int) {
	fmt.Fprintf(w, "%s\n\nWhole commands, from start to exit, %d of each in turn.\n", machine(), n)
	printGroups(w, rows)
	fmt.Fprintln(w, "\nPeak: the resident memory of the largest process that the command waited for; less than that of the first row cannot be seen.")
}

// printGroups writes the tables of some rows.
func printGroups(w io.Writer, rows []*row) {
	floor, group := 0.0, ""
	vitro := make(map[string]float64)
	for _, r := range rows {
		if len(r.times) == 0 {
			continue
		}
		if r.group == "floor" {
			floor = median(r.times)
		}
		if r.vitro {
			vitro[r.group] = median(r.times)
		}
	}
	for _, r := range rows {
		if r.group != group {
			group = r.group
			fmt.Fprintf(w, "\n| %s | median ms | least | to the floor | to vitro | peak MiB |\n|---|--:|--:|--:|--:|--:|\n", group)
		}
		if r.missing != "" {
			fmt.Fprintf(w, "| %s | not measured: %s |||||\n", r.name, strings.ReplaceAll(r.missing, "|", " "))
			continue
		}
		m := median(r.times)
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %s | %s | %.1f |\n", r.name, m/1e6, float64(slices.Min(r.times))/1e6,
			ratio(m, floor), ratio(m, vitro[group]), float64(r.peak)/1024)
	}
}

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// printPrograms writes how large the programs are, and what their packages do
// before main.
func printPrograms(w io.Writer, bin string) {
	fmt.Fprint(w, "\n| program | bytes | packages that do something before main | their time, ms |\n|---|--:|--:|--:|\n")
	for _, name := range [...]string{"vitro-oci", "vitro", "runc", "crun"} {
		path := filepath.Join(bin, name)
		if !strings.HasPrefix(name, "vitro") {
			path, _ = exec.LookPath(name)
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		packages, ms := inits(path)
		if packages == 0 {
			fmt.Fprintf(w, "| %s | %d | | |\n", name, info.Size())
			continue
		}
		fmt.Fprintf(w, "| %s | %d | %d | %.3f |\n", name, info.Size(), packages, ms)
	}
}

// inits sums up what GODEBUG=inittrace=1 says of a Go program:
// "init os @0.5 ms, 0.011 ms clock, 488 bytes, 12 allocs". The median of nine.
func inits(path string) (packages int, ms float64) {
	var sums []int64
	for range 9 {
		cmd := exec.Command(path, "--version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if cmd.Run() != nil {
			return 0, 0
		}
		packages = 0
		sum := 0.0
		for line := range strings.Lines(stderr.String()) {
			var name string
			var at, clock float64
			if n, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock", &name, &at, &clock); n == 3 {
				packages++
				sum += clock
			}
		}
		sums = append(sums, int64(sum*1e6))
	}
	return packages, median(sums) / 1e6
}
