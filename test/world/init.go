// SPDX-License-Identifier: Apache-2.0

package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Main is the first thing that main, or TestMain, of a program that calls Run
// has to do. It returns at once, unless the process is PID 1 of a world: then
// it does that, and exits.
func Main() {
	order := os.Getenv(environ)
	if order == "" {
		return
	}
	os.Unsetenv(environ)
	code, err := begin(order)
	if err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		code = 125
	}
	os.Exit(code)
}

func begin(order string) (int, error) {
	runtime.LockOSThread() // the cgroup namespace is this thread's, and that of what it starts
	var in inside
	if err := json.Unmarshal([]byte(order), &in); err != nil {
		return 0, err
	}
	// The world ends with the one who made it, not by a key at its terminal.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return 0, fmt.Errorf("set signal of parent's death: %w", err)
	}
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	if err := in.furnish(); err != nil {
		return 0, err
	}
	attr := &os.ProcAttr{
		Env:   append(os.Environ(), environ+"_INSIDE=1"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	}
	p, err := os.StartProcess(in.Argv[0], in.Argv, attr)
	if err != nil {
		return 0, err
	}
	code, err := reap(p.Pid)
	return code, errors.Join(err, thaw(func(h hierarchy) string { return h.dir }))
}

// reap waits for all processes that have no other parent, until the first one ends.
func reap(first int) (int, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR || err == nil && pid != first:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}

// furnish makes the place.
func (in inside) furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		if err := join(filepath.Join(h.parent(), in.Cgroup)); err != nil {
			return fmt.Errorf("join cgroup of %s: %w", h.dir, err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make cgroup namespace: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := roof(list); err != nil {
		return fmt.Errorf("mount a folder for the cgroups: %w", err)
	}
	for _, h := range list {
		if err := in.cgroups(h, len(list) > 1); err != nil {
			return fmt.Errorf("mount cgroups at %s: %w", h.dir, err)
		}
	}
	for _, dir := range in.Hide {
		if err := hide(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	if in.Net {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("set lo up: %w: %s", err, out)
		}
	}
	return nil
}

// join makes a cgroup and moves this process there.
func join(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range [...]string{"cpuset.cpus", "cpuset.mems"} { // empty in a new cgroup of v1: nobody may join it
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil || strings.TrimSpace(string(value)) == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0)
}

// roof mounts the folder anew that the hierarchies are mounted in, if there is
// one: Podman 4.3 makes plain folders in it for those that the machine lacks.
func roof(list []hierarchy) error {
	const top = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if err := unix.Statfs(top, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return err
	}
	links := make(map[string]string) // cpu is cpu,cpuacct
	entries, err := os.ReadDir(top)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(top, e.Name())); err == nil {
			links[e.Name()] = to
		}
	}
	if err := unix.Unmount(top, unix.MNT_DETACH); err != nil { // the hierarchies too
		return err
	}
	if err := unix.Mount("tmpfs", top, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return err
	}
	for name, to := range links {
		err = errors.Join(err, os.Symlink(to, filepath.Join(top, name)))
	}
	for _, h := range list {
		err = errors.Join(err, os.MkdirAll(h.dir, 0o755))
	}
	return err
}

// cgroups mounts one hierarchy anew, as the new namespace shows it.
func (in inside) cgroups(h hierarchy, hybrid bool) error {
	if err := unix.Unmount(h.dir, unix.MNT_DETACH); err != nil && err != unix.EINVAL { // gone with the folder around
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	switch {
	case !h.v2:
		return unix.Mount("cgroup", h.dir, "cgroup", flags, h.options)
	case hybrid && in.NoV2:
		return nil
	}
	if err := unix.Mount("cgroup2", h.dir, "cgroup2", flags, ""); err != nil {
		return err
	}
	controllers, err := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
	if err != nil || len(controllers) == 0 || hybrid {
		return err
	}
	// No process may be where controllers are handed on.
	if err := join(filepath.Join(h.dir, "init")); err != nil {
		return err
	}
	on := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	return os.WriteFile(filepath.Join(h.dir, "cgroup.subtree_control"), []byte(on), 0)
}

// hide covers a folder with an empty one of the same mode.
func hide(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	mode := uint32(info.Mode().Perm())
	if info.Mode()&os.ModeSticky != 0 {
		mode |= unix.S_ISVTX
	}
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=%o", mode))
}
