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
	"vitro/volume"
)

// show is a wish as one line.
func (w *wish) show() string {
	s := fmt.Sprintf("%s %q %s %s,%s", w.kind, w.source, w.target, w.rec, w.share)
	for _, o := range []struct {
		is   bool
		name string
	}{{w.ro, "ro"}, {w.roTop, "top"}, {w.make, "make"}, {w.noCopy, "nocopy"}, {w.chown, "U"}, {w.idmap, "idmap"}, {w.subpath != "", "below " + w.subpath},
		{len(w.options) > 0, strings.Join(w.options, ",")}, {len(w.opts) > 0, fmt.Sprint(w.opts)}, {len(w.labels) > 0, fmt.Sprint(w.labels)}} {
		if o.is {
			s += " " + o.name
		}
	}
	return s
}

func TestMountFlags(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flag       string
		parse      func(*wish, string) error
		text, want string // want: the mount, or "!" and a part of the error
	}{
		{"volume", parseVolume, "/srv:/data", `bind "/srv" /data rbind,rprivate make`},
		{"volume", parseVolume, "./x:/data:ro", `bind "` + cwd + `/x" /data rbind,rprivate ro make`},
		{"volume", parseVolume, "/srv:/data/:bind,noexec,rshared", `bind "/srv" /data bind,rshared make noexec`},
		{"volume", parseVolume, "/srv:/data:z,U,idmap,rw", `bind "/srv" /data rbind,rprivate make U idmap`},
		{"volume", parseVolume, "/data", `volume "" /data rbind,rprivate`},
		{"volume", parseVolume, "db:/data:nocopy", `volume "db" /data rbind,rprivate nocopy`},
		{"volume", parseVolume, "d:/data", "!as a volume's name"},
		{"volume", parseVolume, "a/b:/data", "!as a volume's name"},
		{"volume", parseVolume, "/srv:/data:fast", "!no option"},
		{"volume", parseVolume, "a:b:c:d", "!not [SOURCE:]TARGET"},
		{"volume", parseVolume, "db:data", "!is no path of the container"},
		{"volume", parseVolume, "/", "!is no path of the container"},
		{"mount", parseMount, "type=bind,source=/srv,target=/data,readonly", `bind "/srv" /data rbind,rprivate ro`},
		{"mount", parseMount, "type=bind,src=/srv,dst=/data,bind-recursive=disabled,bind-propagation=slave,ro=false", `bind "/srv" /data bind,slave`},
		{"mount", parseMount, "type=bind,src=/srv,dst=/data,bind-recursive=writable,ro", `bind "/srv" /data rbind,rprivate ro top`},
		{"mount", parseMount, "type=bind,src=/srv,dst=/data,bind-propagation=up", "!no propagation"},
		{"mount", parseMount, "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1777", `tmpfs "" /t rbind,rprivate size=1048576,mode=1777`},
		{"mount", parseMount, "type=tmpfs,source=/x,target=/t", "!no source"},
		{"mount", parseMount, "type=bind,source=data,target=/t", "!no absolute path"},
		{"mount", parseMount, "source=data,target=/t,volume-subpath=a/../b,volume-label=x=y", `volume "data" /t rbind,rprivate below b map[x:y]`},
		{"mount", parseMount, "source=data,target=/t,volume-subpath=../b", "!within the volume"},
		{"mount", parseMount, "target=/t,volume-subpath=b", "!for a volume with a name"},
		{"mount", parseMount, `dst=/t,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,uid=5"`, `volume "" /t rbind,rprivate map[device:tmpfs o:size=1m,uid=5 type:tmpfs]`},
		{"mount", parseMount, "dst=/t,volume-opt=size=1m", "!has no quota"},
		{"mount", parseMount, "dst=/t,volume-driver=nfs", "!is not there"},
		{"mount", parseMount, "type=bind,src=/a,dst=/t,volume-nocopy", "!not for type=bind"},
		{"mount", parseMount, "type=image,src=busybox,dst=/t", `image "busybox" /t rbind,rprivate`},
		{"mount", parseMount, "type=bind,colour=red", "!no key"},
		{"mount", parseMount, "type=nfs,dst=/t", "!type \"nfs\" is not there"},
		{"mount", parseMount, "type=tmpfs,target=/t,tmpfs-mode=9", "!no octal number"},
		{"mount", parseMount, "type=bind,source=/a,target=/t,ro=maybe", "!neither true nor false"},
		{"tmpfs", parseTmpfs, "/t", `tmpfs "" /t rbind,rprivate`},
		{"tmpfs", parseTmpfs, "/t:size=1m,exec", `tmpfs "" /t rbind,rprivate size=1m,exec`},
	} {
		got := ""
		if ws, err := read(c.flag, []string{c.text}, c.parse); err != nil {
			got = "!" + err.Error()
		} else {
			got = ws[0].show()
		}
		if part, isErr := strings.CutPrefix(c.want, "!"); isErr && (got[:1] != "!" || !strings.Contains(got, part)) || !isErr && got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestAnonymous: the same container has the same volume at its next start.
func TestAnonymous(t *testing.T) {
	a, b := anonymous("c1", "/data"), anonymous("c2", "/data")
	if a == b || a == anonymous("c1", "/dat") || a != anonymous("c1", "/data") || len(a) != 64 {
		t.Errorf("%s, %s", a, b)
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
		{"\ufeffA=1\r\nB=2", "A=1 B=2", ""},
		{"A=1\nB=1\nA=2\n", "A=2 B=1", ""},
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
		m := keep(sub, id, uint32(id))
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
		{"", "0 0 [0 99]"}, {"web", "33 34 [34 99]"}, {"33", "33 34 [34 99]"}, {"web:extra", "33 99 [99]"}, {"web:", "33 34 [34 99]"}, {"1000", "1000 0 [0]"}, {"1000:5", "1000 5 [5]"},
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

func FuzzMounts(f *testing.F) {
	f.Add("/a:/b:ro,z")
	f.Add("data:/b:U")
	f.Add(`type=volume,"dst=/a,b",volume-opt=o=x`)
	f.Fuzz(func(t *testing.T, text string) {
		for flag, parse := range map[string]func(*wish, string) error{"volume": parseVolume, "mount": parseMount, "tmpfs": parseTmpfs} {
			ws, err := read(flag, []string{text}, parse)
			if err != nil {
				continue
			}
			w := ws[0]
			switch {
			case w.target == "/" || !filepath.IsAbs(w.target) || filepath.Clean(w.target) != w.target:
				t.Errorf("--%s %q: on %q", flag, text, w.target)
			case w.kind == kindBind && !filepath.IsAbs(w.source):
				t.Errorf("--%s %q: from %q", flag, text, w.source)
			case w.kind == kindVolume && w.source != "" && volume.CheckName(w.source) != nil:
				t.Errorf("--%s %q: volume %q", flag, text, w.source)
			case strings.HasPrefix(w.subpath, "..") && (w.subpath == ".." || w.subpath[2] == '/') || filepath.IsAbs(w.subpath):
				t.Errorf("--%s %q: below %q", flag, text, w.subpath)
			}
		}
	})
}
