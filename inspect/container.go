// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// identifier finds out whose containers processes are in. It asks about each
// parent once.
type identifier struct {
	parents  sync.Map // PID to ancestor
	runtimes func() map[int]Container
}

// ancestor is a process as its children see it.
type ancestor struct {
	name   string
	parent int
}

func newIdentifier() *identifier { return &identifier{runtimes: sync.OnceValue(runtimes)} }

// identify finds out whose container a process is in, nil if in none. The name
// is looked up later.
func (i *identifier) identify(pid, parent int) *Container {
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	c := Belongs(cgroupPaths(groups))
	if c == nil || c.Engine == "systemd" {
		if by := i.startedBy(pid, parent); by != nil {
			return by
		}
	}
	return c
}

// cgroupPaths are the paths in a text as /proc/PID/cgroup has it, each once.
func cgroupPaths(data []byte) (list []string) {
	for line := range bytes.Lines(data) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) == 3 && parts[2] != "/" && (len(list) == 0 || list[len(list)-1] != parts[2]) {
			list = append(list, parts[2])
		}
	}
	return list
}

// signs are how engines call their containers' cgroups. A sign is a name with
// one * in it, which the ID stands for; the one before it, if it matters, has
// a slash behind. Where systemd makes the cgroup, a unit's suffix follows.
var signs = [...]struct {
	engine, sign string
	long         bool // the ID has 64 hex digits
}{
	{"podman", "libpod-conmon-*.scope", true},
	{"podman", "libpod-*.scope", true},
	{"podman", "libpod-*", true},
	{"docker", "docker-*.scope", true},
	{"docker", "docker/*", true},
	{"containerd", "cri-containerd-*.scope", true},
	{"containerd", "nerdctl-*.scope", true},
	{"cri-o", "crio-*.scope", true},
	{"cri-o", "crio-*", true},
	{"vitro", "vitro/*", true},
	{"vitro-oci", "vitro-oci-*.scope", false},
	{"runc", "runc-*.scope", false},
	{"crun", "crun-*.scope", false},
	{"lxc", "lxc.payload.*", false},
	{"lxc", "lxc.monitor.*", false},
	{"lxc", "lxc/*", false},
	{"systemd-nspawn", "systemd-nspawn@*.service", false},
	{"systemd-nspawn", "machine-*.scope", false},
	{"flatpak", "app-flatpak-*.scope", false},
	{"snap", "snap.*.scope", false},
	{"snap", "snap.*.service", false},
	{"kubernetes", "kubepods/*", false},
	{"systemd", "*.service", false},
	{"systemd", "*.scope", false},
}

// Belongs says from the paths of a process's cgroups in which container it is,
// the innermost one; nil if in none.
func Belongs(cgroups []string) *Container {
	var best *Container
	for _, p := range cgroups {
		parts := strings.Split(strings.Trim(p, "/"), "/")
		for i := len(parts) - 1; i >= 0; i-- {
			before := ""
			if i > 0 {
				before = parts[i-1]
			}
			c := sign(before, parts[i])
			if c == nil {
				continue
			}
			// A unit of systemd's says least: it is around the engine.
			if best == nil || best.Engine == "systemd" && c.Engine != "systemd" {
				best = c
			}
			if c.Engine != "systemd" {
				break
			}
		}
	}
	return best
}

func sign(before, name string) *Container {
	for _, s := range signs {
		pattern, text := s.sign, name
		if parent, rest, ok := strings.Cut(s.sign, "/"); ok {
			if before != parent {
				continue
			}
			pattern = rest
		}
		head, tail, _ := strings.Cut(pattern, "*")
		id, ok := strings.CutPrefix(text, head)
		if !ok {
			continue
		}
		if id, ok = strings.CutSuffix(id, tail); !ok || id == "" || s.long && !isID(id) {
			continue
		}
		switch s.engine {
		case "systemd":
			return &Container{Engine: s.engine, Name: name}
		case "systemd-nspawn", "lxc", "snap", "flatpak":
			return &Container{Engine: s.engine, Name: unitName(id)}
		}
		return &Container{Engine: s.engine, ID: id}
	}
	// Kubernetes without systemd has the container's ID below the pod's.
	if isID(name) && (strings.HasPrefix(before, "pod") || strings.Contains(before, "kubepods")) {
		return &Container{Engine: "kubernetes", ID: name}
	}
	if isID(name) && strings.Contains(before, "libpod") {
		return &Container{Engine: "podman", ID: name}
	}
	return nil
}

// isID reports whether a text is an ID as most engines make them up.
func isID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// unitName takes back what systemd escapes in the names of units: \x2d for -.
func unitName(text string) string {
	for i := 0; ; {
		j := strings.Index(text[i:], `\x`)
		if j < 0 || i+j+4 > len(text) {
			return text
		}
		i += j
		n, err := strconv.ParseUint(text[i+2:i+4], 16, 8)
		if err != nil {
			i += 2
			continue
		}
		text = text[:i] + string([]byte{byte(n)}) + text[i+4:]
		i++
	}
}

// starters are programs that make containers without cgroups of their own,
// and are still there as parents of what runs in them.
var starters = [...]struct{ program, engine string }{
	{"bwrap", "bubblewrap"},
	{"systemd-nspawn", "systemd-nspawn"},
	{"lxc-start", "lxc"},
	{"unshare", "unshare"},
	{"firejail", "firejail"},
	{"chrome", "browser"}, {"chromium", "browser"}, {"firefox", "browser"}, {"firefox-esr", "browser"},
}

// startedBy looks at the parents: a sandbox without a cgroup of its own is the
// one of the program that has made it. Only what is in another namespace than
// that program is in the sandbox. A runtime has written down which process is
// its container's first.
func (i *identifier) startedBy(pid, parent int) *Container {
	if c, ok := i.runtimes()[pid]; ok {
		return &c
	}
	for range 64 { // nobody is deeper, and a loop can't be seen while it changes
		if parent <= 1 {
			return nil
		}
		if c, ok := i.runtimes()[parent]; ok {
			return &c
		}
		a := i.ancestor(parent)
		for _, s := range starters {
			if s.program == a.name && apart(pid, parent) {
				return &Container{Engine: s.engine, Name: nameFromArgs(s.engine, commandLine("/proc/"+strconv.Itoa(parent)))}
			}
		}
		parent = a.parent
	}
	return nil
}

func (i *identifier) ancestor(pid int) ancestor {
	if a, ok := i.parents.Load(pid); ok {
		return a.(ancestor)
	}
	var a ancestor
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		a.name, a.parent = parseStat(stat)
	}
	i.parents.Store(pid, a)
	return a
}

// apart reports whether two processes differ in what makes a sandbox.
func apart(pid, other int) bool {
	a, b := namespacesOf(pid), namespacesOf(other)
	return a[Mount] != 0 && (a[PID] != b[PID] || a[Mount] != b[Mount] || a[User] != b[User] || a[Network] != b[Network])
}

// parseStat reads a process's name and parent out of its stat file, where the
// name may hold anything but a NUL.
func parseStat(stat []byte) (name string, parent int) {
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if from < 0 || to < from {
		return "", 0
	}
	fields := bytes.Fields(stat[to+1:])
	if len(fields) > 1 {
		parent, _ = strconv.Atoi(string(fields[1]))
	}
	return string(stat[from+1 : to]), parent
}

// nameFromArgs is the container's name as its starter was told it.
func nameFromArgs(engine string, args []string) string {
	switch engine {
	case "systemd-nspawn":
		return option(args, "-M", "--machine", option(args, "-D", "--directory", ""))
	case "lxc":
		return option(args, "-n", "--name", "")
	}
	return ""
}

func option(args []string, short, long, otherwise string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, long+"="); ok {
			return path.Base(v)
		}
		if (a == short || a == long) && i+1 < len(args) {
			return path.Base(args[i+1])
		}
		if v, ok := strings.CutPrefix(a, short); ok && v != "" && !strings.HasPrefix(a, "--") {
			return path.Base(v)
		}
	}
	return otherwise
}

func namespacesOf(pid int) (own [kinds]uint64) {
	for k := range own {
		if text, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/" + Kind(k).String()); err == nil {
			_, own[k], _ = parseLink(text)
		}
	}
	return own
}
