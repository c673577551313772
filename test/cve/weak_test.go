// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
)

// The weak runtime does what runtimes did before the advisories: it joins the
// container's paths with its root and lets the kernel follow them, believes
// what it finds in the container's /dev and /proc, leaves descriptors open, and
// starts its own program in the container. It is what shows that the attacks
// work. It knows run, create, start, exec, state and delete.
const weakName = "weak-oci"

func weakMain(args []string) int {
	if len(args) < 4 {
		return 2 // it was started by a lure
	}
	root := args[1] // --root DIR
	verb, args := args[2], args[3:]
	var flags []string
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flags, args = append(flags, args[0]), args[1:]
		if n := len(flags) - 1; flags[n] != "-d" && flags[n] != "--force" {
			flags, args = append(flags, args[0]), args[1:]
		}
	}
	must := os.MkdirAll(root, 0o755)
	pidFile := filepath.Join(root, args[0])
	pid := 0
	if data, err := os.ReadFile(pidFile); err == nil {
		pid, _ = strconv.Atoi(string(data))
	}
	switch verb {
	case "create", "run":
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{"weak-init"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS}
		if must = cmd.Start(); must == nil {
			must = os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
		}
		if must == nil && verb == "run" && len(flags) == 0 {
			_ = cmd.Wait()
			return cmd.ProcessState.ExitCode()
		}
	case "state":
		fmt.Printf("{\"pid\": %d}", pid)
	case "delete":
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.Remove(pidFile)
	case "exec":
		cwd := "/"
		if len(flags) == 2 && flags[0] == "--cwd" {
			cwd = flags[1]
		}
		return weakEnter(pid, append([]string{"weak-exec", cwd}, args[1:]...))
	}
	if must != nil {
		fmt.Fprintln(os.Stderr, must)
		return 1
	}
	return 0
}

// weakEnter starts this very program in a container, as the container's
// /proc/self/exe shows it.
func weakEnter(pid int, argv []string) int {
	runtime.LockOSThread()
	var ns []int
	for _, kind := range []string{"pid", "net", "uts", "mnt"} {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 1
		}
		ns = append(ns, fd)
	}
	err := unix.Unshare(unix.CLONE_FS)
	for _, fd := range ns {
		if err == nil {
			err = unix.Setns(fd, 0)
		}
	}
	if err == nil {
		pid, err = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Env: os.Environ()})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weak-oci:", err)
		return 1
	}
	var ws syscall.WaitStatus
	_, _ = syscall.Wait4(pid, &ws, 0, nil)
	return ws.ExitStatus()
}

func weakExec(args []string) int { return weakBecome(args[0], args[1:], nil) }

func weakBecome(cwd string, argv []string, caps *specs.LinuxCapabilities) int {
	runtime.LockOSThread() // capabilities are a thread's
	err := os.Chdir(cwd)
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	_ = unix.Capget(&head, &data[0])
	data[0].Inheritable = data[0].Permitted
	_ = unix.Capset(&head, &data[0])
	if err == nil {
		name := argv[0]
		if !strings.Contains(name, "/") {
			name = "/bin/" + name
		}
		err = syscall.Exec(name, argv, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "weak-oci:", err)
	return 1
}

// weakInit makes the container around itself.
func weakInit([]string) int {
	data, err := os.ReadFile("config.json")
	if err != nil {
		return 1
	}
	s, err := ocijson.DecodeSpec(data)
	if err == nil {
		err = weakMounts(s)
	}
	if err == nil {
		err = weakPivot(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weak-oci:", err)
		return 1
	}
	return weakBecome(s.Process.Cwd, s.Process.Args, s.Process.Capabilities)
}

func weakMounts(s *specs.Spec) error {
	root, _ := filepath.Abs(s.Root.Path)
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	// What it may damage: the test's own folder, nothing else.
	all := filepath.Dir(filepath.Dir(root))
	for _, m := range [][2]string{{all, all}, {root, root}} {
		if err := unix.Mount(m[0], m[1], "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		at := root + m.Destination // and wherever that leads
		if info, err := os.Stat(m.Source); err == nil && m.Type == "bind" && !info.IsDir() {
			_ = os.MkdirAll(filepath.Dir(at), 0o755)
			if f, err := os.OpenFile(at, os.O_CREATE, 0o644); err == nil {
				f.Close()
			}
		} else {
			_ = os.MkdirAll(at, 0o755)
		}
		flags := uintptr(0)
		if m.Type == "bind" {
			flags = unix.MS_BIND | unix.MS_REC
		}
		if m.Type == "cgroup" || m.Type == "devpts" || m.Type == "mqueue" {
			continue
		}
		if err := unix.Mount(m.Source, at, m.Type, flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	if !slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "tmpfs" && m.Destination == "/dev" }) {
		return os.Chdir(root)
	}
	for i, name := range []string{"null", "zero"} {
		_ = unix.Mknod(root+"/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, uint32(3+2*i))))
	}
	return os.Chdir(root)
}

func weakPivot(s *specs.Spec) error {
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	_ = unix.Unmount(".", unix.MNT_DETACH)
	_ = os.Chdir("/")
	for key, value := range s.Linux.Sysctl {
		_ = os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0)
	}
	if s.Process.Terminal {
		if err := unix.Mount("/dev/pts/0", "/dev/console", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("console: %w", err)
		}
	}
	for _, p := range s.Linux.ReadonlyPaths {
		if unix.Mount(p, p, "", unix.MS_BIND|unix.MS_REC, "") == nil {
			_ = unix.Mount("", p, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
	for _, p := range s.Linux.MaskedPaths {
		if err := unix.Mount("/dev/null", p, "", unix.MS_BIND, ""); err == unix.ENOTDIR {
			_ = unix.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY, "")
		}
	}
	return nil
}
