// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const loaderEnv = "VITRO_TEST_LOADER"

// TestMain lets the test binary be the other process: it loads the archive on its input into the store in loaderEnv.
func TestMain(m *testing.M) {
	root := os.Getenv(loaderEnv)
	if root == "" {
		os.Exit(m.Run())
	}
	s := &Store{Root: root}
	s.Options.UserXattr, s.Options.DropOwner, s.Options.NoSync = true, os.Geteuid() != 0, true
	if _, err := s.Load(context.Background(), os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func loader(root, archive string) (*exec.Cmd, io.Closer, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), loaderEnv+"="+root)
	cmd.Stdin = f
	return cmd, f, nil
}

// bigSave has some layers with some hundred files each.
func bigSave(t *testing.T, tag string) string {
	var layers [][]byte
	var files []file
	var names []string
	for i := range 4 {
		var content []file
		for j := range 300 {
			content = append(content, file{name: fmt.Sprintf("d%d/f%d", i, j), content: strings.Repeat("z", 3000)})
		}
		layers = append(layers, tarOf(t, content...))
		names = append(names, fmt.Sprintf("%d.tar", i))
		files = append(files, file{name: names[i], content: string(layers[i])})
	}
	files = append(files, file{name: "c.json", content: configOf(t, layers...)},
		file{name: "manifest.json", content: jsonOf(t, []savedImage{{"c.json", []string{tag}, names}})})
	path := filepath.Join(t.TempDir(), "save.tar")
	if err := os.WriteFile(path, tarOf(t, files...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSideBySide(t *testing.T) {
	s := testStore(t)
	archives := []string{bigSave(t, "big:1"), bigSave(t, "big:2")}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			cmd, in, err := loader(s.Root, archives[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("load: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	checkStore(t, s)
	img, err := s.Get("big:2")
	if err != nil || strings.Join(img.Refs, " ") != "big:1 big:2" || len(img.Layers) != 4 {
		t.Errorf("Get(big:2) = %q with %d layers, %v; want big:1 big:2 with 4", img.Refs, len(img.Layers), err)
	}
}

// A load that is killed leaves the image whole or not there, and the next one cleans up behind it.
func TestLoadKilled(t *testing.T) {
	s := testStore(t)
	archive := bigSave(t, "big:1")
	load := func(kill time.Duration) (killed bool) {
		cmd, in, err := loader(s.Root, archive)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kill >= 0 {
			time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		}
		err = cmd.Wait()
		if e := (*exec.ExitError)(nil); kill < 0 && errors.As(err, &e) {
			t.Fatalf("load: %v", err)
		}
		return err != nil
	}
	start := time.Now()
	load(-1)
	whole := time.Since(start)
	kills := 0
	for range 15 {
		if _, err := s.Remove("big:1", RemoveOptions{}); err != nil && !errors.As(err, new(*NotFoundError)) {
			t.Fatal(err)
		}
		if load(time.Duration(rand.Int64N(int64(whole)))) {
			kills++
		}
		checkVisible(t, s)
	}
	if kills == 0 {
		t.Error("no load was killed: nothing was tested")
	}
	load(-1)
	checkStore(t, s)
	if _, err := s.Get("big:1"); err != nil {
		t.Error(err)
	}
}

// checkVisible looks at what a reader can see: every image and every layer is complete.
func checkVisible(t *testing.T, s *Store) {
	t.Helper()
	images, err := s.List()
	if err != nil {
		t.Errorf("List: %v", err)
	}
	for _, img := range images {
		if !s.Unpacked(img) {
			t.Errorf("image %q lacks a layer", img.Refs)
		}
	}
	layers, err := filepath.Glob(s.path("layers", "sha256", "*", "fs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fs := range layers {
		if n := len(filesBelow(t, fs)); n != 300 {
			t.Errorf("layer %s has %d files; want 300", fs, n)
		}
	}
}
