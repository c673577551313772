// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

func nobody(string) []string { return nil }

func newStore(t *testing.T) *Store {
	s := &Store{Root: filepath.Join(t.TempDir(), "volumes")}
	s.Fill = func(dir string, from Source) error {
		fd, err := unix.Open(from.Layers[0]+from.Target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			fd = -1
		} else {
			defer unix.Close(fd)
		}
		return Fill(dir, fd)
	}
	return s
}

func TestNames(t *testing.T) {
	for _, name := range []string{"ab", "A1", "a_b.c-d", strings.Repeat("x", 255)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "a", "..", ".a", "-a", "a/b", "a b", "a\n", "ä", "a\x00b", strings.Repeat("x", 256)} {
		if err := CheckName(name); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

func TestLife(t *testing.T) {
	s := newStore(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("before there is one: %v, %v", list, err)
	}
	v, err := s.Create(Volume{Name: "web", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(v.Data()); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("data: %v, %v", st, err)
	}
	again, err := s.Create(Volume{Name: "web"})
	if err != nil || again.Labels["a"] != "b" || !again.Created.Equal(v.Created) {
		t.Errorf("made twice: %+v, %v", again, err)
	}
	opts := map[string]string{"type": "tmpfs", "device": "tmpfs"}
	if _, err := s.Create(Volume{Name: "web", Options: opts}); !errors.Is(err, ErrConflict) {
		t.Errorf("made twice, with options: %v", err)
	}
	var used *InUseError
	if err := s.Remove("web", func(string) []string { return []string{"c1"} }); !errors.As(err, &used) || used.IDs[0] != "c1" {
		t.Errorf("removed while it is used: %v", err)
	}
	if err := s.Remove("web", nobody); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("web", nobody); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if left, _ := os.ReadDir(s.Root); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"type=tmpfs device=tmpfs o=size=1m,uid=5", "tmpfs tmpfs [size=1m uid=5] false"},
		{"type=none device=/srv o=bind", "none /srv [bind] true"},
		{"type=none device=srv o=bind", `device "srv" is no absolute path`},
		{"device=/srv", `option "type" is missing`},
		{"type=ext4", `option "device" is missing`},
		{"size=1m", `option "size": a folder has no quota here`},
		{"shape=round", `no option "shape"`},
	} {
		opts := map[string]string{}
		for _, f := range strings.Fields(c.in) {
			k, v, _ := strings.Cut(f, "=")
			opts[k] = v
		}
		d, err := ReadOptions(opts)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case d != nil:
			got = fmt.Sprintf("%s %s %v %t", d.Type, d.Source, d.Options, d.Bind())
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// tree makes an image's folder, with a link, a hard link and modes.
func tree(t *testing.T, files int) string {
	dir := t.TempDir()
	at := dir + "/data/sub"
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(fmt.Sprintf("%s/f%d", at, i), []byte(fmt.Sprint(i)), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/data/g%d", dir, i), []byte(fmt.Sprint(i)), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Symlink("/etc", at+"/link"), os.Link(at+"/f0", dir+"/data/hard"), os.Chmod(dir+"/data", 0o1751),
		os.Chtimes(dir+"/data", time.Unix(1e9, 0), time.Unix(1e9, 0))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sum tells trees apart, by cp(1)'s own standards.
func sum(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$1" && find . -printf '%p %y %m %U:%G %n %s %l ' -a \( -type d -printf '\n' -o -printf '%T@\n' \) | sort; stat -c %Y .`, "sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.ReplaceAll(string(out), "4096", "")
}

func (s *Store) start(t *testing.T, name, layer string) error {
	t.Helper()
	return s.Use(s.Place(name), &Source{Layers: []string{layer}, Target: "/data"}).Do(&plan.Env{})
}

func TestFill(t *testing.T) {
	s, image := newStore(t), tree(t, 3)
	if err := s.start(t, "web", image); err != nil {
		t.Fatal(err)
	}
	v, err := s.Get("web")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sum(t, v.Data()), sum(t, image+"/data"); got != want {
		t.Errorf("the copy:\n%s\nwant:\n%s", got, want)
	}
	// What is in it stays, whatever the next image has.
	if err := os.Remove(v.Data() + "/g0"); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t, "web", tree(t, 1)); err != nil || exists(v.Data()+"/g0") {
		t.Errorf("filled again: %v", err)
	}
	// An image without the folder.
	if err := s.start(t, "none", t.TempDir()); err != nil {
		t.Error(err)
	}
}

// TestManyFill: of those who want the same new volume at once one fills it,
// and none of them goes on before it is whole.
func TestManyFill(t *testing.T) {
	s, image := newStore(t), tree(t, 50)
	want := sum(t, image+"/data")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := s.start(t, "web", image); err != nil {
				t.Error(err)
				return
			}
			if got := sum(t, s.Root+"/web/data"); got != want {
				t.Error("somebody has seen half a copy")
			}
		})
	}
	wait.Wait()
}

// TestKilled: wherever the copying is cut off, the next one finds the volume
// empty or whole, and makes it whole.
func TestKilled(t *testing.T) {
	s, image := newStore(t), tree(t, 20)
	want := sum(t, image+"/data")
	for n := range 12 {
		name := fmt.Sprintf("v%d", n)
		cmd := exec.Command("/proc/self/exe", "-test.run=TestFillForKilled")
		cmd.Env = append(os.Environ(), "VOLUME_FILL="+s.Root+" "+name+" "+image, "TMPDIR="+t.TempDir()) // who is killed tidies nothing
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for i := 0; !exists(s.Root+"/"+name+"/stage") && i < 10000; i++ {
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(time.Duration(n) * 300 * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if exists(s.Root+"/"+name+"/data/g0") && !exists(s.Root+"/"+name+"/ready") {
			if got := sum(t, s.Root+"/"+name+"/data"); got != want {
				t.Errorf("%d: there is half a copy, and nothing says so", n)
			}
		}
		if err := s.start(t, name, image); err != nil {
			t.Fatal(err)
		}
		if got := sum(t, s.Root+"/"+name+"/data"); got != want {
			t.Errorf("%d: got\n%s\nwant\n%s", n, got, want)
		}
		for _, left := range []string{"stage", "ready"} {
			if exists(s.Root + "/" + name + "/" + left) {
				t.Errorf("%d: %s is left", n, left)
			}
		}
	}
}

// TestFillForKilled is what TestKilled kills.
func TestFillForKilled(t *testing.T) {
	order := strings.Fields(os.Getenv("VOLUME_FILL"))
	if len(order) != 3 {
		t.Skip("not TestKilled's")
	}
	s := newStore(t)
	s.Root = order[0]
	for {
		if err := s.start(t, order[1], order[2]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftovers: what killed processes have left is gone with the next volume.
func TestLeftovers(t *testing.T) {
	s := newStore(t)
	old := time.Now().Add(-time.Minute)
	for _, dir := range []string{".new-1", ".gone-1/data"} {
		if err := os.MkdirAll(s.Root+"/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".new-1", ".gone-1"} {
		if err := os.WriteFile(s.Root+"/"+name+"/lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(s.Root+"/"+name+"/lock", old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Create(Volume{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, _ := os.ReadDir(s.Root)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"web"}) {
		t.Errorf("left: %v", names)
	}
}
