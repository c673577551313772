// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vitro/image/layer"
)

// A Store is the images under one directory. A literal with Root is ready for use, and costs nothing; the directory is
// made when the first image comes in. Any number of Stores, in any number of processes, may share a Root.
type Store struct {
	Root string

	// Options are for the unpacking of layers: an engine sets UserXattr, DropOwner and IgnoreDevices when it isn't
	// run by root.
	Options layer.Options

	// Unpack, if set, is called in place of layer.Unpack; it may be called by several goroutines. An engine that
	// has a range of subordinate IDs calls layer.Unpack in a process in a user namespace.
	Unpack func(context.Context, layer.Request) (layer.Result, error)
	// RemoveAll, if set, is called for a directory that layer.RemoveAll can't remove: it has such IDs' files.
	RemoveAll func(path string) error

	// Progress, if set, is told how far Load, Import and Txn.Commit are. It isn't called twice at once.
	Progress func(Event)
}

// An Event is one step of a longer operation.
type Event struct {
	Op      string   // "read" for a file of an archive, "unpack" for a layer, "have" for one that is there already
	Name    string   // of the file, or the layer's diff ID
	Done    int64    // bytes so far; at "unpack", of the blob
	Total   int64    // bytes in all; Done == Total is the last Event of an Op and a Name
	Skipped []string // with the last "unpack": device nodes that were left out (layer.Options.IgnoreDevices)
}

const (
	dirPerm  = 0o700 // a set-user-ID program in a layer is not for the host's users
	filePerm = 0o600
)

func (s *Store) path(parts ...string) string {
	return filepath.Join(s.Root, filepath.Join(parts...))
}

// BlobPath is where a blob of an image lies, to be read only.
func (s *Store) BlobPath(d Digest) string { return s.blobPath(d) }

func (s *Store) blobPath(d Digest) string  { return s.path("images", "blobs", "sha256", d.Hex()) }
func (s *Store) layerPath(d Digest) string { return s.path("layers", "sha256", d.Hex()) }
func (s *Store) layerFS(d Digest) string   { return s.path("layers", "sha256", d.Hex(), "fs") }
func (s *Store) linkPath(d Digest) string  { return s.path(shortLink(d)) }
func (s *Store) indexPath() string         { return s.path("images", "index.json") }
func (s *Store) hasLayer(d Digest) bool    { return exists(s.layerPath(d)) }

func (s *Store) removeAll(dir string) error {
	err := layer.RemoveAll(dir)
	if err != nil && s.RemoveAll != nil {
		return s.RemoveAll(dir)
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// shortLink names a layer in 28 bytes, relative to the store: 128 of them, Docker's largest image, and the commas fit
// in the page that mount(2) takes for options. 130 bits of a digest are beyond anybody who wants a collision.
func shortLink(d Digest) string {
	sum := make([]byte, 0, 32)
	for i := 0; i+1 < len(d.Hex()); i += 2 {
		sum = append(sum, unhex(d.Hex()[i])<<4|unhex(d.Hex()[i+1]))
	}
	return "l/" + strings.ToLower(base32.StdEncoding.EncodeToString(sum)[:26])
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// prepare makes the directories. What is there stays as it is.
func (s *Store) prepare() error {
	if s.Root == "" {
		return errors.New("image store: no root directory given")
	}
	if err := os.MkdirAll(s.Root, 0o711); err != nil {
		return fmt.Errorf("make image store: %w", err)
	}
	for _, dir := range [...]string{"images/blobs/sha256", "layers/sha256", "l", "cards", "tmp"} {
		if err := os.MkdirAll(s.path(dir), dirPerm); err != nil {
			return fmt.Errorf("make image store: %w", err)
		}
	}
	return nil
}

// index reads index.json; a store that isn't there yet has an empty one. It needs no lock: the file is replaced whole.
func (s *Store) index() (Index, error) {
	var idx Index
	f, err := os.Open(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return idx, nil
	}
	if err != nil {
		return idx, fmt.Errorf("read image store: %w", err)
	}
	defer f.Close()
	if err := readJSON(f, maxIndexJSON, &idx); err != nil {
		return idx, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return idx, nil
}

// writeIndex replaces index.json. The caller holds the lock.
func (s *Store) writeIndex(idx Index) error {
	idx.SchemaVersion, idx.MediaType = 2, MediaIndex
	if idx.Manifests == nil {
		idx.Manifests = []Descriptor{}
	}
	b, err := json.MarshalIndent(idx, "", " ")
	if err != nil {
		return fmt.Errorf("write index.json: %w", err)
	}
	if layout := s.path("images", "oci-layout"); !exists(layout) {
		if err := s.replace(layout, []byte(`{"imageLayoutVersion":"1.0.0"}`), !s.Options.NoSync); err != nil {
			return err
		}
	}
	if err := s.replace(s.indexPath(), append(b, '\n'), !s.Options.NoSync); err != nil {
		return err
	}
	return s.writeNames(idx.Manifests)
}

// replace puts a file in place in one step; with sync, it is on the disk before it is there. The caller holds the lock,
// so one name under tmp is enough.
func (s *Store) replace(path string, content []byte, sync bool) (err error) {
	tmp := s.path("tmp", "replace")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp, path)
}
