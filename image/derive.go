// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Derived is what an image has that another one doesn't: see Derive.
type Derived struct {
	Config    Config
	Author    string
	CreatedBy string    // the command that has made the layer
	Message   string    // for the history
	Created   time.Time // zero: now
}

// Derive makes an image of another one and a further layer, an archive with
// deletions as the OCI has them. The name may be the zero Reference.
func (s *Store) Derive(ctx context.Context, base Image, layer io.Reader, name Reference, d Derived) (_ Image, err error) {
	t, err := s.Begin()
	if err != nil {
		return Image{}, fmt.Errorf("derive image: %w", err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	img, err := t.derive(ctx, base, layer, name, d)
	if err != nil {
		return Image{}, fmt.Errorf("derive image: %w", err)
	}
	return img, nil
}

func (t *Txn) derive(ctx context.Context, base Image, layer io.Reader, name Reference, d Derived) (Image, error) {
	m, c, err := t.store.Documents(base)
	if err != nil {
		return Image{}, err
	}
	blob, diffID, err := t.addLayer(ctx, layer)
	if err != nil {
		return Image{}, err
	}
	m.SchemaVersion, m.MediaType, m.Annotations = 2, MediaManifest, nil
	m.Layers = append(slices.Clone(m.Layers), blob)
	for i := range m.Layers {
		m.Layers[i].MediaType = ociLayer(m.Layers[i].MediaType)
	}
	if d.Created.IsZero() {
		d.Created = time.Now().UTC()
	}
	c.Created, c.Author, c.Config = &d.Created, d.Author, d.Config
	c.RootFS.DiffIDs = append(slices.Clone(c.RootFS.DiffIDs), diffID)
	c.History = append(slices.Clone(c.History), History{Created: &d.Created, CreatedBy: d.CreatedBy, Author: d.Author, Comment: d.Message})
	return t.addImage(ctx, m, c, name)
}

// addImage adds an image's documents, with its config in the manifest, and commits.
// The name may be the zero Reference.
func (t *Txn) addImage(ctx context.Context, m Manifest, c ConfigFile, name Reference) (_ Image, err error) {
	if m.Config, err = t.addJSON(c, MediaConfig); err != nil {
		return Image{}, err
	}
	desc, err := t.addJSON(m, MediaManifest)
	if err != nil {
		return Image{}, err
	}
	var names []Reference
	if name != (Reference{}) {
		names = append(names, name)
	}
	if err := t.AddImage(desc, names...); err != nil {
		return Image{}, err
	}
	images, err := t.Commit(ctx)
	if err != nil {
		return Image{}, err
	}
	return images[0], nil
}

// ociLayer is the OCI's name for a layer's media type: a manifest has those of
// one kind.
func ociLayer(mediaType string) string {
	if !strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.") {
		return mediaType
	}
	switch {
	case strings.HasSuffix(mediaType, ".gzip"):
		return MediaLayerGzip
	case strings.HasSuffix(mediaType, ".zstd"):
		return MediaLayerZstd
	}
	return MediaLayer
}
