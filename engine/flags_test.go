// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/plan"
)

// show is a mount as one line.
func show(m specs.Mount) string {
	return fmt.Sprintf("%s %s %s %s", m.Type, m.Source, m.Destination, strings.Join(m.Options, ","))
}

func TestMountFlags(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		parse      func(string) (specs.Mount, error)
		text, want string // want: the mount, or "!" and a part of the error
	}{
		{parseVolume, dir + ":/data", "bind " + dir + " /data rbind,rprivate"},
		{parseVolume, dir + ":/data:ro", "bind " + dir + " /data rbind,rro,rprivate"},
		{parseVolume, dir + ":/data:bind,noexec,rshared", "bind " + dir + " /data bind,noexec,rshared"},
		{parseVolume, dir + "/new:/data:z", "bind " + dir + "/new /data rbind,rprivate"},
		{parseVolume, "/data", "!not SOURCE:TARGET"},
		{parseVolume, "data:/data", "!name of a volume"},
		{parseVolume, dir + ":/data:fast", "!no option"},
		{parseVolume, "a:b:c:d", "!not SOURCE:TARGET"},
		{parseMount, "type=bind,source=" + dir + ",target=/data,readonly", "bind " + dir + " /data rbind,rprivate,rro"},
		{parseMount, "type=bind,src=" + dir + ",dst=/data,bind-recursive=disabled,bind-propagation=slave", "bind " + dir + " /data bind,slave"},
		{parseMount, "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1777", "tmpfs tmpfs /t nosuid,nodev,noexec,size=1048576,mode=1777"},
		{parseMount, "type=tmpfs,source=/x,target=/t", "!no source"},
		{parseMount, "type=bind,source=data,target=/t", "!no absolute path"},
		{parseMount, "type=volume,source=data,target=/t", "!not there yet"},
		{parseMount, "type=bind,colour=red", "!no key"},
		{parseMount, "type=tmpfs,target=/t,tmpfs-mode=9", "!no octal number"},
		{parseTmpfs, "/t", "tmpfs tmpfs /t nosuid,nodev,noexec"},
		{parseTmpfs, "/t:size=1m,exec", "tmpfs tmpfs /t nosuid,nodev,noexec,size=1m,exec"},
	} {
		m, err := c.parse(c.text)
		got := show(m)
		if err != nil {
			got = "!" + err.Error()
		}
		if part, isErr := strings.CutPrefix(c.want, "!"); isErr && (err == nil || !strings.Contains(err.Error(), part)) || !isErr && got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	if _, err := os.Stat(dir + "/new"); err != nil {
		t.Errorf("-v makes its source: %v", err)
	}
}

func TestMergeEnv(t *testing.T) {
	got := merge([]string{"PATH=/bin", "A=1", "B=2"}, []string{"A=3", "B", "C=", "D"})
	if want := []string{"PATH=/bin", "A=3", "C="}; !slices.Equal(got, want) {
		t.Errorf("merge = %q; want %q", got, want)
	}
}

func TestEnvFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	t.Setenv("FROM_HOST", "here")
	for _, c := range []struct{ text, want, err string }{
		{"# comment\n\nA=1\n B = 2\nFROM_HOST\nNOT_THERE\n", "", "is no name"},
		{"A=1=2\nFROM_HOST\nNOT_THERE\n", "A=1=2 FROM_HOST=here", ""},
		{"=x\n", "", "is no name"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readEnvFiles([]string{file})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v; want one with %q", c.text, err, c.err)
			}
			continue
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%q = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

// Whoever the user is, keep-id maps every ID once, and the user to itself.
func TestKeepID(t *testing.T) {
	sub := []specs.LinuxIDMapping{{ContainerID: 1, HostID: 100000, Size: 65536}, {ContainerID: 65537, HostID: 300000, Size: 10}}
	for _, id := range []int{0, 1, 1000, 65535, 65536, 70000} {
		m := keep(sub, id)
		inside, outside := make(map[uint32]bool), make(map[uint32]bool)
		total := uint32(0)
		for _, r := range m {
			total += r.Size
			for i := range r.Size {
				if inside[r.ContainerID+i] || outside[r.HostID+i] {
					t.Fatalf("keep(%d): %v maps an ID twice", id, m)
				}
				inside[r.ContainerID+i], outside[r.HostID+i] = true, true
			}
		}
		if m[0].ContainerID != uint32(id) || m[0].HostID != uint32(id) || total != 65536+10+1 {
			t.Errorf("keep(%d) = %v: %d IDs", id, m, total)
		}
	}
}

func TestChooseCaps(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		want  plan.CapSet
	}{
		{Flags{}, defaultCaps},
		{Flags{CapDrop: []string{"all"}}, 0},
		{Flags{CapDrop: []string{"ALL"}, CapAdd: []string{"net_raw"}}, 1 << 13},
		{Flags{CapAdd: []string{"ALL"}}, plan.AllCaps},
		{Flags{Privileged: true, CapDrop: []string{"CAP_CHOWN"}}, plan.AllCaps &^ 1},
	} {
		d := &draft{Flags: &c.flags}
		if got, err := d.chooseCaps(); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.flags, got, err, c.want)
		}
	}
	d := &draft{Flags: &Flags{CapAdd: []string{"fly"}}}
	if _, err := d.chooseCaps(); err == nil {
		t.Error("--cap-add fly is taken for a capability")
	}
}

// A user's name is looked up in the highest layer that has the file, and never
// outside of it.
func TestLookUp(t *testing.T) {
	low, high := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		if err := os.MkdirAll(dir+"/etc", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/etc/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(low, "passwd", "root:x:0:0::/root:\nold:x:7:7::/:\n")
	write(high, "passwd", "root:x:0:0::/root:\nweb:x:33:34::/srv:\n")
	write(low, "group", "root:x:0:\nweb:x:34:\nextra:x:99:web,root\n")
	d := &draft{Flags: &Flags{}, layers: []string{low, high}}
	for _, c := range []struct{ text, want string }{
		{"", "0 0 [99]"}, {"web", "33 34 [99]"}, {"33", "33 34 [99]"}, {"web:extra", "33 99 []"}, {"1000", "1000 0 []"}, {"1000:5", "1000 5 []"},
		{"old", "error"}, {"web:nope", "error"}, {"4294967296", "error"}, {"-1", "error"},
	} {
		u, err := d.lookUp(c.text)
		got := fmt.Sprintf("%d %d %v", u.UID, u.GID, u.AdditionalGids)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("lookUp(%q) = %s, %v; want %s", c.text, got, err, c.want)
		}
	}
	if err := os.Remove(high + "/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", high+"/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	if u, err := d.lookUp("daemon"); err == nil {
		t.Errorf("a link to the host's /etc/passwd was followed: %v", u)
	}
}

func FuzzVolume(f *testing.F) {
	f.Add("/a:/b:ro,z")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
			return // a path: its source would be made
		}
		if _, err := parseVolume(text); err == nil {
			t.Errorf("parseVolume(%q): a source that is no path is taken", text)
		}
	})
}
