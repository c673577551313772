// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"vitro/container"
	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/plan/run"
	"vitro/spec"
)

// root is the folder of the containers.
func (inv *invocation) rootDir() string {
	if dir := inv.options["root"]; dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Geteuid() != 0 {
		return filepath.Join(dir, "vitro-oci")
	}
	return "/run/vitro-oci"
}

// runContainer makes a container of a bundle, runs it in the foreground, and
// removes it. The exit status is the container's.
func runContainer(inv *invocation) (int, error) {
	if len(inv.args) != 1 {
		return 1, errors.New("run container: want one argument, its ID")
	}
	bundle, err := filepath.Abs(inv.options["bundle"])
	if err != nil {
		return 1, err
	}
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return 1, err
	}
	config, err := ocijson.DecodeSpec(data)
	if err != nil {
		return 1, fmt.Errorf("config.json: %w", err)
	}
	preserve, err := strconv.Atoi("0" + inv.options["preserve-fds"])
	if err != nil {
		return 1, fmt.Errorf("read option --preserve-fds: %w", err)
	}
	facts, err := spec.ReadFacts(config, bundle)
	if err != nil {
		return 1, err
	}
	streams := &monitor.Streams{Terminal: config.Process != nil && config.Process.Terminal, Interactive: true, Inherit: true}
	p, err := spec.Compile(&spec.Request{
		ID: inv.args[0], Spec: config, Facts: facts, Title: inv.args[0], Bundle: bundle, Stdio: streams.Names(), Bound: true, Keyring: true, Preserve: preserve,
	})
	if err != nil {
		return 1, err
	}
	store := &container.Store{Root: inv.rootDir()}
	if err := store.Sweep(); err != nil {
		return 1, err
	}
	c, err := store.Create(inv.args[0])
	if err != nil {
		return 1, err
	}
	if err := streams.Open(); err != nil {
		return 1, err
	}
	job := monitor.Job{Plan: p.Plan, Container: c, State: container.State{Created: time.Now(), Cgroups: p.Cgroups}, Streams: streams}
	if file := inv.options["pid-file"]; file != "" {
		job.Started = func(child *run.Child) {
			_ = os.WriteFile(file, []byte(strconv.Itoa(child.Pid)), 0o644)
		}
	}
	exit, err := job.Run()
	return exit.Code, errors.Join(err, c.Remove())
}
