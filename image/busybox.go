// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNoBusybox is the error for a host without a busybox that could be an image. Its text has the remedy.
var ErrNoBusybox = errors.New(`no statically linked busybox on this host: install one ("apt-get install busybox-static"), or load an image`)

const builtinName = "docker.io/library/busybox:latest"

// Builtin says whether ref names the image that a store can make from the host alone.
func Builtin(ref string) bool {
	r, err := ParseReference(ref)
	return err == nil && r.String() == builtinName
}

// EnsureBusybox gives the image busybox:latest, and makes it from the host's busybox if the store has none: the folders
// of a root file system, and every applet as a hard link in /bin. The same busybox makes the same image. It isn't
// remade when the host's is upgraded: remove it for that.
func (s *Store) EnsureBusybox(ctx context.Context) (Image, error) {
	img, err := s.Get(builtinName)
	if missing := (*NotFoundError)(nil); !errors.As(err, &missing) {
		return img, err
	}
	path, err := findBusybox()
	if err != nil {
		return Image{}, fmt.Errorf("make image busybox: %w", err)
	}
	img, err = s.makeBusybox(ctx, path)
	if err != nil {
		return Image{}, fmt.Errorf("make image busybox: %w", err)
	}
	return img, nil
}

func (s *Store) makeBusybox(ctx context.Context, path string) (Image, error) {
	applets, err := listApplets(ctx, path)
	if err != nil {
		return Image{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return Image{}, err
	}
	var archive bytes.Buffer
	if err := writeBusybox(&archive, f, fi, applets); err != nil {
		return Image{}, err
	}
	name, err := ParseReference(builtinName)
	if err != nil {
		return Image{}, err
	}
	created := fi.ModTime().UTC().Truncate(time.Second)
	return s.makeImage(ctx, &archive, name, ConfigFile{
		Created: &created,
		Config: Config{
			Cmd: []string{"sh"},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		History: []History{{Created: &created, CreatedBy: "vitro: the host's busybox"}},
	})
}

// findBusybox looks where a shell would, and where a user's PATH may not lead.
func findBusybox() (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/bin", "/usr/bin", "/sbin", "/usr/sbin")
	var reason error
	for i, dir := range dirs {
		path := filepath.Join(dir, "busybox")
		if !filepath.IsAbs(dir) || slices.Contains(dirs[:i], dir) || !exists(path) {
			continue
		}
		err := checkStatic(path)
		if err == nil {
			return path, nil
		}
		if reason == nil {
			reason = err
		}
	}
	if reason != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoBusybox, reason)
	}
	return "", ErrNoBusybox
}

// checkStatic refuses a program that needs an interpreter, and so libraries that the image won't have.
func checkStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is dynamically linked", path)
		}
	}
	return nil
}

func listApplets(ctx context.Context, path string) ([]string, error) {
	out, err := exec.CommandContext(ctx, path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("run %s --list: %w", path, err)
	}
	var applets []string
	for _, name := range strings.Fields(string(out)) {
		if name != "busybox" && !strings.Contains(name, "/") {
			applets = append(applets, name)
		}
	}
	if !slices.Contains(applets, "sh") {
		return nil, fmt.Errorf("%s has no applet sh", path)
	}
	return applets, nil
}

// A skeleton entry is a folder if its name ends in a slash, else a file.
var skeleton = [...]struct {
	name    string
	mode    int64
	content string
}{
	{"bin/", 0o755, ""},
	{"dev/", 0o755, ""},
	{"etc/", 0o755, ""},
	{"etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n"},
	{"etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"home/", 0o755, ""},
	{"proc/", 0o555, ""},
	{"root/", 0o700, ""},
	{"sys/", 0o555, ""},
	{"tmp/", 0o1777, ""},
	{"usr/", 0o755, ""},
	{"var/", 0o755, ""},
}

func writeBusybox(w io.Writer, busybox io.Reader, fi os.FileInfo, applets []string) error {
	tw := tar.NewWriter(w)
	mtime := fi.ModTime().Truncate(time.Second)
	for _, e := range skeleton {
		h := tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: mtime, Typeflag: tar.TypeReg}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, e.content); err != nil {
			return err
		}
	}
	if err := tw.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: fi.Size(), ModTime: mtime, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, busybox); err != nil {
		return err
	}
	for _, name := range applets {
		h := tar.Header{Name: "bin/" + name, Linkname: "bin/busybox", Typeflag: tar.TypeLink, Mode: 0o755, ModTime: mtime}
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
	}
	return tw.Close()
}
