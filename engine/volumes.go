// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/container"
	"vitro/event"
	"vitro/image"
	"vitro/plan"
	"vitro/spec"
	"vitro/volume"
)

// A Mount is what a user has mounted into a container, in the words of Docker's
// inspect. It is kept in the container's folder, in the file mounts: so it is
// known which volumes are in use.
type Mount struct {
	Type        string
	Name        string `json:",omitempty"` // of a volume
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
	// Anonymous: the volume is the container's own, and goes with it if that is
	// asked for.
	Anonymous bool `json:",omitempty"`
	// From is the value of --volumes-from that has brought it.
	From string `json:",omitempty"`
}

// mountsFile is that file's name.
const mountsFile = "mounts"

// Mounts are what the user has mounted into a container, by the container's folder.
func Mounts(dir string) ([]Mount, error) {
	data, err := os.ReadFile(filepath.Join(dir, mountsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ms []Mount
	if err == nil {
		err = json.Unmarshal(data, &ms)
	}
	if err != nil {
		return nil, fmt.Errorf("read mounts of container: %w", err)
	}
	return ms, nil
}

func writeMounts(c *container.Container, ms []Mount) error {
	if len(ms) == 0 {
		return nil
	}
	data, err := json.Marshal(ms)
	if err != nil {
		return err
	}
	return c.Write(mountsFile, append(data, '\n'))
}

// mountsOf are what a container that is yet to be made will have mounted, and
// the layers of other images that it needs.
func (e *Engine) mountsOf(r *Record) (ms []Mount, extra []image.Digest, err error) {
	d := &draft{Flags: &r.Flags, e: e, id: r.ID, dir: filepath.Join(e.Containers.Root, r.ID), image: &r.Config, layers: r.Layers}
	ws, err := d.wishes()
	if err != nil {
		return nil, nil, err
	}
	for i := range ws {
		w := &ws[i]
		m := Mount{Type: w.kind, Source: w.source, Destination: w.target, Mode: w.mode, RW: !w.ro, Propagation: w.share, From: w.from}
		switch w.kind {
		case kindTmpfs:
			m.Propagation = ""
		case kindImage:
			img, err := e.Images.Get(w.source)
			if err != nil {
				return nil, nil, fmt.Errorf("mount %s: %w", w.target, imageHint(err))
			}
			m.RW, m.Propagation, extra = false, "", append(extra, img.DiffIDs...)
		case kindVolume:
			v, _, err := d.volume(w)
			if err != nil {
				return nil, nil, fmt.Errorf("mount %s: %w", w.target, err)
			}
			m.Name, m.Source, m.Driver = v.Name, v.Data(), volume.Driver
			m.Anonymous = v.Anonymous && w.from == ""
		}
		ms = append(ms, m)
	}
	return ms, extra, nil
}

// makeVolumes makes the volumes of a container that is not started yet: they
// are listed from now on, and kept for it. What the image has there gets into
// them at the start, or when somebody copies into the container.
func (e *Engine) makeVolumes(r *Record) error {
	d := &draft{Flags: &r.Flags, e: e, id: r.ID, image: &r.Config, layers: r.Layers}
	ws, err := d.wishes()
	if err != nil {
		return err
	}
	for i := range ws {
		if w := &ws[i]; w.kind == kindVolume && w.from == "" {
			v, _, err := d.volume(w)
			if err == nil {
				_, err = e.CreateVolume(v, volume.Driver)
			}
			if err != nil {
				return fmt.Errorf("mount %s: %w", w.target, err)
			}
		}
	}
	return nil
}

// userMounts are the mounts that flags and image ask for.
func (d *draft) userMounts() ([]specs.Mount, error) {
	ws, err := d.wishes()
	if err != nil {
		return nil, err
	}
	var out []specs.Mount
	for i := range ws {
		m, err := d.grant(&ws[i])
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", ws[i].target, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// wishes are all that is asked for. Where the same place is asked for twice,
// the user's flags come before another container's mounts, and these before the
// image's volumes.
func (d *draft) wishes() (ws []wish, err error) {
	if err := checkDriver(d.VolumeDriver); err != nil {
		return nil, fmt.Errorf("read --volume-driver: %w", err)
	}
	for _, flag := range []struct {
		name   string
		values []string
		parse  func(*wish, string) error
	}{{"volume", d.Volumes, parseVolume}, {"mount", d.Flags.Mounts, parseMount}, {"tmpfs", d.Tmpfs, parseTmpfs}} {
		more, err := read(flag.name, flag.values, flag.parse)
		if err != nil {
			return nil, err
		}
		for i, w := range more {
			if taken(ws, w.target) {
				return nil, fmt.Errorf("read --%s %q: something is mounted on %s already", flag.name, flag.values[i], w.target)
			}
			ws = append(ws, w)
		}
	}
	for _, from := range d.VolumesFrom {
		more, err := d.others(from)
		if err != nil {
			return nil, fmt.Errorf("read --volumes-from %q: %w", from, err)
		}
		ws = add(ws, more)
	}
	for _, target := range slices.Sorted(maps.Keys(d.image.Volumes)) {
		if target = path.Clean("/" + target); target != "/" {
			ws = add(ws, []wish{{kind: kindVolume, target: target, rec: "rbind", share: "rprivate"}})
		}
	}
	return ws, nil
}

func taken(ws []wish, target string) bool {
	return slices.ContainsFunc(ws, func(w wish) bool { return w.target == target })
}

func add(ws, more []wish) []wish {
	for _, w := range more {
		if !taken(ws, w.target) {
			ws = append(ws, w)
		}
	}
	return ws
}

// others are the volumes and binds of another container: NAME[:ro|rw]. They are
// what they were when this one was made: the other may be gone since.
func (d *draft) others(from string) (ws []wish, err error) {
	name, mode, _ := strings.Cut(from, ":")
	switch mode {
	case "", "rw", "ro", "z", "Z":
	default:
		return nil, hint(fmt.Errorf("no mode %q", mode), "the modes are ro and rw")
	}
	ms, err := Mounts(d.dir)
	if err == nil && ms == nil {
		c, err := d.e.find(name)
		if err != nil {
			return nil, err
		}
		if ms, err = Mounts(c.Dir); err != nil {
			return nil, err
		}
	} else {
		ms = slices.DeleteFunc(ms, func(m Mount) bool { return m.From != from })
	}
	for _, m := range ms {
		w := wish{kind: m.Type, source: m.Source, target: m.Destination, rec: "rbind", share: m.Propagation, ro: !m.RW || mode == "ro", mode: mode, noCopy: true, from: from}
		switch m.Type {
		case kindVolume:
			w.source = m.Name
		case kindBind:
		default:
			continue // memory is not to be shared, and an image is the same everywhere
		}
		ws = append(ws, w)
	}
	return ws, err
}

// grant makes a mount of a wish, and notes what is to be done for it.
func (d *draft) grant(w *wish) (m specs.Mount, err error) {
	m = specs.Mount{Destination: w.target, Type: "bind", Source: w.source, Options: []string{w.rec}}
	switch w.kind {
	case kindTmpfs:
		m.Type, m.Source, m.Options = "tmpfs", "tmpfs", []string{"nosuid", "nodev", "noexec"}
	case kindImage:
		err = d.imageMount(w, &m)
	case kindVolume:
		err = d.volumeMount(w, &m)
	case kindBind:
		err = makeSource(w)
	}
	if err != nil {
		return m, err
	}
	m.Options = append(m.Options, w.options...)
	switch {
	case w.ro && m.Type == "bind" && !w.roTop:
		m.Options = append(m.Options, "rro") // and what is mounted below
	case w.ro:
		m.Options = append(m.Options, "ro")
	}
	if m.Type == "bind" {
		m.Options = append(m.Options, w.share)
		if strings.HasSuffix(w.share, "shared") {
			d.spec.Linux.RootfsPropagation = "shared" // nothing gets out to the host else
		}
	}
	if w.subpath != "" {
		m.Options = append(m.Options, spec.Subpath+w.subpath)
	}
	return m, d.owners(w, &m)
}

// makeSource makes a folder for -v where there is none.
func makeSource(w *wish) error {
	if !w.make {
		return nil
	}
	if _, err := os.Lstat(w.source); err == nil {
		return nil
	}
	if err := os.MkdirAll(w.source, 0o755); err != nil {
		return fmt.Errorf("make source: %w", err)
	}
	return nil
}

// owners has the mount's files appear as the container's users'.
func (d *draft) owners(w *wish, m *specs.Mount) error {
	mapped := d.maps != nil && d.e.root && !d.maps.single()
	asSeen := w.kind == kindVolume && m.Type == "bind" // its files are kept with the owners that the container sees
	switch {
	case w.idmap && !mapped && d.e.root:
		return hint(errors.New("option idmap: the container's users are the machine's"), "--userns=auto gives it users of its own")
	case w.idmap && !mapped:
		return errors.New("option idmap: only root can map the owners of a mount")
	case mapped && (w.idmap || asSeen):
		m.Options = append(m.Options, "idmap")
		m.UIDMappings, m.GIDMappings = d.maps.uid, d.maps.gid
	}
	if !w.chown {
		return nil
	}
	if m.Type != "bind" || w.subpath != "" {
		return errors.New("option U: is for a whole volume or a bind mount")
	}
	u := d.spec.Process.User
	own := &own{Path: m.Source, UID: u.UID, GID: u.GID, engine: d.e}
	if mapped && len(m.UIDMappings) == 0 {
		own.UID, own.GID = hostID(d.maps.uid, u.UID), hostID(d.maps.gid, u.GID)
	}
	d.before = append(d.before, plan.Step{Action: own, Why: "the container's user is to own what is mounted on " + w.target})
	return nil
}

// volume finds the volume that is meant, or makes up what it will be.
func (d *draft) volume(w *wish) (v volume.Volume, dev *volume.Device, err error) {
	v = d.e.Volumes.Place(w.source)
	if w.source == "" {
		v = d.e.Volumes.Place(anonymous(d.id, w.target))
		v.Anonymous = true
	}
	v.Labels, v.Options = w.labels, w.opts
	if old, err := d.e.Volumes.Get(v.Name); err == nil {
		if len(w.opts) > 0 && !maps.Equal(w.opts, old.Options) {
			return v, nil, volume.ErrConflict
		}
		v.Options, v.Anonymous = old.Options, old.Anonymous
	} else if !errors.Is(err, volume.ErrNotFound) {
		return v, nil, err
	}
	dev, err = volume.ReadOptions(v.Options)
	return v, dev, err
}

func (d *draft) volumeMount(w *wish, m *specs.Mount) error {
	v, dev, err := d.volume(w)
	if err != nil {
		return err
	}
	use := d.e.Volumes.Use(v, nil)
	m.Source = v.Data()
	switch {
	case dev == nil && !w.noCopy && w.subpath == "":
		use.From = &volume.Source{Layers: d.layers, Target: w.target}
	case dev != nil && dev.Bind():
		m.Source = dev.Source
		m.Options = append(m.Options, slices.DeleteFunc(dev.Options, func(o string) bool { return o == "bind" || o == "rbind" })...)
	case dev != nil:
		m.Type, m.Source, m.Options = dev.Type, dev.Source, dev.Options
		if w.subpath != "" {
			return errors.New("volume-subpath: not within a file system of the volume's own")
		}
	}
	d.before = append(d.before, plan.Step{Action: use, Why: "a volume outlives the container: it is made if it isn't there"})
	return nil
}

// anonymous is the name of a volume that has none. It is the same each time
// that the container starts.
func anonymous(id, target string) string {
	sum := sha256.Sum256([]byte(id + "\x00" + target))
	return hex.EncodeToString(sum[:])
}

// imageMount shows another image's files, which can't be written to.
func (d *draft) imageMount(w *wish, m *specs.Mount) error {
	img, err := d.e.Images.Get(w.source)
	if err != nil {
		return imageHint(err)
	}
	if d.maps != nil && d.e.root {
		return fmt.Errorf("type=image: not with --userns=%s: its files would belong to nobody inside", d.Userns)
	}
	w.ro = true
	if len(img.Layers) == 1 {
		m.Source = img.Layers[0]
		return nil
	}
	m.Type, m.Source, m.Options = "overlay", "overlay", nil
	for _, dir := range slices.Backward(img.Layers) {
		m.Options = append(m.Options, "lowerdir+="+dir)
	}
	if d.maps != nil || inUserNS() {
		m.Options = append(m.Options, "userxattr")
	}
	return nil
}

// usersOfVolume are the containers that have a volume mounted.
func (e *Engine) usersOfVolume(name string) (ids []string) {
	files, _ := filepath.Glob(filepath.Join(e.Containers.Root, "*", mountsFile))
	for _, f := range files {
		ms, _ := Mounts(filepath.Dir(f))
		if slices.ContainsFunc(ms, func(m Mount) bool { return m.Name == name && m.Type == kindVolume }) {
			ids = append(ids, filepath.Base(filepath.Dir(f)))
		}
	}
	return ids
}

// VolumeUsers counts, for each volume that containers have mounted, how many do.
func (e *Engine) VolumeUsers() map[string]int {
	users := make(map[string]int)
	files, _ := filepath.Glob(filepath.Join(e.Containers.Root, "*", mountsFile))
	for _, f := range files {
		ms, _ := Mounts(filepath.Dir(f))
		for _, m := range ms {
			if m.Type == kindVolume {
				users[m.Name]++
			}
		}
	}
	return users
}

// RemoveVolume removes a volume that no container uses.
func (e *Engine) RemoveVolume(name string) error {
	err := e.Volumes.Remove(name, e.usersOfVolume)
	if err == nil {
		e.tellVolume("destroy", name)
	}
	return err
}

func (e *Engine) tellVolume(action, name string) {
	e.Tell(event.Event{Type: event.Volume, Action: action, ID: name, Attributes: map[string]string{"driver": volume.Driver}})
}

// dropVolumes removes the volumes without a name of a container that is about to
// go, by its folder: those that no other container uses.
func (e *Engine) dropVolumes(dir string) error {
	ms, err := Mounts(dir)
	if err != nil {
		return err
	}
	id := filepath.Base(dir)
	others := func(name string) []string {
		return slices.DeleteFunc(e.usersOfVolume(name), func(u string) bool { return u == id })
	}
	var errs []error
	for _, m := range ms {
		if !m.Anonymous {
			continue
		}
		err := e.Volumes.Remove(m.Name, others)
		var used *volume.InUseError
		if err != nil && !errors.Is(err, volume.ErrNotFound) && !errors.As(err, &used) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// CreateVolume makes a volume; one without a name gets one.
func (e *Engine) CreateVolume(v volume.Volume, driver string) (volume.Volume, error) {
	if err := checkDriver(driver); err != nil {
		return v, fmt.Errorf("make volume %q: %w", v.Name, err)
	}
	if v.Name == "" {
		v.Name, v.Anonymous = container.NewID(), true
	}
	_, before := e.Volumes.Get(v.Name)
	v, err := e.Volumes.Create(v)
	if err == nil && before != nil {
		e.tellVolume("create", v.Name)
	}
	return v, err
}
