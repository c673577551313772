// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// asUser makes the options that an ordinary user needs, so that the tests pass as one, and as root.
func asUser() Options {
	root := os.Geteuid() == 0
	return Options{UserXattr: true, DropOwner: !root, NoSync: true}
}

type entry = tar.Header

func reg(name string) entry { return entry{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 4} }
func dir(name string) entry { return entry{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
func sym(name, to string) entry {
	return entry{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}
func hard(name, to string) entry { return entry{Name: name, Typeflag: tar.TypeLink, Linkname: to} }

// archiveOf writes entries; a regular file holds its size in 'x'.
func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1e9, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack gives the layer's directory; its parent holds a planted file "host".
func unpack(t testing.TB, archive []byte, opts Options) (string, Result, error) {
	t.Helper()
	base := t.TempDir()
	blob := filepath.Join(base, "blob")
	for name, content := range map[string]string{blob: string(archive), filepath.Join(base, "host"): "planted"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := filepath.Join(base, "fs")
	t.Cleanup(func() {
		if err := RemoveAll(fs); err != nil {
			t.Error(err)
		}
	})
	res, err := Unpack(context.Background(), Request{Blob: blob, Dir: fs, Options: opts})
	return fs, res, err
}

func mustUnpack(t *testing.T, entries ...entry) string {
	t.Helper()
	fs, _, err := unpack(t, archiveOf(t, entries...), asUser())
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func lstat(t *testing.T, parts ...string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(parts...), &st); err != nil {
		t.Fatalf("lstat %q: %v", parts, err)
	}
	return st
}

func TestUnpackMetadata(t *testing.T) {
	when := time.Unix(1234567890, 123456789)
	suid := entry{Name: "bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 300 << 10, ModTime: when, Format: tar.FormatPAX}
	ro := entry{Name: "ro/", Typeflag: tar.TypeDir, Mode: 0o555, ModTime: when, Format: tar.FormatPAX}
	inRO := reg("ro/f")
	link := sym("link", "/etc/passwd")
	link.ModTime, link.Format = when, tar.FormatPAX
	pipe := entry{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622, ModTime: when, Format: tar.FormatPAX}
	sticky := dir("tmp")
	sticky.Mode = 0o1777
	if os.Geteuid() == 0 {
		suid.Uid, suid.Gid, pipe.Uid, link.Gid = 12, 34, 56, 78
	}
	fs := mustUnpack(t, suid, ro, inRO, link, hard("bin/su2", "./bin/su"), pipe, sticky)

	tests := []struct {
		name  string
		mode  uint32
		nlink int
		from  *entry
	}{
		{"bin/su", unix.S_IFREG | 0o4755, 2, &suid},
		{"bin/su2", unix.S_IFREG | 0o4755, 2, &suid},
		{"ro", unix.S_IFDIR | 0o555, 2, &ro},
		{"link", unix.S_IFLNK | 0o777, 1, &link},
		{"pipe", unix.S_IFIFO | 0o622, 1, &pipe},
		{"tmp", unix.S_IFDIR | 0o1777, 2, nil},
		{"bin", unix.S_IFDIR | 0o755, 2, nil},
	}
	for _, tt := range tests {
		st := lstat(t, fs, tt.name)
		if st.Mode != tt.mode || int(st.Nlink) != tt.nlink {
			t.Errorf("%s: mode %o, %d links; want %o, %d", tt.name, st.Mode, st.Nlink, tt.mode, tt.nlink)
		}
		if tt.from == nil {
			continue
		}
		if got := time.Unix(st.Mtim.Unix()); !got.Equal(when) {
			t.Errorf("%s: modified at %v; want %v", tt.name, got, when)
		}
		if os.Geteuid() == 0 && (int(st.Uid) != tt.from.Uid || int(st.Gid) != tt.from.Gid) {
			t.Errorf("%s: owner %d:%d; want %d:%d", tt.name, st.Uid, st.Gid, tt.from.Uid, tt.from.Gid)
		}
	}
	if got := lstat(t, fs, "bin/su").Size; got != suid.Size {
		t.Errorf("bin/su has %d bytes; want %d", got, suid.Size)
	}
}

// The deletion marks, in every order with what replaces the deleted.
func TestUnpackWhiteouts(t *testing.T) {
	const (
		gone = iota
		opaque
		plain
	)
	tests := []struct {
		name    string
		entries []entry
		path    string
		want    int
	}{
		{"file", []entry{reg(".wh.f")}, "f", gone},
		{"in a directory that is not listed", []entry{reg("a/b/.wh.f")}, "a/b/f", gone},
		{"opaque", []entry{dir("d"), reg("d/.wh..wh..opq")}, "d", opaque},
		{"opaque before its directory", []entry{reg("d/.wh..wh..opq"), dir("d")}, "d", opaque},
		{"opaque after its files", []entry{reg("d/f"), reg("d/.wh..wh..opq")}, "d", opaque},
		{"deleted, then a directory", []entry{reg(".wh.d"), dir("d")}, "d", opaque},
		{"a directory, then deleted", []entry{dir("d"), reg(".wh.d")}, "d", opaque},
		{"deleted, then a file in it", []entry{reg(".wh.d"), reg("d/f")}, "d", opaque},
		{"deleted, then a file", []entry{reg(".wh.f"), reg("f")}, "f", plain},
		{"a file, then deleted", []entry{reg("f"), reg(".wh.f")}, "f", plain},
		{"twice", []entry{reg(".wh.f"), reg(".wh.f")}, "f", gone},
		{"name that looks like one", []entry{reg("a.wh.f")}, "a.wh.f", plain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := mustUnpack(t, tt.entries...)
			st := lstat(t, fs, tt.path)
			got := plain
			v := make([]byte, 8)
			if n, err := unix.Getxattr(filepath.Join(fs, tt.path), "user.overlay.opaque", v); err == nil && string(v[:n]) == "y" {
				got = opaque
			}
			if isWhiteout(&st) {
				got = gone
			}
			if got != tt.want {
				t.Errorf("%s: got %d (mode %o); want %d", tt.path, got, st.Mode, tt.want)
			}
		})
	}
}

func TestUnpackIgnoresAUFS(t *testing.T) {
	fs := mustUnpack(t, reg(".wh..wh.aufs"), dir(".wh..wh.plnk"), reg(".wh..wh.plnk/12.34"), reg("f"))
	names, err := os.ReadDir(fs)
	if err != nil || len(names) != 1 || names[0].Name() != "f" {
		t.Errorf("layer has %v, %v; want only f", names, err)
	}
}

// What comes later replaces what came before, as in docker.
func TestUnpackReplaces(t *testing.T) {
	tests := []struct {
		name    string
		entries []entry
		path    string
		want    uint32
	}{
		{"file over file", []entry{{Name: "a", Typeflag: tar.TypeReg, Size: 9}, reg("a")}, "a", unix.S_IFREG},
		{"file over a full directory", []entry{reg("a/b/c"), reg("a")}, "a", unix.S_IFREG},
		{"directory over file", []entry{reg("a"), dir("a"), reg("a/b")}, "a/b", unix.S_IFREG},
		{"directory over directory", []entry{reg("a/b"), dir("a")}, "a/b", unix.S_IFREG},
		{"directory over symlink", []entry{dir("b"), sym("a", "b"), dir("a"), reg("a/x")}, "a", unix.S_IFDIR},
		{"symlink over a full directory", []entry{reg("a/b"), sym("a", "z")}, "a", unix.S_IFLNK},
		{"file over symlink, which is not followed", []entry{reg("t"), sym("a", "t"), reg("a")}, "a", unix.S_IFREG},
		{"hard link over file", []entry{reg("t"), reg("a"), hard("a", "t")}, "a", unix.S_IFREG},
		{"hard link to itself", []entry{reg("a"), hard("a", "a")}, "a", unix.S_IFREG},
		{"parent is replaced between its files", []entry{reg("a/x"), reg("a"), dir("a"), reg("a/y")}, "a/y", unix.S_IFREG},
		{"through a symlink inside", []entry{dir("usr/lib"), sym("lib", "usr/lib"), reg("lib/x")}, "usr/lib/x", unix.S_IFREG},
		{"absolute name", []entry{reg("/a")}, "a", unix.S_IFREG},
		{"root", []entry{dir("./"), reg("./a")}, "a", unix.S_IFREG},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := mustUnpack(t, tt.entries...)
			st := lstat(t, fs, tt.path)
			if st.Mode&unix.S_IFMT != tt.want {
				t.Errorf("%s has mode %o; want type %o", tt.path, st.Mode, tt.want)
			}
			if tt.want == unix.S_IFREG && st.Size != 4 {
				t.Errorf("%s has %d bytes; want 4", tt.path, st.Size)
			}
		})
	}
}

// Every way out of the layer that is known. Beside the layer lies a file "host" that nothing may touch.
func TestUnpackEscapes(t *testing.T) {
	huge := reg("f")
	huge.Uid = -1
	tests := []struct {
		name    string
		entries []entry
		want    error
		say     string
	}{
		{"DotDot", []entry{reg("../host")}, ErrEscape, "../host"},
		{"DotDot in the middle", []entry{reg("a/../../host")}, ErrEscape, ""},
		{"DotDot in a PAX record", []entry{reg("ü/../../host")}, ErrEscape, ""},
		{"DotDot of a directory", []entry{dir("..")}, ErrEscape, ""},
		{"DotDot after a slash", []entry{reg("/../host")}, ErrEscape, ""},
		{"relative symlink", []entry{sym("up", ".."), reg("up/host")}, ErrEscape, "up/host"},
		{"absolute symlink", []entry{sym("up", "HOSTDIR"), reg("up/host")}, ErrEscape, ""},
		{"symlink to the root", []entry{sym("up", "/"), reg("up/HOSTDIR/host")}, ErrEscape, ""},
		{"symlinks one after the other", []entry{dir("a/b"), sym("a/b/c", "../.."), sym("d", "a/b/c/.."), reg("d/host")}, ErrEscape, ""},
		{"directory through a symlink", []entry{sym("up", ".."), dir("up/made")}, ErrEscape, ""},
		{"implied directory through a symlink", []entry{sym("up", ".."), reg("up/made/f")}, ErrEscape, ""},
		{"symlink through a symlink", []entry{sym("up", ".."), sym("up/made", "x")}, ErrEscape, ""},
		{"fifo through a symlink", []entry{sym("up", ".."), {Name: "up/made", Typeflag: tar.TypeFifo}}, ErrEscape, ""},
		{"hard link by DotDot", []entry{hard("h", "../host"), reg("h")}, ErrEscape, "../host"},
		{"hard link through a symlink", []entry{sym("up", ".."), hard("h", "up/host")}, ErrEscape, ""},
		{"hard link, absolute", []entry{hard("h", "HOSTDIR/host")}, unix.ENOENT, ""},
		{"deletion through a symlink", []entry{sym("up", ".."), reg("up/.wh.host")}, ErrEscape, ""},
		{"opaque through a symlink", []entry{sym("up", ".."), reg("up/.wh..wh..opq")}, ErrEscape, ""},
		{"deletion of DotDot", []entry{reg("a/.wh...")}, ErrName, ".wh..."},
		{"deletion of dot", []entry{reg("a/.wh..")}, ErrName, ""},
		{"deletion of nothing", []entry{reg("a/.wh.")}, ErrName, ""},
		{"deletion with a slash", []entry{reg(".wh.a/../../host")}, ErrEscape, ""},
		{"deletion as a directory", []entry{reg(".wh.a/host")}, ErrName, ""},
		{"endless symlinks", []entry{sym("a", "b"), sym("b", "a"), reg("a/f")}, unix.ELOOP, ""},
		{"the root as a file", []entry{reg("x"), {Name: ".", Typeflag: tar.TypeSymlink, Linkname: ".."}}, ErrName, ""},
		{"long name", []entry{reg(strings.Repeat("a/", 3000) + "f")}, ErrName, ""},
		{"long part", []entry{reg(strings.Repeat("a", 256))}, ErrName, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkRefused(t, tt.entries, tt.want, tt.say) })
	}
}

func checkRefused(t *testing.T, entries []entry, want error, say string) {
	base := t.TempDir()
	host := filepath.Join(base, "host")
	if err := os.WriteFile(host, []byte("planted"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := lstat(t, host)
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Name = strings.ReplaceAll(entries[i].Name, "HOSTDIR", base)
		entries[i].Linkname = strings.ReplaceAll(entries[i].Linkname, "HOSTDIR", base)
	}
	_, err := unpackReader(context.Background(), bytes.NewReader(archiveOf(t, entries...)),
		Request{Dir: filepath.Join(base, "fs"), Options: asUser()})
	if !errors.Is(err, want) || !strings.Contains(err.Error(), say) {
		t.Errorf("error %v; want %v with %q", err, want, say)
	}
	after := lstat(t, host)
	before.Atim, after.Atim = unix.Timespec{}, unix.Timespec{}
	if content, _ := os.ReadFile(host); string(content) != "planted" || before != after {
		t.Errorf("HOST FILE WAS CHANGED: the layer escapes")
	}
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v; want only the host's file", left, err)
	}
}

func TestUnpackLimits(t *testing.T) {
	sparse := func() []byte { // a sparse file of 1 TiB in three blocks
		h := entry{Name: "GNUSparseFile.0/f", Typeflag: tar.TypeReg, Size: 512, Format: tar.FormatPAX}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		// archive/tar doesn't write sparse files: write the PAX records by hand.
		rec := ""
		for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", "GNU.sparse.realsize=1099511627776"} {
			n := len(kv) + 3
			if len(fmt.Sprint(n+1)) > 1 {
				n++
			}
			rec += fmt.Sprintf("%d %s\n", n, kv)
		}
		raw := entry{Name: "x", Typeflag: tar.TypeReg, Size: int64(len(rec))}
		if err := w.WriteHeader(&raw); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, rec)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(append([]byte("1\n0\n0\n"), make([]byte, 506)...))
		w.Close()
		return retype(b.Bytes(), 'x')
	}
	zeros := func() []byte { // 64 MiB of nothing after the end mark
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(archiveOf(t, reg("f")))
		_, _ = z.Write(make([]byte, 64<<20))
		z.Close()
		return b.Bytes()
	}
	tests := []struct {
		name    string
		archive []byte
		opts    Options
		say     string
	}{
		{"entries", archiveOf(t, reg("a"), reg("b"), reg("c")), Options{MaxEntries: 2}, "more than 2 entries"},
		{"bytes in files", archiveOf(t, entry{Name: "a", Typeflag: tar.TypeReg, Size: 1 << 20}), Options{MaxBytes: 1 << 19}, "more than 524288 bytes"},
		{"sparse", sparse(), Options{MaxBytes: 1 << 30}, "more than 1073741824 bytes"},
		{"bytes after the end", zeros(), Options{MaxBytes: 1 << 20}, "uncompressed"},
		{"free space", archiveOf(t, reg("a")), Options{MinFree: 1 << 60}, "are free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.DropOwner, tt.opts.NoSync = true, true
			fs, _, err := unpack(t, tt.archive, tt.opts)
			if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("error %v; want %v with %q", err, ErrLimit, tt.say)
			}
			if _, err := os.Lstat(fs); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the layer's directory is left behind: %v", err)
			}
		})
	}
}

// retype changes the first header's type and its checksum.
func retype(b []byte, typ byte) []byte {
	b[156] = typ
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestUnpackDigest(t *testing.T) {
	plain := append(archiveOf(t, reg("a")), make([]byte, 10240)...) // padding belongs to the digest
	want := fmt.Sprintf("sha256:%x", sha256.Sum256(plain))
	var gz, zst bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, _ = z.Write(plain)
	z.Close()
	zw, _ := zstd.NewWriter(&zst)
	_, _ = zw.Write(plain)
	zw.Close()
	for name, archive := range map[string][]byte{"plain": plain, "gzip": gz.Bytes(), "zstd": zst.Bytes()} {
		_, res, err := unpack(t, archive, asUser())
		if err != nil || res.DiffID != want || res.Entries != 1 || res.Bytes != 4 {
			t.Errorf("%s: %+v, %v; want %s with 1 entry of 4 bytes", name, res, err, want)
		}
		if name != "plain" {
			if fs, _, err := unpack(t, archive[:len(archive)-5], asUser()); err == nil || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut off: error %v; want %v", name, err, io.ErrUnexpectedEOF)
			} else if _, err := os.Lstat(fs); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s, cut off: left behind", name)
			}
		}
	}
	base := t.TempDir()
	_, err := unpackReader(context.Background(), bytes.NewReader(plain),
		Request{Dir: filepath.Join(base, "fs"), DiffID: "sha256:00", Options: asUser()})
	if !errors.Is(err, ErrDiffID) {
		t.Errorf("wrong diff ID: error %v; want %v", err, ErrDiffID)
	}
	if _, _, err := unpack(t, []byte("\xfd7zXZ\x00rest"), asUser()); !errors.Is(err, ErrXZ) {
		t.Errorf("xz: error %v; want %v", err, ErrXZ)
	}
}

func TestUnpackXattrs(t *testing.T) {
	h := reg("f")
	h.Format = tar.FormatPAX
	h.PAXRecords = map[string]string{
		paxXattr + "user.kept":                "yes",
		paxXattr + "user.overlay.redirect":    "/etc",
		paxXattr + "user.overlay.opaque":      "y",
		paxXattr + "trusted.overlay.opaque":   "y",
		paxXattr + "trusted.overlay.metacopy": "",
		paxXattr + "security.selinux":         "system_u:object_r:etc_t:s0",
		paxXattr + capability:                 "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	}
	fs, _, err := unpack(t, archiveOf(t, h), asUser())
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("needs a file system with file capabilities")
	}
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, err := unix.Llistxattr(filepath.Join(fs, "f"), buf)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(got)
	want := []string{"user.kept"}
	if os.Geteuid() == 0 {
		want = []string{capability, "user.kept"}
	}
	// The host may add labels of its own.
	got = slices.DeleteFunc(got, func(k string) bool { return k == "security.selinux" })
	if !slices.Equal(got, want) {
		t.Errorf("attributes %q; want %q", got, want)
	}
}

func TestUnpackDevices(t *testing.T) {
	null := entry{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}
	archive := archiveOf(t, null, reg("f"))
	opts := asUser()
	fs, _, err := unpack(t, archive, opts)
	if err == nil {
		if st := lstat(t, fs, "dev/null"); st.Rdev != unix.Mkdev(1, 3) || st.Mode != unix.S_IFCHR|0o666 {
			t.Errorf("dev/null is %x with mode %o", st.Rdev, st.Mode)
		}
		return
	}
	if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "dev/null") {
		t.Errorf("error %v; want %v that names dev/null", err, ErrDevice)
	}
	opts.IgnoreDevices = true
	fs, res, err := unpack(t, archive, opts)
	if err != nil || !slices.Equal(res.Skipped, []string{"dev/null"}) {
		t.Errorf("Unpack = %+v, %v; want dev/null to be skipped", res, err)
	}
	lstat(t, fs, "f")
}

func TestUnpackCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	base := t.TempDir()
	_, err := unpackReader(ctx, bytes.NewReader(archiveOf(t, reg("a"))), Request{Dir: filepath.Join(base, "fs"), Options: asUser()})
	if left, _ := os.ReadDir(base); !errors.Is(err, context.Canceled) || len(left) != 0 {
		t.Errorf("error %v, left %v; want %v and nothing", err, left, context.Canceled)
	}
}

// A tree that is deeper than a process has descriptors, with modes that shut its owner out.
func TestRemoveAll(t *testing.T) {
	base := t.TempDir()
	top := filepath.Join(base, "top")
	if err := os.Mkdir(top, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(top, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		mode := uint32(0o700)
		if err := unix.Mkdirat(fd, "d", mode); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 7 {
			if err := unix.Fchmodat(fd, "d", 0, 0); err != nil && i != 7 {
				t.Fatal(err)
			}
			if os.Geteuid() != 0 { // or nothing more could be made
				if err := unix.Fchmodat(fd, "d", 0o300, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	host := filepath.Join(base, "host")
	if err := errors.Join(os.WriteFile(host, nil, 0o600), os.Symlink(host, filepath.Join(top, "link"))); err != nil {
		t.Fatal(err)
	}
	if err := RemoveAll(top); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("top is still there: %v", err)
	}
	lstat(t, host)
	if err := RemoveAll(filepath.Join(base, "none", "none")); err != nil {
		t.Errorf("RemoveAll of nothing: %v", err)
	}
}
