// SPDX-License-Identifier: Apache-2.0

// Package stage is where a bench sets engines against each other: namespaces of its own, a folder and a cgroup, and nothing of them is left
// at the end, whatever the engines leave behind.
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	inside = "VITRO_BENCH_INSIDE"
	place  = `mount -t tmpfs tmpfs /run; ip link set lo up; exec "$@"` // what engines keep below /run goes with the mount namespace
)

// Cgroup is the name of the cgroup that a bench's engines are to put their containers into.
func Cgroup(bench string) string { return "vitro-bench-" + bench }

// Enter is for the first process of a bench, which starts itself again on the stage, and for that one. There it returns the bench's
// folder at once; here, when the other has ended, "" and its error. Needs root.
func Enter(bench string, limit time.Duration) (dir string, err error) {
	if dir := os.Getenv(inside); dir != "" {
		return dir, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", Cgroup(bench)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"-nmpf", "--kill-child", "--mount-proc", "sh", "-ec", place, "sh", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return "", errors.Join(cmd.Run(), removeCgroups(Cgroup(bench)), os.RemoveAll(dir))
}

// removeCgroups removes those of engines that were killed, deepest first, as soon as their processes have gone.
func removeCgroups(name string) (err error) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var all []string
		tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
		for _, top := range append(tops, "/sys/fs/cgroup/"+name) {
			_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					all = append(all, path)
				}
				return nil
			})
		}
		if len(all) == 0 {
			return nil
		}
		for _, dir := range slices.Backward(all) {
			if err = syscall.Rmdir(dir); err != nil {
				err = fmt.Errorf("remove %s: %w", dir, err)
			}
		}
	}
	return err
}

// End ends the program: with the status of the process that it was for, or with a word.
func End(bench string, err error) {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/%s: %v\n", bench, err)
		os.Exit(1)
	}
}
