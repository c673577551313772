// SPDX-License-Identifier: Apache-2.0

// Package cve plays the attacks of this field's published advisories against
// vitro-oci, on the real kernel, as the container, its image, its volumes or
// the author of its config.json would.
//
// Each attack says what harm it has done, "" for none. It is played twice:
// against the runtime, which must not be harmed, and against one without
// defences (weak_test.go), which must be: an attack that does nothing there
// proves nothing here.
//
// With VITRO_CVE_RUNTIME=PATH another runtime is attacked in vitro-oci's place.
// What that showed, as root, on Linux 6.18 with no LSM:
//
//	                             runc 1.1.5+deb12u1   runc 1.2.5   runc 1.3.3
//	CVE-2024-45310               harmed               safe         safe
//	CVE-2025-31133               harmed               harmed       safe
//	CVE-2025-52565               harmed               safe         safe
//	TestMasksGoWithTheirMount    harmed               harmed       harmed
//	all others                   safe                 safe         safe
package cve

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"vitro/test/bundle"
)

// target is the runtime that is attacked, weak the one without defences.
var target, weak string

// parts are what this program plays.
var parts = []bundle.Part{
	{Name: weakName, Play: weakMain}, {Name: "weak-init", Play: weakInit}, {Name: "weak-exec", Play: weakExec},
	{Name: "spy", Play: spy}, {Name: "thief", Play: thief}, {Name: "lookout", Play: lookout}, {Name: "kernel", Play: kernelFiles},
	{Name: "where", Play: where}, {Name: "masked", Play: masked}, {Name: "console", Play: console}, {Name: "status", Play: status},
	{Name: "keys", Play: keys}, {Name: "dodge", Play: dodge}, {Name: "dodger", Play: dodger},
}

func TestMain(m *testing.M) { os.Exit(bundle.Main(m, parts, stage)) }

func stage(dir string) (err error) {
	weak = filepath.Join(dir, weakName)
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(weak, data, 0o755); err != nil {
		return err
	}
	if target = os.Getenv("VITRO_CVE_RUNTIME"); target == "" {
		target, err = bundle.Build(dir)
	}
	return err
}

// harmless plays an attack against the runtime, and against the weak one.
func harmless(t *testing.T, attack func(*testing.T, *bundle.Box) string) {
	t.Helper()
	t.Run(filepath.Base(target), func(t *testing.T) {
		if harm := attack(t, bundle.New(t, target)); harm != "" {
			t.Error(harm)
		}
	})
	if os.Geteuid() != 0 {
		return // see TestAttacksWork
	}
	t.Run("weak", func(t *testing.T) {
		harm := attack(t, bundle.New(t, weak))
		if harm == "" {
			t.Fatal("the attack does nothing against a runtime without defences: this test can't fail")
		}
		t.Logf("as it should: %s", harm)
	})
}

// As an ordinary user nothing shows that the attacks work: this says so, once.
func TestAttacksWork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN: the weak runtime has no user namespace")
	}
	b := bundle.New(t, weak)
	b.Shell("echo it runs")
	if r := b.Run(); r.Out != "it runs" {
		t.Error(r)
	}
}

// isWeak reports whether a box is run by the runtime without defences, which
// lacks much else besides.
func isWeak(b *bundle.Box) bool { return filepath.Base(b.Runtime) == weakName }

// A victim is a folder of the host's that no container has to do with.
type victim struct{ dir, secret string }

const secretText = "only for the host"

func newVictim(t *testing.T, b *bundle.Box) victim {
	t.Helper()
	v := victim{dir: filepath.Join(filepath.Dir(b.Dir), "victim")}
	v.secret = filepath.Join(v.dir, "secret")
	must(t, os.Mkdir(v.dir, 0o755))
	must(t, os.WriteFile(v.secret, []byte(secretText), 0o666))
	return v
}

// changes says what has become of it.
func (v victim) changes() string {
	data, err := os.ReadFile(v.secret)
	if err != nil || string(data) != secretText {
		return fmt.Sprintf("the host's file was changed: %q, %v", data, err)
	}
	entries, err := os.ReadDir(v.dir)
	if err != nil || len(entries) != 1 {
		return fmt.Sprintf("the host's folder was changed: %v, %v", entries, err)
	}
	return ""
}

// folder makes a folder for a volume, with files by their paths. A content of
// "/" is a folder, one that begins with "->" a symbolic link.
func folder(t *testing.T, b *bundle.Box, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(b.Dir), name)
	must(t, os.MkdirAll(dir, 0o777))
	plant(t, dir, files)
	return dir
}

func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		p, text := filepath.Join(dir, name), files[name]
		must(t, os.MkdirAll(filepath.Dir(p), 0o777))
		_ = os.Remove(p)
		switch to, link := strings.CutPrefix(text, "->"); {
		case link:
			must(t, os.Symlink(to, p))
		case text == "/":
			must(t, os.MkdirAll(p, 0o777))
		default:
			must(t, os.WriteFile(p, []byte(text), 0o666))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
