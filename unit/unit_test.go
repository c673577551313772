// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
}

var services = map[string]Container{
	"vitro-web.service": {
		Name: "web", Dir: "/var/lib/vitro/containers/0123", Vitro: []string{"/bin/true"}, Stop: 10 * time.Second, Restart: "no",
	},
	"vitro-odd.service": {
		Name: "odd", Dir: "/home/a b/100%/$x/containers/45", Vitro: []string{"/bin/true", "--root", `/home/a b/100%/$x "q"`}, Stop: time.Minute,
		Restart: "on-failure", User: true, After: []string{"vitro-web.service"},
	},
}

func TestService(t *testing.T) {
	for name, c := range services {
		golden(t, name, Service(c))
	}
}

// What systemd itself thinks of them, and of the one that is shipped.
func TestSystemdTakesThem(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	dir := t.TempDir()
	var files []string
	for name, c := range services {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(Service(c)), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	boot, err := os.ReadFile("../dist/vitro-boot.service")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "vitro-boot.service")
	text := strings.ReplaceAll(string(boot), "/usr/local/bin/vitro", "/bin/true") // which need not be installed
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no", "--recursive-errors=no"}, append(files, file)...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	bad := filepath.Join(dir, "bad.service")
	if err := os.WriteFile(bad, []byte("[Service]\nExecStart=relative\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", bad).CombinedOutput(); err == nil && len(out) == 0 {
		t.Error("systemd-analyze verify takes anything")
	}
}

func TestQuadlet(t *testing.T) {
	golden(t, "web.container", Quadlet(Request{
		Name: "web",
		Keys: []Key{
			{"Image", "docker.io/library/nginx:1", false}, {"HostName", "", false}, {"Environment", "A=b c%", true},
			{"Environment", "Q=\"x\"", true}, {"Volume", "/src:/dst:ro", false}, {"HealthCmd", "wget -q localhost || exit 1", false},
		},
		Command: []string{"sh", "-c", `echo "100%" $HOME`}, Args: []string{"--cpus=1.5", "--entrypoint="}, Restart: "always", Target: "multi-user.target",
	}))
}
