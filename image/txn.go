// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vitro/image/layer"
	"vitro/internal/processors"
)

// A Txn is images on their way into a store: blobs first, then the images that are made of them, then Commit. Nothing
// of it is seen before, and nothing stays if Close comes first. The methods may be called by several goroutines, Commit
// and Close by one, at the end.
type Txn struct {
	store *Store
	dir   *tempDir

	mu struct {
		sync.Mutex
		layers map[Digest]*unpacking
		adds   []addition
	}
	progress sync.Mutex // beside Store.Progress
}

// An addition is an image that Commit is to make known.
type addition struct {
	desc     Descriptor // of the manifest, for index.json
	names    []Reference
	manifest Manifest
	config   ConfigFile
}

// An unpacking is a layer that is, or is being, unpacked in the Txn.
type unpacking struct {
	once sync.Once
	err  error
}

// unpackWorkers is how many layers are unpacked at once: each of them keeps more than one processor busy.
const unpackWorkers = 2

// ErrDigest is the error for a blob whose content or size isn't what was promised.
var ErrDigest = errors.New("content doesn't match its digest")

// Begin opens a Txn. The caller closes it.
func (s *Store) Begin() (*Txn, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir, err := s.tempDir("in")
	if err != nil {
		return nil, err
	}
	processors.All()
	t := &Txn{store: s, dir: dir}
	t.mu.layers = map[Digest]*unpacking{}
	for _, name := range [...]string{"blobs", "layers"} {
		if err := os.Mkdir(filepath.Join(dir.path, name), dirPerm); err != nil {
			return nil, errors.Join(fmt.Errorf("make temporary directory: %w", err), dir.remove())
		}
	}
	return t, nil
}

// Close drops what wasn't committed.
func (t *Txn) Close() error { return t.dir.remove() }

func (t *Txn) blobPath(d Digest) string  { return filepath.Join(t.dir.path, "blobs", d.Hex()) }
func (t *Txn) layerPath(d Digest) string { return filepath.Join(t.dir.path, "layers", d.Hex()) }

func (t *Txn) report(e Event) {
	if t.store.Progress == nil {
		return
	}
	t.progress.Lock()
	defer t.progress.Unlock()
	t.store.Progress(e)
}

// HasBlob says whether the blob needn't be fetched, since the store has it or the Txn. It stays until the Txn ends.
func (t *Txn) HasBlob(d Digest) bool {
	// A second link, so that nobody who removes an image meanwhile takes it away.
	err := os.Link(t.store.blobPath(d), t.blobPath(d))
	return err == nil || exists(t.blobPath(d))
}

// AddBlob keeps what r gives. If want has a digest, content and size have to be as it says: one byte more is never
// read; else they are whatever comes.
func (t *Txn) AddBlob(r io.Reader, want Descriptor) (_ Descriptor, err error) {
	if want.Digest != "" {
		if err := t.store.checkSpace(want.Size); err != nil {
			return Descriptor{}, fmt.Errorf("keep blob %s: %w", want.Digest, err)
		}
	}
	f, err := os.CreateTemp(t.dir.path, "blob-")
	if err != nil {
		return Descriptor{}, fmt.Errorf("keep blob: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if want.Digest != "" {
		r = io.LimitReader(r, want.Size+1)
	}
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(f, h)}, r, make([]byte, 256<<10))
	if err != nil {
		return Descriptor{}, fmt.Errorf("keep blob: %w", err)
	}
	got := Descriptor{MediaType: want.MediaType, Digest: digestOfHash(h), Size: n}
	if want.Digest != "" && (got.Digest != want.Digest || got.Size != want.Size) {
		return Descriptor{}, fmt.Errorf("blob %s of %d bytes: %w: got at least %d bytes, %s", want.Digest, want.Size, ErrDigest, n, got.Digest)
	}
	if err := os.Rename(f.Name(), t.blobPath(got.Digest)); err != nil {
		return Descriptor{}, fmt.Errorf("keep blob: %w", err)
	}
	return got, nil
}

// addJSON keeps a document of our own making.
func (t *Txn) addJSON(v any, mediaType string) (Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Descriptor{}, err
	}
	return t.AddBlob(bytes.NewReader(b), Descriptor{MediaType: mediaType, Digest: DigestOf(b), Size: int64(len(b))})
}

// readBlob decodes a blob of the Txn that has to be as desc says.
func (t *Txn) readBlob(desc Descriptor, v any) error {
	if !t.HasBlob(desc.Digest) {
		return fmt.Errorf("blob %s is missing", desc.Digest)
	}
	if err := readJSONFile(t.blobPath(desc.Digest), maxJSON, v); err != nil {
		return fmt.Errorf("read blob %s: %w", desc.Digest, err)
	}
	return nil
}

// AddImage makes an image of blobs that are all there. The manifest may be an index: this machine's platform is taken.
// An image may be added more than once, with other names.
func (t *Txn) AddImage(desc Descriptor, names ...Reference) error {
	desc, err := selectManifest(desc, t.readBlob)
	if err != nil {
		return err
	}
	a := addition{names: names}
	if err := t.readBlob(desc, &a.manifest); err != nil {
		return err
	}
	if err := a.manifest.check(); err != nil {
		return err
	}
	if err := t.readBlob(a.manifest.Config, &a.config); err != nil {
		return err
	}
	if err := a.config.check(&a.manifest); err != nil {
		return err
	}
	for _, d := range append([]Descriptor{desc, a.manifest.Config}, a.manifest.Layers...) {
		if err := t.checkBlob(d); err != nil {
			return err
		}
	}
	p := a.config.Platform
	if p.OS != "" && p.OS != "linux" {
		return fmt.Errorf("image is for %s, not for linux", clip(p.String()))
	}
	a.desc = Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, Platform: &p}
	if a.desc.MediaType == "" {
		a.desc.MediaType = MediaManifest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.adds = append(t.mu.adds, a)
	return nil
}

// checkBlob compares sizes; digests were compared when the blob came in.
func (t *Txn) checkBlob(d Descriptor) error {
	if !t.HasBlob(d.Digest) {
		return fmt.Errorf("blob %s (%s) is missing", d.Digest, d.MediaType)
	}
	fi, err := os.Stat(t.blobPath(d.Digest))
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if fi.Size() != d.Size {
		return fmt.Errorf("blob %s: %w: has %d bytes, the manifest says %d", d.Digest, ErrDigest, fi.Size(), d.Size)
	}
	return nil
}

// UnpackLayer unpacks a blob of the Txn, unless the store or the Txn has the layer already. Commit does it for all that
// is missing; to call it earlier lets a download's layers be unpacked while others are on their way.
func (t *Txn) UnpackLayer(ctx context.Context, blob Descriptor, diffID Digest) error {
	if t.store.hasLayer(diffID) {
		t.report(Event{Op: "have", Name: string(diffID), Done: blob.Size, Total: blob.Size})
		return nil
	}
	t.mu.Lock()
	u := t.mu.layers[diffID]
	if u == nil {
		u = &unpacking{}
		t.mu.layers[diffID] = u
	}
	t.mu.Unlock()
	u.once.Do(func() {
		dir := t.layerPath(diffID)
		if u.err = os.Mkdir(dir, dirPerm); u.err == nil {
			_, u.err = t.unpack(ctx, blob, diffID, dir)
		}
	})
	return u.err
}

func (t *Txn) unpack(ctx context.Context, blob Descriptor, diffID Digest, dir string) (layer.Result, error) {
	req := layer.Request{
		Blob:    t.blobPath(blob.Digest),
		Dir:     filepath.Join(dir, "fs"),
		DiffID:  string(diffID),
		Options: t.store.Options,
	}
	req.Options.NoSync = true // Commit does it once for all layers
	t.report(Event{Op: "unpack", Name: string(diffID), Total: blob.Size})
	unpack := t.store.Unpack
	if unpack == nil {
		unpack = layer.Unpack
	}
	res, err := unpack(ctx, req)
	if err != nil {
		return res, fmt.Errorf("layer %s: %w", blob.Digest.Short(), err)
	}
	if res.Opaque {
		if err := os.WriteFile(filepath.Join(dir, opaqueMark), nil, filePerm); err != nil {
			return res, fmt.Errorf("layer %s: %w", blob.Digest.Short(), err)
		}
	}
	t.report(Event{Op: "unpack", Name: res.DiffID, Done: blob.Size, Total: blob.Size, Skipped: res.Skipped})
	return res, nil
}

// Commit unpacks what isn't unpacked yet, makes the images known, and returns them in the order in which they were
// added. A name that another image had is taken from it.
func (t *Txn) Commit(ctx context.Context) ([]Image, error) {
	for {
		if err := t.unpackAll(ctx); err != nil {
			return nil, err
		}
		if err := t.sync(); err != nil {
			return nil, err
		}
		images, err := t.publish()
		if err != errVanished {
			return images, err
		}
		// A layer that the store had was removed meanwhile, with the last image that had it: unpack our own.
	}
}

var errVanished = errors.New("layer vanished")

func (t *Txn) unpackAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(unpackWorkers)
	seen := map[Digest]bool{}
	for _, a := range t.mu.adds {
		for i, diffID := range a.config.RootFS.DiffIDs {
			if seen[diffID] {
				continue
			}
			seen[diffID] = true
			g.Go(func() error { return t.UnpackLayer(ctx, a.manifest.Layers[i], diffID) })
		}
	}
	return g.Wait()
}

// sync brings blobs and layers to the disk before a name leads to them.
func (t *Txn) sync() error {
	if t.store.Options.NoSync {
		return nil
	}
	if err := unix.Syncfs(int(t.dir.lock.Fd())); err != nil {
		return fmt.Errorf("sync file system of %s: %w", t.dir.path, err)
	}
	return nil
}
