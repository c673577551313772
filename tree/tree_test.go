// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// grow makes files: "d dir", "f file text", "l link target", one a line.
func grow(t *testing.T, dir, text string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		name, err := filepath.Join(dir, f[1]), error(nil)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		switch f[0] {
		case "d":
			err = os.MkdirAll(name, 0o755)
		case "f":
			err = os.WriteFile(name, []byte(f[2]), 0o644)
		case "l":
			err = os.Symlink(f[2], name)
		case "h":
			err = os.Link(filepath.Join(dir, f[2]), name)
		case "p":
			err = unix.Mkfifo(name, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// show is what is below a folder, in grow's words.
func show(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name := p[len(dir)+1:]
		switch {
		case d.IsDir():
			fmt.Fprintf(&b, "d %s\n", name)
		case d.Type() == os.ModeSymlink:
			target, _ := os.Readlink(p)
			fmt.Fprintf(&b, "l %s %s\n", name, target)
		case d.Type() == os.ModeNamedPipe:
			fmt.Fprintf(&b, "p %s\n", name)
		default:
			text, _ := os.ReadFile(p)
			fmt.Fprintf(&b, "f %s %s\n", name, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func rootOf(t *testing.T, dir string) Root {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return Root{FD: fd}
}

func pack(t *testing.T, dir, name string, follow bool) (*bytes.Buffer, error) {
	t.Helper()
	var b bytes.Buffer
	err := new(Packer).Pack(&b, rootOf(t, dir), name, follow)
	return &b, err
}

// TestCopy has the table of Docker's documentation, and what it leaves out.
func TestCopy(t *testing.T) {
	const from = "f file one\nf dir/a A\nf dir/sub/b B\nl dir/link /nowhere\nl tofile file\nl todir dir\nh hard file\nd empty\np fifo\n"
	for _, c := range []struct{ name, to, src, dst, want string }{
		{"file to nothing", "", "file", "new", "f new one\n"},
		{"file to nothing/", "", "file", "new/", "!no such directory"},
		{"file below nothing", "", "file", "no/new", "!no such directory"},
		{"file to file", "f old two\n", "file", "old", "f old one\n"},
		{"file to file/", "f old two\n", "file", "old/", "!not a directory"},
		{"file to folder", "d d\n", "/file", "/d", "d d\nf d/file one\n"},
		{"file to folder/", "d d\n", "file", "d/", "d d\nf d/file one\n"},
		{"file to root", "", "file", "/", "f file one\n"},
		{"file over folder", "d d/file\n", "file", "d", "!cannot overwrite a directory with a file"},
		{"file/ to nothing", "", "file/", "new", "!not a directory"},
		{"file/. to nothing", "", "file/.", "new", "!not a directory"},
		{"folder to nothing", "", "dir", "new", "d new\nf new/a A\nl new/link /nowhere\nd new/sub\nf new/sub/b B\n"},
		{"folder to nothing/", "", "dir", "new/", "d new\nf new/a A\nl new/link /nowhere\nd new/sub\nf new/sub/b B\n"},
		{"folder to file", "f old two\n", "dir", "old", "!cannot copy a directory to a file"},
		{"folder to folder", "d d\n", "dir", "d", "d d\nd d/dir\nf d/dir/a A\nl d/dir/link /nowhere\nd d/dir/sub\nf d/dir/sub/b B\n"},
		{"folder/ to folder", "d d\n", "dir/", "d", "d d\nd d/dir\nf d/dir/a A\nl d/dir/link /nowhere\nd d/dir/sub\nf d/dir/sub/b B\n"},
		{"folder/. to folder", "d d\n", "dir/.", "d", "d d\nf d/a A\nl d/link /nowhere\nd d/sub\nf d/sub/b B\n"},
		{"folder/. to nothing", "", "dir/.", "new", "d new\nf new/a A\nl new/link /nowhere\nd new/sub\nf new/sub/b B\n"},
		{"into what is there", "f d/dir/old O\nf d/dir/a X\n", "dir", "d", "d d\nd d/dir\nf d/dir/a A\nl d/dir/link /nowhere\nf d/dir/old O\nd d/dir/sub\nf d/dir/sub/b B\n"},
		{"empty folder", "", "empty", "new", "d new\n"},
		{"link", "", "tofile", "new", "l new file\n"},
		{"link followed", "", "L tofile", "new", "f new one\n"},
		{"link to folder", "", "todir", "new", "l new dir\n"},
		{"link to folder/", "d d\n", "todir/.", "d", "d d\nf d/a A\nl d/link /nowhere\nd d/sub\nf d/sub/b B\n"},
		{"link to folder followed", "d d\n", "L todir", "d", "d d\nd d/todir\nf d/todir/a A\nl d/todir/link /nowhere\nd d/todir/sub\nf d/todir/sub/b B\n"},
		{"to a link to a folder", "d d\nl l d\n", "file", "l", "d d\nf d/file one\nl l d\n"},
		{"to a link to a file", "f old two\nl l old\n", "file", "l", "l l old\nf old one\n"},
		{"fifo", "", "fifo", "new", "p new\n"},
		{"nothing", "", "none", "new", "!no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := grow(t, t.TempDir(), from), grow(t, t.TempDir(), c.to)
			src, follow := strings.CutPrefix(c.src, "L ")
			archive, err := pack(t, a, src, follow)
			if err == nil {
				err = new(Unpacker).Copy(archive, rootOf(t, b), c.dst, strings.HasSuffix(src, "/."))
			}
			if part, isErr := strings.CutPrefix(c.want, "!"); isErr {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v; want %q", err, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := show(t, b); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestLinksOfAContainer: whatever links are in a container's tree, nothing
// outside is read or written.
func TestLinksOfAContainer(t *testing.T) {
	out := grow(t, t.TempDir(), "f secret host\nd dir\n")
	in := grow(t, t.TempDir(), "f etc/secret inside\nl abs "+out+"\nl file "+out+"/secret\nl up ../../../../.."+out+"\nl loop loop\nl rootdir /etc\nf mine own\n")
	before := show(t, out)
	for _, name := range []string{"abs", "abs/secret", "file", "up/secret", "up/.", "loop", "loop/x", "/proc/self/root/etc/passwd", "../../../.." + out + "/secret"} {
		if b, err := pack(t, in, name, true); err == nil && strings.Contains(b.String(), "host") {
			t.Errorf("%s: the host's file is in the archive", name)
		}
	}
	if b, err := pack(t, in, "rootdir/secret", true); err != nil || !strings.Contains(b.String(), "inside") {
		t.Errorf("a link within the container: %v", err)
	}
	for _, dst := range []string{"abs", "abs/new", "abs/dir", "file", "up", "up/secret", "loop"} {
		archive, err := pack(t, in, "mine", false)
		if err != nil {
			t.Fatal(err)
		}
		_ = new(Unpacker).Copy(archive, rootOf(t, in), dst, false)
		if after := show(t, out); after != before {
			t.Fatalf("%s: the host was written to:\n%s", dst, after)
		}
	}
}

// TestHostileArchive: neither names nor links of an archive lead out of where it
// is unpacked, nor through a link that is there.
func TestHostileArchive(t *testing.T) {
	out := grow(t, t.TempDir(), "f secret host\nd dir\n")
	before := show(t, out)
	for _, entries := range [][]tar.Header{
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/../../x", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "/x", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: out}, {Name: "d/l/x", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: out + "/secret"}, {Name: "d/l", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: out + "/secret"}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/l"}, {Name: "d/h", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/h", Typeflag: tar.TypeLink, Linkname: out + "/secret"}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/there/x", Typeflag: tar.TypeReg}},
		{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "d/there/", Typeflag: tar.TypeDir}, {Name: "d/there/x", Typeflag: tar.TypeReg}},
	} {
		for _, how := range []string{"copy", "extract"} {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range entries {
				h.Mode = 0o666
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			in := grow(t, t.TempDir(), "l d/there "+out+"\n")
			t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwx", in).Run() }) // after an archive's modes
			u, err := new(Unpacker), error(nil)
			if how == "copy" {
				err = u.Copy(&b, rootOf(t, in), "/", false)
			} else {
				err = u.Extract(&b, rootOf(t, in), "/")
			}
			if after := show(t, out); after != before {
				t.Errorf("%s %v: the host was written to (%v):\n%s", how, entries, err, after)
			}
		}
	}
}

// TestExtract: names may lead through the container's own links, and folders
// that the archive leaves out are made.
func TestExtract(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "var/run/x", Typeflag: tar.TypeReg, Size: 1}, {Name: "./new/deep/y", Typeflag: tar.TypeReg, Size: 1}} {
		h.Mode = 0o640
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("z")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := grow(t, t.TempDir(), "d run\nl var/run /run\nf f z\n")
	archive := b.Bytes()
	if err := new(Unpacker).Extract(bytes.NewReader(archive), rootOf(t, in), "/"); err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, in), "f f z\nd new\nd new/deep\nf new/deep/y z\nd run\nf run/x z\nd var\nl var/run /run\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := new(Unpacker).Extract(bytes.NewReader(archive), rootOf(t, in), "/f"); err == nil {
		t.Error("unpacked into a file")
	}
}

// TestPackIsTar: what is packed is what tar(1) reads, with hard links and modes.
func TestPackIsTar(t *testing.T) {
	dir := grow(t, t.TempDir(), "f d/a A\nh d/b d/a\nl d/l a\nd d/e\n")
	if err := unix.Chmod(dir+"/d/a", 0o4751); err != nil {
		t.Fatal(err)
	}
	b, err := pack(t, dir, "d", false)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tar", "-tv", "--numeric-owner", "--utc")
	cmd.Stdin = b
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+strings.Join(f[5:], " "))
	}
	want := "drwxr-xr-x d/|-rwsr-x--x d/a|hrwsr-x--x d/b link to d/a|drwxr-xr-x d/e/|lrwxrwxrwx d/l -> a"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func FuzzExtract(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "../l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"})
	_ = w.WriteHeader(&tar.Header{Name: "l/x", Typeflag: tar.TypeReg})
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, archive []byte) {
		top := t.TempDir()
		grow(t, top, "d in\nf secret host\n")
		_ = new(Unpacker).Extract(io.LimitReader(bytes.NewReader(archive), 1<<16), rootOf(t, top+"/in"), "/")
		entries, err := os.ReadDir(top)
		if text, _ := os.ReadFile(top + "/secret"); err != nil || len(entries) != 2 || string(text) != "host" {
			t.Errorf("something was made outside: %v", entries)
		}
	})
}
