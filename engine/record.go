// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"vitro/container"
	"vitro/image"
	"vitro/internal/near"
	"vitro/internal/petname"
	"vitro/internal/smallfile"
	"vitro/spec"
)

// recordFile is what a container was asked to be, in its folder. It is there
// as long as the container is, and whoever starts it anew starts from it.
const recordFile = "container.json"

// A Record is what a container was asked to be: the file container.json.
type Record struct {
	ID      string
	Name    string
	Created time.Time
	Flags   Flags
	ImageID image.Digest   `json:",omitempty"` // "" with --rootfs
	Config  image.Config   // the image's
	Layers  []string       `json:",omitempty"` // folders, the lowest first
	DiffIDs []image.Digest `json:",omitempty"`
	Nofile  uint64         `json:",omitempty"` // the soft limit on descriptors of whoever made it; 0 is our own
}

func loadRecord(dir string) (*Record, error) {
	r := new(Record)
	if err := readRecord(dir, r); err != nil {
		return nil, err
	}
	return r, nil
}

// readRecord reads the file into a struct that has the fields of a Record that matter.
func readRecord(dir string, to any) error {
	data, err := smallfile.Read(dir + "/" + recordFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("read %s/%s: %w", dir, recordFile, err)
	}
	return nil
}

func saveRecord(c *container.Container, r *Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.Write(recordFile, append(data, '\n'))
}

// MarshalJSON leaves out what was not asked for: a list of containers reads the
// record of each, and that of a hundred flags that nobody gave takes longer than all the rest.
func (f Flags) MarshalJSON() ([]byte, error) {
	given := make(map[string]any)
	v := reflect.ValueOf(f)
	for _, field := range reflect.VisibleFields(v.Type()) {
		if part := v.FieldByIndex(field.Index); !part.IsZero() && field.Tag.Get("json") != "-" {
			given[field.Name] = part.Interface()
		}
	}
	return json.Marshal(given)
}

// Labels are the image's, under those that were asked for.
func (r *Record) Labels() map[string]string { return labels(r.Config.Labels, r.Flags.Labels) }

func labels(image, asked map[string]string) map[string]string {
	all := make(map[string]string, len(image)+len(asked))
	maps.Copy(all, image)
	maps.Copy(all, asked)
	return all
}

// Command is the program and its arguments, put together as Docker does: an
// entrypoint on the command line drops the image's command.
func (r *Record) Command() []string { return r.Flags.command(r.Config.Entrypoint, r.Config.Cmd) }

// command takes the image's entrypoint and command.
func (f *Flags) command(entry, cmd []string) []string {
	if f.EntrypointSet {
		entry, cmd = nil, nil
		if f.Entrypoint != "" {
			entry = []string{f.Entrypoint}
		}
	}
	if len(f.Command) > 0 {
		cmd = f.Command
	}
	return slices.Concat(entry, cmd)
}

// find finds a container by name, ID, or the beginning of one, to look at.
func (e *Engine) find(word string) (*container.Container, error) {
	id, err := e.Containers.Resolve(word)
	if err != nil {
		return nil, nearName(err)
	}
	c, err := e.Containers.Look(id)
	if err == nil && c.State != nil {
		_ = e.mendUserNet() // if that can't be, it has no way out
	}
	return c, err
}

// lock finds a container, for this process to change.
func (e *Engine) lock(word string) (*container.Container, error) {
	id, err := e.Containers.Resolve(word)
	if err != nil {
		return nil, nearName(err)
	}
	return e.Containers.Lock(id)
}

// nearName adds to "no container" which one may have been meant.
func nearName(err error) error {
	var none *container.NotFoundError
	if !errors.As(err, &none) {
		return err
	}
	if len(none.Names) == 0 {
		return hint(err, "there are no containers: vitro run makes one")
	}
	if h := near.Hint(none.Word, none.Names); h != "" {
		return hint(err, "%s", h)
	}
	return hint(err, "vitro ps -a shows all there are")
}

// Create makes a container that can be started: its folder, its name and what
// it was asked to be. Nothing of it runs.
func (e *Engine) Create(ctx Context, f *Flags) (*Record, error) {
	if _, err := parsePolicy(f.Restart); err != nil {
		return nil, err
	}
	if f.Rm && f.Restart != "" && f.Restart != "no" {
		return nil, hint(errors.New("create container with --rm and --restart: a container that is removed at its end can't be started again"), "leave one of the two away")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	named := f.Env
	if err := f.freeze(); err != nil {
		return nil, err
	}
	if err := cidFree(f.CIDFile); err != nil {
		return nil, err
	}
	r := &Record{ID: container.NewID(), Name: f.Name, Created: time.Now(), Flags: *f, Nofile: spec.StartNofile()}
	release, err := e.choose(ctx, r)
	if err != nil {
		return nil, err
	}
	defer release()
	r.Config.Env = unset(r.Config.Env, named)
	if err := r.check(); err != nil {
		return nil, err
	}
	ms, extra, err := e.mountsOf(r)
	if err != nil {
		return nil, err
	}
	c, err := e.Containers.Create(r.ID)
	if err != nil {
		return nil, err
	}
	if err = writeMounts(c, ms); err == nil {
		err = use(c, slices.Concat(r.DiffIDs, extra))
	}
	if err == nil {
		err = e.fill(c, r)
	}
	if err == nil {
		err = e.makeVolumes(r)
	}
	if err == nil && f.CIDFile != "" {
		if err = os.WriteFile(f.CIDFile, []byte(r.ID), 0o644); err != nil {
			err = fmt.Errorf("write --cidfile: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, e.erase(c, r))
	}
	c.Release()
	e.tell(r, "create")
	return r, nil
}

// fill writes the container's files. The record is the last: with it the
// container is there.
func (e *Engine) fill(c *container.Container, r *Record) error {
	if err := e.name(r); err != nil {
		return err
	}
	return saveRecord(c, r)
}

// name gives the container its name: the one that was asked for, or one made up.
func (e *Engine) name(r *Record) error {
	if r.Name != "" {
		err := e.Containers.Name(r.Name, r.ID)
		if errors.Is(err, container.ErrExists) {
			return hint(err, "give another name, or remove that container: vitro rm %s", r.Name)
		}
		return err
	}
	var err error
	r.Name = petname.New(func(name string) bool {
		err = e.Containers.Name(name, r.ID)
		return errors.Is(err, container.ErrExists)
	})
	return err
}

// erase removes a container, and then its name; its lock is let go of. A name
// without a container is anybody's.
func (e *Engine) erase(c *container.Container, r *Record) error {
	if err := c.Remove(); err != nil || r.Name == "" {
		return err
	}
	e.tell(r, "destroy")
	return e.Containers.Unname(r.Name, r.ID)
}

// choose finds the image, and keeps it from being removed until release.
func (e *Engine) choose(ctx Context, r *Record) (release func(), err error) {
	if r.Flags.Rootfs {
		return func() {}, nil
	}
	if _, err := e.Image(ctx, r.Flags.Image); err != nil { // may have to be made first
		return nil, imageHint(err)
	}
	if release, err = e.Images.Hold(); err != nil {
		return nil, err
	}
	img, err := e.Images.Get(r.Flags.Image)
	if err != nil {
		release()
		return nil, imageHint(err)
	}
	r.ImageID, r.Config, r.Layers, r.DiffIDs = img.ID, img.Config, img.Layers, img.DiffIDs
	return release, nil
}

// check refuses what asks for another engine than this one.
func (f *Flags) check() error {
	own := runtime.GOOS + "/" + runtime.GOARCH
	switch {
	case f.Pull == "always":
		return hint(errors.New("read --pull=always: there are no registries yet"), "vitro load -i ARCHIVE, and --pull=missing or never")
	case f.Pull != "" && f.Pull != "missing" && f.Pull != "never":
		return hint(fmt.Errorf("read --pull=%s: no such policy", f.Pull), "the policies are always, missing, never")
	case f.Platform != "" && f.Platform != own && f.Platform != "linux" && !strings.HasPrefix(f.Platform, own+"/"):
		return hint(fmt.Errorf("read --platform=%s: this machine is %s", f.Platform, own), "images of other platforms can't be run")
	case f.Runtime != "" && f.Runtime != "vitro" && f.Runtime != "vitro-oci":
		return hint(fmt.Errorf("read --runtime=%s: vitro makes its containers itself", f.Runtime), "leave it away; the other way round goes: podman --runtime vitro-oci")
	}
	return nil
}

func cidFree(file string) error {
	if file == "" {
		return nil
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return hint(fmt.Errorf("write --cidfile %s: the file is there", file), "remove it, or give another: it may be another container's")
	}
	return nil
}

// freeze replaces what depends on where and by whom the command was given by
// what it means now: the container may be started again from elsewhere.
func (f *Flags) freeze() (err error) {
	files, err := readEnvFiles(f.EnvFiles)
	if err != nil {
		return err
	}
	env, err := readEnv(f.Env)
	if err != nil {
		return err
	}
	f.Env, f.EnvFiles = merge(files, env), nil
	if f.Rootfs {
		dir, over := strings.CutSuffix(f.Image, ":O")
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return fmt.Errorf("use %q as root file system: not a folder", f.Image)
		}
		f.Image = dir + map[bool]string{true: ":O"}[over]
	}
	for i, v := range f.Volumes {
		src, rest, ok := strings.Cut(v, ":")
		if ok && (src == "." || src == ".." || strings.HasPrefix(src, "./") || strings.HasPrefix(src, "../")) {
			if src, err = filepath.Abs(src); err != nil {
				return err
			}
			f.Volumes[i] = src + ":" + rest
		}
	}
	for i, o := range f.SecurityOpt {
		key, file, ok := strings.Cut(strings.Replace(o, ":", "=", 1), "=")
		if ok && key == "seccomp" && file != "unconfined" && file != "builtin" && file != "" {
			if file, err = filepath.Abs(file); err != nil {
				return err
			}
			f.SecurityOpt[i] = "seccomp=" + file
		}
	}
	return nil
}
