// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// listProcesses prints the processes of a container: their PIDs as JSON, or the
// lines of ps(1) that are about them.
func listProcesses(inv *invocation) (int, error) {
	if len(inv.args) == 0 {
		return 1, errors.New("list processes: want a container's ID, and options for ps(1)")
	}
	c, err := inv.look(inv.args[0])
	if err != nil {
		return 1, err
	}
	pids, err := c.State.Cgroups.Procs()
	if err != nil {
		return 1, fmt.Errorf("list processes of container %q: %w", c.ID, err)
	}
	switch f := inv.get("format"); f {
	case "json":
		data := []byte("[")
		for i, pid := range pids {
			if i > 0 {
				data = append(data, ',')
			}
			data = strconv.AppendInt(data, int64(pid), 10)
		}
		_, err := inv.stdout.Write(append(data, "]\n"...))
		return 0, err
	case "", "table":
		return 0, inv.ps(inv.args[1:], pids)
	default:
		return 1, fmt.Errorf("list processes: unknown format %q: want table or json", f)
	}
}

// ps prints the head of ps(1)'s table, and of its lines those of the given processes.
func (inv *invocation) ps(args []string, pids []int) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	out, err := exec.Command("ps", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run ps: %w: %s", err, strings.TrimSpace(string(out)))
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return errors.New("run ps: its table has no column PID: choose options that show one")
	}
	fmt.Fprintln(inv.stdout, lines[0])
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if column >= len(f) {
			continue
		}
		if pid, err := strconv.Atoi(f[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprintln(inv.stdout, line)
		}
	}
	return nil
}
