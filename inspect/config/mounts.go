// SPDX-License-Identifier: Apache-2.0

package config

import (
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/inspect"
	"vitro/inspect/process"
)

// root says what the process's root is: a folder that the host shows, or the
// layers of an overlay.
func (w *writer) root() {
	m := w.p.RootMount()
	if m == nil {
		w.note("its root is not known")
		w.Spec.Root.Path = "rootfs"
		return
	}
	w.Spec.Root.Readonly = m.Has("ro")
	w.Spec.Linux.RootfsPropagation = propagation(m, "")
	if n := w.p.NamespaceOf(inspect.Mount); n != nil && n.Shared {
		w.Spec.Root.Path = w.p.Root
		return
	}
	if at, from := w.place(m); from != nil && m.Type != "overlay" {
		w.Spec.Root.Path = at
		return
	}
	w.Spec.Root.Path = "rootfs"
	if m.Type == "overlay" {
		w.Layers = layers(m.Super)
	}
	if w.Layers == nil {
		w.note("its root, %s of %s, is mounted nowhere that we see: the bundle needs a copy of it", m.Root, m.Source)
		return
	}
	w.note("its root is an overlay, which two containers can't write to: the bundle needs a copy of it, which --bundle makes")
}

// layers are the folders of an overlay, the lowest first.
func layers(super []string) (list []string) {
	for _, o := range super {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "lowerdir":
			for _, dir := range slices.Backward(strings.Split(value, ":")) {
				list = append(list, dir)
			}
		case "lowerdir+":
			list = slices.Insert(list, 0, value)
		}
	}
	for _, o := range super {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok && list != nil {
			list = append(list, dir)
		}
	}
	return list
}

// place is the host's path of what a mount shows, and in which of the host's
// mounts that is; nil if the host has it in none, or not in sight.
func (w *writer) place(m *process.Mount) (string, *process.Mount) {
	for i := range w.host.Mounts {
		h := &w.host.Mounts[i]
		if h.Device != m.Device || h.Hidden != 0 {
			continue
		}
		rest, ok := below(m.Root, h.Root)
		if !ok {
			continue
		}
		at := path.Join(h.Point, rest)
		if !w.covered(h, at) {
			return at, h
		}
	}
	return "", nil
}

// below is what comes behind a folder in a path.
func below(p, folder string) (string, bool) {
	if folder == "/" {
		return p, true
	}
	rest, ok := strings.CutPrefix(p, folder)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// covered reports whether another mount of the host's is found at a path of
// one.
func (w *writer) covered(h *process.Mount, at string) bool {
	for i := range w.host.Mounts {
		o := &w.host.Mounts[i]
		if o.ID == h.ID || o.Hidden != 0 || len(o.Point) < len(h.Point) {
			continue
		}
		if _, ok := below(at, o.Point); ok {
			return true
		}
	}
	return false
}

// propagation is the word of a config.json, with "r" in front or not.
func propagation(m *process.Mount, r string) string {
	for _, p := range m.Propagation {
		switch {
		case strings.HasPrefix(p, "shared:"):
			return r + "shared"
		case strings.HasPrefix(p, "master:"):
			return r + "slave"
		case p == "unbindable":
			return r + "unbindable"
		}
	}
	return ""
}

// mounts writes down those that are in sight, each below the one that it is
// on. What hides and what protects paths has chapters of its own.
func (w *writer) mounts() {
	root := w.p.RootMount()
	if root == nil {
		return
	}
	for _, m := range ordered(w.p.Mounts, root.ID) {
		switch {
		case m.Hidden != 0 || m.Device == root.Device && m.Type == "overlay" && m.Root == root.Root:
		case w.isMask(m):
			w.Spec.Linux.MaskedPaths = append(w.Spec.Linux.MaskedPaths, m.Point)
		case w.isGuard(m):
			w.Spec.Linux.ReadonlyPaths = append(w.Spec.Linux.ReadonlyPaths, m.Point)
		case w.isCgroup(m), w.isDevice(m):
		default:
			w.mount(m)
		}
	}
	w.Spec.Mounts = append(w.Spec.Mounts, w.sealed...)
	slices.Sort(w.Spec.Linux.MaskedPaths)
	slices.Sort(w.Spec.Linux.ReadonlyPaths)
}

// ordered are the mounts on the root, each behind the one that it is on.
func ordered(list []process.Mount, root int) (out []*process.Mount) {
	seen := map[int]bool{root: true}
	for range list {
		before := len(out)
		for i := range list {
			if m := &list[i]; seen[m.Parent] && !seen[m.ID] {
				seen[m.ID] = true
				out = append(out, m)
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}

func kernels(point string) bool {
	return strings.HasPrefix(point, "/proc/") || strings.HasPrefix(point, "/sys/")
}

// isMask: an empty folder, or /dev/null, over a part of /proc or /sys.
func (w *writer) isMask(m *process.Mount) bool {
	return kernels(m.Point) && (m.Type == "tmpfs" && m.Root == "/" && m.Has("ro") && m.Point != "/sys/fs/cgroup" ||
		(m.Type == "devtmpfs" || m.Type == "tmpfs") && path.Base(m.Root) == "null")
}

// isGuard: a part of a file system over itself, to be read only.
func (w *writer) isGuard(m *process.Mount) bool {
	return m.Has("ro") && m.Root != "/" && (m.Type == "proc" && m.Point == "/proc"+m.Root || m.Type == "sysfs" && m.Point == "/sys"+m.Root) &&
		slices.ContainsFunc(w.p.Mounts, func(o process.Mount) bool { return o.ID == m.Parent && o.Device == m.Device })
}

// isCgroup: a config.json has one mount for all cgroups.
func (w *writer) isCgroup(m *process.Mount) bool {
	const at = "/sys/fs/cgroup"
	if m.Point != at && !strings.HasPrefix(m.Point, at+"/") {
		return false
	}
	if m.Point == at {
		o := []string{"nosuid", "noexec", "nodev", "relatime"}
		if m.Has("ro") {
			o = append(o, "ro")
		}
		w.Spec.Mounts = append(w.Spec.Mounts, specs.Mount{Destination: at, Type: "cgroup", Source: "cgroup", Options: o})
	}
	return true
}

// isDevice: where device nodes can't be made they are mounted, one by one.
// They are listed among the devices.
func (w *writer) isDevice(m *process.Mount) bool {
	return strings.HasPrefix(m.Point, "/dev/") && m.Type == "devtmpfs" && m.Root == m.Point[len("/dev"):] ||
		m.Point == "/dev/console" && m.Type == "devpts"
}

// fresh are the file systems that a container has an instance of its own of,
// with the options that make it: what else mountinfo says of them is the kernel's.
var fresh = [...]struct {
	typ     string
	options []string
	add     string
}{
	{"proc", []string{"hidepid", "subset", "gid"}, ""},
	{"sysfs", nil, ""},
	{"tmpfs", []string{"size", "nr_inodes", "mode", "uid", "gid"}, ""},
	{"devpts", []string{"ptmxmode", "mode", "gid", "uid"}, "newinstance"},
	{"mqueue", nil, ""},
	{"overlay", []string{"lowerdir", "upperdir", "workdir"}, ""},
}

// holdsMounts reports whether something else is mounted in a mount, and in
// sight.
func (w *writer) holdsMounts(m *process.Mount) bool {
	return slices.ContainsFunc(w.p.Mounts, func(o process.Mount) bool { return o.Parent == m.ID && o.Hidden == 0 })
}

func (w *writer) mount(m *process.Mount) {
	o := specs.Mount{Destination: m.Point}
	// What has places for other mounts in it has been made read-only behind them.
	late := m.Type == "tmpfs" && m.Has("ro") && w.holdsMounts(m)
	for _, word := range m.Options {
		if word != "rw" && word != "relatime" && !(late && word == "ro") {
			o.Options = append(o.Options, word)
		}
	}
	if at, from := w.place(m); from != nil {
		w.bind(m, o, at, from)
		return
	}
	for _, f := range fresh {
		if f.typ != m.Type || m.Root != "/" {
			continue
		}
		o.Type, o.Source = m.Type, m.Source
		if f.add != "" {
			o.Options = append(o.Options, f.add)
		}
		if late {
			w.sealed = append(w.sealed, specs.Mount{Destination: m.Point, Options: append([]string{"remount", "bind", "ro"}, o.Options...)})
		}
		o.Options = append(o.Options, w.own(m.Super, f.options)...)
		w.Spec.Mounts = append(w.Spec.Mounts, o)
		return
	}
	w.note("%s shows %s of %s (%s), which is mounted nowhere that we see: it is left out", m.Point, m.Root, m.Source, m.Type)
}

// inverse are the words for what a mount would have of the one that it is a
// copy of.
var inverse = [...]struct{ word, without string }{{"ro", "rw"}, {"nosuid", "suid"}, {"nodev", "dev"}, {"noexec", "exec"}}

// bind writes down a mount of what the host has at a path. A root that is one
// of the host's folders comes with all that is mounted in it.
func (w *writer) bind(m *process.Mount, o specs.Mount, at string, from *process.Mount) {
	root := w.Spec.Root.Path
	if path.IsAbs(root) && at == path.Join(root, m.Point) && m.Root == from.Root && slices.Equal(m.Options, from.Options) {
		return
	}
	o.Type, o.Source = "bind", at
	o.Options = append([]string{"bind"}, o.Options...)
	for _, i := range inverse {
		if from.Has(i.word) && !m.Has(i.word) {
			o.Options = append(o.Options, i.without)
		}
	}
	share := propagation(m, "r")
	if share == "" {
		share = "rprivate"
	}
	o.Options = append(o.Options, share)
	w.Spec.Mounts = append(w.Spec.Mounts, o)
}

// own are the options of the file system that made it so, with IDs as they are
// inside.
func (w *writer) own(super, keys []string) (list []string) {
	user := w.p.NamespaceOf(inspect.User)
	for _, word := range super {
		key, value, has := strings.Cut(word, "=")
		if !has || !slices.Contains(keys, key) {
			continue
		}
		ranges := w.p.UIDMap
		if key == "gid" {
			ranges = w.p.GIDMap
		}
		if id, err := strconv.ParseUint(value, 10, 32); (key == "uid" || key == "gid") && err == nil && user != nil && !user.Shared {
			in, ok := process.Inside(ranges, uint32(id))
			if !ok {
				continue
			}
			value = strconv.FormatUint(uint64(in), 10)
		}
		list = append(list, key+"="+value)
	}
	return list
}
