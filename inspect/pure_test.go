// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const id64 = "0e9d76e79b912e8f0e9d76e79b912e8f0e9d76e79b912e8f0e9d76e79b912e8f"

func TestBelongs(t *testing.T) {
	for _, c := range []struct {
		name    string
		cgroups []string
		want    string // "engine id name"
	}{
		{"nothing", nil, ""},
		{"a folder of nobody's", []string{"/build/job"}, ""},
		{"docker, cgroupfs", []string{"/docker/" + id64}, "docker " + id64 + " "},
		{"docker, systemd", []string{"/system.slice/docker-" + id64 + ".scope"}, "docker " + id64 + " "},
		{"docker in docker", []string{"/docker/" + strings.Repeat("a", 64) + "/docker/" + id64}, "docker " + id64 + " "},
		{"podman", []string{"/machine.slice/libpod-" + id64 + ".scope/container"}, "podman " + id64 + " "},
		{"podman, cgroupfs", []string{"/libpod_parent/libpod-" + id64}, "podman " + id64 + " "},
		{"rootless podman", []string{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id64 + ".scope"}, "podman " + id64 + " "},
		{"kubernetes, systemd", []string{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234.slice/cri-containerd-" + id64 + ".scope"}, "containerd " + id64 + " "},
		{"kubernetes, cgroupfs", []string{"/kubepods/burstable/pod1234-5678/" + id64}, "kubernetes " + id64 + " "},
		{"cri-o", []string{"/kubepods.slice/crio-" + id64 + ".scope"}, "cri-o " + id64 + " "},
		{"lxc", []string{"/lxc.payload.web/system.slice/ssh.service"}, "lxc  web"},
		{"nspawn", []string{"/machine.slice/systemd-nspawn@my\\x2dbox.service/payload"}, "systemd-nspawn  my-box"},
		{"machined", []string{"/machine.slice/machine-box.scope"}, "systemd-nspawn  box"},
		{"a unit", []string{"/system.slice/ssh.service"}, "systemd  ssh.service"},
		{"flatpak", []string{"/user.slice/user@1000.service/app.slice/app-flatpak-org.gnome.Maps-1234.scope"}, "flatpak  org.gnome.Maps-1234"},
		{"snap", []string{"/user.slice/snap.firefox.firefox-1234.scope"}, "snap  firefox.firefox-1234"},
		{"vitro", []string{"/vitro/" + id64, "/"}, "vitro " + id64 + " "},
		{"only version 2 says it", []string{"/", "/user.slice/session-1.scope", "/vitro/" + id64}, "vitro " + id64 + " "},
		{"not an ID", []string{"/docker/buildx"}, ""},
	} {
		got := ""
		if b := Belongs(c.cgroups); b != nil {
			got = b.Engine + " " + b.ID + " " + b.Name
		}
		if got != c.want {
			t.Errorf("%s: Belongs(%q) = %q, want %q", c.name, c.cgroups, got, c.want)
		}
	}
}

func TestParseLink(t *testing.T) {
	for text, want := range map[string]struct {
		k  Kind
		id uint64
		ok bool
	}{
		"net:[4026531840]":               {Network, 4026531840, true},
		"mnt:[1]":                        {Mount, 1, true},
		"socket:[17]":                    {},
		"net:[4026531840":                {},
		"net:4026531840":                 {},
		"net:[x]":                        {},
		"pid_for_children:[1]":           {},
		"net:[99999999999999999999]":     {Network, 1<<64 - 1, false},
		"user:[4026531837]/../../passwd": {},
	} {
		k, id, ok := parseLink(text)
		if k != want.k && ok || id != want.id && ok || ok != want.ok {
			t.Errorf("parseLink(%q) = %v, %d, %v; want %v", text, k, id, ok, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	for stat, want := range map[string]ancestor{
		"17 (sleep) S 4 17 17 0":         {"sleep", 4},
		"17 (a) b) (c) S 4 17 17 0":      {"a) b) (c", 4},
		"17 ((sd-pam)) S 1 17 17 0":      {"(sd-pam)", 1},
		"17 (\n) R 99 (17 17 0":          {"\n", 99},
		"":                               {},
		"17 )(":                          {},
		"17 (x":                          {},
		"17 (1 (2) S 3 4) Z 12 17 0 0 0": {"1 (2) S 3 4", 12},
	} {
		name, parent := parseStat([]byte(stat))
		if (ancestor{name, parent}) != want {
			t.Errorf("parseStat(%q) = %q, %d; want %+v", stat, name, parent, want)
		}
	}
}

func TestMountedNamespaces(t *testing.T) {
	const info = "36 35 98:0 / / rw - ext4 /dev/root rw\n" +
		"167 59 0:4 net:[4026532326] /run/netns/a\\040b rw shared:4 - nsfs nsfs rw\n" +
		"168 59 0:4 net:[4026532327] /tmp/\\134040\\012 rw - nsfs nsfs rw\n" +
		"169 59 0:4 nonsense /tmp/x rw - nsfs nsfs rw\n" +
		"170 59 0:5 /net:[1] /tmp/\\040-\\040nsfs rw - tmpfs nsfs rw\n"
	want := []mounted{{Network, 4026532326, "/run/netns/a b"}, {Network, 4026532327, "/tmp/\\040\n"}}
	if got := mountedNamespaces([]byte(info)); !slices.Equal(got, want) {
		t.Errorf("mountedNamespaces = %+v, want %+v", got, want)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"sleep 10":                "sleep 10",
		"é ä 容器":                  "é ä 容器",
		"\x1b[2J\x1b]0;owned\x07": `\x1b[2J\x1b]0;owned\x07`,
		"a\nb\tc\r":               `a\nb\tc\x0d`,
		"\u202egnp.exe":           `\u202egnp.exe`,
		"\xff\xfe":                `\xff\xfe`,
		"\u009b31m":               `\u009b31m`,
		"\U000e0001":              `\U000e0001`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestParseKinds(t *testing.T) {
	list, err := ParseKinds("user, pid,user")
	if err != nil || !slices.Equal(list, []Kind{User, PID}) {
		t.Errorf("ParseKinds = %v, %v", list, err)
	}
	if _, err := ParseKinds("user,network"); err == nil || err.(*KindError).Name != "network" {
		t.Errorf("ParseKinds(network) = %v, want a KindError", err)
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add("17 (sleep) S 4 17 17 0")
	f.Add("0 100000 65536\n")
	f.Add("167 59 0:4 net:[4026532326] /run/netns/a\\040b rw shared:4 - nsfs nsfs rw\n")
	f.Add("9:name=systemd:/machine.slice/systemd-nspawn@my\\x2dbox.service\n0::/docker/" + id64)
	f.Fuzz(func(t *testing.T, text string) {
		parseStat([]byte(text))
		ParseMap([]byte(text))
		mountedNamespaces([]byte(text))
		if c := Belongs(cgroupPaths([]byte(text))); c != nil && c.Engine == "" {
			t.Errorf("%q belongs to no engine", text)
		}
		for _, r := range Printable(text) {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
				t.Errorf("Printable(%q) holds %q", text, r)
			}
		}
	})
}
