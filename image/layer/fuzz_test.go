// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the archive is: nothing outside the layer changes, and an error leaves nothing.
func FuzzUnpack(f *testing.F) {
	f.Add(archiveOf(f, reg("a"), dir("d"), sym("d/l", ".."), reg("d/l/x"), hard("h", "a")))
	f.Add(archiveOf(f, reg("d/.wh..wh..opq"), reg(".wh.d"), reg("d/f"), reg("d")))
	f.Add(archiveOf(f, sym("up", ".."), reg("up/host")))
	f.Add(archiveOf(f, reg("../host"), entry{Name: "n", Typeflag: tar.TypeFifo}))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		base := t.TempDir()
		if err := os.WriteFile(filepath.Join(base, "host"), []byte("planted"), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := filepath.Join(base, "fs")
		opts := asUser()
		opts.MaxEntries, opts.MaxBytes, opts.IgnoreDevices = 100, 1<<20, true
		_, err := unpackReader(context.Background(), bytes.NewReader(archive), Request{Dir: fs, Options: opts})
		if _, serr := os.Lstat(fs); (err == nil) != (serr == nil) {
			t.Errorf("Unpack: %v, the directory: %v", err, serr)
		}
		if err := RemoveAll(fs); err != nil {
			t.Error(err)
		}
		left, _ := os.ReadDir(base)
		content, _ := os.ReadFile(filepath.Join(base, "host"))
		if len(left) != 1 || string(content) != "planted" {
			t.Errorf("HOST FILE WAS CHANGED: %v, %q", left, content)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a", "./", "/", "../a", "a//b/", ".wh.a", ".wh...", "a/.wh..wh..opq", ".wh..wh.plnk/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := cleanName(s)
		if err != nil {
			return
		}
		if !filepath.IsLocal(name) {
			t.Errorf("cleanName(%q) = %q, which leads out", s, name)
		}
		if _, target, err := roleOf(name); err == nil && !filepath.IsLocal(target) {
			t.Errorf("roleOf(%q) = %q, which leads out", name, target)
		}
	})
}
