// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/ocijson"
	"vitro/rootfs"
	"vitro/tree"
)

// A packTask writes files of a container to the stream.
type packTask struct {
	Place    *place
	Name     string
	Follow   bool // a link at the end of the name
	OneMount bool // what is mounted in the root is left out
}

func (t packTask) do() (any, error) {
	root, done, err := t.Place.among("pack", t)
	if err != nil || done {
		return nil, err
	}
	p := tree.Packer{OneMount: t.OneMount}
	return nil, p.Pack(os.NewFile(streamFD, "stream"), root, t.Name, t.Follow)
}

// A placeTask reads files from the stream, and puts them into a container.
type placeTask struct {
	Place    *place
	Dest     string
	Contents bool // of the folder that comes, not the folder itself
	Keep     bool // the owners
	Extract  bool // an archive of the user's
	Single   bool // there is one user only
}

func (t placeTask) do() (any, error) {
	root, done, err := t.Place.among("place", t)
	if err != nil || done {
		return nil, err
	}
	u := tree.Unpacker{Keep: t.Keep, Owner: &[2]int{0, 0}, Lenient: t.Single}
	in := os.NewFile(streamFD, "stream")
	if t.Extract {
		err = u.Extract(in, root, t.Dest)
	} else {
		err = u.Copy(in, root, t.Dest, t.Contents)
	}
	return nil, err
}

// through runs the helper with one end of a pipe, and the caller's function with
// the other. The helper's error tells more than what the pipe makes of it.
func (h helper) through(task string, request any, ours, theirs *os.File, do func(*os.File) error) error {
	h.stream = theirs
	ended := make(chan error, 1)
	go func() {
		err := h.run(task, request, nil)
		theirs.Close()
		ended <- err
	}()
	own := do(ours)
	ours.Close()
	err := <-ended
	if err != nil && !strings.Contains(err.Error(), unix.EPIPE.Error()) {
		return err
	}
	return errors.Join(own, err)
}

// CopyFrom gives what is at a path of a container, as a tar archive, to a function.
func (e *Engine) CopyFrom(name, file string, follow bool, to func(io.Reader) error) error {
	err := e.at(name, func(h helper, p *place) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		return h.through("pack", packTask{Place: p, Name: file, Follow: follow}, r, w, func(f *os.File) error {
			if err := to(f); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, f) // what stands behind the archive's end
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("copy from container %q: %w", name, err)
	}
	return nil
}

// A CopyTo is how files come into a container.
type CopyTo struct {
	Name     string // the container
	Dest     string
	Contents bool // of the folder that comes, not the folder itself
	Keep     bool // the owners; else all are the container's root's
	Extract  bool // an archive of the user's, to be unpacked
}

// CopyTo puts the files of an archive, which a function writes, into a container.
func (e *Engine) CopyTo(c CopyTo, from func(io.Writer) error) error {
	err := e.at(c.Name, func(h helper, p *place) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		single := !e.root && (h.maps == nil && e.maps.single() || h.maps != nil && h.maps.single())
		task := placeTask{Place: p, Dest: c.Dest, Contents: c.Contents, Keep: c.Keep || c.Extract, Extract: c.Extract, Single: single}
		return h.through("place", task, w, r, func(f *os.File) error { return from(f) })
	})
	if err != nil {
		return fmt.Errorf("copy to container %q: %w", c.Name, err)
	}
	return nil
}

// Host is the host's own tree of files, for the other end of a copy.
func Host() (tree.Root, error) {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return tree.Root{FD: fd, Host: true}, err
}

// Export writes a container's root file system as a tar archive: without what is
// mounted in it.
func (e *Engine) Export(name string, to io.Writer) error {
	err := e.at(name, func(h helper, p *place) error {
		p.Mounts = nil
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		return h.through("pack", packTask{Place: p, Name: "/", OneMount: true}, r, w, func(f *os.File) error {
			_, err := io.Copy(to, f)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("export container %q: %w", name, err)
	}
	return nil
}

// A changesTask compares a container's folder of changes with its image.
type changesTask struct {
	Lower rootfs.View
	Upper string
	Skip  []string
	IDs   *tree.IDs
}

func (t changesTask) do() (any, error) {
	lower, err := t.Lower.Open()
	if err != nil {
		return nil, err
	}
	defer lower.Close()
	upper, err := os.Open(t.Upper)
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	d := tree.Differ{IDs: t.IDs, Skip: leftBy(upper, t.Skip)}
	list, err := d.Changes(int(upper.Fd()), int(lower.Fd()))
	if list == nil {
		list = []tree.Change{}
	}
	return list, err
}

// leftBy knows the places that the engine has made to mount its own things on:
// empty folders and empty files, by their names.
func leftBy(upper *os.File, places []string) func(string) bool {
	return func(name string) bool {
		if !slices.Contains(places, "/"+name) {
			return false
		}
		fd, err := unix.Openat2(int(upper.Fd()), name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
		if err != nil {
			return false
		}
		f := os.NewFile(uintptr(fd), name)
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return false
		}
		if st.IsDir() {
			_, err = f.Readdirnames(1)
			return err == io.EOF
		}
		return st.Mode().IsRegular() && st.Size() == 0
	}
}

// changes are a container's changes, as a request for the helper.
func (e *Engine) changes(name string) (h helper, t changesTask, c *container.Container, r *Record, err error) {
	if c, err = e.find(name); err != nil {
		return
	}
	if r, err = loadRecord(c.Dir); err != nil {
		return
	}
	if err = r.hasUpper(c.Dir); err != nil {
		return
	}
	h = helper{e: e, mounts: true}
	t = changesTask{Lower: rootfs.View{Layers: r.Layers, UserXattr: e.Images.Options.UserXattr, At: c.Dir + "/rootfs"}, Upper: c.Dir + "/upper"}
	flags := r.Flags
	maps, err := e.usersFor(&flags, r.ID)
	if err != nil {
		return
	}
	switch {
	case maps == nil:
	case e.root:
		t.IDs = &tree.IDs{UID: ranges(maps.uid), GID: ranges(maps.gid)}
	default:
		h.maps = maps
	}
	t.Skip, err = e.ownPlaces(c)
	return
}

// hasUpper says why there may be no folder of changes.
func (r *Record) hasUpper(dir string) error {
	switch {
	case r.Flags.RootfsSize != "" || !rootfs.CanHoldChanges(dir):
		return errors.New("its changes are kept in memory, where only the container sees them")
	case r.Flags.Rootfs && !strings.HasSuffix(r.Flags.Image, ":O"):
		return errors.New("it changes its --rootfs itself: there is nothing to compare with")
	}
	return nil
}

// ownPlaces are where something is mounted that the user hasn't asked for.
func (e *Engine) ownPlaces(c *container.Container) ([]string, error) {
	config, err := os.ReadFile(c.Path("config.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := ocijson.DecodeSpec(config)
	if err != nil {
		return nil, err
	}
	ms, err := Mounts(c.Dir)
	var own []string
	for _, m := range s.Mounts {
		if !slices.ContainsFunc(ms, func(u Mount) bool { return u.Destination == m.Destination }) {
			own = append(own, path.Clean(m.Destination))
		}
	}
	return own, err
}

// Diff says what a container has changed in its root file system.
func (e *Engine) Diff(name string) ([]tree.Change, error) {
	h, t, c, _, err := e.changes(name)
	var list []tree.Change
	if err == nil && exists(t.Upper) {
		if err = os.Mkdir(c.Dir+"/rootfs", 0o700); err == nil || errors.Is(err, os.ErrExist) {
			err = h.run("changes", t, &list)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("compare container %q with its image: %w", name, err)
	}
	return list, nil
}

func ranges(ids []specs.LinuxIDMapping) (rs []tree.Range) {
	for _, r := range ids {
		rs = append(rs, tree.Range{Inside: r.ContainerID, Outside: r.HostID, Size: r.Size})
	}
	return rs
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// A layerTask writes a container's folder of changes as a layer of an image.
type layerTask struct {
	Upper string
	Skip  []string
	IDs   *tree.IDs
}

func (t layerTask) do() (any, error) {
	upper, err := os.Open(t.Upper)
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	p := tree.Packer{IDs: t.IDs, Upper: true, Skip: leftBy(upper, t.Skip)}
	return nil, p.Pack(os.NewFile(streamFD, "stream"), tree.Root{FD: int(upper.Fd())}, "/", false)
}
