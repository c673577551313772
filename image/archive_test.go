// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"vitro/image/layer"
)

// testStore has what an ordinary user needs.
func testStore(t testing.TB) *Store {
	t.Helper()
	s := &Store{
		Root:    filepath.Join(t.TempDir(), "store"),
		Options: layer.Options{UserXattr: true, DropOwner: os.Geteuid() != 0, NoSync: true},
	}
	t.Cleanup(func() {
		if err := layer.RemoveAll(s.Root); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A file is one of a tar archive: a directory by its name's slash, a symlink by link.
type file struct{ name, content, link string }

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Typeflag: tar.TypeReg, ModTime: time.Unix(1e9, 0)}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case f.name[len(f.name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var epoch = time.Unix(1e9, 0).UTC()

// configOf makes a config for plain layers.
func configOf(t testing.TB, layers ...[]byte) string {
	c := ConfigFile{
		Created:  &epoch,
		Platform: Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   Config{Cmd: []string{"hello"}, Env: []string{"A=b"}},
		RootFS:   RootFS{Type: "layers"},
	}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, DigestOf(l))
	}
	return jsonOf(t, c)
}

func twoLayers(t testing.TB) (base, top []byte) {
	return tarOf(t, file{name: "bin/"}, file{name: "bin/sh", content: "shell"}, file{name: "gone", content: "x"}),
		tarOf(t, file{name: "etc/hello", content: "hi"}, file{name: ".wh.gone"})
}

// oldSave is what Docker before 25 writes: the middle layer is the same as the first, so it is a symlink.
func oldSave(t testing.TB, tags ...string) []file {
	base, top := twoLayers(t)
	config := configOf(t, base, top, base)
	name := DigestOf([]byte(config)).Hex() + ".json"
	return []file{
		{name: "aaa/"}, {name: "aaa/VERSION", content: "1.0"}, {name: "aaa/json", content: "{}"}, {name: "aaa/layer.tar", content: string(base)},
		{name: "bbb/layer.tar", content: string(top)},
		{name: "ccc/layer.tar", link: "../aaa/layer.tar"},
		{name: name, content: config},
		{name: "manifest.json", content: jsonOf(t, []savedImage{{name, tags, []string{"aaa/layer.tar", "bbb/layer.tar", "ccc/layer.tar"}}})},
		{name: "repositories", content: "{}"},
	}
}

// A layout collects the blobs of an OCI archive.
type layout struct {
	t     testing.TB
	files []file
	index Index
}

func (l *layout) blob(content, mediaType string) Descriptor {
	d := DigestOf([]byte(content))
	l.files = append(l.files, file{name: "blobs/sha256/" + d.Hex(), content: content})
	return Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

func (l *layout) manifest(config string, layers ...Descriptor) Descriptor {
	m := Manifest{SchemaVersion: 2, MediaType: MediaManifest, Config: l.blob(config, MediaConfig), Layers: layers}
	return l.blob(jsonOf(l.t, m), MediaManifest)
}

func (l *layout) add(d Descriptor, annotations map[string]string) {
	d.Annotations = annotations
	l.index.Manifests = append(l.index.Manifests, d)
}

func (l *layout) done(more ...file) []file {
	l.index.SchemaVersion, l.index.MediaType = 2, MediaIndex
	return slices.Concat(l.files, []file{
		{name: "index.json", content: jsonOf(l.t, l.index)},
		{name: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}`},
	}, more)
}

// newSave is what Docker 25 and later write: an OCI layout with a manifest.json, whose tags are more than one.
func newSave(t testing.TB) []file {
	base, top := twoLayers(t)
	l := &layout{t: t}
	config := configOf(t, base, top)
	d := l.manifest(config, l.blob(string(base), MediaLayer), l.blob(string(gz(top)), MediaLayerGzip))
	l.add(d, map[string]string{annotationName: "docker.io/library/new:1", annotationRef: "1"})
	saved := []savedImage{{"blobs/sha256/" + DigestOf([]byte(config)).Hex(), []string{"new:1", "example.com/new:2"}, nil}}
	return l.done(file{name: "manifest.json", content: jsonOf(t, saved)})
}

// multiPlatform has an index with attestations and a strange machine before this one.
func multiPlatform(t testing.TB) []file {
	base, _ := twoLayers(t)
	l := &layout{t: t}
	other := l.manifest(`{"architecture":"s390x","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	other.Platform = &Platform{OS: "linux", Architecture: "s390x"}
	attest := l.manifest(`{}`)
	attest.Platform = &Platform{OS: "unknown", Architecture: "unknown"}
	attest.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	mine := l.manifest(configOf(t, base), l.blob(string(zst(base)), MediaLayerZstd))
	mine.Platform = &Platform{OS: "linux", Architecture: runtime.GOARCH}
	idx := jsonOf(t, Index{SchemaVersion: 2, MediaType: MediaIndex, Manifests: []Descriptor{other, attest, mine}})
	l.add(l.blob(idx, MediaIndex), map[string]string{annotationRef: "multi:3"})
	return l.done()
}

func mustLoad(t testing.TB, s *Store, archive []byte) []Image {
	t.Helper()
	images, err := s.Load(context.Background(), onlyReader{bytes.NewReader(archive)})
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// onlyReader can't seek: a pipe.
type onlyReader struct{ r *bytes.Reader }

func (o onlyReader) Read(b []byte) (int, error) { return o.r.Read(b) }

func needSkopeo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("needs skopeo in PATH")
	}
}

func skopeo(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("skopeo", append([]string{"--insecure-policy"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TMPDIR="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo %v: %v\n%s", args, err, out)
	}
	return out
}

func bzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	cmd := exec.Command("bzip2", "-c")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("needs bzip2: %v", err)
	}
	return out
}
