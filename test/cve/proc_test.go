// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/test/bundle"
)

// played is what a container's part has said, if the container came to be at
// all: to refuse the config.json is as good.
func played(b *bundle.Box) string {
	r := b.Run()
	if r.Code != 0 {
		return ""
	}
	return r.Out
}

// each plays one attack in several forms, each in a box of its own.
func each[T any](t *testing.T, forms map[string]T, attack func(*testing.T, *bundle.Box, T) string) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			harmless(t, func(t *testing.T, b *bundle.Box) string { return attack(t, b, form) })
		})
	}
}

// A mount over the whole of /proc is what the labels and parameters of the
// container would be written to.
func TestCVE_2019_16884(t *testing.T) {
	type form struct{ typ, target string }
	each(t, map[string]form{
		"bind":             {"bind", "/proc"},
		"bind-unclean":     {"bind", "/proc/../proc/."},
		"bind-by-its-link": {"bind", "/link"},
	}, func(t *testing.T, b *bundle.Box, f form) string {
		vol := folder(t, b, "volume", fakeProc)
		must(t, os.Symlink("proc", b.Path("link")))
		b.Mount(f.typ, vol, f.target, "rbind")
		return redirected(t, b, vol)
	})
}

// fakeProc looks like what a runtime writes to.
var fakeProc = map[string]string{
	"self/attr/exec": "", "self/attr/apparmor/exec": "", "thread-self/attr/exec": "", "sys/net/ipv4/ip_unprivileged_port_start": "1024\n",
	"self/fd": "/", "sysrq-trigger": "",
}

// redirected says which write has not arrived in the kernel.
func redirected(t *testing.T, b *bundle.Box, vol string) string {
	t.Helper()
	const name, value = "net.ipv4.ip_unprivileged_port_start", "777"
	b.Spec.Linux.Sysctl = map[string]string{name: value}
	b.Spec.Linux.ReadonlyPaths = nil // they may be missing, and no runtime is to stop at that
	b.Play("status", "Pid")
	b.Run()
	var harm string
	for file := range fakeProc {
		data, err := os.ReadFile(vol + "/" + file)
		if err == nil && strings.Contains(string(data), value) {
			harm += "a kernel parameter went to a file of the volume, " + file
		}
	}
	return harm
}

// The file systems that show the kernel must be where all look for them, with
// what is to be hidden in them hidden: a link puts them into a volume, where
// they and their masks are put beside each other by whoever shares it.
func TestCVE_2019_19921(t *testing.T) {
	each(t, map[string]moved{
		"proc":       {links: map[string]string{"proc": "->volume/proc"}, a: "proc"},
		"proc-chain": {links: map[string]string{"proc": "->link", "link": "->host/../volume/deep/proc"}, a: "deep"},
		"sys":        {links: map[string]string{"sys": "->volume/sys"}, a: "sys"},
	}, throughVolume)
}

// The same, when the links were followed in the root file system only.
func TestCVE_2023_27561(t *testing.T) {
	each(t, map[string]moved{
		"absolute": {links: map[string]string{"proc": "->/volume/proc"}, a: "proc"},
		"up":       {links: map[string]string{"proc": "->../volume/proc"}, a: "proc"},
		"sys":      {links: map[string]string{"sys": "->/volume/sys"}, a: "sys"},
	}, func(t *testing.T, b *bundle.Box, m moved) string {
		if isWeak(b) { // which follows them on the host
			m.links = map[string]string{m.a: "->volume/" + m.a}
		}
		return throughVolume(t, b, m)
	})
}

// The same again, with /proc itself in the volume, and the masked paths as the aim.
func TestCVE_2023_28642(t *testing.T) {
	each(t, map[string]moved{
		"proc": {links: map[string]string{"proc": "->volume/deep/proc"}, a: "deep"},
		"late": {links: map[string]string{"proc": "->volume/deep/proc"}, a: "deep", late: true},
	}, throughVolume)
}

// moved is a place for a file system in a volume.
type moved struct {
	links map[string]string // in the image
	a     string            // the folder of the volume that is exchanged for another
	late  bool              // the volume is mounted behind the file systems
}

func throughVolume(t *testing.T, b *bundle.Box, m moved) string {
	t.Helper()
	vol := folder(t, b, "volume", map[string]string{"proc": "/", "sys": "/", "deep/proc": "/", "other/proc": "/", "other/firmware": "/"})
	plant(t, b.Path(""), map[string]string{"volume": "/"})
	for name := range m.links {
		_ = os.Remove(b.Path(name))
	}
	plant(t, b.Path(""), m.links)
	mounts := b.Spec.Mounts
	b.Spec.Mounts = nil
	b.Mount("bind", vol, "/volume", "rbind", "rw")
	if m.late && !isWeak(b) {
		b.Spec.Mounts = append(mounts[:len(mounts):len(mounts)], b.Spec.Mounts...)
	} else {
		b.Spec.Mounts = append(b.Spec.Mounts, mounts...)
	}
	b.Play("kernel")
	for i := range tries {
		stop := exchange(filepath.Join(vol, m.a), filepath.Join(vol, "other"))
		harm := played(b)
		stop()
		if harm != "" {
			return harm
		}
		b.Do("delete", "--force", b.ID)
		if i > 4 && !isWeak(b) {
			break // it refuses the link, whatever it leads to
		}
	}
	return ""
}

// The place of /proc itself is exchanged, in a root that two containers share:
// what is hidden there must be hidden in the file system that was mounted.
func TestMasksGoWithTheirMount(t *testing.T) {
	harmless(t, func(t *testing.T, b *bundle.Box) string {
		plant(t, b.Path(""), map[string]string{"proc": "/", "proc2": "/"})
		b.Shell("echo >/tmp/up; until [ -e /tmp/go ]; do sleep 0.01; done; inside kernel >/tmp/part; mv /tmp/part /tmp/said")
		b.Save()
		for range tries {
			stop := exchange(b.Path("proc"), b.Path("proc2"))
			r := b.Do("create", b.ID)
			if isWeak(b) { // which does it all behind its create
				bundle.Eventually(t, "it is up", func() bool { return os.Remove(b.Path("tmp/up")) == nil })
			}
			stop()
			if r.Code != 0 {
				continue
			}
			must(t, os.WriteFile(b.Path("tmp/go"), nil, 0o644))
			if !isWeak(b) {
				b.Must("start", b.ID)
			}
			var said []byte
			bundle.Eventually(t, "the container has looked", func() (ok bool) {
				var err error
				said, err = os.ReadFile(b.Path("tmp/said"))
				return err == nil
			})
			b.Do("delete", "--force", b.ID)
			must(t, os.Remove(b.Path("tmp/said")))
			must(t, os.Remove(b.Path("tmp/go")))
			for _, harm := range lines(string(said)) { // which of the two /proc is, is left to chance
				if harm != "" && !strings.Contains(harm, "is a file system of type") {
					return string(said)
				}
			}
		}
		return ""
	})
}

// What hides a path comes from the container's own /dev, in runtimes that
// bind /dev/null there: whatever that is.
func TestCVE_2025_31133(t *testing.T) {
	each(t, map[string]map[string]string{
		"link":    {"null": "->/host/open"},
		"file":    {"null": "all can write this"},
		"missing": {"zero": ""},
		"kernel":  {"null": "->/proc/sys/kernel/core_pattern"},
	}, func(t *testing.T, b *bundle.Box, files map[string]string) string {
		plant(t, b.Path("host"), map[string]string{"secret": "hidden", "folder/secret": "hidden", "open": "not"})
		var late []string
		for _, target := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"} {
			b.Unmount(target)
		}
		b.Mount("bind", folder(t, b, "dev", files), "/dev", "rbind")
		paths := append(late, "/host/secret", "/host/folder", "/proc/kcore")
		b.Spec.Linux.MaskedPaths = append(b.Spec.Linux.MaskedPaths, paths...)
		b.Play("masked", paths...)
		return played(b)
	})
}

// The terminal is mounted on /dev/console before anything is hidden: a link
// there, or in the place of the terminal, has something else mounted, or elsewhere.
func TestCVE_2025_52565(t *testing.T) {
	type form struct {
		at    string // what is a volume
		files map[string]string
	}
	each(t, map[string]form{
		"console-is-a-link":    {"/dev", map[string]string{"console": "->/proc/sys/kernel/domainname", "pts/0": "x", "pts/ptmx": "x"}},
		"console-is-parameter": {"/dev", map[string]string{"console": "->/proc/sys/kernel/core_pattern", "pts/0": "x"}},
		"terminal-is-a-link":   {"/dev/pts", map[string]string{"0": "->/proc/sys/kernel/domainname", "ptmx": "->/proc/sys/kernel/domainname"}},
		"terminal-is-a-file":   {"/dev/pts", map[string]string{"0": "x", "ptmx": "x"}},
		"image-has-a-link":     {"", map[string]string{"dev/console": "->/proc/sys/kernel/domainname", "dev/pts/0": "x"}},
	}, func(t *testing.T, b *bundle.Box, f form) string {
		b.Spec.Process.Terminal = true
		before := func(target string, files map[string]string) {
			b.Spec.Mounts = append([]specs.Mount{{Type: "bind", Source: folder(t, b, "volume", files), Destination: target, Options: []string{"rbind"}}}, b.Spec.Mounts...)
		}
		switch f.at {
		case "":
			plant(t, b.Path(""), f.files)
			b.Unmount("/dev")
		case "/dev":
			b.Unmount("/dev")
			before("/dev", f.files)
		default:
			b.Unmount("/dev/pts")
			if isWeak(b) { // which mounts in the order of the list
				b.Unmount("/dev")
				f.files["console"] = ""
				before("/dev", map[string]string{"pts/0": f.files["0"], "console": "x", "shm": "/", "mqueue": "/"})
				break
			}
			b.Mount("bind", folder(t, b, "pts", f.files), f.at, "rbind")
		}
		said := b.Path("tmp/said")
		b.Shell("inside console >/tmp/said")
		b.Save()
		if isWeak(b) {
			b.Do("run", b.ID)
		} else {
			tty := bundle.NewConsole(t)
			if r := b.Do("run", "-d", "--console-socket", tty.Path, b.ID); r.Code != 0 {
				return ""
			}
			bundle.Eventually(t, "the container has ended", func() bool { return b.Status() == "stopped" })
		}
		data, err := os.ReadFile(said)
		if err != nil && !isWeak(b) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	})
}

// What is written below /proc must arrive there: mounts of the config.json, or
// of whoever shares a volume, can put another file in its place, of the volume
// or of /proc itself.
func TestCVE_2025_52881(t *testing.T) {
	type form struct {
		typ, target string
		files       map[string]string
	}
	params := map[string]string{"ipv4/ip_unprivileged_port_start": "1024"}
	for file, text := range fakeProc {
		params[file] = text
	}
	each(t, map[string]form{
		"folder":         {"bind", "/proc/sys/net", params},
		"all-parameters": {"bind", "/proc/sys", map[string]string{"net/ipv4/ip_unprivileged_port_start": "1024"}},
		"attr":           {"bind", "/proc/self/attr", map[string]string{"exec": ""}},
		"to-another":     {"bind", "/proc/sys/net", map[string]string{"ipv4/ip_unprivileged_port_start": "->/proc/sys/kernel/domainname"}},
		"by-a-link":      {"bind", "/link/sys/net", params},
	}, func(t *testing.T, b *bundle.Box, f form) string {
		if f.target == "/proc/self/attr" && isWeak(b) {
			f.target, f.files = "/proc/sys/net", params // the weak one writes no labels
		}
		vol := folder(t, b, "volume", f.files)
		must(t, os.Symlink("proc", b.Path("link")))
		b.Mount(f.typ, vol, f.target, "rbind")
		const value = "777"
		b.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": value}
		b.Spec.Linux.ReadonlyPaths = nil
		b.Shell("cat /proc/sys/kernel/domainname")
		r := b.Run()
		if r.Code == 0 && strings.Contains(r.Out, value) {
			return "a kernel parameter was written to another one"
		}
		for file := range f.files {
			data, err := os.ReadFile(vol + "/" + file)
			if err == nil && strings.Contains(string(data), value) {
				return "a kernel parameter went to a file of the volume, " + file
			}
		}
		return ""
	})
}
