// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vitro/image/layer"
)

func TestLoad(t *testing.T) {
	old := tarOf(t, oldSave(t, "old:1", "localhost:5000/x/old:2")...)
	tests := []struct {
		name    string
		archive []byte
		refs    []string
		layers  int
	}{
		{"docker save, old", old, []string{"localhost:5000/x/old:2", "old:1"}, 2},
		{"docker save, old, without tags", tarOf(t, oldSave(t)...), nil, 2},
		{"docker save, old, gzip", gz(old), []string{"localhost:5000/x/old:2", "old:1"}, 2},
		{"docker save, old, zstd", zst(old), []string{"localhost:5000/x/old:2", "old:1"}, 2},
		{"docker save, new", tarOf(t, newSave(t)...), []string{"example.com/new:2", "new:1"}, 2},
		{"several platforms", tarOf(t, multiPlatform(t)...), []string{"multi:3"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testStore(t)
			images := mustLoad(t, s, tt.archive)
			if len(images) != 1 {
				t.Fatalf("Load = %d images; want 1", len(images))
			}
			img := images[0]
			if !slices.Equal(img.Refs, tt.refs) || len(img.Layers) != tt.layers {
				t.Errorf("Load: %q with %d layers; want %q with %d", img.Refs, len(img.Layers), tt.refs, tt.layers)
			}
			if !slices.Equal(img.Config.Cmd, []string{"hello"}) || !img.Created.Equal(epoch) {
				t.Errorf("config: Cmd %q, created %v", img.Config.Cmd, img.Created)
			}
			checkStore(t, s)
			for _, name := range append(tt.refs, string(img.ID), img.ID.Hex()[:8]) {
				if got, err := s.Get(name); err != nil || got.ID != img.ID || !slices.Equal(got.Refs, tt.refs) {
					t.Errorf("Get(%q) = %s %q, %v; want %s", name, got.ID, got.Refs, err, img.ID)
				}
			}
			for i, l := range img.Layers {
				to, err := filepath.EvalSymlinks(filepath.Join(s.Root, img.Links[i]))
				if want, _ := filepath.EvalSymlinks(l); err != nil || to != want {
					t.Errorf("link %s leads to %q, %v; want %q", img.Links[i], to, err, want)
				}
			}
		})
	}
}

// The layer that is listed twice counts at its upper place, and its mark is on the disk.
func TestLoadLayerOrder(t *testing.T) {
	s := testStore(t)
	img := mustLoad(t, s, tarOf(t, oldSave(t, "old:1")...))[0]
	base, top := twoLayers(t)
	if want := []Digest{DigestOf(top), DigestOf(base)}; !slices.Equal(img.DiffIDs, want) {
		t.Errorf("layers %v; want %v", img.DiffIDs, want)
	}
	fi, err := os.Lstat(filepath.Join(img.Layers[0], "gone"))
	if err != nil || fi.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice {
		t.Errorf("gone: %v, %v; want overlayfs' mark of a deleted file", fi, err)
	}
}

func TestLoadSeveral(t *testing.T) {
	a, b := tarOf(t, file{name: "a", content: "a"}), tarOf(t, file{name: "b", content: "b"})
	ca, cb := configOf(t, a), configOf(t, a, b)
	archive := tarOf(t,
		file{name: "manifest.json", content: jsonOf(t, []savedImage{{"a.json", []string{"a:1"}, []string{"a.tar"}}, {"b.json", []string{"b:1"}, []string{"a.tar", "b.tar"}}})},
		file{name: "a.json", content: ca}, file{name: "b.json", content: cb},
		file{name: "a.tar", content: string(a)}, file{name: "b.tar", content: string(b)})
	s := testStore(t)
	images := mustLoad(t, s, archive)
	if len(images) != 2 || images[0].Refs[0] != "a:1" || images[1].Refs[0] != "b:1" {
		t.Fatalf("Load = %+v; want a:1 and b:1", images)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Errorf("List = %v, %v; want 2 images", list, err)
	}
	checkStore(t, s)
}

// A refusal is an archive that is hostile, or broken: it speaks about files that aren't its own, or aren't what they are
// said to be.
type refusal struct {
	name    string
	archive []byte
	want    error
	say     string
}

// refusedSaves are in Docker's form, or in none; host is a file outside.
func refusedSaves(t *testing.T, host string) []refusal {
	base, _ := twoLayers(t)
	config := configOf(t, base)
	saved := func(config, layer, tag string) file {
		return file{name: "manifest.json", content: fmt.Sprintf(`[{"Config":%q,"RepoTags":[%q],"Layers":[%q]}]`, config, tag, layer)}
	}
	c, l := file{name: "c.json", content: config}, file{name: "l.tar", content: string(base)}
	return []refusal{
		{"empty input", nil, ErrArchive, "empty"},
		{"no archive", []byte(strings.Repeat("not a tar ", 200)), ErrArchive, "no tar"},
		{"xz", []byte("\xfd7zXZ\x00"), layer.ErrXZ, "xz -dc"},
		{"root file system", base, ErrArchive, "import"},
		{"very old", tarOf(t, file{name: "repositories", content: "{}"}), ErrArchive, "before 1.10"},
		{"layer by ..", tarOf(t, c, l, saved("c.json", "../host", "a:1")), nil, `"../host"`},
		{"layer by absolute path", tarOf(t, c, l, saved("c.json", host, "a:1")), nil, "isn't the name of a file in the archive"},
		{"config by ..", tarOf(t, c, l, saved("../../c.json", "l.tar", "a:1")), nil, "isn't the name"},
		{"layer by symlink to the host", tarOf(t, c, file{name: "s.tar", link: host}, saved("c.json", "s.tar", "a:1")), nil, "not in the archive"},
		{"symlinks in a circle", tarOf(t, c, file{name: "s.tar", link: "r.tar"}, file{name: "r.tar", link: "s.tar"}, saved("c.json", "s.tar", "a:1")), nil, "not in the archive"},
		{"bad tag", tarOf(t, c, l, saved("c.json", "l.tar", "../../x:1")), nil, "image name"},
		{"config that isn't what its name says", tarOf(t, file{name: DigestOf(base).Hex() + ".json", content: config}, l, saved(DigestOf(base).Hex()+".json", "l.tar", "a:1")), ErrDigest, ""},
		{"layer that isn't what the config says", tarOf(t, c, file{name: "l.tar", content: string(tarOf(t, file{name: "evil"}))}, saved("c.json", "l.tar", "a:1")), layer.ErrDiffID, ""},
		{"diff ID that is a path", tarOf(t, file{name: "c.json", content: `{"rootfs":{"diff_ids":["sha256:../../../host"]}}`}, l, saved("c.json", "l.tar", "a:1")), nil, "digest"},
		{"no diff ID", tarOf(t, file{name: "c.json", content: `{"rootfs":{"diff_ids":[null]}}`}, l, saved("c.json", "l.tar", "a:1")), nil, "empty"},
		{"too few diff IDs", tarOf(t, file{name: "c.json", content: `{}`}, l, saved("c.json", "l.tar", "a:1")), nil, "0 diff IDs"},
		{"document too large", tarOf(t, c, l, file{name: "manifest.json", content: strings.Repeat(" ", maxJSON+1)}), nil, "larger than"},
		{"document too deep", tarOf(t, c, l, file{name: "manifest.json", content: strings.Repeat("[", 1<<20)}), nil, "manifest.json"},
		{"blob that isn't what its name says", tarOf(t, file{name: "blobs/sha256/" + DigestOf(base).Hex(), content: "x"}), ErrDigest, ""},
		{"layer that escapes", func() []byte {
			evil := tarOf(t, file{name: "up", link: ".."}, file{name: "up/host", content: "x"})
			return tarOf(t, file{name: "c.json", content: configOf(t, evil)}, file{name: "l.tar", content: string(evil)}, saved("c.json", "l.tar", "a:1"))
		}(), layer.ErrEscape, "up/host"},
		{"for another system", tarOf(t, file{name: "c.json", content: `{"os":"windows","rootfs":{"diff_ids":["` + string(DigestOf(base)) + `"]}}`}, l, saved("c.json", "l.tar", "a:1")), nil, "windows"},
		{"cut off", tarOf(t, c, l, saved("c.json", "l.tar", "a:1"))[:2000], nil, "unexpected EOF"},
	}
}

func refusedLayouts(t *testing.T) []refusal {
	base, _ := twoLayers(t)
	config := configOf(t, base)
	oci := func(edit func(*layout)) []byte {
		x := &layout{t: t}
		edit(x)
		return tarOf(t, x.done()...)
	}
	return []refusal{
		{"blob that is missing", oci(func(x *layout) { x.add(Descriptor{Digest: DigestOf(base), MediaType: MediaManifest}, nil) }), nil, "missing"},
		{"size that isn't the blob's", oci(func(x *layout) {
			d := x.blob(string(base), MediaLayer)
			d.Size++
			x.add(x.manifest(config, d), nil)
		}), ErrDigest, ""},
		{"other platforms only", oci(func(x *layout) {
			d := x.manifest(config)
			d.Platform = &Platform{OS: "linux", Architecture: "s390x"}
			x.add(x.blob(jsonOf(t, Index{Manifests: []Descriptor{d}}), MediaIndex), nil)
		}), nil, "it has: linux/s390x"},
		{"index in an index in an index", oci(func(x *layout) {
			d := x.blob("{}", MediaIndex)
			for range 9 {
				d.Platform = nil
				d = x.blob(jsonOf(t, Index{Manifests: []Descriptor{d}}), MediaIndex)
			}
			x.add(d, nil)
		}), nil, "more than"},
	}
}

func TestLoadRefuses(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	planted, _ := twoLayers(t) // what a hostile archive would like to get
	if err := os.WriteFile(host, planted, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range append(refusedSaves(t, host), refusedLayouts(t)...) {
		t.Run(tt.name, func(t *testing.T) {
			s := testStore(t)
			_, err := s.Load(context.Background(), bytes.NewReader(tt.archive))
			if err == nil || !errors.Is(err, tt.want) && tt.want != nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("error %v; want %v with %q", err, tt.want, tt.say)
			}
			if content, _ := os.ReadFile(host); !bytes.Equal(content, planted) {
				t.Error("HOST FILE WAS CHANGED")
			}
			checkStore(t, s)
			if files := filesBelow(t, s.Root); len(files) != 1 { // the lock
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// checkStore looks whether all that the store promises is so: every image whole, every blob right, nothing under way.
func checkStore(t *testing.T, s *Store) {
	t.Helper()
	images, err := s.List()
	if err != nil {
		t.Errorf("List: %v", err)
	}
	for _, img := range images {
		if !s.Unpacked(img) {
			t.Errorf("image %s: a layer is missing", img.ID.Short())
		}
	}
	for _, path := range filesBelow(t, s.path("images", "blobs")) {
		b, err := os.ReadFile(path)
		if err != nil || DigestOf(b).Hex() != filepath.Base(path) {
			t.Errorf("blob %s has digest %s, %v", path, DigestOf(b), err)
		}
	}
	if left, err := os.ReadDir(s.path("tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

func TestLoadMovesName(t *testing.T) {
	s := testStore(t)
	first := mustLoad(t, s, tarOf(t, oldSave(t, "app:1")...))[0]
	files := newSave(t)
	second := mustLoad(t, s, tarOf(t, files...))[0]
	if err := s.Tag("new:1", mustParse(t, "app:1")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("app:1"); err != nil || got.ID != second.ID {
		t.Errorf("app:1 is %s, %v; want %s", got.ID, err, second.ID)
	}
	if got, err := s.Get(string(first.ID)); err != nil || len(got.Refs) != 0 {
		t.Errorf("the first image has names %q, %v; want none", got.Refs, err)
	}
	res, err := s.Prune(nil, RemoveOptions{})
	if err != nil || !slices.Equal(res.Deleted, []Digest{first.ID}) {
		t.Errorf("Prune = %+v, %v; want %s to be deleted", res, err, first.ID)
	}
	checkStore(t, s)
}

func mustParse(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Other tools read the store, and we what they write.
func TestSkopeo(t *testing.T) {
	needSkopeo(t)
	s := testStore(t)
	img := mustLoad(t, s, tarOf(t, oldSave(t, "old:1")...))[0]
	oci := "oci:" + s.path("images") + ":old:1"
	if out := skopeo(t, "inspect", oci); !bytes.Contains(out, []byte(img.Manifest)) {
		t.Errorf("skopeo inspect: %s; want digest %s", out, img.Manifest)
	}
	dir := t.TempDir()
	for _, to := range []string{"docker-archive:" + dir + "/d.tar:back:1", "oci-archive:" + dir + "/o.tar:back:1"} {
		skopeo(t, "copy", oci, to)
		name := filepath.Join(dir, to[strings.LastIndex(to, "/")+1:len(to)-len(":back:1")])
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s2 := testStore(t)
		images, err := s2.Load(context.Background(), f)
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if got := images[0]; got.ID != img.ID || !slices.Equal(got.Refs, []string{"back:1"}) || !slices.Equal(got.DiffIDs, img.DiffIDs) {
			t.Errorf("%s: %s %q; want %s back:1", to, got.ID, got.Refs, img.ID)
		}
		checkStore(t, s2)
	}
	// An image that another tool put into the store itself: its layers aren't unpacked.
	skopeo(t, "copy", oci, "oci:"+s.path("images")+":other:2")
	got, err := s.Get("other:2")
	if err != nil || got.ID != img.ID || !slices.Equal(got.Refs, []string{"old:1", "other:2"}) {
		t.Errorf("Get(other:2) = %s %q, %v; want %s", got.ID, got.Refs, err, img.ID)
	}
	s3 := testStore(t)
	if err := s3.prepare(); err != nil {
		t.Fatal(err)
	}
	skopeo(t, "copy", oci, "oci:"+s3.path("images")+":other:3")
	if got, err = s3.Get("other:3"); err != nil || s3.Unpacked(got) {
		t.Fatalf("Get(other:3) = %s, %v; want an image that isn't unpacked", got.ID, err)
	}
	if err := s3.Complete(context.Background(), got); err != nil || !s3.Unpacked(got) {
		t.Errorf("Complete: %v; want the layers to be there", err)
	}
	checkStore(t, s3)
}

func TestLoadBzip2(t *testing.T) {
	s := testStore(t)
	mustLoad(t, s, bzipped(t, tarOf(t, oldSave(t, "old:1")...)))
	checkStore(t, s)
}

func TestProgress(t *testing.T) {
	s := testStore(t)
	ended := map[string]int{}
	s.Progress = func(e Event) {
		if e.Done > e.Total {
			t.Errorf("event %+v: more is done than there is", e)
		}
		if e.Done == e.Total {
			ended[e.Op]++
		}
	}
	archive := tarOf(t, oldSave(t, "a:1")...)
	mustLoad(t, s, archive)
	if ended["read"] != 7 || ended["unpack"] != 2 || ended["have"] != 0 {
		t.Errorf("first load: %v; want 7 files read, 2 layers unpacked", ended)
	}
	mustLoad(t, s, archive)
	if ended["unpack"] != 2 || ended["have"] != 2 {
		t.Errorf("second load: %v; want 2 layers there already", ended)
	}
}

func TestLoadOpaqueRoot(t *testing.T) {
	base, _ := twoLayers(t)
	top := tarOf(t, file{name: ".wh..wh..opq"}, file{name: "new", content: "x"})
	archive := tarOf(t, file{name: "c.json", content: configOf(t, base, top)}, file{name: "0", content: string(base)}, file{name: "1", content: string(top)},
		file{name: "manifest.json", content: jsonOf(t, []savedImage{{"c.json", []string{"a:1"}, []string{"0", "1"}}})})
	s := testStore(t)
	img := mustLoad(t, s, archive)[0]
	got, err := s.Get("a:1")
	if want := []Digest{DigestOf(top)}; err != nil || !slices.Equal(img.DiffIDs, want) || !slices.Equal(got.DiffIDs, want) {
		t.Errorf("layers %v, then %v, %v; want only the upper one", img.DiffIDs, got.DiffIDs, err)
	}
	if _, err := s.Prune(nil, RemoveOptions{}); err != nil || !s.hasLayer(DigestOf(base)) {
		t.Errorf("the layer below is gone, which the image still names: %v", err)
	}
}
