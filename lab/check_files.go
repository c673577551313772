// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"archive/tar"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lstat asks about a path below the lab's folder.
func (l *Lab) lstat(path string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(l.path(path), &st); err != nil {
		return st, fmt.Errorf("%s: %w", path, err)
	}
	return st, nil
}

func folders(l *Lab) error {
	for _, name := range [...]string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		st, err := l.lstat("root/" + name)
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return fmt.Errorf("root/%s is no folder", name)
		}
	}
	return nil
}

// open opens a regular file below the lab's folder.
func (l *Lab) open(path string) (*os.File, error) {
	fd, err := unix.Open(l.path(path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return f, nil
}

func static(l *Lab) error {
	f, err := l.open("root/bin/busybox")
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return errors.New("root/bin/busybox is no program of Linux")
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is a dynamic one: its loader and libraries are not in root")
		}
	}
	return nil
}

func names(l *Lab) error {
	st, err := l.lstat("root/bin/busybox")
	if err != nil {
		return err
	}
	if st.Nlink < 100 {
		return fmt.Errorf("it has %d: bin/busybox --install bin makes the others", st.Nlink)
	}
	return nil
}

// isText asks that a file is of this text.
func isText(path, want string) func(*Lab) error {
	return func(l *Lab) error {
		got, err := content(l.path(path))
		if err != nil {
			return err
		}
		return differs(path, got, want)
	}
}

func layered(l *Lab) error {
	m, err := at("self", l.path("overlay/merged"))
	if err != nil {
		return err
	}
	if m.fstype != "overlay" {
		return fmt.Errorf("it is of type %s", printable(m.fstype))
	}
	want := []string{l.path("overlay/lower1"), l.path("overlay/lower2")}
	if got := m.lowers(); !slices.Equal(got, want) {
		return differs("lowerdir", strings.Join(got, ":"), strings.Join(want, ":"))
	}
	return errors.Join(differs("upperdir", m.option("upperdir"), l.path("overlay/upper")),
		differs("workdir", m.option("workdir"), l.path("overlay/work")))
}

func whiteout(l *Lab) error {
	st, err := l.lstat("overlay/upper/hidden")
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return errors.New("it is a file of its own")
	}
	return nil
}

func manifest(l *Lab) error {
	p, err := l.process("private")
	if err != nil {
		return err
	}
	_, err = p.content("/MANIFEST")
	return err
}

func privately(l *Lab) error {
	if _, err := l.lstat("root/MANIFEST"); err == nil {
		return errors.New("root/MANIFEST is there: all containers on that layer have it")
	}
	p, err := l.process("private")
	if err != nil {
		return err
	}
	want, err := p.content("/MANIFEST")
	if err != nil {
		return err
	}
	got, err := content(l.path("private/upper/MANIFEST"))
	if err != nil {
		return err
	}
	return differs("upper/MANIFEST", got, want)
}

// An archive as docker save writes it.
type savedImage struct {
	Config string
	Layers []string
}

// sums reads the lab's archive: small files as text, all others as the sum of
// their content.
func (l *Lab) sums() (files map[string]string, image savedImage, err error) {
	f, err := l.open("archive/lab.tar")
	if err != nil {
		return nil, image, err
	}
	defer f.Close()
	files = make(map[string]string)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, image, fmt.Errorf("archive/lab.tar: %w", err)
		}
		if strings.HasSuffix(h.Name, ".json") {
			data, err := io.ReadAll(io.LimitReader(r, most))
			if err != nil {
				return nil, image, fmt.Errorf("archive/lab.tar: %w", err)
			}
			files[strings.TrimPrefix(h.Name, "./")] = string(data)
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return nil, image, fmt.Errorf("archive/lab.tar: %w", err)
		}
		files[strings.TrimPrefix(h.Name, "./")] = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	}
	var list []savedImage
	if err := json.Unmarshal([]byte(files["manifest.json"]), &list); err != nil || len(list) == 0 {
		return nil, image, errors.New("archive/lab.tar: it has no manifest.json that names an image")
	}
	return files, list[0], nil
}

func archived(l *Lab) error {
	_, image, err := l.sums()
	if err != nil {
		return err
	}
	if len(image.Layers) != 2 {
		return fmt.Errorf("it has %d layers", len(image.Layers))
	}
	return nil
}

func summed(l *Lab) error {
	files, image, err := l.sums()
	if err != nil {
		return err
	}
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal([]byte(files[image.Config]), &c); err != nil {
		return fmt.Errorf("%s: %w", printable(image.Config), err)
	}
	for i, layer := range image.Layers {
		got := ""
		if i < len(c.RootFS.DiffIDs) {
			got = c.RootFS.DiffIDs[i]
		}
		if err := differs(printable(layer), got, files[layer]); err != nil {
			return err
		}
	}
	return nil
}

func whitened(l *Lab) error {
	for _, name := range [...]string{"vi", ".wh.vi"} {
		if _, err := l.lstat("archive/fs/bin/" + name); err == nil {
			return fmt.Errorf("fs/bin/%s is there", name)
		}
	}
	_, err := l.lstat("archive/fs/bin/busybox")
	return err
}
