// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// publish renames what the Txn has to its place, under the lock: blobs, layers, and at last index.json.
func (t *Txn) publish() ([]Image, error) {
	unlock, err := t.store.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, a := range t.mu.adds {
		for _, d := range a.config.RootFS.DiffIDs {
			if !t.store.hasLayer(d) && !exists(t.layerPath(d)) {
				return nil, errVanished
			}
		}
	}
	idx, err := t.store.index()
	if err != nil {
		return nil, err
	}
	for _, a := range t.mu.adds {
		if err := t.place(a); err != nil {
			return nil, fmt.Errorf("add to image store: %w", err)
		}
		if err := t.store.writeCard(t.store.compose(a.desc, &a.manifest, &a.config, nil)); err != nil {
			return nil, fmt.Errorf("add to image store: %w", err)
		}
		idx.Manifests = addNames(idx.Manifests, a)
	}
	if err := t.store.writeIndex(idx); err != nil {
		return nil, err
	}
	var images []Image
	for _, a := range t.mu.adds {
		img := t.store.compose(a.desc, &a.manifest, &a.config, idx.Manifests)
		if !slices.ContainsFunc(images, func(i Image) bool { return i.Manifest == img.Manifest }) {
			images = append(images, img)
		}
	}
	return images, nil
}

// place moves one image's files. What is there already has the same content, by its name.
func (t *Txn) place(a addition) error {
	for _, d := range append([]Descriptor{a.desc, a.manifest.Config}, a.manifest.Layers...) {
		err := os.Rename(t.blobPath(d.Digest), t.store.blobPath(d.Digest))
		if errors.Is(err, fs.ErrNotExist) && exists(t.store.blobPath(d.Digest)) {
			continue // an image before this one brought it
		}
		if err != nil {
			return err
		}
	}
	for _, d := range a.config.RootFS.DiffIDs {
		target := filepath.Join("..", "layers", "sha256", d.Hex(), "fs")
		if err := os.Symlink(target, t.store.linkPath(d)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if t.store.hasLayer(d) {
			continue
		}
		if err := os.Rename(t.layerPath(d), t.store.layerPath(d)); err != nil {
			return err
		}
	}
	return nil
}

// addNames adds an image to the list of descriptors: one with each name, or one without if it has none at all.
func addNames(list []Descriptor, a addition) []Descriptor {
	list = slices.Clone(list)
	for _, name := range a.names {
		list = untag(list, name.String())
		list = slices.DeleteFunc(list, func(d Descriptor) bool { return d.Digest == a.desc.Digest && nameOf(d) == "" })
		d := a.desc
		d.Annotations = map[string]string{
			annotationRef:  name.Familiar(),
			annotationName: name.String(),
			annotationID:   string(a.manifest.Config.Digest),
		}
		list = append(list, d)
	}
	if !slices.ContainsFunc(list, func(d Descriptor) bool { return d.Digest == a.desc.Digest }) {
		d := a.desc
		d.Annotations = map[string]string{annotationID: string(a.manifest.Config.Digest)}
		list = append(list, d)
	}
	return list
}

// untag takes a name from the image that has it, which stays, without a name if that was its last.
func untag(list []Descriptor, name string) []Descriptor {
	i := slices.IndexFunc(list, func(d Descriptor) bool { return nameOf(d) == name })
	if i < 0 {
		return list
	}
	old := list[i]
	list = slices.Delete(list, i, i+1)
	if !slices.ContainsFunc(list, func(d Descriptor) bool { return d.Digest == old.Digest }) {
		old.Annotations = map[string]string{annotationID: old.Annotations[annotationID]}
		list = append(list, old)
	}
	return list
}

// nameOf gives a descriptor's name in full, or "". Layouts that other tools wrote have only the short one.
func nameOf(d Descriptor) string {
	if name := d.Annotations[annotationName]; name != "" {
		return name
	}
	name := d.Annotations[annotationRef]
	if name == "" || name == defaultTag {
		return "" // a tag of no repository
	}
	ref, err := ParseReference(name)
	if err != nil {
		return ""
	}
	return ref.String()
}
