// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/test/bundle"
)

// background has the box's container play a part, and returns what ends it and
// gets what it has said.
func background(t *testing.T, b *bundle.Box, part string, args ...string) (end func() string) {
	t.Helper()
	said, err := os.OpenFile(filepath.Join(filepath.Dir(b.Dir), "said"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	must(t, err)
	t.Cleanup(func() { said.Close() })
	b.Play(part, args...)
	b.Save()
	cmd := b.Command("create", b.ID)
	cmd.Stdout, cmd.Stderr = said, said
	text := func() string {
		data, err := os.ReadFile(said.Name())
		must(t, err)
		return string(data)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("create: %v: %s", err, text())
	}
	if !isWeak(b) { // whose create is a start
		b.Must("start", b.ID)
	}
	bundle.Eventually(t, part+" is ready", func() bool { return strings.Contains(text(), "ready\n") })
	pid := b.Pid()
	return func() string {
		must(t, os.WriteFile(b.Path(stopFile), nil, 0o644))
		bundle.Eventually(t, part+" has ended", func() bool {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(data), ") Z ")
		})
		return strings.TrimSpace(strings.Replace(text(), "ready\n", "", 1))
	}
}

// A process that joins a container must not be an open door for those in it, as
// long as it has something of the host's in its hands. The container has all of
// the capabilities, in a user namespace: without one it would need no trick.
func TestCVE_2016_9962(t *testing.T) {
	harmless(t, func(t *testing.T, b *bundle.Box) string {
		v := newVictim(t, b)
		allCaps(b)
		if os.Geteuid() == 0 && !isWeak(b) {
			userNamespace(b, 0)
		}
		end := background(t, b, "spy", v.secret)
		for range 20 {
			b.Do("exec", b.ID, "/bin/true")
		}
		return end()
	})
}

func allCaps(b *bundle.Box) {
	var names []string
	for _, n := range strings.Fields("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_ADMIN NET_RAW " +
		"SYS_CHROOT SYS_PTRACE SYS_ADMIN MKNOD AUDIT_WRITE SETFCAP") {
		names = append(names, "CAP_"+n)
	}
	b.Caps(names...)
}

// userNamespace gives root's container a user namespace, with so many IDs from
// first on.
func userNamespace(b *bundle.Box, first uint32) {
	l := b.Spec.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{HostID: first, Size: 65536}}
	l.GIDMappings = l.UIDMappings
}

// lures are programs that have the runtime's own executed in the container.
func lures(t *testing.T, b *bundle.Box) []string {
	must(t, os.WriteFile(b.Path("bin/script"), []byte("#!/proc/self/exe\n"), 0o755))
	must(t, os.Symlink("/proc/self/exe", b.Path("bin/link")))
	must(t, os.WriteFile(b.Path("bin/interpreted"), interpretedBy("/proc/self/exe"), 0o755))
	return []string{"/bin/script", "/bin/link", "/bin/interpreted", "/proc/self/exe", "/bin/true"}
}

// interpretedBy is an ELF program whose loader is the given file.
func interpretedBy(file string) []byte {
	const head, ph = 64, 56
	var w bytes.Buffer
	put := func(v ...any) {
		for _, x := range v {
			_ = binary.Write(&w, binary.NativeEndian, x)
		}
	}
	size := uint64(head + 2*ph + len(file) + 1)
	w.WriteString("\x7fELF\x02\x01\x01")
	w.Write(make([]byte, 9))
	put(uint16(2), machine(), uint32(1), uint64(0x400000), uint64(head), uint64(0), uint32(0), uint16(head), uint16(ph), uint16(2), uint16(0), uint16(0), uint16(0))
	put(uint32(3), uint32(4), uint64(head+2*ph), uint64(0x400000+head+2*ph), uint64(0), uint64(len(file)+1), uint64(len(file)+1), uint64(1)) // PT_INTERP
	put(uint32(1), uint32(5), uint64(0), uint64(0x400000), uint64(0), size, size, uint64(0x1000))                                            // PT_LOAD
	w.WriteString(file + "\x00")
	return w.Bytes()
}

// machine is the e_machine of this program.
func machine() uint16 {
	head := make([]byte, 20)
	if f, err := os.Open("/proc/self/exe"); err == nil {
		_, _ = f.Read(head)
		f.Close()
	}
	return binary.NativeEndian.Uint16(head[18:])
}

// ownCopy has the box run by a copy of its runtime, which may be overwritten.
func ownCopy(t *testing.T, b *bundle.Box) (changed func() string) {
	t.Helper()
	data, err := os.ReadFile(b.Runtime)
	must(t, err)
	file := filepath.Join(filepath.Dir(b.Dir), filepath.Base(b.Runtime))
	must(t, os.WriteFile(file, data, 0o755))
	b.Runtime = file
	return func() string {
		now, err := os.ReadFile(file)
		must(t, err)
		if sha256.Sum256(now) == sha256.Sum256(data) {
			return ""
		}
		must(t, os.WriteFile(file+".new", data, 0o755)) // for what is left to be done
		must(t, os.Rename(file+".new", file))
		return fmt.Sprintf("the runtime's program is now %.20q", now)
	}
}

// The runtime's program can be reached as /proc/PID/exe by those in the
// container, if a process of the runtime's executes something there that leads
// back to it: by exec, and by run of a second container in the same PID namespace.
func TestCVE_2019_5736(t *testing.T) {
	harmless(t, func(t *testing.T, b *bundle.Box) string {
		weakly := isWeak(b)
		changed := ownCopy(t, b)
		ls := lures(t, b)
		if weakly { // as a loader it would loop for ever
			ls = ls[:2]
		}
		end := background(t, b, "thief")
		for _, lure := range ls {
			for range 3 {
				b.Do("exec", b.ID, lure)
			}
		}
		if !weakly {
			runLures(t, b, ls)
		}
		said := end()
		if harm := changed(); harm != "" {
			return harm + ": " + said
		}
		return ""
	})
}

func runLures(t *testing.T, b *bundle.Box, names []string) {
	t.Helper()
	pid := b.Pid()
	for _, name := range names {
		other := bundle.New(t, b.Runtime)
		lures(t, other)
		for i := range other.Spec.Linux.Namespaces {
			switch n := &other.Spec.Linux.Namespaces[i]; n.Type {
			case specs.PIDNamespace, specs.UserNamespace:
				n.Path = fmt.Sprintf("/proc/%d/ns/%s", pid, n.Type)
			}
		}
		other.Spec.Linux.UIDMappings, other.Spec.Linux.GIDMappings = nil, nil
		other.Spec.Process.Args = []string{name}
		other.Run()
	}
}
