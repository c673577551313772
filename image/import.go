// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"vitro/image/layer"
)

// ImportOptions are for Import.
type ImportOptions struct {
	Changes []string  // Dockerfile instructions for the config: see Config.Change
	Message string    // for the history
	Created time.Time // zero: now
}

// Import makes an image of one layer from the tar archive of a root file system, plain or compressed. The name may be
// the zero Reference: then the image has none.
func (s *Store) Import(ctx context.Context, r io.Reader, name Reference, opts ImportOptions) (Image, error) {
	var config Config
	for _, line := range opts.Changes {
		if err := config.Change(line); err != nil {
			return Image{}, fmt.Errorf("import image: %w", err)
		}
	}
	if opts.Created.IsZero() {
		opts.Created = time.Now().UTC()
	}
	img, err := s.makeImage(ctx, r, name, ConfigFile{
		Created: &opts.Created,
		Config:  config,
		History: []History{{Created: &opts.Created, Comment: opts.Message}},
	})
	if err != nil {
		return Image{}, fmt.Errorf("import image: %w", err)
	}
	return img, nil
}

// makeImage fills in what a config for one layer lacks.
func (s *Store) makeImage(ctx context.Context, r io.Reader, name Reference, c ConfigFile) (_ Image, err error) {
	t, err := s.Begin()
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	l, diffID, err := t.addLayer(ctx, r)
	if err != nil {
		return Image{}, err
	}
	c.Platform = Platform{OS: "linux", Architecture: runtime.GOARCH}
	c.RootFS = RootFS{Type: "layers", DiffIDs: []Digest{diffID}}
	return t.addImage(ctx, Manifest{SchemaVersion: 2, MediaType: MediaManifest, Layers: []Descriptor{l}}, c, name)
}

// addLayer keeps and unpacks an archive whose digests nobody knows yet.
func (t *Txn) addLayer(ctx context.Context, r io.Reader) (Descriptor, Digest, error) {
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return Descriptor{}, "", fmt.Errorf("read archive: %w", err)
	}
	if n == 0 {
		return Descriptor{}, "", errors.New("archive is empty")
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	switch layer.Detect(head[:n]) {
	case layer.XZ:
		return Descriptor{}, "", layer.ErrXZ
	case layer.Bzip2: // no media type says so: keep it plain
		z, _, err := layer.Decompress(r)
		if err != nil {
			return Descriptor{}, "", err
		}
		defer z.Close()
		r = z
	}
	blob, err := t.AddBlob(&guard{r: r, store: t.store}, Descriptor{})
	if err != nil {
		return blob, "", err
	}
	if blob.MediaType, err = t.layerType(blob.Digest); err != nil {
		return blob, "", err
	}
	dir, err := os.MkdirTemp(t.dir.path, "layer-")
	if err != nil {
		return blob, "", fmt.Errorf("unpack layer: %w", err)
	}
	res, err := t.unpack(ctx, blob, "", dir)
	if err != nil {
		return blob, "", err
	}
	diffID, err := ParseDigest(res.DiffID)
	if err != nil {
		return blob, "", fmt.Errorf("unpack layer: %w", err)
	}
	if err := os.Rename(dir, t.layerPath(diffID)); err != nil {
		return blob, "", fmt.Errorf("unpack layer: %w", err)
	}
	u := &unpacking{}
	u.once.Do(func() {}) // it is done
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.layers[diffID] = u
	return blob, diffID, nil
}

// A guard looks at the limits and the free space now and then, for a stream whose length nobody knows.
type guard struct {
	r       io.Reader
	store   *Store
	total   int64
	checked int64
}

func (g *guard) Read(b []byte) (int, error) {
	n, err := g.r.Read(b)
	if g.total += int64(n); g.total-g.checked >= 16<<20 {
		g.checked = g.total
		if limit := g.store.Options.MaxBytes; limit > 0 && g.total > limit {
			return n, fmt.Errorf("%w: more than %d bytes", layer.ErrLimit, limit)
		}
		if err := g.store.checkSpace(0); err != nil {
			return n, err
		}
	}
	return n, err
}

// readHead reads the first bytes of a file, or fewer if it is shorter.
func readHead(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = io.ReadFull(f, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}
