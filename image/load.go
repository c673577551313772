// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"vitro/image/layer"
)

// Load adds the images of an archive: as "docker save" writes it, in both its forms, or as "skopeo copy" does for
// docker-archive: and oci-archive:. The archive may be compressed by gzip, zstd or bzip2, and r may be a pipe. Either
// all its images are added, or none.
func (s *Store) Load(ctx context.Context, r io.Reader) (_ []Image, err error) {
	t, err := s.Begin()
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	a, err := readArchive(ctx, t, r)
	if err == nil {
		err = a.addImages()
	}
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	images, err := t.Commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	for i := range images {
		images[i].Refs = t.named(images[i].Manifest)
	}
	return images, nil
}

// named are the names that the Txn gives an image, sorted: it may have had others before.
func (t *Txn) named(manifest Digest) (refs []string) {
	for _, a := range t.mu.adds {
		for _, name := range a.names {
			if ref := name.Familiar(); a.desc.Digest == manifest && !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	slices.Sort(refs)
	return refs
}

// addImages reads the table of contents: OCI's if there is one, since it has the manifests as they were made; else that
// of Docker.
func (a *archive) addImages() error {
	_, oci := a.lookup("index.json")
	_, docker := a.lookup("manifest.json")
	_, old := a.lookup("repositories")
	switch {
	case oci:
		return a.addOCI()
	case docker:
		return a.addDocker()
	case old:
		return fmt.Errorf("%w: it has no manifest.json: made by a Docker before 1.10; save it again with a newer one", ErrArchive)
	}
	return fmt.Errorf("%w: it has neither manifest.json nor index.json; a plain root file system is for import", ErrArchive)
}

// A savedImage is an entry of Docker's manifest.json.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// document decodes a file of the archive.
func (a *archive) document(name string, v any) error {
	d, ok := a.lookup(name)
	if !ok {
		return nil
	}
	if err := a.txn.readBlob(d, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (a *archive) addDocker() error {
	var saved []savedImage
	if err := a.document("manifest.json", &saved); err != nil {
		return err
	}
	if len(saved) == 0 {
		return fmt.Errorf("%w: manifest.json lists no image", ErrArchive)
	}
	for _, img := range saved {
		if err := a.addSaved(img); err != nil {
			return fmt.Errorf("manifest.json: %w", err)
		}
	}
	return nil
}

// addSaved makes a manifest for an image that has none.
func (a *archive) addSaved(img savedImage) error {
	names, err := parseAll(img.RepoTags)
	if err != nil {
		return err
	}
	config, err := a.named(img.Config)
	if err != nil {
		return fmt.Errorf("config %w", err)
	}
	// Docker names a config by its digest; whoever writes another file there means to deceive.
	if hexa := strings.TrimSuffix(img.Config, ".json"); len(hexa) == 64 && isHex(hexa) && hexa != config.Digest.Hex() {
		return fmt.Errorf("config %q: %w: it has %s", img.Config, ErrDigest, config.Digest)
	}
	if len(img.Layers) > maxLayers {
		return fmt.Errorf("image has %d layers, overlayfs stacks at most %d", len(img.Layers), maxLayers)
	}
	m := Manifest{SchemaVersion: 2, MediaType: MediaManifest, Config: config, Layers: []Descriptor{}}
	m.Config.MediaType = MediaConfig
	for _, name := range img.Layers {
		l, err := a.named(name)
		if err != nil {
			return fmt.Errorf("layer %w", err)
		}
		if l.MediaType, err = a.txn.layerType(l.Digest); err != nil {
			return fmt.Errorf("layer %q: %w", clip(name), err)
		}
		m.Layers = append(m.Layers, l)
	}
	desc, err := a.txn.addJSON(m, MediaManifest)
	if err != nil {
		return err
	}
	return a.txn.AddImage(desc, names...)
}

func parseAll(tags []string) ([]Reference, error) {
	var refs []Reference
	for _, tag := range tags {
		ref, err := ParseReference(tag)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// layerType gives the media type of a layer by its content.
func (t *Txn) layerType(d Digest) (string, error) {
	head, err := readHead(t.blobPath(d), 6)
	if err != nil {
		return "", err
	}
	switch c := layer.Detect(head); c {
	case layer.None:
		return MediaLayer, nil
	case layer.Gzip:
		return MediaLayerGzip, nil
	case layer.Zstd:
		return MediaLayerZstd, nil
	default:
		return "", fmt.Errorf("layers compressed by %s are not supported", c)
	}
}

// addOCI adds what index.json lists. Several descriptors with one name, or without one but each for a platform of its
// own, are one image.
func (a *archive) addOCI() error {
	var idx Index
	if err := a.document("index.json", &idx); err != nil {
		return err
	}
	var saved []savedImage // Docker's names, if it wrote both tables
	if err := a.document("manifest.json", &saved); err != nil {
		return err
	}
	groups := group(idx.Manifests)
	if len(groups) == 0 {
		return fmt.Errorf("%w: index.json lists no image", ErrArchive)
	}
	for _, list := range groups {
		d := list[0]
		if len(list) > 1 {
			var err error
			if d, err = selectPlatform(list); err != nil {
				return err
			}
		}
		var names []Reference
		if name := nameOf(d); name != "" {
			ref, err := ParseReference(name)
			if err != nil {
				return fmt.Errorf("index.json: %w", err)
			}
			names = append(names, ref)
		}
		more, err := a.savedNames(d, saved)
		if err != nil {
			return err
		}
		if err := a.txn.AddImage(d, append(names, more...)...); err != nil {
			return err
		}
	}
	return nil
}

func group(list []Descriptor) [][]Descriptor {
	var groups [][]Descriptor
	for _, d := range list {
		if isAttestation(d) {
			continue
		}
		same := func(g []Descriptor) bool {
			first := g[0]
			return nameOf(first) == nameOf(d) && first.Digest != d.Digest &&
				(nameOf(d) != "" || first.Platform != nil && d.Platform != nil && first.Platform.String() != d.Platform.String())
		}
		if i := slices.IndexFunc(groups, same); i >= 0 {
			groups[i] = append(groups[i], d)
		} else {
			groups = append(groups, []Descriptor{d})
		}
	}
	return groups
}

// savedNames finds an image's names in manifest.json by its config.
func (a *archive) savedNames(d Descriptor, saved []savedImage) ([]Reference, error) {
	if len(saved) == 0 {
		return nil, nil
	}
	d, err := selectManifest(d, a.txn.readBlob)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := a.txn.readBlob(d, &m); err != nil {
		return nil, err
	}
	for _, img := range saved {
		if config, err := a.named(img.Config); err == nil && config.Digest == m.Config.Digest {
			return parseAll(img.RepoTags)
		}
	}
	return nil, nil
}
