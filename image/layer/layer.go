// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	// ErrEscape is the error for an entry that would be made, or read, outside the layer.
	ErrEscape = errors.New("leads out of the layer")
	// ErrName is the error for a name that no honest layer has.
	ErrName = errors.New("not a valid name in a layer")
	// ErrLimit is the error for a layer that is larger than the limits or the free space allow.
	ErrLimit = errors.New("layer too large")
	// ErrDevice is the error for a device node that this process isn't permitted to make.
	ErrDevice = errors.New("device nodes need CAP_MKNOD in the initial user namespace")
	// ErrDiffID is the error for a layer whose uncompressed archive has another digest than was promised.
	ErrDiffID = errors.New("the layer's content isn't what the image's config promises")
)

// Limits of a layer where Options leaves them zero.
const (
	DefaultMaxEntries = 1_000_000
	DefaultMaxBytes   = 256 << 30
	DefaultMinFree    = 64 << 20
)

// Options says how a layer comes to the disk. The zero value is right for root.
type Options struct {
	// UserXattr keeps overlayfs' notes in user.overlay.* instead of trusted.overlay.*: what an overlay that is
	// mounted with "userxattr", so every one in a user namespace, reads (Linux 5.11).
	UserXattr bool `json:"userXattr,omitempty"`
	// DropOwner leaves every file to the user who unpacks: for a user without ranges of subordinate IDs. File
	// capabilities, which only a privileged user can set, are dropped with the owner where the kernel refuses them.
	DropOwner bool `json:"dropOwner,omitempty"`
	// IgnoreDevices skips device nodes that the kernel doesn't permit, and names them in the Result.
	IgnoreDevices bool `json:"ignoreDevices,omitempty"`
	// NoSync leaves it to the kernel when the files reach the disk. A layer may then be incomplete after a loss of
	// power; a killed process never leaves one.
	NoSync bool `json:"noSync,omitempty"`
	// MaxEntries, MaxBytes and MinFree are limits: the number of archive entries, the bytes of the uncompressed
	// archive and of the files in it (holes count), and the space that the file system must have left. Zero is the
	// default, a negative number is no limit.
	MaxEntries int   `json:"maxEntries,omitempty"`
	MaxBytes   int64 `json:"maxBytes,omitempty"`
	MinFree    int64 `json:"minFree,omitempty"`
}

// A Request is one layer to unpack.
type Request struct {
	Blob    string  `json:"blob"`             // the archive: plain, gzip, zstd or bzip2; its own digest is already verified
	Dir     string  `json:"dir"`              // the directory to make and to fill; its parent exists
	DiffID  string  `json:"diffID,omitempty"` // "sha256:…" of the uncompressed archive; empty: whatever it is
	Options Options `json:"options"`
}

// A Result is what came of a Request.
type Result struct {
	DiffID  string   `json:"diffID"`            // of the uncompressed archive
	Entries int      `json:"entries"`           // of the archive
	Bytes   int64    `json:"bytes"`             // in regular files
	Opaque  bool     `json:"opaque,omitempty"`  // the layer replaces all that is below it
	Skipped []string `json:"skipped,omitempty"` // device nodes that were left out; at most maxSkipped of them
}

// maxSkipped bounds a list that is only for people to read.
const maxSkipped = 100

// Unpack makes req.Dir and unpacks the blob into it. After an error, including that of a cancelled ctx, the directory
// is gone again. The layer is on the disk when Unpack returns, unless NoSync is set.
func Unpack(ctx context.Context, req Request) (Result, error) {
	f, err := os.Open(req.Blob)
	if err != nil {
		return Result{}, fmt.Errorf("unpack layer: %w", err)
	}
	defer f.Close()
	res, err := unpackReader(ctx, f, req)
	if err != nil {
		return Result{}, fmt.Errorf("unpack layer: %w", err)
	}
	return res, nil
}

func unpackReader(ctx context.Context, r io.Reader, req Request) (_ Result, err error) {
	if err := os.Mkdir(req.Dir, 0o700); err != nil {
		return Result{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, RemoveAll(req.Dir))
		}
	}()
	root, err := unix.Open(req.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Result{}, fmt.Errorf("open %q: %w", filepath.Base(req.Dir), err)
	}
	defer unix.Close(root)

	opts := req.Options.withDefaults()
	z, _, err := Decompress(r)
	if err != nil {
		return Result{}, err
	}
	defer z.Close()
	p := startPump(z, opts.MaxBytes)
	defer p.stop()

	u := newUnpacker(ctx, root, opts)
	defer u.close()
	if err := u.all(tar.NewReader(p)); err != nil {
		return Result{}, err
	}
	u.res.DiffID, err = p.drain()
	if err != nil {
		return Result{}, err
	}
	if req.DiffID != "" && req.DiffID != u.res.DiffID {
		return Result{}, fmt.Errorf("%w: got %s, want %s", ErrDiffID, u.res.DiffID, req.DiffID)
	}
	if !opts.NoSync {
		if err := unix.Syncfs(root); err != nil {
			return Result{}, fmt.Errorf("sync file system: %w", err)
		}
	}
	return u.res, nil
}

func (o Options) withDefaults() Options {
	o.MaxEntries = limit(o.MaxEntries, DefaultMaxEntries)
	o.MaxBytes = limit(o.MaxBytes, DefaultMaxBytes)
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	return o
}

// limit gives n, the default for 0, and the largest number for one below.
func limit[T int | int64](n, def T) T {
	switch {
	case n == 0:
		return def
	case n < 0:
		return T(^uint(0) >> 1)
	}
	return n
}
