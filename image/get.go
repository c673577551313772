// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"vitro/internal/near"
)

// A NotFoundError is the answer to a name that no image has.
type NotFoundError struct {
	Name string
	Near []string // names that are spelled nearly like it, nearest first, at most three
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("image %q: not found", clip(e.Name)) }

// An AmbiguousError is the answer to the beginning of several IDs.
type AmbiguousError struct {
	Prefix string
	IDs    []Digest
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("image ID %q: is the beginning of %d IDs", e.Prefix, len(e.IDs))
}

// Get finds an image by an ID or its beginning, with or without "sha256:", or by a name, short or in full, with a tag
// or a digest. A whole ID wins over a name, a name over the beginning of an ID. The error is a *NotFoundError, an
// *AmbiguousError or that of a damaged store. A layer of the image may not be unpacked, if another program added the
// image: see Unpacked and Complete.
func (s *Store) Get(name string) (Image, error) {
	if img, ok := s.quick(name); ok {
		return img, nil
	}
	idx, err := s.index()
	if err != nil {
		return Image{}, err
	}
	d, err := s.find(idx.Manifests, name)
	if err != nil {
		return Image{}, err
	}
	return s.load(d, idx.Manifests)
}

// List gives every image once, the newest first.
func (s *Store) List() ([]Image, error) {
	idx, err := s.index()
	if err != nil {
		return nil, err
	}
	var images []Image
	seen := map[Digest]bool{}
	for _, d := range idx.Manifests {
		if isAttestation(d) || seen[Digest(d.Annotations[annotationID])] {
			continue
		}
		img, err := s.load(d, idx.Manifests)
		if err != nil {
			return nil, err
		}
		if !seen[img.ID] {
			seen[img.ID] = true
			images = append(images, img)
		}
	}
	slices.SortStableFunc(images, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return images, nil
}

// Names are those of all images, as users know them; none if the store can't be read.
func (s *Store) Names() []string {
	idx, _ := s.index()
	var names []string
	for _, d := range idx.Manifests {
		if r, err := ParseReference(nameOf(d)); err == nil {
			names = append(names, r.Familiar())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Complete unpacks the layers of img that aren't: after another program, such as skopeo, added the image to the layout.
func (s *Store) Complete(ctx context.Context, img Image) (err error) {
	t, err := s.Begin()
	if err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	fi, err := os.Stat(s.blobPath(img.Manifest))
	if err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	if err := t.AddImage(Descriptor{Digest: img.Manifest, MediaType: MediaManifest, Size: fi.Size()}); err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	if _, err := t.Commit(ctx); err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	return nil
}

// Documents reads an image's manifest and config, for those who copy it elsewhere.
func (s *Store) Documents(img Image) (m Manifest, c ConfigFile, err error) {
	if _, m, err = s.manifest(Descriptor{Digest: img.Manifest, MediaType: MediaManifest}); err == nil {
		err = s.readBlob(m.Config, &c)
	}
	return m, c, err
}

// Unpacked says whether every layer of img has its directory.
func (s *Store) Unpacked(img Image) bool {
	for _, d := range img.DiffIDs {
		if !s.hasLayer(d) {
			return false
		}
	}
	return true
}

func (s *Store) find(list []Descriptor, name string) (Descriptor, error) {
	hexa := strings.TrimPrefix(name, digestPrefix)
	if len(hexa) == 64 && isHex(hexa) {
		if d, err := s.findID(list, hexa); err == nil {
			return d, nil
		}
	}
	if ref, err := ParseReference(name); err == nil {
		if d, ok := findRef(list, ref); ok {
			return d, nil
		}
	}
	d, err := s.findID(list, hexa)
	if e, ok := err.(*NotFoundError); ok {
		e.Name, e.Near = name, similar(list, name)
	}
	return d, err
}

// findRef finds a name. With a digest, it is the image's own, and one of its names has to be of the repository; a tag
// beside a digest is for the reader.
func findRef(list []Descriptor, ref Reference) (Descriptor, bool) {
	full := ref.String()
	for _, d := range list {
		if ref.Digest == "" && nameOf(d) == full {
			return d, true
		}
		if ref.Digest != "" && d.Digest == ref.Digest {
			if r, err := ParseReference(nameOf(d)); err == nil && r.Name() == ref.Name() {
				return d, true
			}
		}
	}
	return Descriptor{}, false
}

// findID finds an image by the beginning of its ID.
func (s *Store) findID(list []Descriptor, prefix string) (Descriptor, error) {
	if prefix == "" || !isHex(prefix) {
		return Descriptor{}, &NotFoundError{Name: prefix}
	}
	var found Descriptor
	var ids []Digest
	for _, d := range list {
		id, err := s.idOf(d)
		if err != nil || !strings.HasPrefix(id.Hex(), prefix) || slices.Contains(ids, id) {
			continue
		}
		found, ids = d, append(ids, id)
	}
	switch len(ids) {
	case 0:
		return found, &NotFoundError{Name: prefix}
	case 1:
		return found, nil
	}
	return found, &AmbiguousError{Prefix: prefix, IDs: ids}
}

// idOf gives an image's ID: from the annotation, or from the manifest if another tool wrote the descriptor.
func (s *Store) idOf(d Descriptor) (Digest, error) {
	if id, err := ParseDigest(d.Annotations[annotationID]); err == nil {
		return id, nil
	}
	_, m, err := s.manifest(d)
	return m.Config.Digest, err
}

// similar are the names that are a typing error away, in full spelling.
func similar(list []Descriptor, name string) []string {
	ref, err := ParseReference(strings.ToLower(clip(name)))
	if err != nil {
		return nil
	}
	var repos []string
	full := make(map[string][]string)
	for _, d := range list {
		if r, err := ParseReference(nameOf(d)); err == nil {
			repos = append(repos, r.FamiliarName())
			full[r.FamiliarName()] = append(full[r.FamiliarName()], r.Familiar())
		}
	}
	var names []string
	for _, repo := range near.Names(ref.FamiliarName(), repos) {
		names = append(names, slices.Sorted(slices.Values(full[repo]))...)
	}
	return names[:min(3, len(names))]
}
