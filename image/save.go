// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// A Saving is one image to save, with those of its names that are to be in the archive.
type Saving struct {
	Image Image
	Names []Reference
}

// Save writes images as an archive that is both an OCI layout and what
// "docker save" writes since version 25: "docker load", "podman load" and skopeo's
// docker-archive: and oci-archive: read it, and Load. The same images give the same
// archive.
func (s *Store) Save(w io.Writer, images []Saving) error {
	// Nothing is to be removed while it is written.
	release, err := s.Hold()
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	defer release()
	a := saver{store: s, tar: tar.NewWriter(w), done: map[Digest]bool{}, saved: []savedImage{}}
	for _, dir := range [...]string{"blobs/", "blobs/sha256/"} { // some readers don't make them for themselves
		if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
			return fmt.Errorf("save images: %w", err)
		}
	}
	for _, img := range images {
		if err := a.add(img); err != nil {
			return fmt.Errorf("save image %s: %w", img.Image.ID.Short(), err)
		}
	}
	if err := a.tables(); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

type saver struct {
	store *Store
	tar   *tar.Writer
	done  map[Digest]bool
	index Index
	saved []savedImage
}

func blobName(d Digest) string { return "blobs/sha256/" + d.Hex() }

func (a *saver) add(img Saving) error {
	m, _, err := a.store.Documents(img.Image)
	if err != nil {
		return err
	}
	entry := savedImage{Config: blobName(m.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	for _, d := range slices.Concat([]Descriptor{{Digest: img.Image.Manifest}, m.Config}, m.Layers) {
		if err := a.blob(d.Digest); err != nil {
			return err
		}
	}
	for _, l := range m.Layers {
		entry.Layers = append(entry.Layers, blobName(l.Digest))
	}
	mediaType := m.MediaType
	if mediaType == "" {
		mediaType = MediaManifest
	}
	p := img.Image.Platform
	fi, err := os.Stat(a.store.blobPath(img.Image.Manifest))
	if err != nil {
		return err
	}
	desc := Descriptor{MediaType: mediaType, Digest: img.Image.Manifest, Size: fi.Size(), Platform: &p}
	if len(img.Names) == 0 {
		a.index.Manifests = append(a.index.Manifests, desc)
	}
	for _, name := range img.Names {
		d := desc
		d.Annotations = map[string]string{annotationRef: name.Familiar(), annotationName: name.String()}
		a.index.Manifests = append(a.index.Manifests, d)
		entry.RepoTags = append(entry.RepoTags, name.Familiar())
	}
	a.saved = append(a.saved, entry)
	return nil
}

// blob writes a blob once, as it is: with the digest that the manifest says.
func (a *saver) blob(d Digest) error {
	if a.done[d] {
		return nil
	}
	a.done[d] = true
	f, err := os.Open(a.store.blobPath(d))
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.header(blobName(d), fi.Size()); err != nil {
		return err
	}
	_, err = io.Copy(a.tar, f)
	return err
}

func (a *saver) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)})
}

// tables writes the tables of contents, of both kinds.
func (a *saver) tables() error {
	a.index.SchemaVersion, a.index.MediaType = 2, MediaIndex
	if a.index.Manifests == nil {
		a.index.Manifests = []Descriptor{}
	}
	for _, t := range []struct {
		name string
		v    any
	}{{"index.json", a.index}, {"manifest.json", a.saved}, {"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}}} {
		b, err := json.Marshal(t.v)
		if err != nil {
			return err
		}
		if err := a.header(t.name, int64(len(b))); err != nil {
			return err
		}
		if _, err := a.tar.Write(b); err != nil {
			return err
		}
	}
	return a.tar.Close()
}
