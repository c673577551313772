// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/image/layer"
)

// ErrArchive is the error for what isn't an archive of images.
var ErrArchive = errors.New("not an archive of images")

// An archive is the outer tar of "docker save" and its kin. It may come from a pipe, and its table of contents may come
// last: so every file is kept, by its digest, and only its name stays in memory. A name is never used as a path.
type archive struct {
	txn   *Txn
	files map[string]Descriptor
	links map[string]string // to names, of symlinks and hard links
}

const (
	maxArchiveFiles = 1 << 16 // files in the outer archive: a few for each layer
	maxArchiveName  = 1 << 10
)

func readArchive(ctx context.Context, t *Txn, r io.Reader) (*archive, error) {
	z, _, err := layer.Decompress(r)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	a := &archive{txn: t, files: map[string]Descriptor{}, links: map[string]string{}}
	tr := tar.NewReader(z)
	for n := 0; ; n++ {
		h, err := tr.Next()
		switch {
		case err == io.EOF && n == 0:
			return nil, fmt.Errorf("%w: it is empty", ErrArchive)
		case err == io.EOF:
			return a, nil
		case errors.Is(err, tar.ErrHeader) && n == 0:
			return nil, fmt.Errorf("%w: it is no tar archive", ErrArchive)
		case err != nil:
			return nil, fmt.Errorf("read archive: %w", err)
		case n >= maxArchiveFiles:
			return nil, fmt.Errorf("%w: more than %d files", ErrArchive, maxArchiveFiles)
		case len(h.Name) > maxArchiveName || len(h.Linkname) > maxArchiveName:
			return nil, fmt.Errorf("%w: a name is longer than %d bytes", ErrArchive, maxArchiveName)
		}
		if err := a.add(ctx, h, tr); err != nil {
			return nil, fmt.Errorf("archive file %q: %w", clip(h.Name), err)
		}
	}
}

// key makes names comparable.
func key(name string) string { return path.Clean("/" + name)[1:] }

func (a *archive) add(ctx context.Context, h *tar.Header, r io.Reader) error {
	name := key(h.Name)
	switch h.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = key(path.Join(path.Dir(name), h.Linkname))
	case tar.TypeLink:
		a.links[name] = key(h.Linkname)
	case tar.TypeReg:
		if err := a.txn.store.checkSpace(h.Size); err != nil {
			return err
		}
		e := Event{Op: "read", Name: name, Total: h.Size}
		a.txn.report(e)
		d, err := a.txn.AddBlob(&counter{ctx: ctx, r: r, report: a.txn.report, event: e}, Descriptor{})
		if err != nil {
			return err
		}
		e.Done = e.Total
		a.txn.report(e)
		if hexa, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && hexa != d.Digest.Hex() {
			return fmt.Errorf("%w: it has %s", ErrDigest, d.Digest)
		}
		a.files[name] = d
		delete(a.links, name)
	}
	return nil
}

// lookup finds a file, through links.
func (a *archive) lookup(name string) (Descriptor, bool) {
	for range 10 {
		if d, ok := a.files[key(name)]; ok {
			return d, true
		}
		next, ok := a.links[key(name)]
		if !ok {
			break
		}
		name = next
	}
	return Descriptor{}, false
}

// named finds a file by a name out of the archive's own documents.
func (a *archive) named(name string) (Descriptor, error) {
	if path.IsAbs(name) || name != path.Clean(name) || name == ".." || strings.HasPrefix(name, "../") {
		return Descriptor{}, fmt.Errorf("%q isn't the name of a file in the archive", clip(name))
	}
	d, ok := a.lookup(name)
	if !ok {
		return d, fmt.Errorf("%q is not in the archive", clip(name))
	}
	return d, nil
}

// A counter reports now and then how much was read.
type counter struct {
	r      io.Reader
	ctx    context.Context
	report func(Event)
	event  Event
	silent int64 // bytes since the last report
}

const reportEvery = 1 << 20

func (c *counter) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.event.Done += int64(n)
	if c.silent += int64(n); c.silent >= reportEvery && c.event.Done != c.event.Total {
		c.silent = 0
		c.report(c.event)
	}
	return n, err
}

// checkSpace refuses a file that the store's limits or the file system have no room for.
func (s *Store) checkSpace(size int64) error {
	reserve := s.Options.MinFree
	if reserve == 0 {
		reserve = layer.DefaultMinFree
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.Root, &st); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); reserve > 0 && (size > free || free-size < reserve) {
		return fmt.Errorf("%w: it has %d bytes, %d are free and %d are to stay so", layer.ErrLimit, size, free, reserve)
	}
	limit := s.Options.MaxBytes
	if limit == 0 {
		limit = layer.DefaultMaxBytes
	}
	if limit > 0 && size > limit {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", layer.ErrLimit, size, limit)
	}
	return nil
}
