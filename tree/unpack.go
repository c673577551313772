// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// An Unpacker writes an archive's files into a tree that is there already.
type Unpacker struct {
	// Keep: the owners are those of the archive. Else they are Owner's, and with
	// a nil Owner ours.
	Keep  bool
	Owner *[2]int // as the container sees them
	// Lenient: an owner that can't be had is left as it is, as cp(1) does for
	// who isn't root.
	Lenient bool

	root Root
	to   int    // the folder that names begin at
	dir  string // its path, to find an entry's folder through links
	buf  []byte
	done []finished
}

// A finished folder gets its mode and time at the end.
type finished struct {
	name string
	h    *tar.Header
}

// Errors of Copy, in the words of Docker.
var (
	ErrNoFolder     = errors.New("no such directory")
	ErrFolderToFile = errors.New("cannot copy a directory to a file")
	ErrOverFolder   = errors.New("cannot overwrite a directory with a file")
)

// Copy unpacks what Pack has packed, as cp(1) would copy it: into the
// destination if that is a folder, over it if it is a file, and under its name
// if there is nothing. contents: of a folder, what is in it, not itself.
func (u *Unpacker) Copy(r io.Reader, root Root, dest string, contents bool) error {
	tr := tar.NewReader(r)
	first, err := tr.Next()
	if err == io.EOF {
		return errors.New("read archive: it is empty")
	}
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	as, err := u.aim(root, dest, first, contents)
	if err != nil {
		return at("copy to", dest, err)
	}
	defer unix.Close(u.to)
	base := path.Clean(first.Name)
	rename := func(name string) (string, error) {
		name = path.Clean(name)
		rest := strings.TrimPrefix(name, base+"/")
		switch {
		case base == "." && name != ".":
			return path.Join(as, name), nil
		case name == base:
			return as, nil
		case rest == name:
			return "", fmt.Errorf("entry %q is not below %q", name, base)
		}
		return path.Join(as, rest), nil
	}
	return u.all(tr, first, rename)
}

// Extract unpacks an archive of somebody's into a folder. In the container's tree
// its names may lead through links, which are found within.
func (u *Unpacker) Extract(r io.Reader, root Root, dest string) error {
	abs, _ := clean(dest)
	fd, err := root.open(abs, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return at("extract to", dest, err)
	}
	defer unix.Close(fd)
	u.root, u.to, u.dir = root, fd, abs
	tr := tar.NewReader(r)
	first, err := tr.Next()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return u.all(tr, first, func(name string) (string, error) { return path.Clean("/" + name)[1:], nil })
}

// aim opens the folder that names begin at, and says what the first entry is
// called there: "" is the folder itself.
func (u *Unpacker) aim(root Root, dest string, first *tar.Header, contents bool) (as string, err error) {
	abs, folder := clean(dest)
	isFolder := first.Typeflag == tar.TypeDir
	fd, err := root.open(abs, unix.O_PATH)
	if err == nil {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
			return "", err
		}
		if isDir(&st) {
			u.to = fd
			if contents && isFolder || path.Clean(first.Name) == "." {
				return "", nil
			}
			return path.Base(path.Clean(first.Name)), nil
		}
		unix.Close(fd)
		switch {
		case folder:
			return "", unix.ENOTDIR
		case isFolder:
			return "", ErrFolderToFile
		}
	} else if err != unix.ENOENT {
		return "", err
	} else if folder && !isFolder {
		return "", ErrNoFolder
	}
	// A link is followed to the file that it means.
	parent, base, err := parentOf(root, abs, err == nil)
	if err != nil {
		return "", ErrNoFolder
	}
	u.to = parent
	return base, nil
}

func (u *Unpacker) all(tr *tar.Reader, h *tar.Header, rename func(string) (string, error)) error {
	u.buf = make([]byte, 256<<10)
	for {
		name, err := rename(h.Name)
		if err != nil {
			return err
		}
		if err := u.entry(name, h, tr, rename); err != nil {
			return at("unpack", name, err)
		}
		h, err = tr.Next()
		if err == io.EOF {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
	}
}

// parent opens the folder of an entry. With a path of the tree (Extract) links
// are followed, within the root; else there must be none.
func (u *Unpacker) parent(name string) (int, error) {
	dir := path.Dir(name)
	if u.dir != "" {
		return u.root.open(path.Join(u.dir, dir), unix.O_PATH|unix.O_DIRECTORY)
	}
	return openat2(u.to, dir, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
}

// above is parent, and makes the folders that the archive has left out.
func (u *Unpacker) above(name string) (int, error) {
	fd, err := u.parent(name)
	dir := path.Dir(name)
	if err != unix.ENOENT || dir == "." {
		return fd, err
	}
	up, err := u.above(dir)
	if err != nil {
		return -1, err
	}
	err = unix.Mkdirat(up, path.Base(dir), 0o755)
	if err == nil {
		err = u.own(up, path.Base(dir), &tar.Header{})
	}
	unix.Close(up)
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return u.parent(name)
}

func (u *Unpacker) entry(name string, h *tar.Header, content io.Reader, rename func(string) (string, error)) error {
	if h.Typeflag == tar.TypeXGlobalHeader || name == "" || name == "." {
		return nil // the folder itself is there already, and stays as it is
	}
	dir, err := u.above(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	base := path.Base(name)
	if base == ".." || base == "." {
		return errors.New("not a file's name")
	}
	old, oldErr := lstat(dir, base)
	if oldErr == nil && isDir(&old) {
		if h.Typeflag != tar.TypeDir {
			return ErrOverFolder
		}
	} else if oldErr == nil && !(isRegular(&old) && h.Typeflag == tar.TypeReg) {
		if err := unix.Unlinkat(dir, base, 0); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse:
		return u.regular(dir, base, h, content)
	case tar.TypeDir:
		if err := unix.Mkdirat(dir, base, 0o700); err != nil && err != unix.EEXIST {
			return err
		}
		u.done = append(u.done, finished{name, h})
		return u.own(dir, base, h)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, dir, base); err != nil {
			return err
		}
		return u.describe(dir, base, h)
	case tar.TypeLink:
		return u.link(dir, base, h, rename)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(dir, base, h)
	}
	return fmt.Errorf("entries of type %q are not there", h.Typeflag)
}

// regular writes a file. The old one is replaced, not written to: somebody may
// have it open, or it may have other names. Where it can't be, for it is a mount,
// it is written to.
func (u *Unpacker) regular(dir int, base string, h *tar.Header, content io.Reader) error {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
	if err := unix.Unlinkat(dir, base, 0); err == unix.EBUSY {
		flags = unix.O_WRONLY | unix.O_TRUNC | unix.O_NONBLOCK
	} else if err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(dir, base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	if _, err := io.CopyBuffer(onlyWriter{f}, content, u.buf); err != nil {
		return err
	}
	// The order matters: a new owner takes set-user-ID bits and capabilities away.
	if uid, gid, err := u.owner(h); err != nil {
		return err
	} else if err := u.forgive(unix.Fchown(fd, uid, gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxAttribute); ok && (name == capability || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")) {
			if err := unix.Fsetxattr(fd, name, []byte(v), 0); err != nil && err != unix.ENOTSUP && err != unix.EPERM {
				return fmt.Errorf("set attribute %q: %w", name, err)
			}
		}
	}
	return unix.UtimesNanoAt(fd, "", times(h), unix.AT_EMPTY_PATH)
}

// link links to another file of the archive.
func (u *Unpacker) link(dir int, base string, h *tar.Header, rename func(string) (string, error)) error {
	target, err := rename(h.Linkname)
	if err != nil {
		return err
	}
	from, err := u.parent(target)
	if err != nil {
		return fmt.Errorf("link to %q: %w", h.Linkname, err)
	}
	defer unix.Close(from)
	if err := unix.Linkat(from, path.Base(target), dir, base, 0); err != nil {
		return fmt.Errorf("link to %q: %w", h.Linkname, err)
	}
	return nil
}

func (u *Unpacker) node(dir int, base string, h *tar.Header) error {
	mode, dev := uint32(unix.S_IFIFO), 0
	if h.Typeflag != tar.TypeFifo {
		mode, dev = unix.S_IFCHR, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	if h.Typeflag == tar.TypeBlock {
		mode = unix.S_IFBLK
	}
	if err := unix.Mknodat(dir, base, mode|0o600, dev); err != nil {
		return fmt.Errorf("make node: %w", err)
	}
	return u.describe(dir, base, h)
}

// owner is whose an entry is to be, outside.
func (u *Unpacker) owner(h *tar.Header) (uid, gid int, err error) {
	switch {
	case u.Keep:
		uid, gid = h.Uid, h.Gid
	case u.Owner != nil:
		uid, gid = u.Owner[0], u.Owner[1]
	default:
		return -1, -1, nil
	}
	if uid < 0 || gid < 0 || uid >= 1<<32-1 || gid >= 1<<32-1 {
		return 0, 0, fmt.Errorf("owner %d:%d is out of range", uid, gid)
	}
	return uid, gid, nil
}

func (u *Unpacker) forgive(err error) error {
	if u.Lenient && (err == unix.EPERM || err == unix.EINVAL) {
		return nil
	}
	return err
}

func (u *Unpacker) own(dir int, base string, h *tar.Header) error {
	uid, gid, err := u.owner(h)
	if err != nil {
		return err
	}
	return u.forgive(unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

// describe gives what isn't opened its owner, mode and time.
func (u *Unpacker) describe(dir int, base string, h *tar.Header) error {
	if err := u.own(dir, base, h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := chmod(dir, base, uint32(h.Mode)&0o7777); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(dir, base, times(h), unix.AT_SYMLINK_NOFOLLOW)
}

// chmod changes the mode of a file that is no link: fchmodat(2) would follow one
// that somebody has put there meanwhile, to the host's files.
func chmod(dir int, base string, mode uint32) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.ELOOP
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}

// finish goes from the last folder to the first: their modes may shut the way.
func (u *Unpacker) finish() error {
	for i := len(u.done) - 1; i >= 0; i-- {
		f := u.done[i]
		dir, err := u.parent(f.name)
		if err != nil {
			return at("unpack", f.name, err)
		}
		fd, err := openDir(dir, path.Base(f.name))
		unix.Close(dir)
		if errors.Is(err, fs.ErrNotExist) || err == unix.ENOTDIR || err == unix.ELOOP {
			continue // replaced since
		}
		if err == nil {
			err = unix.Fchmod(fd, uint32(f.h.Mode)&0o7777)
			if err == nil {
				err = unix.UtimesNanoAt(fd, "", times(f.h), unix.AT_EMPTY_PATH)
			}
			unix.Close(fd)
		}
		if err != nil {
			return at("unpack", f.name, err)
		}
	}
	return nil
}

func times(h *tar.Header) []unix.Timespec {
	t := unix.NsecToTimespec(h.ModTime.UnixNano())
	if h.ModTime.IsZero() {
		t = unix.Timespec{}
	}
	return []unix.Timespec{t, t}
}
