// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// file is an entry of an archive.
type file struct {
	name string // with a slash at the end, a folder
	mode int64
	link string
	data []byte
}

func writeTar(files []file) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Linkname: f.link, Typeflag: tar.TypeReg}
		switch {
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

// tree is the root file system: busybox, two users, and things that can't be run.
func tree() ([]file, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox's applets: %w", err)
	}
	list := []file{
		{name: "bin/", mode: 0o755}, {name: "etc/", mode: 0o755}, {name: "root/", mode: 0o700}, {name: "tmp/", mode: 0o1777},
		{name: "home/", mode: 0o755}, {name: "data/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n")},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\nuser:x:1000:\nmore:x:2000:user\n")},
		{name: "etc/plain", mode: 0o644, data: []byte("echo text\n")},
		{name: "bin/script", mode: 0o755, data: []byte("#!/no/such/shell\n")},
		{name: "bin/busybox", mode: 0o755, data: busybox},
	}
	for a := range strings.FieldsSeq(string(applets)) {
		if a != "busybox" {
			list = append(list, file{name: "bin/" + a, mode: 0o777, link: "busybox"})
		}
	}
	return list, nil
}

// makeImage writes an archive that all engines can load: localhost/bb:1, and
// localhost/pause:1, which does nothing for long.
func makeImage(dir string) (string, error) {
	files, err := tree()
	if err != nil {
		return "", err
	}
	layer, err := writeTar(files)
	if err != nil {
		return "", err
	}
	type object = map[string]any
	archive := []file{{name: "layer.tar", mode: 0o644, data: layer}}
	var manifest []object
	for name, command := range map[string][]string{"bb": {"sh"}, "pause": {"sleep", "100000"}} {
		config, err := json.Marshal(object{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": object{"Cmd": command, "Env": []string{"PATH=/usr/bin:/bin", "FROM_IMAGE=yes"}},
			"rootfs": object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
		})
		if err != nil {
			return "", err
		}
		archive = append(archive, file{name: name + ".json", mode: 0o644, data: config})
		manifest = append(manifest, object{"Config": name + ".json", "RepoTags": []string{"localhost/" + name + ":1"}, "Layers": []string{"layer.tar"}})
	}
	list, err := json.Marshal(manifest)
	if err != nil {
		return "", err
	}
	text, err := writeTar(append(archive, file{name: "manifest.json", mode: 0o644, data: list}))
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "images.tar")
	return name, os.WriteFile(name, text, 0o644)
}
