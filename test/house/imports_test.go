// SPDX-License-Identifier: Apache-2.0

package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors is the order of the packages. One may import those of the floors
// above it in this list, and those below itself, but not its neighbours: they
// exchange values through the floors that follow.
var floors = [...][]string{
	{"plan", "internal/ocijson", "internal/dbus", "internal/near", "internal/petname", "format", "filter", "docs/lab", "internal/netns", "internal/manual", "internal/smallfile", "internal/processors", "internal/entry", "internal/mountinfo", "internal/outside", "unit"},
	{"plan/run", "host", "event", "tree"},
	{"hook", "listing"},
	{"cgroup", "network", "rootfs", "image", "seccomp", "volume"},
	{"checkpoint"},
	{"spec"},
	{"container"},
	{"monitor"},
	{"engine", "inspect", "burn", "lab"},
	{"cmd/vitro", "cmd/vitro-oci", "cmd/vitro-net"},
	{"bench", "test"},
}

// rooms stand side by side: what they may know besides themselves is here.
var rooms = [...]string{"cgroup", "network", "rootfs", "image", "seccomp", "volume"}

// common is what every room may know.
var common = [...]string{"plan", "host", "internal"}

// within says whether a package is another one, or below it.
func within(pkg, parent string) bool {
	return pkg == parent || strings.HasPrefix(pkg, parent+"/")
}

// floor is the place of a package in floors, by its own name or the longest
// one it is below of.
func floor(pkg string) (place int, name string) {
	place = -1
	for i, row := range floors {
		for _, p := range row {
			if within(pkg, p) && len(p) > len(name) {
				place, name = i, p
			}
		}
	}
	return place, name
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range load(t) {
		if s.test() {
			continue // tests may compare with anything
		}
		from, of := floor(s.dir)
		if from < 0 {
			t.Errorf("%s: package %s has no place in the table floors", s.name, s.dir)
			continue
		}
		for _, spec := range s.file.Imports {
			pkg, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/")
			if !ours || within(pkg, of) {
				continue
			}
			if to, _ := floor(pkg); to >= from {
				t.Errorf("%s:%d: %s must not import %s: arrows go one way", s.name, line(spec), s.dir, pkg)
			}
			if slices.Contains(rooms[:], of) && !slices.ContainsFunc(common[:], func(c string) bool { return within(pkg, c) }) {
				t.Errorf("%s:%d: %s must not know %s: it stands beside it", s.name, line(spec), s.dir, pkg)
			}
		}
	}
}

// runtimeModules are the modules that vitro-oci may link. It is on the way of
// every start; each was measured before it came here.
var runtimeModules = [...]string{
	"github.com/opencontainers/runtime-spec",
	"golang.org/x/sys",
}

// notInRuntime are packages of the standard library that vitro-oci must not
// link, with what they cost.
var notInRuntime = [...]struct{ pkg, reason string }{
	{"net/http", "TLS, HTTP/2 and their tables: a millisecond and 5 MB; registries are vitro's"},
	{"crypto/tls", "tables and init work; nothing is fetched here"},
	{"text/template", "reflection keeps every method of every type in the program"},
	{"html/template", "as text/template"},
	{"encoding/gob", "reflection, and init work"},
	{"encoding/xml", "reflection; no format of ours"},
	{"go/ast", "for tests and generators"},
	{"os/user", "reads /etc/passwd of the host; a container's is the container's"},
	{"expvar", "opens the door of net/http"},
	{"log", "errors are returned; main prints them"},
	{"flag", "the command line is a table"},
	{"testing", "for tests"},
}

// rooms that vitro-oci does without, and what is there for them instead.
var notOursInRuntime = [...]struct{ pkg, reason string }{
	{"engine", "the engine starts vitro-oci, not the other way round"},
	{"image", "a bundle has a root file system already"},
	{"seccomp/profile", "a config.json comes with its profile"},
}

func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command in PATH")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func TestRuntimeLinksLittle(t *testing.T) {
	list := goCommand(t, "list", "-deps", "-f", "{{.ImportPath}} {{if .Module}}{{.Module.Path}}{{end}}", "./cmd/vitro-oci")
	for dep := range strings.Lines(list) {
		pkg, mod, _ := strings.Cut(strings.TrimSpace(dep), " ")
		if mod != "" && mod != module && !slices.Contains(runtimeModules[:], mod) {
			t.Errorf("vitro-oci links %s, of a module that is not in runtimeModules", pkg)
		}
		for _, no := range notInRuntime {
			if pkg == no.pkg {
				t.Errorf("vitro-oci links %s: %s", pkg, no.reason)
			}
		}
		for _, no := range notOursInRuntime {
			if within(pkg, module+"/"+no.pkg) {
				t.Errorf("vitro-oci links %s: %s", pkg, no.reason)
			}
		}
	}
}

// Only vitro-net has a network stack of its own in it: 4 MB that nothing else grows by.
func TestOnlyOneLinksTheStack(t *testing.T) {
	for _, program := range [...]string{"vitro", "vitro-oci", "vitro-net"} {
		list := goCommand(t, "list", "-deps", "./cmd/"+program)
		has := strings.Contains(list, "gvisor.dev/gvisor/pkg/tcpip/stack\n")
		if want := program == "vitro-net"; has != want {
			t.Errorf("%s links gvisor.dev/gvisor: %v, want %v", program, has, want)
		}
	}
}

// runtimeSize is how large vitro-oci may be, in bytes: its pages are read at
// every start after the cache was dropped, and a copy is sealed in memory.
const runtimeSize = 5_250_000

func TestRuntimeIsSmall(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "vitro-oci")
	goCommand(t, "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./cmd/vitro-oci")
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > runtimeSize {
		t.Errorf("vitro-oci has %d bytes, of at most %d: look at go version -m and go tool nm -size", info.Size(), runtimeSize)
	}
}
