// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An unpacker makes the files of one archive, in the archive's order; directories get their mode and times last, when
// nothing is made in them any more.
type unpacker struct {
	ctx  context.Context
	opts Options
	tree tree
	buf  []byte
	res  Result

	left     int64 // of Options.MaxBytes
	free     int64 // of the file system, as known last
	dirs     map[string]dirMeta
	dirBytes int // in names of dirs
}

// dirMeta is what a directory still has to get.
type dirMeta struct {
	mode  uint32
	times *[2]unix.Timespec // nil: of no interest
}

// maxDirBytes bounds the memory that the names of directories take up until the end.
const maxDirBytes = 64 << 20

func newUnpacker(ctx context.Context, root int, opts Options) *unpacker {
	return &unpacker{
		ctx: ctx, opts: opts, left: opts.MaxBytes,
		tree: tree{root: root, parentFD: -1},
		buf:  make([]byte, 256<<10),
		dirs: map[string]dirMeta{".": {mode: 0o755}},
	}
}

func (u *unpacker) close() { u.tree.close() }

// all unpacks every entry.
func (u *unpacker) all(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return u.finishDirs()
		}
		if err != nil {
			return fmt.Errorf("read archive after %d entries: %w", u.res.Entries, err)
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if err := u.admit(h); err != nil {
			return fmt.Errorf("entry %q: %w", short(h.Name), err)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("entry %q: %w", short(h.Name), err)
		}
	}
}

// short keeps a hostile name from filling the terminal.
func short(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

// admit checks an entry against the limits, before anything of it is on the disk. A sparse file counts whole: nothing
// keeps its holes from being filled later, and it is the cheapest way to lie about a size.
func (u *unpacker) admit(h *tar.Header) error {
	if u.res.Entries++; u.res.Entries > u.opts.MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, u.opts.MaxEntries)
	}
	if h.Size < 0 || h.Size > u.left {
		return fmt.Errorf("%w: more than %d bytes in files", ErrLimit, u.opts.MaxBytes)
	}
	u.left -= h.Size
	if u.opts.MinFree < 0 {
		return nil
	}
	if u.free-h.Size < u.opts.MinFree {
		var st unix.Statfs_t
		if err := unix.Fstatfs(u.tree.root, &st); err != nil {
			return fmt.Errorf("ask for free space: %w", err)
		}
		u.free = int64(st.Bavail) * int64(st.Bsize)
		if u.free-h.Size < u.opts.MinFree {
			return fmt.Errorf("%w: it needs %d bytes, %d are free and %d are to stay so", ErrLimit, h.Size, u.free, u.opts.MinFree)
		}
	}
	u.free -= h.Size
	return nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	role, name, err := roleOf(name)
	switch {
	case err != nil:
		return err
	case role == roleIgnore:
		return nil
	case role == roleWhiteout:
		return u.whiteout(name)
	case role == roleOpaque:
		return u.opaque(name)
	case name == ".":
		return u.rootDir(h)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse:
		return u.regular(name, h, content)
	case tar.TypeDir:
		return u.directory(name, h)
	case tar.TypeSymlink:
		return u.symlink(name, h)
	case tar.TypeLink:
		return u.hardlink(name, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(name, h)
	}
	return fmt.Errorf("unknown entry type %q", h.Typeflag)
}

// parent is the tree's, and makes the directories that the archive left out.
func (u *unpacker) parent(name string) (int, string, error) {
	fd, base, err := u.tree.parent(name)
	if err != unix.ENOENT && err != unix.ENOTDIR {
		return fd, base, err
	}
	dir := path.Dir(name)
	for i := range len(dir) {
		if dir[i] == '/' {
			if err := u.imply(dir[:i]); err != nil {
				return -1, "", err
			}
		}
	}
	if err := u.imply(dir); err != nil {
		return -1, "", err
	}
	return u.tree.parent(name)
}

// imply sees to it that name, whose parent exists, is a directory.
func (u *unpacker) imply(name string) error {
	dirfd, base, err := u.tree.parent(name)
	if err != nil {
		return err
	}
	st, err := stat(dirfd, base)
	switch {
	case err == nil && isWhiteout(&st):
		return u.replaceWhiteout(name, func() error { return u.imply(name) })
	case err == nil:
		// A directory, or a symlink that has to lead to one: the kernel will say.
		return nil
	case err != unix.ENOENT:
		return err
	}
	if err := unix.Mkdirat(dirfd, base, 0o755); err != nil {
		return err
	}
	if err := u.chown(dirfd, base, 0, 0); err != nil {
		return err
	}
	return u.later(name, dirMeta{mode: 0o755})
}

// later notes what a directory is to get at the end; the last word counts.
func (u *unpacker) later(name string, m dirMeta) error {
	if _, ok := u.dirs[name]; !ok {
		if u.dirBytes += len(name) + 64; u.dirBytes > maxDirBytes {
			return fmt.Errorf("%w: the names of its directories take up %d bytes", ErrLimit, u.dirBytes)
		}
	}
	u.dirs[name] = m
	return nil
}

// finishDirs goes from the deepest directory to the root: the modes may shut the way for an ordinary user.
func (u *unpacker) finishDirs() error {
	names := make([]string, 0, len(u.dirs))
	for name := range u.dirs {
		if name != "." {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	for _, name := range append(names, ".") {
		if err := u.finishDir(name, u.dirs[name]); err != nil {
			return fmt.Errorf("directory %q: %w", short(name), err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(name string, m dirMeta) error {
	fd, err := u.tree.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // a later entry took its place
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	if m.times == nil {
		return nil
	}
	return futimens(fd, m.times)
}

// times are an entry's access and modification times, to the nanosecond.
func times(h *tar.Header) *[2]unix.Timespec {
	a := h.AccessTime
	if a.IsZero() {
		a = h.ModTime
	}
	return &[2]unix.Timespec{timespec(a), timespec(h.ModTime)}
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
