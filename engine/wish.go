// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"vitro/volume"
)

// The kinds of mounts that a flag can ask for.
const (
	kindBind   = "bind"
	kindVolume = "volume"
	kindTmpfs  = "tmpfs"
	kindImage  = "image"
)

// A wish is a mount as -v, --mount, --tmpfs, --volumes-from or the image asks for it.
type wish struct {
	kind    string
	source  string // a path; a volume's or an image's name; "" is a volume without one
	target  string
	options []string // of the mount, in the words of package spec
	share   string   // its propagation
	rec     string   // rbind or bind
	ro      bool
	roTop   bool // read-only itself, but not what is mounted below it
	make    bool // a source that isn't there is made
	noCopy  bool
	chown   bool // all of it is made the container's user's
	idmap   bool
	subpath string
	opts    map[string]string // of the volume
	labels  map[string]string
	mode    string // what stands behind -v's second colon, to be shown
	from    string // the value of --volumes-from that it comes from
}

// read makes wishes of a flag's values.
func read(flag string, values []string, parse func(*wish, string) error) (ws []wish, err error) {
	for _, v := range values {
		w := wish{rec: "rbind", share: "rprivate"}
		if err := parse(&w, v); err != nil {
			return nil, fmt.Errorf("read --%s %q: %w", flag, v, err)
		}
		if !path.IsAbs(w.target) || path.Clean(w.target) == "/" {
			return nil, fmt.Errorf("read --%s %q: %q is no path of the container to mount on", flag, v, w.target)
		}
		w.target = path.Clean(w.target)
		ws = append(ws, w)
	}
	return ws, nil
}

// volumeOptions are the options of -v: those that are a mount's stand for themselves.
var volumeOptions = [...]struct {
	name string
	set  func(*wish)
}{
	{"ro", func(w *wish) { w.ro = true }},
	{"rw", func(w *wish) { w.ro = false }},
	{"z", nil}, {"Z", nil}, // labels are SELinux's
	{"U", func(w *wish) { w.chown = true }},
	{"idmap", func(w *wish) { w.idmap = true }},
	{"copy", func(w *wish) { w.noCopy = false }},
	{"nocopy", func(w *wish) { w.noCopy = true }},
	{"nosuid", (*wish).nosuid}, {"nodev", (*wish).nodev}, {"noexec", (*wish).noexec},
	{"suid", nil}, {"dev", nil}, {"exec", nil},
	{"bind", func(w *wish) { w.rec = "bind" }},
	{"rbind", func(w *wish) { w.rec = "rbind" }},
	{"cached", nil}, {"delegated", nil}, {"consistent", nil}, // are for Docker's virtual machines
}

func (w *wish) nosuid() { w.options = append(w.options, "nosuid") }
func (w *wish) nodev()  { w.options = append(w.options, "nodev") }
func (w *wish) noexec() { w.options = append(w.options, "noexec") }

// shares are the words for how mounts travel.
var shares = [...]string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

func (w *wish) propagation(value string) error {
	if !slices.Contains(shares[:], value) {
		return hint(fmt.Errorf("no propagation %q", value), "there are %s", strings.Join(shares[:], ", "))
	}
	w.share = value
	return nil
}

// parseVolume reads [SOURCE:]TARGET[:OPTIONS]. A source that is a path, and
// isn't there, is made.
func parseVolume(w *wish, text string) error {
	w.kind = kindVolume
	parts := strings.Split(text, ":")
	switch {
	case len(parts) > 3 || text == "":
		return hint(errors.New("not [SOURCE:]TARGET[:OPTIONS]"), "for instance -v /srv/data:/data:ro, -v data:/data or -v /data")
	case len(parts) == 1:
		w.target = parts[0]
		return nil
	}
	w.source, w.target = parts[0], parts[1]
	if len(parts) == 3 {
		w.mode = parts[2]
		for o := range strings.SplitSeq(parts[2], ",") {
			if err := w.volumeOption(o); err != nil {
				return err
			}
		}
	}
	return w.place()
}

// place tells a path from a volume's name.
func (w *wish) place() error {
	s := w.source
	if filepath.IsAbs(s) || s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") {
		abs, err := filepath.Abs(s)
		w.kind, w.source, w.make = kindBind, abs, true
		return err
	}
	if err := volume.CheckName(s); err != nil {
		return hint(err, "a path begins with / or ./")
	}
	return nil
}

func (w *wish) volumeOption(o string) error {
	if slices.Contains(shares[:], o) {
		return w.propagation(o)
	}
	names := slices.Clone(shares[:])
	for _, row := range volumeOptions {
		if row.name == o {
			if row.set != nil {
				row.set(w)
			}
			return nil
		}
		names = append(names, row.name)
	}
	if o == "" {
		return nil
	}
	slices.Sort(names)
	return hint(fmt.Errorf("no option %q", o), "the options are %s", strings.Join(names, ", "))
}

// parseTmpfs reads TARGET[:OPTIONS].
func parseTmpfs(w *wish, text string) error {
	target, opts, _ := strings.Cut(text, ":")
	w.kind, w.target = kindTmpfs, target
	if opts != "" {
		w.options = strings.Split(opts, ",")
	}
	return nil
}

// A mountKey is a key of --mount, with the kind of mount that it is for.
type mountKey struct {
	name, kind string
	set        func(w *wish, value string) error
}

var mountKeys = [...]mountKey{
	{"type", "", func(w *wish, v string) error { w.kind = v; return nil }},
	{"source", "", func(w *wish, v string) error { w.source = v; return nil }},
	{"target", "", func(w *wish, v string) error { w.target = v; return nil }},
	{"readonly", "", func(w *wish, v string) (err error) { w.ro, err = truth(v); return err }},
	{"consistency", "", func(*wish, string) error { return nil }},
	{"bind-propagation", kindBind, (*wish).propagation},
	{"bind-nonrecursive", kindBind, func(w *wish, v string) error {
		off, err := truth(v)
		if off {
			w.rec = "bind"
		}
		return err
	}},
	{"bind-recursive", kindBind, (*wish).recursion},
	{"bind-create-src", kindBind, func(w *wish, v string) (err error) { w.make, err = truth(v); return err }},
	{"relabel", kindBind, func(*wish, string) error { return nil }}, // SELinux's
	{"idmap", "", func(w *wish, v string) (err error) { w.idmap, err = truth(v); return err }},
	{"chown", "", func(w *wish, v string) (err error) { w.chown, err = truth(v); return err }},
	{"volume-nocopy", kindVolume, func(w *wish, v string) (err error) { w.noCopy, err = truth(v); return err }},
	{"volume-driver", kindVolume, func(_ *wish, v string) error { return checkDriver(v) }},
	{"volume-opt", kindVolume, func(w *wish, v string) error { return pair(&w.opts, v) }},
	{"volume-label", kindVolume, func(w *wish, v string) error { return pair(&w.labels, v) }},
	{"volume-subpath", kindVolume, (*wish).below},
	{"tmpfs-size", kindTmpfs, func(w *wish, v string) error {
		n, err := units.RAMInBytes(v)
		if err != nil {
			return fmt.Errorf("tmpfs-size %q is no amount of memory", v)
		}
		w.options = append(w.options, fmt.Sprintf("size=%d", n))
		return nil
	}},
	{"tmpfs-mode", kindTmpfs, func(w *wish, v string) error {
		if _, err := strconv.ParseUint(v, 8, 16); err != nil {
			return fmt.Errorf("tmpfs-mode %q is no octal number", v)
		}
		w.options = append(w.options, "mode="+v)
		return nil
	}},
}

// aliases are other names of keys.
var aliases = [...][2]string{{"src", "source"}, {"dst", "target"}, {"destination", "target"}, {"ro", "readonly"}, {"U", "chown"}, {"subpath", "volume-subpath"}}

// parseMount reads key=value pairs, as a line of CSV: a value with a comma is quoted.
func parseMount(w *wish, text string) error {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return hint(errors.New("not KEY=VALUE[,KEY=VALUE...]"), "for instance --mount type=bind,source=/srv,target=/data,readonly")
	}
	w.kind = kindVolume
	need := map[string]string{} // what keys of a kind were given
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		for _, a := range aliases {
			if key == a[0] {
				key = a[1]
			}
		}
		i := slices.IndexFunc(mountKeys[:], func(row mountKey) bool { return row.name == key })
		if i < 0 {
			var names []string
			for _, row := range mountKeys {
				names = append(names, row.name)
			}
			return hint(fmt.Errorf("no key %q", key), "the keys are %s", strings.Join(names, ", "))
		}
		if kind := mountKeys[i].kind; kind != "" {
			need[kind] = key
		}
		if err := mountKeys[i].set(w, value); err != nil {
			return err
		}
	}
	return w.check(need)
}

// check refuses what doesn't go together.
func (w *wish) check(need map[string]string) error {
	if w.kind == "" {
		w.kind = kindVolume
	}
	for kind, key := range need {
		if kind != w.kind {
			return fmt.Errorf("%s is not for type=%s", key, w.kind)
		}
	}
	switch w.kind {
	case kindBind:
		if !filepath.IsAbs(w.source) {
			return fmt.Errorf("source %q is no absolute path", w.source)
		}
	case kindTmpfs:
		if w.source != "" {
			return errors.New("a tmpfs has no source")
		}
	case kindImage:
		if w.source == "" {
			return errors.New("source is missing: an image's name")
		}
	case kindVolume:
		if w.subpath != "" && w.source == "" {
			return errors.New("volume-subpath is for a volume with a name: a new one is empty")
		}
		if w.source != "" {
			if err := volume.CheckName(w.source); err != nil {
				return hint(err, "for a path: type=bind")
			}
		}
		if _, err := volume.ReadOptions(w.opts); err != nil {
			return err
		}
	default:
		return hint(fmt.Errorf("type %q is not there", w.kind), "there are type=bind, type=volume, type=tmpfs and type=image")
	}
	return nil
}

// recursion is what happens to mounts below a bind mount's source.
func (w *wish) recursion(value string) error {
	switch value {
	case "enabled", "readonly":
	case "writable":
		w.roTop = true
	case "disabled":
		w.rec = "bind"
	default:
		return hint(fmt.Errorf("bind-recursive %q is not there", value), "there are enabled, disabled, writable, readonly")
	}
	return nil
}

// below is a folder or file in a volume.
func (w *wish) below(value string) error {
	w.subpath = path.Clean(value)
	if value == "" || path.IsAbs(value) || w.subpath == ".." || strings.HasPrefix(w.subpath, "../") {
		return fmt.Errorf("volume-subpath %q: want a path within the volume", value)
	}
	return nil
}

func truth(value string) (bool, error) {
	if value == "" {
		return true, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", value)
	}
	return b, nil
}

func pair(to *map[string]string, text string) error {
	k, v, _ := strings.Cut(text, "=")
	if k == "" {
		return fmt.Errorf("%q is not KEY=VALUE", text)
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[k] = v
	return nil
}

// checkDriver refuses what isn't there.
func checkDriver(name string) error {
	if name != "" && name != volume.Driver {
		return hint(fmt.Errorf("volume driver %q is not there", name), "there is %s, which mounts what its options type, device and o say", volume.Driver)
	}
	return nil
}
