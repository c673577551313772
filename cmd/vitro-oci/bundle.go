// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/ocijson"
	"vitro/internal/smallfile"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// A bundle is a folder with a config.json, read.
type bundle struct {
	dir  string
	data []byte // the config.json as it stands there
	spec *specs.Spec
}

// openBundle reads the bundle that --bundle names, or the one that we stand in.
func (inv *invocation) openBundle() (*bundle, error) {
	dir, err := filepath.Abs(inv.get("bundle"))
	if err != nil {
		return nil, err
	}
	file := inv.get("config")
	switch {
	case file == "":
		file = filepath.Join(dir, "config.json")
	case !filepath.IsAbs(file):
		file = filepath.Join(dir, file)
	}
	b, err := readBundle(dir, file)
	if err == nil && inv.get("cgroup-manager") == "disabled" && b.spec.Linux != nil {
		b.spec.Linux.CgroupsPath, b.spec.Linux.Resources = "", nil
		b.data = ocijson.AppendSpec(nil, b.spec) // an update is not to find them
	}
	return b, err
}

func readBundle(dir, path string) (*bundle, error) {
	data, err := smallfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	s, err := ocijson.DecodeSpec(data)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	lendEnvironment(s.Hooks)
	return &bundle{dir: dir, data: data, spec: s}, nil
}

// lendEnvironment gives our environment to the host's programs among the hooks
// that name none, as runc and crun do: many are scripts that count on PATH.
func lendEnvironment(h *specs.Hooks) {
	if h == nil {
		return
	}
	//nolint:staticcheck // Prestart is deprecated, and still what Docker writes.
	for _, kind := range [...][]specs.Hook{h.Prestart, h.CreateRuntime, h.CreateContainer, h.Poststart, h.Poststop} {
		for i := range kind {
			if kind[i].Env == nil {
				kind[i].Env = os.Environ()
			}
		}
	}
}

// kept is the bundle of a container that has been made: its config.json is a
// copy, since a later change of the original is not to count.
func kept(c *container.Container) (*bundle, error) {
	return readBundle(c.State.Bundle, c.Path("config.json"))
}

// checkTerminal refuses what would leave a terminal with nobody at its other side.
func (inv *invocation) checkTerminal(terminal, detached bool) error {
	socket := inv.get("console-socket")
	switch {
	case terminal && detached && socket == "":
		return errors.New("open terminal: nobody takes its other side: give --console-socket")
	case socket != "" && !(terminal && detached):
		return errors.New("use --console-socket: the process has no terminal, or this command stays with it: give both process.terminal (or --tty) and --detach")
	}
	return nil
}

// preserve is how many descriptors from 3 on the container inherits: those of
// --preserve-fds, and sockets of systemd's (sd_listen_fds(3)), which the
// environment then tells it about.
func (inv *invocation) preserve(proc *specs.Process) (int, error) {
	n, err := inv.number("preserve-fds")
	if err != nil {
		return 0, err
	}
	// Those of whoever has started us are not for us, though we have its environment.
	ours := os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
	if listen, err := strconv.Atoi(os.Getenv("LISTEN_FDS")); err == nil && listen > 0 && ours {
		n += listen
		proc.Env = append(proc.Env, "LISTEN_FDS="+strconv.Itoa(listen), "LISTEN_PID=1")
	}
	for fd := 3; fd < 3+n; fd++ {
		// One of ours is there to be closed; one that was handed to us is not.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			return 0, fmt.Errorf("hand on preserved-fd %d, descriptor %d: it is not open: --preserve-fds is how many there are from 3 on", fd-3, fd)
		}
	}
	// Others that our caller has left open are not for the process that waits in a
	// container to be started: it would hold their locks, and their pipes' ends.
	return n, unix.CloseRange(uint(3+n), ^uint(0)>>33, unix.CLOSE_RANGE_CLOEXEC)
}

// compile decides the container's plan.
func (inv *invocation) compile(c *container.Container, b *bundle, r *spec.Request) (*spec.Result, error) {
	var err error
	r.ID, r.Spec, r.Bundle, r.Title = c.ID, b.spec, b.dir, c.ID
	r.NoPivot, r.Keyring = inv.has("no-pivot"), !inv.has("no-new-keyring")
	r.AllCgroups = b.spec.Linux != nil && b.spec.Linux.CgroupsPath != ""
	if b.spec.Process != nil {
		if r.Preserve, err = inv.preserve(b.spec.Process); err != nil {
			return nil, err
		}
	}
	if r.Facts, err = spec.ReadFacts(b.spec, b.dir); err != nil {
		return nil, err
	}
	if r.SystemdCgroup = inv.systemd(); r.SystemdCgroup {
		if err := r.Facts.Cgroups.AskSystemd(); err != nil {
			return nil, err
		}
	}
	return spec.Compile(r)
}

// tell writes a --pid-file, and hands the process's pidfd to whoever listens on
// --pidfd-socket.
func (inv *invocation) tell(child *run.Child) error {
	if path := inv.get("pidfd-socket"); path != "" {
		if err := sendFD(path, "pidfd", child.Pidfd); err != nil {
			return fmt.Errorf("send pidfd to %s: %w", path, err)
		}
	}
	return inv.writePID(child.Pid)
}

// writePID writes a --pid-file, whole or not at all.
func (inv *invocation) writePID(pid int) error {
	path := inv.get("pid-file")
	if path == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	err := smallfile.Write(tmp, []byte(strconv.Itoa(pid)), 0o644)
	if err == nil {
		err = unix.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("write PID file: %w", err)
	}
	return nil
}

// poststop does the steps that come when a container has been removed. What
// fails there is said, and changes nothing.
func (inv *invocation) poststop(id string, b *bundle) {
	steps, err := spec.Poststop(id, b.dir, b.spec)
	for _, s := range steps {
		if e := s.Action.(plan.Host).Do(new(plan.Env)); e != nil {
			inv.warn("%s: %v", s.Action.Line(), e)
		}
	}
	if err != nil {
		inv.warn("%v", err)
	}
}
