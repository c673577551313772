// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Kind is what has happened to a file.
type Kind string

// The kinds, in the letters of Docker's diff.
const (
	Added   Kind = "A"
	Changed Kind = "C"
	Deleted Kind = "D"
)

// A Change is one file that is not as in the image.
type Change struct {
	Kind Kind
	Path string
}

// A Differ compares an overlay's folder of changes with what lies below it.
type Differ struct {
	IDs *IDs // of the upper files
	// Skip leaves out a file or folder that a container's making has left, by its
	// path: a place that something was mounted on.
	Skip func(name string) bool

	list []Change
}

// Changes compares the folder upper with the tree lower, both descriptors. They
// are in the order of their paths, a folder before what is in it.
func (d *Differ) Changes(upper, lower int) ([]Change, error) {
	_, err := d.folder(upper, lower, "", false)
	slices.SortFunc(d.list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.list, err
}

func (d *Differ) add(kind Kind, name string) { d.list = append(d.list, Change{kind, "/" + name}) }

// folder compares what is in two folders; lower is -1 if there is none, and
// hidden if nothing of it shows through. It tells whether something was skipped.
func (d *Differ) folder(upper, lower int, full string, hidden bool) (skipped bool, err error) {
	list, err := names(upper)
	if err != nil {
		return false, at("read", full, err)
	}
	for _, name := range list {
		path := strings.TrimPrefix(full+"/"+name, "/")
		if d.Skip != nil && d.Skip(path) {
			skipped = true
			continue
		}
		if err := d.entry(upper, lower, name, path); err != nil {
			return skipped, err
		}
	}
	if !hidden {
		return skipped, nil
	}
	old, err := names(lower)
	if err != nil {
		return skipped, at("read", full, err)
	}
	for _, name := range old {
		if _, found := slices.BinarySearch(list, name); !found {
			d.add(Deleted, strings.TrimPrefix(full+"/"+name, "/"))
		}
	}
	return skipped, nil
}

func (d *Differ) entry(upper, lower int, name, path string) error {
	st, err := lstat(upper, name)
	if err == unix.ENOENT {
		return nil // gone meanwhile
	}
	if err != nil {
		return at("look at", path, err)
	}
	var old *unix.Stat_t
	if lower >= 0 {
		if was, err := lstat(lower, name); err == nil {
			old = &was
		}
	}
	switch {
	case isWhiteout(&st):
		if old != nil {
			d.add(Deleted, path)
		}
		return nil
	case isDir(&st):
		return d.subfolder(upper, lower, name, path, &st, old)
	case old == nil:
		d.add(Added, path)
	default:
		d.add(Changed, path)
	}
	return nil
}

func (d *Differ) subfolder(upper, lower int, name, path string, st, old *unix.Stat_t) error {
	sub, err := openDir(upper, name)
	if err != nil {
		return at("open", path, err)
	}
	defer unix.Close(sub)
	below, hidden := -1, string(overlay(sub, "opaque")) == "y"
	if old != nil && isDir(old) {
		if below, err = openDir(lower, name); err != nil {
			return at("open", path, err)
		}
		defer unix.Close(below)
	}
	place, before := len(d.list), len(d.list)
	skipped, err := d.folder(sub, below, path, hidden && below >= 0)
	if err != nil {
		return err
	}
	beneath := len(d.list) > before
	kind := Kind("")
	switch {
	case old == nil && (beneath || !skipped):
		kind = Added
	case old == nil: // made for what was mounted in it, and nothing else
	case !isDir(old) || hidden || beneath || d.differs(st, old, skipped):
		kind = Changed
	}
	if kind != "" {
		d.list = slices.Insert(d.list, place, Change{kind, "/" + path})
	}
	return nil
}

// differs compares two folders themselves. The time says that a file came or
// went, which may have been one that is skipped.
func (d *Differ) differs(st, old *unix.Stat_t, skipped bool) bool {
	uid, gid := d.IDs.inside(st)
	return st.Mode != old.Mode || uid != int(old.Uid) || gid != int(old.Gid) || !skipped && st.Mtim != old.Mtim
}
