// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Packer writes files to a tar archive.
type Packer struct {
	IDs *IDs
	// OneMount: what is mounted in the tree is shown as the empty folder or file
	// that it is mounted on. Without it, only file systems that hold no files are left out.
	OneMount bool
	// Upper: the tree is an overlay's folder of changes, and the archive is to be
	// an image's layer: deletions are written as the OCI has them.
	Upper bool
	// Skip leaves out a file or folder, by its path from the top of the tree.
	Skip func(name string) bool

	w     *tar.Writer
	buf   []byte
	links map[inode]string
}

type inode struct{ dev, ino uint64 }

// Deletions in a layer (OCI image specification, "Whiteouts").
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// Pack writes what is at a path of the tree, with all below it. The first entry
// has the path's last part as its name, "." where that is none.
func (p *Packer) Pack(w io.Writer, root Root, name string, follow bool) error {
	abs, folder := clean(name)
	flags := unix.O_PATH
	if !follow && !folder {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := root.open(abs, flags)
	if err != nil {
		return at("open", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return at("look at", name, err)
	}
	if folder && !isDir(&st) {
		return at("open", name, unix.ENOTDIR)
	}
	as := path.Base(abs)
	if as == "/" || strings.HasSuffix(name, "/.") || name == "." {
		as = "."
	}
	p.w, p.buf, p.links = tar.NewWriter(w), make([]byte, 256<<10), make(map[inode]string)
	if isDir(&st) {
		dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return at("open", name, err)
		}
		defer unix.Close(dir)
		err = p.folder(dir, &st, as, "")
		return errors.Join(err, p.end(err))
	}
	// By the folder that it is in: so a link is reached as all others are.
	parent, base := fd, ""
	if parent, base, err = parentOf(root, abs, follow); err != nil {
		return at("open", name, err)
	}
	defer unix.Close(parent)
	err = p.entry(parent, base, as, "")
	return errors.Join(err, p.end(err))
}

func (p *Packer) end(err error) error {
	if err != nil {
		return nil // the archive is cut off, and should look so
	}
	return p.w.Close()
}

// parentOf finds the folder that a path's file is in, through a link if it is to
// be followed.
func parentOf(root Root, abs string, follow bool) (int, string, error) {
	for range 40 { // as many links as the kernel follows
		dir, err := root.open(path.Dir(abs), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, "", err
		}
		base := path.Base(abs)
		st, err := lstat(dir, base)
		if err == unix.ENOENT || err == nil && (!follow || st.Mode&unix.S_IFMT != unix.S_IFLNK) {
			return dir, base, nil // what isn't there may be to be made
		}
		if err != nil {
			unix.Close(dir)
			return -1, "", err
		}
		target, err := readlink(dir, base)
		unix.Close(dir)
		if err != nil {
			return -1, "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(abs), target)
		}
		abs = path.Clean(target)
	}
	return -1, "", unix.ELOOP
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(n, 0)]), err
}

// entry writes one file, or a folder with all in it. as is its name in the
// archive, full its path from the top of the tree.
func (p *Packer) entry(dir int, name, as, full string) error {
	if p.Skip != nil && p.Skip(full) {
		return nil
	}
	st, err := lstat(dir, name)
	if err == unix.ENOENT {
		return nil // gone meanwhile
	}
	if err != nil {
		return at("look at", full, err)
	}
	switch {
	case p.Upper && isWhiteout(&st):
		return p.mark(path.Join(path.Dir(as), whiteout+name))
	case isDir(&st):
		sub, err := openDir(dir, name)
		if err != nil {
			return at("open", full, err)
		}
		defer unix.Close(sub)
		return p.folder(sub, &st, as, full)
	}
	return at("pack", full, p.file(dir, name, &st, as))
}

// mark writes a note of the layer format.
func (p *Packer) mark(name string) error {
	return p.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
}

func (p *Packer) folder(dir int, st *unix.Stat_t, as, full string) error {
	h := p.header(st, as+"/")
	h.Typeflag = tar.TypeDir
	addAttributes(h, dir)
	if err := p.w.WriteHeader(h); err != nil {
		return at("pack", full, err)
	}
	if full != "" && p.foreign(dir) {
		return nil
	}
	if p.Upper {
		if overlay(dir, "redirect") != nil {
			return at("pack", full, errors.New("it is a folder that was renamed in one step (overlay's redirect_dir), which no layer can say"))
		}
		if v := overlay(dir, "opaque"); string(v) == "y" && full != "" {
			if err := p.mark(path.Join(as, opaque)); err != nil {
				return err
			}
		}
	}
	list, err := names(dir)
	if err != nil {
		return at("read", full, err)
	}
	for _, name := range list {
		if err := p.entry(dir, name, path.Join(as, name), strings.TrimPrefix(full+"/"+name, "/")); err != nil {
			return err
		}
	}
	return nil
}

// noFiles are file systems in which the kernel shows things that are no files.
var noFiles = [...]int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, 0x19800202 /* mqueue */}

// foreign reports whether a folder is where something else is mounted, and that
// is to be left out.
func (p *Packer) foreign(dir int) bool {
	if !mounted(dir) {
		return false
	}
	if p.OneMount {
		return true
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(dir, &fs) != nil {
		return false
	}
	for _, magic := range noFiles {
		if int64(fs.Type) == magic {
			return true
		}
	}
	return false
}

// mounted reports whether an open file is where something is mounted.
func mounted(fd int) bool {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func (p *Packer) header(st *unix.Stat_t, name string) *tar.Header {
	uid, gid := p.IDs.inside(st)
	return &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: uid, Gid: gid, ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX}
}

func (p *Packer) file(dir int, name string, st *unix.Stat_t, as string) error {
	h := p.header(st, as)
	if st.Nlink > 1 {
		key := inode{uint64(st.Dev), st.Ino}
		if first, ok := p.links[key]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.w.WriteHeader(h)
		}
		p.links[key] = as
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return p.regular(dir, name, h)
	case unix.S_IFLNK:
		target, err := readlink(dir, name)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
	default:
		return nil // a socket is nothing without the process behind it
	}
	return p.w.WriteHeader(h)
}

// regular asks the descriptor again what it is: the name may be another's by now.
func (p *Packer) regular(dir int, name string, h *tar.Header) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if !isRegular(&st) {
		return errors.New("it has changed into something else meanwhile")
	}
	if p.Upper && overlay(int(f.Fd()), "metacopy") != nil {
		return errors.New("only its owner or mode were copied up (overlay's metacopy), its content is in a layer below")
	}
	addAttributes(h, int(f.Fd()))
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if p.OneMount && mounted(int(f.Fd())) {
		h.Size = 0
	}
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.w}, io.LimitReader(f, h.Size), p.buf)
	if err != nil {
		return err
	}
	return p.pad(h.Size - n)
}

// onlyWriter keeps io.CopyBuffer from other ways than its buffer.
type onlyWriter struct{ io.Writer }

// pad fills up a file that has become shorter while it was read.
func (p *Packer) pad(n int64) error {
	clear(p.buf)
	for n > 0 {
		m, err := p.w.Write(p.buf[:min(n, int64(len(p.buf)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

const (
	paxAttribute = "SCHILY.xattr."
	capability   = "security.capability"
)

// addAttributes takes over file capabilities and the user's own attributes; all
// others are the host's, or overlay's.
func addAttributes(h *tar.Header, fd int) {
	size, err := unix.Flistxattr(fd, nil)
	if err != nil || size == 0 {
		return
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(fd, list); err != nil {
		return
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if name != capability && !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		v := attribute(fd, name)
		if v == nil {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		if name == capability {
			v = plainCapability(v)
		}
		h.PAXRecords[paxAttribute+name] = string(v)
	}
}

// plainCapability is a file's capabilities without the user namespace that they
// are for (capabilities(7), VFS_CAP_REVISION_3): in an archive they are for
// whoever unpacks it.
func plainCapability(v []byte) []byte {
	if len(v) != 24 || v[3] != 3 {
		return v
	}
	v = append([]byte(nil), v[:20]...)
	v[3] = 2
	return v
}
