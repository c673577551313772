// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		text string
		want [2]int
		ok   bool
	}{
		{"Version: 3.17.1\n", [2]int{3, 17}, true},
		{"Version: 4.0\nGitID: v4.0\n", [2]int{4, 0}, true},
		{"Version: 3\n", [2]int{}, false},
		{"Version: x.y\n", [2]int{}, false},
		{"", [2]int{}, false},
	} {
		if got, ok := parseVersion([]byte(c.text)); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %v, %v", c.text, got, ok)
		}
	}
}

// program puts a stand-in for criu into PATH.
func program(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "criu"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestFindRefuses(t *testing.T) {
	for _, c := range []struct{ name, script, want, hint string }{
		{"missing", "", "criu is not installed", "install it"},
		{"old", "echo Version: 3.15", "version 3.15", "install criu 3.16 or newer"},
		{"broken", "exit 3", "exit status 3", ""},
		{"foreign", "echo hello", `"hello"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			program(t, c.script)
			_, _, err := Find()
			var u *Unusable
			if !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) || !strings.Contains(u.Hint(), c.hint) {
				t.Errorf("got %v; want %s", err, c.want)
			}
		})
	}
	program(t, "echo Version: 3.16.1")
	if file, _, err := Find(); err != nil || filepath.Base(file) != "criu" {
		t.Errorf("got %q, %v", file, err)
	}
}

// Look is asked about this very process, of which the kernel tells the same by other files.
func TestLookAtOneself(t *testing.T) {
	s, err := Look(os.Getpid(), []string{"/proc/self", "/no/such/place"})
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := s.mountAt("/"); !ok || m.Type == "" {
		t.Errorf("no root among %v", s.Mounts)
	}
	if _, there := s.Places["/no/such/place"]; there || !strings.HasPrefix(s.Places["/proc/self"], "/proc/") {
		t.Errorf("places: %v", s.Places)
	}
	if len(s.Namespaces) > 0 {
		t.Errorf("its namespaces are ours, got %v", s.Namespaces)
	}
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := s.stream("/proc/self", int(f.Fd())); strings.HasPrefix(got, "file[") {
		t.Errorf("%s is on a mount of its own, got %s", os.Args[0], got)
	}
	s.Mounts = nil
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if got := s.stream("/proc/self", int(f.Fd())); !strings.HasPrefix(got, "file[") || !strings.HasSuffix(got, fmt.Sprintf(":%x]", st.Ino)) {
		t.Errorf("on a mount that is not its own: %s", got)
	}
	if got := s.stream("/proc/self", 12345); got != "" {
		t.Errorf("a descriptor that is not open: %s", got)
	}
}

// A network that is in the images would come back beside the one that is made.
func TestImagesWithANetwork(t *testing.T) {
	dir := t.TempDir()
	if err := CheckNetwork(dir); err != nil {
		t.Errorf("without any: %v", err)
	}
	for text, ok := range map[string]bool{"\x42\x0cextRootNetNS": true, "\x08\x01": false} {
		if err := os.WriteFile(dir+"/netns-10.img", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := CheckNetwork(dir); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStreamsAreKept(t *testing.T) {
	dir := t.TempDir()
	want := [3]string{"pipe:[1]", "", "file[a:b]"}
	if err := WriteStreams(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadStreams(dir); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if err := os.WriteFile(dir+"/descriptors.json", []byte(`["/dev/null"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadStreams(dir); err != nil || got != [3]string{"/dev/null"} {
		t.Errorf("of a shorter list: %q, %v", got, err)
	}
	if err := os.WriteFile(dir+"/descriptors.json", []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStreams(dir); err == nil {
		t.Error("a broken list is taken")
	}
}

const log = `(00.1) Running
(00.2) Error (criu/sk-inet.c:189): inet: Connected TCP socket, consider using --tcp-established option.
(00.3) cleaning up
(00.4) Error (criu/cr-dump.c:2053): Dumping FAILED.
`

func TestFailureTellsOfTheLog(t *testing.T) {
	program(t, "exit 0")
	file := t.TempDir() + "/dump.log"
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newFailure("criu", file, unix.WaitStatus(1<<8))
	if len(e.Lines) != 2 || !strings.HasPrefix(e.Error(), "exit status 1; from "+file+":\n  (00.2) Error") {
		t.Errorf("got %s", e)
	}
	if !strings.Contains(e.Hint(), "--tcp-established") {
		t.Errorf("hint: %q", e.Hint())
	}
	if got := tell("a\nb\n"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("a log without errors: %q", got)
	}
	if got := tell(""); len(got) != 0 {
		t.Errorf("an empty log: %q", got)
	}
}

func TestFailureTellsOfCheck(t *testing.T) {
	program(t, "echo 'Error: no vdso'; exit 1")
	e := newFailure("criu", "/no/such/log", unix.WaitStatus(unix.SIGKILL))
	if e.Error() != "killed by SIGKILL" || !strings.Contains(e.Hint(), "no vdso") {
		t.Errorf("got %s, hint %q", e, e.Hint())
	}
}
