// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
)

// A Build is what a program was made of, with Docker's field names.
type Build struct {
	Version       string
	GoVersion     string
	GitCommit     string
	BuildTime     string // of the commit
	Os, Arch      string
	KernelVersion string `json:",omitempty"`
	Runtime       string `json:",omitempty"` // vitro-oci's path
}

// Versions are those of the program and of the engine, which is the same one.
type Versions struct{ Client, Server Build }

// NewVersions reads what there is to know of a version.
func NewVersions(version string) Versions {
	b := Build{Version: version, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.GitCommit = s.Value
			case "vcs.time":
				b.BuildTime = s.Value
			}
		}
	}
	v := Versions{b, b}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		v.Server.KernelVersion = unix.ByteSliceToString(u.Release[:])
	}
	v.Server.Runtime, _ = exec.LookPath("vitro-oci")
	if exe, err := os.Executable(); v.Server.Runtime == "" && err == nil {
		beside := filepath.Join(filepath.Dir(exe), "vitro-oci")
		if _, err := os.Stat(beside); err == nil {
			v.Server.Runtime = beside
		}
	}
	return v
}

// About is what the engine has and what the machine can do, with Docker's field names.
type About struct {
	Containers, ContainersRunning, ContainersPaused, ContainersStopped int
	Images                                                             int
	Driver                                                             string
	CgroupDriver, CgroupVersion, CgroupLayout                          string
	DefaultRuntime, LoggingDriver                                      string
	MemoryLimit, SwapLimit, CPUShares, CPUSet, PidsLimit               bool
	SecurityOptions                                                    []string
	KernelVersion, OperatingSystem, OSType, Architecture               string
	NCPU                                                               int
	MemTotal                                                           int64
	DockerRootDir                                                      string
	Name, ServerVersion                                                string
	Rootless                                                           bool
	Warnings                                                           []string
}

// About looks around.
func (e *Engine) About(version string) (*About, error) {
	v := NewVersions(version)
	a := &About{
		Driver: "overlay", CgroupDriver: "cgroupfs", DefaultRuntime: "vitro-oci", LoggingDriver: "json-file",
		KernelVersion: v.Server.KernelVersion, OSType: "linux", NCPU: runtime.NumCPU(), DockerRootDir: e.Dir, ServerVersion: version,
		SecurityOptions: []string{"name=seccomp,profile=builtin"}, Rootless: !e.root,
	}
	if err := e.count(a); err != nil {
		return nil, err
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		a.Architecture, a.Name = unix.ByteSliceToString(u.Machine[:]), unix.ByteSliceToString(u.Nodename[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		a.MemTotal = int64(s.Totalram) * int64(s.Unit)
	}
	a.OperatingSystem = osName()
	if !e.root {
		a.SecurityOptions = append(a.SecurityOptions, "name=rootless")
		if e.maps.single() {
			a.warn("only your own user ID can be used in containers: have a range added to /etc/subuid and /etc/subgid (usermod --add-subuids)")
		}
	}
	l, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	a.readCgroups(l, e.root)
	return a, nil
}

func (a *About) warn(format string, args ...any) {
	a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...))
}

func (e *Engine) count(a *About) error {
	list, err := e.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		a.Containers++
		switch i.Status {
		case Running, Restarting:
			a.ContainersRunning++
		case Paused:
			a.ContainersPaused++
		default:
			a.ContainersStopped++
		}
	}
	imgs, err := e.Images.List()
	a.Images = len(imgs)
	return err
}

// readCgroups finds out which limits can be set. On version 2 an ordinary
// user can set those that are delegated to the cgroup we are in.
func (a *About) readCgroups(l *cgroup.Layout, root bool) {
	a.CgroupVersion, a.CgroupLayout = "1", l.Version()
	if a.CgroupLayout == "v2" {
		a.CgroupVersion = "2"
	}
	var all []string
	writable := true
	for _, h := range l.Hierarchies {
		all = append(all, h.Controllers...)
		if h.V2 {
			dir := h.Mount
			if !root {
				dir = filepath.Join(h.Mount, h.Own)
				writable = l.FS.Writable(filepath.Join(dir, "cgroup.procs"))
			}
			text, _ := l.FS.Read(filepath.Join(dir, "cgroup.controllers"))
			all = append(all, strings.Fields(text)...)
		}
	}
	switch {
	case !root && a.CgroupVersion == "1":
		a.warn("no limits for an ordinary user: that needs cgroup v2 alone (systemd.unified_cgroup_hierarchy=1)")
		return
	case !root && !writable:
		a.warn("no limits for an ordinary user: no cgroup is delegated (systemd-run --user --scope -p Delegate=yes vitro ...)")
		return
	}
	for _, c := range [...]struct {
		name, what string
		has        []*bool
	}{
		{"memory", "memory", []*bool{&a.MemoryLimit, &a.SwapLimit}},
		{"cpu", "processor time", []*bool{&a.CPUShares}},
		{"cpuset", "processors", []*bool{&a.CPUSet}},
		{"pids", "the number of processes", []*bool{&a.PidsLimit}},
	} {
		ok := slices.Contains(all, c.name)
		for _, has := range c.has {
			*has = ok
		}
		if !ok {
			a.warn("no limits on %s: the cgroup controller %s is not there", c.what, c.name)
		}
	}
}

// osName is what the system calls itself (os-release(5)).
func osName() string {
	for _, file := range [...]string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			if value, ok := bytes.CutPrefix(line, []byte("PRETTY_NAME=")); ok {
				name := strings.TrimSpace(string(value))
				if s, err := strconv.Unquote(name); err == nil {
					return s
				}
				return strings.Trim(name, "'")
			}
		}
	}
	return "Linux"
}
