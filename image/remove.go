// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// RemoveOptions are for Remove and Prune.
type RemoveOptions struct {
	// Force removes an image with all its names, where it is given by its ID and has several.
	Force bool
	// InUse says whether a container needs a layer, by its diff ID. It is called under the store's lock and must not
	// use the store. Such a layer stays until a later Remove or Prune finds it free. Nil: no layer is in use.
	InUse func(diffID Digest) bool
}

// Removed is what Remove and Prune did.
type Removed struct {
	Untagged []string // names, short form
	Deleted  []Digest // IDs of images that are gone
	Layers   []Digest // diff IDs of layers that are gone
	Bytes    int64    // of blobs that are gone
}

// A SeveralNamesError is the answer to an attempt to remove by its ID what has more than one name.
type SeveralNamesError struct {
	ID   Digest
	Refs []string
}

func (e *SeveralNamesError) Error() string {
	return fmt.Sprintf("image %s: has several names: %s", e.ID.Short(), strings.Join(e.Refs, ", "))
}

// Remove takes away a name, and the image with it if that was its last, and then everything that no image needs. By an
// ID it takes the image with its name. Whether a container uses the image is for the caller to ask.
func (s *Store) Remove(name string, opts RemoveOptions) (Removed, error) {
	return s.change(opts, func(list []Descriptor) ([]Descriptor, error) {
		d, err := s.find(list, name)
		if err != nil {
			return nil, err
		}
		if ref, err := ParseReference(name); err == nil && ref.Digest == "" && nameOf(d) == ref.String() {
			return slices.DeleteFunc(list, func(d Descriptor) bool { return nameOf(d) == ref.String() }), nil
		}
		id, err := s.idOf(d)
		if err != nil {
			return nil, err
		}
		if refs := refsOf(id, d.Digest, list); len(refs) > 1 && !opts.Force {
			return nil, &SeveralNamesError{ID: id, Refs: refs}
		}
		return slices.DeleteFunc(list, func(d Descriptor) bool {
			other, err := s.idOf(d)
			return err == nil && other == id
		}), nil
	})
}

// Prune removes images without a name, for which keep, if it isn't nil, is false; and everything that no image needs.
func (s *Store) Prune(keep func(id Digest) bool, opts RemoveOptions) (Removed, error) {
	return s.change(opts, func(list []Descriptor) ([]Descriptor, error) {
		return slices.DeleteFunc(list, func(d Descriptor) bool {
			id, err := s.idOf(d)
			return nameOf(d) == "" && err == nil && len(refsOf(id, d.Digest, list)) == 0 && (keep == nil || !keep(id))
		}), nil
	})
}

// change writes a changed list of descriptors, then removes what nothing points at any more: under the lock all of it
// is only renamed, to a temporary directory; what takes long comes after.
func (s *Store) change(opts RemoveOptions, edit func([]Descriptor) ([]Descriptor, error)) (Removed, error) {
	var res Removed
	unlock, err := s.lock()
	if err != nil {
		return res, err
	}
	idx, err := s.index()
	if err != nil {
		unlock()
		return res, err
	}
	before := slices.Clone(idx.Manifests)
	if idx.Manifests, err = edit(idx.Manifests); err == nil {
		res.Untagged, res.Deleted = s.difference(before, idx.Manifests)
		err = s.writeIndex(idx)
	}
	var trash *tempDir
	if err == nil {
		trash, err = s.tempDir("out")
	}
	if err == nil {
		err = s.sweep(idx.Manifests, opts.InUse, trash.path, &res)
	}
	unlock()
	if trash != nil {
		err = errors.Join(err, trash.remove())
	}
	return res, err
}

// difference finds names and IDs that are no longer in the list.
func (s *Store) difference(before, after []Descriptor) (names []string, ids []Digest) {
	left := map[string]bool{}
	for _, d := range after {
		id, _ := s.idOf(d)
		left[string(id)], left[nameOf(d)] = true, true
	}
	for _, d := range before {
		if ref, err := ParseReference(nameOf(d)); err == nil && !left[ref.String()] {
			names = append(names, ref.Familiar())
		}
		if id, err := s.idOf(d); err == nil && !left[string(id)] && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return names, ids
}

// sweep moves what isn't needed to the trash.
func (s *Store) sweep(list []Descriptor, inUse func(Digest) bool, trash string, res *Removed) error {
	blobs, layers := map[string]bool{}, map[string]bool{}
	for _, d := range list {
		if err := s.mark(d, 0, blobs, layers); err != nil {
			return err // when in doubt nothing is removed
		}
	}
	err := eachDigest(s.path("images", "blobs", "sha256"), func(path string, d Digest) error {
		if blobs[d.Hex()] {
			return nil
		}
		if fi, err := os.Lstat(path); err == nil {
			res.Bytes += fi.Size()
		}
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("remove blobs: %w", err)
	}
	err = eachDigest(s.path("cards"), func(path string, d Digest) error {
		if blobs[d.Hex()] {
			return nil
		}
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("remove cards: %w", err)
	}
	err = eachDigest(s.path("layers", "sha256"), func(path string, d Digest) error {
		if layers[d.Hex()] || inUse != nil && inUse(d) {
			return nil
		}
		res.Layers = append(res.Layers, d)
		if err := os.Remove(s.linkPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Rename(path, filepath.Join(trash, d.Hex()))
	})
	if err != nil {
		return fmt.Errorf("remove layers: %w", err)
	}
	return nil
}

// mark notes all that a descriptor needs. An index may lack the manifests of other platforms.
func (s *Store) mark(d Descriptor, depth int, blobs, layers map[string]bool) error {
	blobs[d.Digest.Hex()] = true
	if isIndex(d.MediaType) {
		var idx Index
		if err := s.readBlob(d, &idx); err != nil {
			return err
		}
		for _, sub := range idx.Manifests {
			if depth < maxIndexDepth && exists(s.blobPath(sub.Digest)) {
				if err := s.mark(sub, depth+1, blobs, layers); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var m Manifest
	if err := s.readBlob(d, &m); err != nil {
		return err
	}
	for _, l := range append(m.Layers, m.Config) {
		blobs[l.Digest.Hex()] = true
	}
	var c ConfigFile
	if isAttestation(d) || s.readBlob(m.Config, &c) != nil {
		return nil // an artifact's config can be anything
	}
	for _, l := range c.RootFS.DiffIDs {
		layers[l.Hex()] = true
	}
	return nil
}

// eachDigest calls f for every file of a directory that is named by a digest.
func eachDigest(dir string, f func(path string, d Digest) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := ParseDigest(digestPrefix + e.Name())
		if err != nil {
			continue // not ours
		}
		if err := f(filepath.Join(dir, e.Name()), d); err != nil {
			return err
		}
	}
	return nil
}

// Tag gives an image, by any of its names or its ID, another name, which is taken from the image that has it.
func (s *Store) Tag(name string, as Reference) error {
	if as.Digest != "" {
		return fmt.Errorf("tag image: name %q must not have a digest", as)
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	idx, err := s.index()
	if err != nil {
		return err
	}
	d, err := s.find(idx.Manifests, name)
	if err != nil {
		return err
	}
	a := addition{desc: d, names: []Reference{as}}
	if a.manifest.Config.Digest, err = s.idOf(d); err != nil {
		return err
	}
	idx.Manifests = addNames(idx.Manifests, a)
	return s.writeIndex(idx)
}
