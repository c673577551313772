// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
)

// ownMounts moves the test's thread into a mount namespace of its own, for good.
func ownMounts(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN to mount: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

func mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		t.Fatalf("mount %s: %v", target, err)
	}
	if flags&(unix.MS_REMOUNT|unix.MS_SHARED) == 0 { // the test's folder is to be removable
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
}

// mounted is what findmnt(8) says of the topmost mount on a place in a container.
func mounted(t *testing.T, s *started, column, target string) string {
	t.Helper()
	lines := strings.Split(oracle(t, "findmnt", "-N", pid(s), "-n", "-r", "-o", column, "--mountpoint", target), "\n")
	return lines[len(lines)-1]
}

func hasWords(t *testing.T, what, options, words string) {
	t.Helper()
	have := strings.Split(options, ",")
	for w := range strings.FieldsSeq(words) {
		if no, not := strings.CutPrefix(w, "!"); slices.Contains(have, no) == not {
			t.Errorf("%s: %s; want %s", what, options, w)
		}
	}
}

// TestMountWords gives each word of the specification's table to a new file
// system, and asks findmnt(8).
func TestMountWords(t *testing.T) {
	b := newBundle(t, waiting)
	cases := []struct{ options, want string }{
		{"defaults", "rw relatime"}, {"ro", "ro"}, {"ro rw", "rw"},
		{"nosuid nodev noexec", "nosuid nodev noexec"}, {"nosuid suid nodev dev noexec exec", "!nosuid !nodev !noexec"},
		{"noatime", "noatime"}, {"noatime atime", "relatime"}, {"strictatime", "!relatime !noatime"}, {"strictatime nostrictatime", "relatime"},
		{"noatime relatime", "relatime"}, {"strictatime noatime", "noatime"}, {"nodiratime", "nodiratime"}, {"nodiratime diratime", "!nodiratime"},
		{"nosymfollow", "nosymfollow"}, {"nosymfollow symfollow", "!nosymfollow"},
		{"sync", "sync"}, {"sync async", "!sync"}, {"dirsync", "dirsync"}, {"lazytime", "lazytime"}, {"lazytime nolazytime", "!lazytime"},
		{"silent loud iversion noiversion mand nomand x-a=b nofail", "rw"}, {"size=64k,mode=700", "size=64k mode=700"},
	}
	for i, c := range cases {
		options := strings.Fields(c.options)
		if strings.Contains(c.options, ",") {
			options = strings.Split(c.options, ",")
		}
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m/" + string(rune('a'+i)), Type: "tmpfs", Source: "tmpfs", Options: options})
	}
	s, _ := b.must(t)
	for i, c := range cases {
		hasWords(t, c.options, mounted(t, s, "OPTIONS", "/m/"+string(rune('a'+i))), c.want)
	}
}

// TestRecursiveWords gives each word and its r-form to a tree of two mounts.
func TestRecursiveWords(t *testing.T) {
	b := newBundle(t, waiting)
	ownMounts(t)
	cases := []struct{ options, top, below string }{
		{"ro", "ro", "rw"}, {"rro", "ro", "ro"}, {"rro rw", "rw", "ro"}, {"rnosuid ro", "nosuid ro", "nosuid rw"},
		{"rnodev", "nodev", "nodev"}, {"rnoexec", "noexec", "noexec"}, {"rnoatime", "noatime", "noatime"},
		{"rstrictatime", "!relatime !noatime", "!relatime !noatime"}, {"rnorelatime", "!relatime !noatime", "!relatime !noatime"},
		{"rnodiratime", "nodiratime", "nodiratime"}, {"rnosymfollow", "nosymfollow", "nosymfollow"},
		{"noatime", "noatime", "relatime"}, {"rnoatime rnosuid rnodev rro", "noatime nosuid nodev ro", "noatime nosuid nodev ro"},
		// From here on the source has the attributes, which are taken away.
		{"rrw", "rw nosuid", "rw nosuid"}, {"rw", "rw", "ro"}, {"rsuid", "!nosuid ro", "!nosuid ro"}, {"rdev rexec", "!nodev !noexec", "!nodev !noexec"},
		{"ratime", "relatime", "relatime"}, {"rrelatime", "relatime", "relatime"}, {"rnostrictatime", "relatime", "relatime"},
		{"rdiratime rsymfollow", "!nodiratime !nosymfollow", "!nodiratime !nosymfollow"},
	}
	plain, strict := b.dir+"/plain", b.dir+"/strict"
	for _, dir := range []string{plain, plain + "/below"} {
		mount(t, "tmpfs", dir, "tmpfs", 0, "")
	}
	const all = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_NOSYMFOLLOW
	for _, dir := range []string{strict, strict + "/below"} {
		mount(t, "tmpfs", dir, "tmpfs", 0, "")
	}
	for _, dir := range []string{strict + "/below", strict} {
		mount(t, "", dir, "", unix.MS_REMOUNT|unix.MS_BIND|all, "")
	}
	source := plain
	for i, c := range cases {
		if c.options == "rrw" {
			source = strict
		}
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m/" + string(rune('a'+i)), Type: "none", Source: source, Options: append([]string{"rbind"}, strings.Fields(c.options)...)})
	}
	s, _ := b.must(t)
	for i, c := range cases {
		at := "/m/" + string(rune('a'+i))
		hasWords(t, c.options+", top", mounted(t, s, "VFS-OPTIONS", at), c.top)
		hasWords(t, c.options+", below", mounted(t, s, "VFS-OPTIONS", at+"/below"), c.below)
	}
}

// TestPropagation has a mount of each kind.
func TestPropagation(t *testing.T) {
	b := newBundle(t, waiting)
	ownMounts(t)
	mount(t, "tmpfs", b.dir+"/source", "tmpfs", 0, "")
	mount(t, "", b.dir+"/source", "", unix.MS_SHARED, "")
	cases := []struct{ fstype, options, want string }{
		{"tmpfs", "", "private"}, {"tmpfs", "shared", "shared"}, {"tmpfs", "rshared", "shared"}, {"tmpfs", "unbindable", "private,unbindable"}, {"tmpfs", "slave", "private"},
		{"bind", "", "private"}, {"bind", "rprivate", "private"}, {"bind", "rslave", "private,slave"}, {"bind", "slave", "private,slave"}, {"bind", "shared", "shared,slave"},
		{"bind", "unbindable", "private,unbindable"}, {"bind", "runbindable", "private,unbindable"},
	}
	for i, c := range cases {
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m/" + string(rune('a'+i)), Type: c.fstype, Source: "../" + filepath.Base(b.dir) + "/source", Options: strings.Fields(c.options)})
	}
	s, _ := b.must(t)
	for i, c := range cases {
		want(t, c.fstype+" "+c.options, mounted(t, s, "PROPAGATION", "/m/"+string(rune('a'+i))), c.want)
	}
}

// TestSharedBind: what a container mounts in a shared bind mount is there on the
// host, if its root is shared as well; what the host mounts is there in any case.
func TestSharedBind(t *testing.T) {
	for root, out := range map[string]bool{"": false, "rslave": false, "rshared": true} {
		t.Run("root "+root, func(t *testing.T) {
			b := newBundle(t, "mkdir /data/out && mount -t tmpfs none /data/out; "+waiting)
			ownMounts(t)
			src := b.dir + "/source"
			mount(t, "tmpfs", src, "tmpfs", 0, "")
			mount(t, "", src, "", unix.MS_SHARED, "")
			admin := []string{"CAP_SYS_ADMIN"}
			b.Process.Capabilities = &specs.LinuxCapabilities{Bounding: admin, Permitted: admin, Effective: admin}
			b.Linux.RootfsPropagation = root
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: src, Options: []string{"rbind", "rshared"}})
			s, _ := b.must(t)
			mount(t, "tmpfs", src+"/in", "tmpfs", 0, "")
			for file, where := range map[string]string{"/proc/thread-self/mounts": src + "/out ", "/proc/" + pid(s) + "/mounts": "/data/in "} {
				mounts, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := strings.Contains(string(mounts), where), out || where == "/data/in "; got != want {
					t.Errorf("%s is in %s: %t", where, file, got)
				}
			}
		})
	}
}

// TestRootfsPropagation: what is mounted on the host later appears in a slave,
// and in no other root.
func TestRootfsPropagation(t *testing.T) {
	for mode, wants := range map[string]string{"": "private", "private": "private", "slave": "private,slave", "shared": "shared", "unbindable": "private,unbindable"} {
		t.Run("mode "+mode, func(t *testing.T) {
			b := newBundle(t, waiting)
			ownMounts(t)
			mount(t, b.root, b.root, "", unix.MS_BIND, "")
			mount(t, "", b.root, "", unix.MS_SHARED, "")
			b.Linux.RootfsPropagation = mode
			s, _ := b.must(t)
			want(t, "propagation", mounted(t, s, "PROPAGATION", "/"), wants)
			mount(t, "tmpfs", b.root+"/var", "tmpfs", 0, "")
			mounts, err := os.ReadFile("/proc/" + pid(s) + "/mounts")
			if err != nil {
				t.Fatal(err)
			}
			if arrived := strings.Contains(string(mounts), " /var tmpfs"); arrived != (mode == "slave") {
				t.Errorf("a mount of the host's is there: %t", arrived)
			}
		})
	}
}

// TestIDMap: files show other owners, by the mount's own maps and by the container's.
func TestIDMap(t *testing.T) {
	own := func(id uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 10, HostID: id, Size: 5}, {ContainerID: 0, HostID: 0, Size: 1}}
	}
	for _, c := range []struct {
		name, options string
		users         bool
		uid, gid      []specs.LinuxIDMapping
		want          string
	}{
		{"without", "rbind", false, nil, nil, "12:13 12:13"},
		{"its own", "rbind idmap", false, own(5000), own(6000), "5002:6003 12:13"},
		{"of all", "rbind ridmap ro", false, own(5000), own(6000), "5002:6003 5002:6003"},
		{"implied", "bind", false, own(5000), own(6000), "5002:6003 -"},
		{"the container's", "rbind ridmap", true, nil, nil, "12:13 12:13"},
		{"its own, in a user namespace", "rbind ridmap rro", true, own(100020), own(100030), "22:33 22:33"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBundle(t, "stat -c %u:%g /data/file; stat -c %u:%g /data/below/file 2>/dev/null || echo -")
			ownMounts(t)
			src := b.dir + "/source"
			for _, dir := range []string{src, src + "/below"} {
				mount(t, "tmpfs", dir, "tmpfs", 0, "")
				if err := errors.Join(os.WriteFile(dir+"/file", nil, 0o644), os.Chown(dir+"/file", 12, 13)); err != nil {
					t.Fatal(err)
				}
			}
			if c.users {
				b.users(t)
			}
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "none", Source: src, Options: strings.Fields(c.options), UIDMappings: c.uid, GIDMappings: c.gid})
			got, err := b.text(t)
			if un := new(host.UnmappableError); errors.As(err, &un) {
				t.Skipf("needs Linux 6.3, whose tmpfs maps owners: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			want(t, c.options, strings.Join(strings.Fields(got), " "), c.want)
		})
	}
}

// TestIDMapOfNoSuchFileSystem: what can't be mapped is an error that says so.
func TestIDMapOfNoSuchFileSystem(t *testing.T) {
	b := newBundle(t, "true")
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 1}}
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: "/proc", Options: []string{"idmap"}, UIDMappings: m, GIDMappings: m})
	var un *host.UnmappableError
	if _, err := b.start(t); !errors.As(err, &un) || un.Source != "/proc" || un.Hint() == "" {
		t.Errorf("procfs: %v", err)
	}
}

// TestCopyUp: a tmpfs starts with what the root has at its place, and what is
// written to it goes.
func TestCopyUp(t *testing.T) {
	for _, users := range []bool{false, true} {
		b := newBundle(t, "cd /var; stat -c '%n %F %a %u:%g %h' . file link hard pipe sub sub/deep; cat file; ls -l link | grep -o '>.*'; touch new; rm -f file 2>/dev/null; "+waiting)
		v, base := b.root+"/var", 0
		all := []string{"CAP_DAC_OVERRIDE"}
		b.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Permitted: all, Effective: all}
		if users {
			b.users(t)
			base = 100000
		}
		if err := errors.Join(
			os.WriteFile(v+"/file", []byte("content\n"), 0o640), os.Link(v+"/file", v+"/hard"), os.Chown(v+"/file", base+3, base+4), unix.Chmod(v+"/file", 0o4750),
			os.Symlink("/etc/passwd", v+"/link"), os.Lchown(v+"/link", base+5, base+6), unix.Mkfifo(v+"/pipe", 0o600), os.Chown(v+"/pipe", base, base),
			os.MkdirAll(v+"/sub/deep", 0o755), unix.Chmod(v+"/sub/deep", 0o1777), os.Chown(v+"/sub", base, base), os.Chown(v+"/sub/deep", base+7, base+8), os.Chmod(v, 0o711), os.Chown(v, base+1, base+2),
			unix.Setxattr(v+"/sub", "trusted.note", []byte("kept"), 0),
		); err != nil {
			t.Fatal(err)
		}
		// The place is found within the root, through its links.
		if err := os.Symlink("/var", b.root+"/elsewhere"); err != nil {
			t.Fatal(err)
		}
		b.Mounts = append(b.Mounts, specs.Mount{Destination: "/elsewhere", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "nosuid", "size=1m"}})
		s, err := b.start(t)
		if err != nil {
			t.Fatal(err)
		}
		defer s.end()
		var got strings.Builder
		for buf := make([]byte, 1024); !strings.HasSuffix(got.String(), "ready\n"); {
			n, err := s.out.Read(buf)
			if err != nil {
				t.Fatalf("%v, after %s", err, got.String())
			}
			got.Write(buf[:n])
		}
		want(t, "copy", got.String(), `. directory 711 1:2 3
file regular file 4750 3:4 2
link symbolic link 777 5:6 1
hard regular file 4750 3:4 2
pipe fifo 600 0:0 1
sub directory 755 0:0 3
sub/deep directory 1777 7:8 2
content
> /etc/passwd
ready`)
		want(t, "type", mounted(t, s, "FSTYPE", "/var"), "tmpfs")
		hasWords(t, "options", mounted(t, s, "OPTIONS", "/var"), "nosuid size=1024k")
		note := make([]byte, 10)
		if n, err := unix.Getxattr("/proc/"+pid(s)+"/root/var/sub", "trusted.note", note); err != nil || string(note[:n]) != "kept" {
			t.Errorf("attribute: %q, %v", note[:max(n, 0)], err)
		}
		if _, err := os.Stat(v + "/new"); err == nil {
			t.Error("what the container has written is in the root")
		}
	}
}

// TestRemount changes mounts of the container's, and never a file system of the host's.
func TestRemount(t *testing.T) {
	b := newBundle(t, waiting)
	ownMounts(t)
	mount(t, "tmpfs", b.dir+"/source", "tmpfs", 0, "size=3m")
	b.Mounts = append(b.Mounts,
		specs.Mount{Destination: "/a", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "nosuid", "nodev"}},
		specs.Mount{Destination: "/a", Type: "none", Options: []string{"remount", "ro", "size=2m", "noexec"}},
		specs.Mount{Destination: "/b", Type: "bind", Source: "source"},
		specs.Mount{Destination: "/b", Type: "none", Options: []string{"remount", "ro"}},
		specs.Mount{Destination: "/c", Type: "bind", Source: "source", Options: []string{"ro"}},
		specs.Mount{Destination: "/c", Type: "bind", Options: []string{"remount", "rw", "noatime"}})
	s, _ := b.must(t)
	hasWords(t, "/a", mounted(t, s, "OPTIONS", "/a"), "ro noexec !nosuid !nodev size=2048k")
	hasWords(t, "/a's file system", mounted(t, s, "FS-OPTIONS", "/a"), "ro")
	hasWords(t, "/b", mounted(t, s, "VFS-OPTIONS", "/b"), "ro")
	hasWords(t, "/b's file system", mounted(t, s, "FS-OPTIONS", "/b"), "rw size=3072k")
	hasWords(t, "/c", mounted(t, s, "VFS-OPTIONS", "/c"), "rw noatime")
}

// TestMountPlaces: where mounts go, if that is not simply a folder.
func TestMountPlaces(t *testing.T) {
	b := newBundle(t, waiting)
	file, sock := b.dir+"/file", b.dir+"/sock"
	if err := os.WriteFile(file, []byte("the host's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for link, to := range map[string]string{"/dangling": "../run/systemd/resolv.conf", "/inside": "/var", "/climbs": "../../../../../../var/climbed"} {
		if err := os.Symlink(to, b.root+link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(b.root+"/var/climbed", 0o755); err != nil {
		t.Fatal(err)
	}
	bind := func(to, from string) {
		b.Mounts = append(b.Mounts, specs.Mount{Destination: to, Type: "bind", Source: from})
	}
	bind("/dangling", file)
	bind("/new/folder/file", "file") // relative to the bundle
	bind("/run/sock", sock)
	bind("relative/place", file)
	tmpfs := func(to string) { b.Mounts = append(b.Mounts, specs.Mount{Destination: to, Type: "tmpfs"}) }
	tmpfs("/inside/deep")
	tmpfs("/climbs")
	tmpfs("/twice")
	bind("/twice", b.root+"/etc")
	tmpfs("/twice/in")
	s, _ := b.must(t)
	root := "/proc/" + pid(s) + "/root"
	for _, p := range []string{"/dangling", "/new/folder/file", "/relative/place"} {
		if got, err := os.ReadFile(root + p); err != nil || string(got) != "the host's\n" {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	if st, err := os.Stat(root + "/run/sock"); err != nil || st.Mode()&os.ModeSocket == 0 {
		t.Errorf("socket: %v, %v", st, err)
	}
	for p, fstype := range map[string]string{"/var/deep": "tmpfs", "/var/climbed": "tmpfs", "/twice/in": "tmpfs"} {
		want(t, p, mounted(t, s, "FSTYPE", p), fstype)
	}
	if out, err := exec.Command("findmnt", "-N", pid(s), "-n", "-o", "FSTYPE", "--mountpoint", "/twice").Output(); err == nil {
		if got := strings.Fields(string(out)); len(got) != 2 {
			t.Errorf("/twice has %v; want two mounts", got)
		}
	}
}

// TestUnknownOption: what no one knows is the file system's to refuse.
func TestUnknownOption(t *testing.T) {
	b := newBundle(t, "true")
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"colour=blue"}})
	if _, err := b.start(t); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "colour=blue") {
		t.Errorf("%v", err)
	}
}
