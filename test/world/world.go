// SPDX-License-Identifier: Apache-2.0

// Package world gives a test's commands a machine of their own: namespaces,
// cgroups and empty folders in which foreign engines and runtimes may do as
// they like. When the command ends, all that it made is gone: processes with
// the PID namespace, mounts and links with theirs, cgroups by hand.
//
//	outside                       inside
//	Run: clone(NEWPID, NEWNS, …)  Main: PID 1. Joins its cgroup, unshares the
//	  waits, or kills               cgroup namespace, mounts /proc, the cgroups
//	  removes the cgroup            and empty folders; starts the command, reaps
//	                                orphans, and ends with the command's status
//
// Not for a test of vitro alone, which has nothing to hide from it: package
// e2e takes namespaces in two lines. Needs root.
package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// World is a machine that lasts for one command.
type World struct {
	Net   bool     // a network namespace, with lo up
	Hide  []string // folders, there to be empty ones; those that aren't there are left out
	NoV2  bool     // without the unified hierarchy, if the machine has v1 ones beside it
	Label string   // part of the cgroup's name, "" for none
}

// environ holds the World, as JSON, for the program that is PID 1 in it.
const environ = "VITRO_WORLD"

// inside is what PID 1 is told.
type inside struct {
	World
	Cgroup string // of its own, to be joined in each hierarchy
	Argv   []string
}

// Run runs a command in a new world, by starting the calling program again,
// whose first act has to be a call of Main. It fills in Path, Args and
// SysProcAttr; the rest of cmd is the caller's. When ctx ends, so does the
// world. A command's status is an *exec.ExitError, as that of exec.Cmd.Run.
func (w World) Run(ctx context.Context, cmd *exec.Cmd) error {
	path, err := exec.LookPath(cmd.Args[0])
	if err != nil {
		return fmt.Errorf("find %q: %w", cmd.Args[0], err)
	}
	cgroup := fmt.Sprintf("vitro-world%s-%d-%d", w.Label, os.Getpid(), time.Now().UnixNano()%1e9)
	order, err := json.Marshal(inside{w, cgroup, append([]string{path}, cmd.Args[1:]...)})
	if err != nil {
		return fmt.Errorf("write order: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM) // what the world has made goes then, too
	defer stop()
	init := exec.CommandContext(ctx, "/proc/self/exe")
	init.Args = []string{"world"}
	init.Env = append(cmd.Environ(), environ+"="+string(order))
	init.Dir, init.Stdin, init.Stdout, init.Stderr = cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr
	init.WaitDelay = 2 * time.Second // a pipe that somebody still holds
	init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	if w.Net {
		init.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	init.Cancel = func() error {
		return errors.Join(init.Process.Kill(), thaw(func(h hierarchy) string { return filepath.Join(h.parent(), cgroup) }))
	}
	err = init.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return errors.Join(err, removeCgroups(cgroup))
}

// Inside says whether this process is in a world.
func Inside() bool { return os.Getenv(environ+"_INSIDE") != "" }

// hierarchy is a mounted cgroup file system.
type hierarchy struct {
	dir     string // where it is mounted
	options string // that tell it from others: "cpu,cpuacct", "name=systemd"
	v2      bool
	own     string // the calling process's cgroup below dir
}

// hierarchies are those of the machine, with the process's place in each.
func hierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	member, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, err
	}
	var list []hierarchy
	for line := range strings.Lines(string(mounts)) {
		head, tail, _ := strings.Cut(line, " - ")
		f, t := strings.Fields(head), strings.Fields(tail)
		if len(f) < 5 || len(t) < 3 || f[3] != "/" || t[0] != "cgroup" && t[0] != "cgroup2" {
			continue
		}
		h := hierarchy{dir: f[4], v2: t[0] == "cgroup2"}
		for option := range strings.SplitSeq(t[2], ",") {
			if option != "rw" && option != "ro" && option != "xattr" && option != "clone_children" && !strings.HasPrefix(option, "release_agent=") {
				h.options += "," + option
			}
		}
		h.options = strings.TrimPrefix(h.options, ",")
		if h.v2 {
			h.options = ""
		}
		for row := range strings.Lines(string(member)) {
			if p := strings.SplitN(strings.TrimSpace(row), ":", 3); len(p) == 3 && p[1] == h.options {
				h.own = p[2]
			}
		}
		list = append(list, h)
	}
	return list, nil
}

// parent is the folder that a world's cgroup is made in: on v1 below our own,
// whose limits hold there too; on v2 at the top, since a cgroup with processes
// can't have children with controllers.
func (h hierarchy) parent() string {
	if h.v2 {
		return h.dir
	}
	return filepath.Join(h.dir, h.own)
}

// thaw lets processes in frozen cgroups of v1 go on, below a folder of each
// hierarchy: they can't be killed else.
func thaw(below func(hierarchy) string) error {
	list, err := hierarchies()
	for _, h := range list {
		if h.v2 || h.options != "freezer" {
			continue
		}
		err = errors.Join(err, filepath.WalkDir(below(h), func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.Name() != "freezer.state" {
				return nil // it goes while we look
			}
			return os.WriteFile(p, []byte("THAWED"), 0)
		}))
	}
	return err
}

// removeCgroups removes a world's cgroup everywhere. Its processes were
// killed; the last ones may need a moment to be gone.
func removeCgroups(name string) error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		top := filepath.Join(h.parent(), name)
		deadline := time.Now().Add(5 * time.Second)
		for err = removeTree(top); err != nil && time.Now().Before(deadline); err = removeTree(top) {
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
