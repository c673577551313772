// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// An Image is what a container is made of.
type Image struct {
	ID       Digest   // of the config
	Manifest Digest   // of the manifest
	Refs     []string // short form, sorted: "busybox:latest"
	Config   Config
	Platform Platform
	Created  time.Time // zero if the image doesn't say
	Size     int64     // bytes of the blobs, as they would be transferred

	// DiffIDs, Layers and Links belong together, lowest first; Layers are the directories to stack, Links the same
	// as short paths relative to the store's Root. A layer that the image lists twice is here once, at its highest
	// place: overlayfs refuses the same directory twice, and the upper one hides the lower anyway. What lies below a
	// layer that replaces the whole file system isn't here.
	DiffIDs []Digest
	Layers  []string
	Links   []string
}

// opaqueMark lies beside the directory of a layer that replaces all below it: overlayfs has no mark for that.
const opaqueMark = "opaque"

// load reads what a descriptor of index.json points at.
func (s *Store) load(d Descriptor, list []Descriptor) (Image, error) {
	d, m, err := s.manifest(d)
	if err != nil {
		return Image{}, err
	}
	var c ConfigFile
	if err := s.readBlob(m.Config, &c); err != nil {
		return Image{}, err
	}
	if err := c.check(&m); err != nil {
		return Image{}, err
	}
	return s.compose(d, &m, &c, list), nil
}

// manifest reads an image's manifest, for this machine's platform.
func (s *Store) manifest(d Descriptor) (Descriptor, Manifest, error) {
	var m Manifest
	d, err := selectManifest(d, s.readBlob)
	if err != nil {
		return d, m, err
	}
	if err := s.readBlob(d, &m); err != nil {
		return d, m, err
	}
	return d, m, m.check()
}

func (s *Store) readBlob(d Descriptor, v any) error {
	if err := readJSONFile(s.blobPath(d.Digest), maxJSON, v); err != nil {
		return fmt.Errorf("image store: read blob %s: %w", d.Digest, err)
	}
	return nil
}

func readJSONFile(path string, max int64, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return readJSON(f, max, v)
}

// compose puts an Image together; list are all descriptors, for the names.
func (s *Store) compose(d Descriptor, m *Manifest, c *ConfigFile, list []Descriptor) Image {
	img := Image{
		ID: m.Config.Digest, Manifest: d.Digest, Config: c.Config, Platform: c.Platform,
		Refs: refsOf(m.Config.Digest, d.Digest, list),
		Size: d.Size + m.Config.Size,
	}
	if c.Created != nil {
		img.Created = *c.Created
	}
	for _, l := range m.Layers {
		img.Size += l.Size
	}
	for i, id := range c.RootFS.DiffIDs {
		if slices.Contains(c.RootFS.DiffIDs[i+1:], id) {
			continue
		}
		if exists(filepath.Join(s.layerPath(id), opaqueMark)) {
			img.DiffIDs = nil
		}
		img.DiffIDs = append(img.DiffIDs, id)
	}
	s.locate(&img)
	return img
}

// locate says where the layers are.
func (s *Store) locate(img *Image) {
	for _, id := range img.DiffIDs {
		img.Layers = append(img.Layers, s.layerFS(id))
		img.Links = append(img.Links, shortLink(id))
	}
}

// refsOf finds all names of an image, whichever of its manifests they lead to.
func refsOf(id, manifest Digest, list []Descriptor) []string {
	var refs []string
	for _, d := range list {
		if d.Annotations[annotationID] != string(id) && d.Digest != manifest {
			continue
		}
		if ref, err := ParseReference(nameOf(d)); err == nil {
			refs = append(refs, ref.Familiar())
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}
