// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/image/layer"
)

func TestGet(t *testing.T) {
	s := testStore(t)
	if _, err := s.Get("nothing"); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("Get in a store that doesn't exist: %v; want a NotFoundError", err)
	}
	a, b := tarOf(t, file{name: "a"}), tarOf(t, file{name: "b"})
	ctx := context.Background()
	busybox, err := s.Import(ctx, bytes.NewReader(a), mustParse(t, "busybox"), ImportOptions{Created: epoch})
	if err != nil {
		t.Fatal(err)
	}
	alpine, err := s.Import(ctx, bytes.NewReader(b), mustParse(t, "quay.io/x/alpine:3"), ImportOptions{Created: epoch.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		want Digest
		near []string
	}{
		{"busybox", busybox.ID, nil},
		{"busybox:latest", busybox.ID, nil},
		{"library/busybox", busybox.ID, nil},
		{"docker.io/library/busybox:latest", busybox.ID, nil},
		{"index.docker.io/library/busybox", busybox.ID, nil},
		{"busybox@" + string(busybox.Manifest), busybox.ID, nil},
		{"busybox:any@" + string(busybox.Manifest), busybox.ID, nil},
		{string(busybox.ID), busybox.ID, nil},
		{busybox.ID.Hex(), busybox.ID, nil},
		{busybox.ID.Short(), busybox.ID, nil},
		{"sha256:" + busybox.ID.Short(), busybox.ID, nil},
		{"quay.io/x/alpine:3", alpine.ID, nil},
		{"quay.io/x/alpine@" + string(busybox.Manifest), "", []string{"quay.io/x/alpine:3"}},
		{"alpine:3", "", nil},
		{"busbox", "", []string{"busybox:latest"}},
		{"busybox:1", "", []string{"busybox:latest"}},
		{"Busybox", "", []string{"busybox:latest"}},
		{"quay.io/x/alpin", "", []string{"quay.io/x/alpine:3"}},
		{"0000000000000", "", nil},
		{"", "", nil},
		{"../x", "", nil},
	}
	for _, tt := range tests {
		got, err := s.Get(tt.name)
		if got.ID != tt.want {
			t.Errorf("Get(%q) = %s, %v; want %s", tt.name, got.ID, err, tt.want)
		}
		if tt.want != "" {
			continue
		}
		var missing *NotFoundError
		if !errors.As(err, &missing) || !slices.Equal(missing.Near, tt.near) || missing.Name != tt.name {
			t.Errorf("Get(%q): %#v; want a NotFoundError with %q", tt.name, err, tt.near)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].ID != alpine.ID {
		t.Errorf("List = %v, %v; want alpine, busybox", list, err)
	}
}

func TestGetAmbiguous(t *testing.T) {
	s := testStore(t)
	var list []Descriptor
	for _, id := range []string{"a1", "a2"} {
		id = strings.Repeat(id, 32)
		list = append(list, Descriptor{Digest: Digest("sha256:" + id), Annotations: map[string]string{annotationID: "sha256:" + id}})
	}
	_, err := s.find(list, "a")
	if amb := (*AmbiguousError)(nil); !errors.As(err, &amb) || len(amb.IDs) != 2 {
		t.Errorf("find(a): %v; want an AmbiguousError of 2", err)
	}
	if d, err := s.find(list, "a2"); err != nil || d.Digest != list[1].Digest {
		t.Errorf("find(a2) = %v, %v", d.Digest, err)
	}
}

func TestRemove(t *testing.T) {
	s := testStore(t)
	ctx := context.Background()
	img := mustLoad(t, s, tarOf(t, oldSave(t, "a:1", "a:2")...))[0]
	base, top := twoLayers(t)
	other, err := s.Import(ctx, bytes.NewReader(base), mustParse(t, "b:1"), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := s.Remove(string(img.ID), RemoveOptions{}); !errors.As(err, new(*SeveralNamesError)) {
		t.Errorf("Remove by ID with two names: %v; want a SeveralNamesError", err)
	}
	res, err := s.Remove("a:1", RemoveOptions{})
	if err != nil || !slices.Equal(res.Untagged, []string{"a:1"}) || len(res.Deleted)+len(res.Layers) != 0 {
		t.Errorf("Remove(a:1) = %+v, %v; want it untagged only", res, err)
	}
	used := func(d Digest) bool { return d == DigestOf(top) }
	res, err = s.Remove(img.ID.Short(), RemoveOptions{InUse: used})
	if err != nil || !slices.Equal(res.Untagged, []string{"a:2"}) || !slices.Equal(res.Deleted, []Digest{img.ID}) || len(res.Layers) != 0 {
		t.Errorf("Remove by ID = %+v, %v; want a:2 and the image, no layer", res, err)
	}
	if !s.hasLayer(DigestOf(top)) || !s.Unpacked(other) {
		t.Error("a layer that is in use was removed")
	}
	res, err = s.Prune(nil, RemoveOptions{})
	if err != nil || !slices.Equal(res.Layers, []Digest{DigestOf(top)}) || s.hasLayer(DigestOf(top)) {
		t.Errorf("Prune = %+v, %v; want the layer that was in use", res, err)
	}
	if _, err := s.Remove("b:1", RemoveOptions{}); err != nil {
		t.Error(err)
	}
	for _, path := range filesBelow(t, s.Root) {
		if base := filepath.Base(path); base != "lock" && base != "index.json" && base != "oci-layout" && base != "names" {
			t.Errorf("left behind: %s", path)
		}
	}
	checkStore(t, s)
}

// A layer that was there when a load began, and is removed before it ends, is unpacked after all.
func TestCommitAfterRemove(t *testing.T) {
	s := testStore(t)
	ctx := context.Background()
	base, _ := twoLayers(t)
	img, err := s.Import(ctx, bytes.NewReader(base), mustParse(t, "a:1"), ImportOptions{Created: epoch})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	idx, _ := s.index()
	if err := tx.AddImage(idx.Manifests[0], mustParse(t, "b:1")); err != nil {
		t.Fatal(err)
	}
	if err := tx.unpackAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove("a:1", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.publish(); err != errVanished {
		t.Errorf("publish: %v; want %v", err, errVanished)
	}
	images, err := tx.Commit(ctx)
	if err != nil || images[0].ID != img.ID || !slices.Equal(images[0].Refs, []string{"b:1"}) {
		t.Errorf("Commit = %v, %v; want b:1", images, err)
	}
	if err := tx.Close(); err != nil {
		t.Error(err)
	}
	checkStore(t, s)
}

func TestAddBlobVerifies(t *testing.T) {
	s := testStore(t)
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	good := []byte("good")
	for name, want := range map[string]Descriptor{
		"digest":    {Digest: DigestOf([]byte("else")), Size: 4},
		"too short": {Digest: DigestOf(good), Size: 5},
		"too long":  {Digest: DigestOf(good[:3]), Size: 3},
	} {
		if _, err := tx.AddBlob(bytes.NewReader(good), want); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: error %v; want %v", name, err, ErrDigest)
		}
		if tx.HasBlob(want.Digest) {
			t.Errorf("%s: the blob is kept", name)
		}
	}
	if files := filesBelow(t, tx.dir.path); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestImport(t *testing.T) {
	root := tarOf(t, file{name: "./"}, file{name: "./bin/"}, file{name: "./bin/sh", content: "x"})
	for name, archive := range map[string][]byte{"plain": root, "gzip": gz(root), "zstd": zst(root), "bzip2": bzipped(t, root)} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			img, err := s.Import(context.Background(), bytes.NewReader(archive), mustParse(t, "mine:1"),
				ImportOptions{Changes: []string{`CMD ["sh"]`, "env A=1"}, Message: "hi", Created: epoch})
			if err != nil {
				t.Fatal(err)
			}
			if img.DiffIDs[0] != DigestOf(root) || !slices.Equal(img.Config.Cmd, []string{"sh"}) || !slices.Equal(img.Config.Env, []string{"A=1"}) {
				t.Errorf("Import = %+v", img)
			}
			if b, err := os.ReadFile(filepath.Join(img.Layers[0], "bin/sh")); err != nil || string(b) != "x" {
				t.Errorf("bin/sh: %q, %v", b, err)
			}
			checkStore(t, s)
		})
	}
	s := testStore(t)
	if _, err := s.Import(context.Background(), bytes.NewReader(nil), Reference{}, ImportOptions{}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("Import of nothing: %v", err)
	}
	if _, err := s.Import(context.Background(), bytes.NewReader(root), Reference{}, ImportOptions{Changes: []string{"RUN x"}}); err == nil || !strings.Contains(err.Error(), "WORKDIR") {
		t.Errorf("Import with RUN: %v", err)
	}
}

func TestHold(t *testing.T) {
	s := testStore(t)
	r1, err := s.Hold()
	if err != nil {
		t.Fatal(err)
	}
	r2, err := s.Hold() // several at once
	if err != nil {
		t.Fatal(err)
	}
	change := func() error {
		f, err := s.flock(unix.LOCK_EX | unix.LOCK_NB)
		if err == nil {
			f.Close()
		}
		return err
	}
	if err := change(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("change while two hold the store: %v; want %v", err, unix.EWOULDBLOCK)
	}
	r1()
	if err := change(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("change while one holds the store: %v; want %v", err, unix.EWOULDBLOCK)
	}
	r2()
	if err := change(); err != nil {
		t.Errorf("change of a free store: %v", err)
	}
}

func TestEnsureBusybox(t *testing.T) {
	path, err := findBusybox()
	if err != nil {
		t.Skipf("needs a statically linked busybox: %v", err)
	}
	s := testStore(t)
	img, err := s.EnsureBusybox(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.EnsureBusybox(context.Background())
	if err != nil || again.ID != img.ID {
		t.Errorf("the second time: %s, %v; want %s", again.ID, err, img.ID)
	}
	other, err := testStore(t).EnsureBusybox(context.Background())
	if err != nil || other.ID != img.ID {
		t.Errorf("in another store: %s, %v; want the same image %s", other.ID, err, img.ID)
	}
	fs := img.Layers[0]
	applets, err := listApplets(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := os.Stat(filepath.Join(fs, "bin/busybox"))
	for _, name := range applets {
		if fi, err := os.Stat(filepath.Join(fs, "bin", name)); err != nil || !os.SameFile(fi, want) {
			t.Errorf("applet %s is not a link to busybox: %v", name, err)
		}
	}
	for name, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "root": 0o700, "dev": 0o755} {
		if fi, err := os.Stat(filepath.Join(fs, name)); err != nil || fi.Mode() != mode|os.ModeDir {
			t.Errorf("%s: %v, %v; want mode %v", name, fi.Mode(), err, mode)
		}
	}
	out, err := exec.Command(filepath.Join(fs, "bin/echo"), "hi").Output()
	if err != nil || string(out) != "hi\n" {
		t.Errorf("bin/echo hi = %q, %v", out, err)
	}
	if !Builtin("busybox") || Builtin("alpine") || Builtin("x/busybox") {
		t.Error("Builtin: want it to be true for busybox alone")
	}
	checkStore(t, s)
}

// A busybox that needs libraries would make an image that doesn't run.
func TestBusyboxDynamic(t *testing.T) {
	if err := checkStatic("/bin/ls"); err == nil || !strings.Contains(err.Error(), "dynamically") {
		t.Skipf("needs a dynamically linked /bin/ls: %v", err)
	}
	dir := t.TempDir()
	if err := os.Symlink("/bin/ls", filepath.Join(dir, "busybox")); err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(filepath.Join(dir, "busybox")); err == nil {
		t.Error("a dynamic busybox was accepted")
	}
	if !strings.Contains(ErrNoBusybox.Error(), "apt-get install busybox-static") {
		t.Error("the error has no remedy")
	}
}

// The hooks are what an engine runs in another process.
func TestHooks(t *testing.T) {
	s := testStore(t)
	unpacked, removed := 0, ""
	s.Unpack = func(ctx context.Context, req layer.Request) (layer.Result, error) {
		unpacked++
		return layer.Unpack(ctx, req)
	}
	s.RemoveAll = func(path string) error {
		removed = path
		return nil
	}
	root := tarOf(t, file{name: "a"})
	if _, err := s.Import(context.Background(), bytes.NewReader(root), mustParse(t, "a"), ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if unpacked != 1 || removed != "" {
		t.Errorf("%d calls of Unpack, RemoveAll of %q; want 1, and none where it isn't needed", unpacked, removed)
	}
	if err := s.removeAll("/proc/version"); err != nil || removed != "/proc/version" {
		t.Errorf("what can't be removed: %v, RemoveAll of %q", err, removed)
	}
}
