// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/hook"
	"vitro/plan"
)

// hooks appends the hooks of a kind, each as a step that the child waits for.
func (c *compiler) hooks(kind string, hooks []specs.Hook, status specs.ContainerState) error {
	for i := range hooks {
		h := &hooks[i]
		call := &hook.Call{Kind: kind, Number: i, Hook: *h, State: *c.state(status)}
		switch {
		case !path.IsAbs(h.Path):
			return fmt.Errorf("compile config.json: hooks.%s: path %q is not absolute", kind, h.Path)
		case h.Timeout != nil && *h.Timeout <= 0:
			return fmt.Errorf("compile config.json: hooks.%s: timeout %d is not above zero", kind, *h.Timeout)
		case h.Timeout != nil:
			call.Timeout = time.Duration(*h.Timeout) * time.Second
		}
		var err error
		if call.Plan, call.Inside, err = c.hookPlan(kind, h); err != nil {
			return err
		}
		c.plan.Meet("the engine has asked to be called here", call)
	}
	return nil
}

// state is what a hook reads. The PID is filled in when it runs.
func (c *compiler) state(status specs.ContainerState) *specs.State {
	s := &specs.State{Version: c.Spec.Version, ID: c.ID, Status: status, Bundle: c.Bundle, Annotations: c.Spec.Annotations}
	if s.Version == "" {
		s.Version = specs.Version
	}
	return s
}

// hookPlan is what a hook does. Hooks of the runtime's namespaces are started as
// they are. createContainer hooks are the host's programs, in the container's
// namespaces. startContainer hooks are the container's own programs: they get
// what the container's process gets, and not a bit more.
func (c *compiler) hookPlan(kind string, h *specs.Hook) (p *plan.Plan, inside bool, err error) {
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	if kind == "startContainer" {
		proc := *c.proc
		proc.Terminal, proc.Args = false, args
		if h.Env != nil { // else it has the process's, as with runc
			proc.Env = h.Env
		}
		p, err = c.execPlan(&proc, h.Path)
		return p, true, err
	}
	p = &plan.Plan{Title: kind + " hook"}
	clone := new(plan.Clone)
	if inside = kind == "createContainer"; inside {
		clone.Enter = &plan.Enter{Flags: c.ns.flags | c.ns.joinFlags(), Pidfd: hook.Container}
	}
	p.Add("the hook's process", clone)
	p.Add("the container's state to be read, and a place for what it says", &plan.Stdio{Handles: [3]string{hook.State, hook.Output, hook.Output}})
	p.Add("none of our descriptors", &plan.CloseOthers{From: 3})
	if dir := c.hookFolder(kind); dir != "" {
		p.Add("where it begins", &plan.Chdir{Path: dir, Host: true})
	}
	p.Add("the hook", &plan.Exec{Paths: []string{h.Path}, Args: args, Env: h.Env, Cwd: "/"})
	return p, inside, nil
}

// hookFolder is where a hook of the host's begins, as with runc: many name what
// is in the bundle, or in the root, by relative paths. Empty: where we are.
func (c *compiler) hookFolder(kind string) string {
	switch {
	case kind == "createContainer" && c.At != "":
		return c.At
	case kind == "createContainer" && c.Spec.Root != nil:
		return absolute(c.Bundle, c.Spec.Root.Path)
	case (kind == "prestart" || kind == "createRuntime") && c.Bundle != "":
		return c.Bundle
	}
	return ""
}

// createHooks are those between the mounts and the pivot: they may add to the
// root while the host's tree is still in view.
func (c *compiler) createHooks() error {
	h := c.Spec.Hooks
	//nolint:staticcheck // Prestart is deprecated, and still what Docker writes.
	if err := c.hooks("prestart", h.Prestart, specs.StateCreating); err != nil {
		return err
	}
	if err := c.hooks("createRuntime", h.CreateRuntime, specs.StateCreating); err != nil {
		return err
	}
	return c.hooks("createContainer", h.CreateContainer, specs.StateCreating)
}

// hasCreateHooks reports whether there are any.
func (c *compiler) hasCreateHooks() bool {
	h := c.Spec.Hooks
	//nolint:staticcheck // see createHooks
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0
}

// LaterHooks reports whether the host has something to do at a container's start
// or end: hooks, or a filter's listener to hand over.
func LaterHooks(s *specs.Spec) bool {
	h := s.Hooks
	return h != nil && len(h.StartContainer)+len(h.Poststart)+len(h.Poststop) > 0 || lateListener(s)
}

// startHooks are the container's own programs before its process.
func (c *compiler) startHooks() error {
	if c.Spec.Hooks == nil {
		return nil
	}
	return c.hooks("startContainer", c.Spec.Hooks.StartContainer, specs.StateCreated)
}

// poststart is when the process runs.
func (c *compiler) poststart() error {
	if c.Spec.Hooks == nil {
		return nil
	}
	return c.hooks("poststart", c.Spec.Hooks.Poststart, specs.StateRunning)
}

// Poststop are the steps to do when a container has been deleted.
func Poststop(id, bundle string, s *specs.Spec) ([]plan.Step, error) {
	if s.Hooks == nil {
		return nil, nil
	}
	c := &compiler{Request: &Request{ID: id, Bundle: bundle, Spec: s}, plan: new(plan.Plan), linux: s.Linux, proc: s.Process}
	if err := c.hooks("poststop", s.Hooks.Poststop, specs.StateStopped); err != nil {
		return nil, err
	}
	return c.plan.Steps, nil
}
