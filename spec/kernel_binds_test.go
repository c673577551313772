// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/spec"
)

// TestBindFlags gives words to a bind mount whose source has attributes of its
// own. They come along if there is no word; else what is not named is off, but
// for access times. The root of a user namespace can take nothing off, and what
// it is asked to take off by name is an error.
func TestBindFlags(t *testing.T) {
	if os.Geteuid() != 0 || spec.InUserNS() {
		t.Skip("needs the machine's root, whose mounts a user namespace's root can't change")
	}
	const some = unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_NOSYMFOLLOW
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	for _, c := range []struct {
		source        uintptr
		options       string
		want, inUsers string // "": the user namespace's root may not
	}{
		{some, "", "ro noexec nodiratime nosymfollow", "ro noexec nodiratime nosymfollow"},
		{some, "dev", "rw !noexec nodiratime !nosymfollow", "ro noexec nodiratime !nosymfollow"},
		{some, "rro", "ro noexec nosymfollow", "ro noexec nosymfollow"},
		{unix.MS_RDONLY, "nosuid nodev rprivate", "rw nosuid nodev", "ro nosuid nodev"},
		{unix.MS_RDONLY, "rw nosuid", "rw nosuid", ""},
		{safe, "ro exec", "ro !nosuid !nodev noatime", "ro nosuid nodev noatime"},
		{safe, "atime", "!nosuid noatime", "nosuid noatime"},
		{safe, "norelatime", "noatime", "noatime"},
		{safe, "relatime", "relatime !noatime", ""},
		{safe, "nodiratime", "nodiratime relatime", ""},
		{safe, "nodiratime strictatime", "nodiratime !relatime !noatime", ""},
		{safe, "noatime strictatime", "!relatime !noatime", ""},
	} {
		for _, users := range []bool{false, true} {
			b := newBundle(t, waiting)
			ownMounts(t)
			src := b.dir + "/source"
			mount(t, "tmpfs", src, "tmpfs", 0, "")
			mount(t, "", src, "", unix.MS_REMOUNT|unix.MS_BIND|c.source, "")
			want := c.want
			if users {
				b.users(t)
				want = c.inUsers
			}
			b.Mounts = append(b.Mounts, specs.Mount{Destination: "/m", Type: "bind", Source: src, Options: strings.Fields(c.options)})
			if want == "" {
				if _, err := b.text(t); err == nil || !strings.Contains(err.Error(), "operation not permitted") {
					t.Errorf("%q in a user namespace: %v", c.options, err)
				}
				continue
			}
			s, _ := b.must(t)
			hasWords(t, c.options, mounted(t, s, "VFS-OPTIONS", "/m"), want)
		}
	}
}

// TestHiddenSource: a user namespace's root gets what only the host's root can reach.
func TestHiddenSource(t *testing.T) {
	if os.Geteuid() != 0 || spec.InUserNS() {
		t.Skip("needs the machine's root, who can reach what others can't")
	}
	b := newBundle(t, "cat /data/file; cat /file; touch /data/new 2>/dev/null || echo read-only")
	ownMounts(t)
	b.users(t)
	src := b.dir + "/closed/source"
	for _, err := range []error{os.MkdirAll(src, 0o755), os.WriteFile(src+"/file", []byte("it is here\n"), 0o644), os.Chmod(b.dir+"/closed", 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Mounts = append(b.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: src, Options: []string{"ro"}},
		specs.Mount{Destination: "/file", Type: "bind", Source: src + "/file"})
	got, err := b.text(t)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "what the container sees", got, "it is here\nit is here\nread-only")
}

// TestTmpfsMode: a tmpfs has the mode that is given, or that its place has, or its own.
func TestTmpfsMode(t *testing.T) {
	b := newBundle(t, "stat -c %a /there /given /new/place /link/there; ls -d /dev/below; touch /dev/new 2>/dev/null || echo read-only")
	for dir, mode := range map[string]os.FileMode{"/there": 0o710, "/given": 0o710, "/real/there": 0o700 | os.ModeSticky} {
		if err := os.MkdirAll(b.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(b.root+dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/real", b.root+"/link"); err != nil {
		t.Fatal(err)
	}
	for i := range b.Mounts {
		if b.Mounts[i].Destination == "/dev" { // something is to be made in it nevertheless
			b.Mounts[i].Options = append(b.Mounts[i].Options, "ro")
		}
	}
	for dir, options := range map[string][]string{"/there": nil, "/given": {"mode=501"}, "/new/place": nil, "/link/there": nil, "/dev/below": nil} {
		b.Mounts = append(b.Mounts, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: options})
	}
	got, err := b.text(t)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "modes", got, "710\n501\n1777\n1700\n/dev/below\nread-only")
}
