// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/test/bundle"
)

// exchange swaps two files over and over, as another container would that
// shares their volume.
func exchange(a, b string) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// tries is how often a race is run.
const tries = 25

// ways are the contents of a link that is to lead from a container's root to a
// folder of the host's.
func ways(dir string) []string {
	return []string{dir, upAndOut + dir, "/proc/self/cwd/" + upAndOut + dir}
}

// race runs containers with a mount at a place below /data, a shared volume,
// while the first folder on the way there is exchanged for a link out. After
// each, look says what the harm is.
func race(t *testing.T, b *bundle.Box, v victim, look func(bundle.Result) string) string {
	t.Helper()
	for i := range tries {
		vol := folder(t, b, "volume"+strconv.Itoa(i), map[string]string{"place": "/", "link": "->" + ways(v.dir)[i%3]})
		b.Unmount("/data")
		target := b.Spec.Mounts[len(b.Spec.Mounts)-1]
		b.Unmount(target.Destination)
		b.Mount("bind", vol, "/data", "rbind", "rw")
		b.Spec.Mounts = append(b.Spec.Mounts, target)
		b.Save()
		stop := exchange(filepath.Join(vol, "place"), filepath.Join(vol, "link"))
		r := b.Do("run", b.ID)
		stop()
		harm := v.changes()
		if harm == "" {
			harm = look(r)
		}
		if harm != "" {
			return fmt.Sprintf("%s (try %d)", harm, i)
		}
		b.Do("delete", "--force", b.ID)
	}
	return ""
}

// A mount's place is resolved, and changed before it is mounted on.
func TestCVE_2021_30465(t *testing.T) {
	harmless(t, func(t *testing.T, b *bundle.Box) string {
		v := newVictim(t, b)
		must(t, os.MkdirAll(b.Path(v.dir), 0o755)) // as a place in the container it would be harmless
		const mark = "mark-of-the-test"
		b.Mount("tmpfs", mark, "/data/place")
		b.Play("where", mark)
		return race(t, b, v, func(r bundle.Result) string {
			if r.Code == 0 && r.Out == "" {
				return "the mount is not in the container"
			}
			return ""
		})
	})
}

// A mount's place is made, and with it folders and files on the way there that
// are the host's.
func TestCVE_2024_45310(t *testing.T) {
	for _, kind := range []string{"folder", "file"} {
		t.Run(kind, func(t *testing.T) {
			harmless(t, func(t *testing.T, b *bundle.Box) string {
				v := newVictim(t, b)
				source := folder(t, b, "source", map[string]string{"file": "x"})
				if kind == "file" {
					source += "/file"
				}
				b.Mount("bind", source, "/data/place/made/by/runtime", "rbind")
				b.Play("where", "nothing")
				return race(t, b, v, func(bundle.Result) string { return "" })
			})
		})
	}
}

// A working directory that is reached by a descriptor of the host's leads to
// the host, whether the runtime has opened it or has left it open.
func TestCVE_2024_21626(t *testing.T) {
	leak := func(t *testing.T, b *bundle.Box, v victim) {
		t.Helper()
		for _, dir := range []string{"/sys/fs/cgroup", v.dir, "/"} { // what the runtime's caller has left open
			f, err := os.Open(dir)
			must(t, err)
			t.Cleanup(func() { f.Close() })
			b.Files = append(b.Files, f)
		}
	}
	t.Run("run", func(t *testing.T) {
		harmless(t, func(t *testing.T, b *bundle.Box) string {
			v := newVictim(t, b)
			leak(t, b, v)
			b.Play("lookout", v.secret)
			for fd := 3; fd < 16; fd++ {
				name := "/image" + strconv.Itoa(fd)
				must(t, os.Symlink("/proc/self/fd/"+strconv.Itoa(fd), b.Path(name)))
				for _, cwd := range []string{"/proc/self/fd/" + strconv.Itoa(fd), name, "/proc/1/fd/" + strconv.Itoa(fd) + "/.."} {
					b.Spec.Process.Cwd = cwd
					if harm := played(b); harm != "" {
						return fmt.Sprintf("process.cwd %s: %s", cwd, harm)
					}
				}
			}
			return ""
		})
	})
	t.Run("exec", func(t *testing.T) {
		harmless(t, func(t *testing.T, b *bundle.Box) string {
			v := newVictim(t, b)
			b.Spec.Process.Args = []string{"sleep", "100"}
			b.Save()
			b.Must("create", b.ID)
			if !isWeak(b) {
				b.Must("start", b.ID)
			}
			bundle.Eventually(t, "the container is up", func() bool { return b.Do("exec", b.ID, "/bin/true").Code == 0 })
			leak(t, b, v)
			for fd := 3; fd < 16; fd++ {
				cwd := "/proc/self/fd/" + strconv.Itoa(fd)
				if r := b.Do("exec", "--cwd", cwd, b.ID, "/bin/"+bundle.Inside, "lookout", v.secret); r.Code == 0 && r.Out != "" {
					return fmt.Sprintf("exec --cwd %s: %s", cwd, r.Out)
				}
			}
			return ""
		})
	})
}

// Inheritable capabilities would be a program's with file capabilities, which
// the container's user was not to have.
func TestCVE_2022_29162(t *testing.T) {
	harmless(t, func(t *testing.T, b *bundle.Box) string {
		b.Play("status", "CapInh", "CapAmb")
		none := func(out string) bool { return strings.Count(out, " 0000000000000000") == 2 }
		if out := b.Run().Out; !none(out) {
			return "run: " + out
		}
		b.Do("delete", "--force", b.ID)
		b.Spec.Process.Args = []string{"sleep", "100"}
		b.Save()
		b.Must("create", b.ID)
		if !isWeak(b) {
			b.Must("start", b.ID)
		}
		for _, flags := range [][]string{nil, {"--cap", "CAP_NET_RAW"}, {"--cap", "CAP_NET_RAW", "--user", "1000"}} {
			if os.Geteuid() != 0 && len(flags) > 2 {
				continue // its user namespace has one user
			}
			out := b.Do(append(append([]string{"exec"}, flags...), b.ID, "/bin/"+bundle.Inside, "status", "CapInh", "CapAmb")...).Out
			if !none(out) {
				return fmt.Sprintf("exec %s: %s", flags, out)
			}
		}
		return ""
	})
}
