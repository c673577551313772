// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the texts into testdata, in place of comparing them")

func typeName(v any) string { return fmt.Sprintf("%T", v) }

// golden compares a text with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			t.Fatalf("%s: line %d is new (-update writes it down): %s", file, i+1, g[i])
		case i >= len(g):
			t.Fatalf("%s: line %d is gone: %s", file, i+1, w[i])
		case w[i] != g[i]:
			t.Fatalf("%s: line %d is another (-update writes it down)\ngot  %s\nwant %s", file, i+1, g[i], w[i])
		}
	}
}

// TestLowering shows what each child action is lowered to.
func TestLowering(t *testing.T) { golden(t, "lower.txt", cataloguePlan().Text(true)) }

// file is a host action to print.
type file struct {
	Path string `json:"path"`
}

func (a *file) Verb() string    { return "touch" }
func (a *file) Line() string    { return "touch " + a.Path }
func (a *file) Do(*Env) error   { return errors.New("only to be looked at") }
func (a *file) Undo() Host      { return &gone{a.Path} }
func (a *file) Shell(s *Script) { s.Run("touch %s", Quote(a.Path)); a.Undo().Shell(s.Undoing()) }

type gone struct {
	Path string `json:"path"`
}

func (a *gone) Verb() string    { return "rm" }
func (a *gone) Line() string    { return "rm " + a.Path }
func (a *gone) Do(*Env) error   { return errors.New("only to be looked at") }
func (a *gone) Undo() Host      { return nil }
func (a *gone) Shell(s *Script) { s.Run("rm %s", Quote(a.Path)) }

// small is a plan with a step of each place: before the clone, after it, in the child.
func small() *Plan {
	p := &Plan{Title: "small:\nsh"}
	p.Add("first", &file{"/run/a b"})
	p.Add("second", &file{"/run/c"})
	p.Add("birth", &Clone{Flags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Into: "cgroup",
		Join: []Join{{Kind: "net", Handle: "ns-net", Path: "/run/netns/it's"}}})
	p.Add("with the child there", &file{"/run/d"})
	p.Append(
		Step{Action: &EnterIDs{}, Why: "root inside"},
		Step{Action: &NewFS{Type: "proc", Target: "/proc"}, Why: "processes"},
		Step{Action: &Pivot{}},
		Step{Action: &Attach{Target: "/proc", Strict: true}},
		Step{Action: &NoNewPrivs{}, Why: "no setuid"},
		Step{Action: &User{UID: 1, GID: 2, Groups: []uint32{3, 4}}},
		Step{Action: &Exec{Paths: []string{"/bin/sh"}, Args: []string{"sh", "-c", "echo 'hi'\n"}, Env: []string{"A=b c"}, Cwd: "/"}, Why: "the command"})
	return p
}

func TestText(t *testing.T)  { golden(t, "text.txt", small().Text(false)) }
func TestCalls(t *testing.T) { golden(t, "calls.txt", small().Text(true)) }
func TestLines(t *testing.T) { golden(t, "lines.txt", small().Lines()) }

func TestJSON(t *testing.T) {
	got, err := small().JSON()
	if err != nil {
		t.Fatal(err)
	}
	var any struct{ Steps []map[string]any }
	if err := json.Unmarshal(got, &any); err != nil || len(any.Steps) != len(small().Steps) {
		t.Fatalf("%d steps, %v", len(any.Steps), err)
	}
	golden(t, "plan.json", string(got)+"\n")
}

func TestShell(t *testing.T) {
	golden(t, "plan.sh", small().Shell())
	golden(t, "catalogue.sh", cataloguePlan().Shell())
	for _, p := range []*Plan{small(), cataloguePlan()} {
		syntax(t, p.Shell())
	}
}

// syntax has the shell read a script without running it.
func syntax(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sh -n: %v\n%s", err, out)
	}
}

// evils are values that end their quotes, their line or the script's document,
// and run a command, if a shell can be made to.
var evils = []string{
	"$(touch /escaped)", "`touch /escaped`", "; touch /escaped #", "' ; touch /escaped ; '", "\" ; touch /escaped ; \"",
	"a\nTHE_CHILD\ntouch /escaped\n", "a\nTHE_CHILD\nTHE_CHILD_\ntouch /escaped\n", "a\ntouch /escaped\n", "\\", "> /escaped",
}

// TestShellIsClosed: whatever the values of a config.json are, the script runs
// no command that they name. It runs in a folder that holds no other file than
// a shell, in namespaces of its own, with all its tools replaced.
func TestShellIsClosed(t *testing.T) {
	jail := newJail(t)
	if escaped(t, jail, "touch /escaped", "") == "" {
		t.Fatal("the test would not see a command run")
	}
	for _, evil := range evils {
		p := &Plan{Title: evil}
		p.Add("", &file{"/run/" + evil})
		p.Add("", &Clone{Flags: unix.CLONE_NEWNS, Join: []Join{{Kind: "net", Path: "/" + evil}}})
		for _, a := range []Child{
			&JoinCgroup{Path: "/" + evil}, &NewFS{Type: evil, Source: evil, Target: "/" + evil, Options: []string{evil}},
			&Bind{Source: "/" + evil, Target: "/" + evil, File: true}, &Bind{Source: "/" + evil, Target: "/" + evil, Set: unix.MOUNT_ATTR_RDONLY},
			&Overlay{Layers: []string{evil}, Upper: evil, Work: evil, Options: []string{evil}}, &Scratch{At: "/" + evil, Size: evil}, &OpenRoot{At: "/" + evil},
			&Dir{Path: "/" + evil}, &Node{Path: "/" + evil}, &Symlink{Target: evil, Path: "/" + evil}, &LinkUp{Name: evil},
			&Hostname{evil}, &Domainname{evil}, &Sysctl{Path: evil, Value: evil}, &ReadOnly{Path: "/" + evil}, &Mask{Path: "/" + evil},
			&Seal{Target: "/" + evil}, &Attach{Target: "/" + evil}, &Console{Target: evil}, &Stdio{}, &Chdir{Path: evil},
			&MountFlags{Handle: evil, Target: "/" + evil, Set: unix.MOUNT_ATTR_RDONLY, Share: unix.MS_SHARED}, &Remount{Target: "/" + evil, Options: []string{evil}},
			&Label{File: evil, Value: evil, Option: []string{"--x", evil}}, &Affinity{CPUs: evil}, &MemoryPolicy{Mode: evil, Nodes: evil},
			&Exec{Paths: []string{evil}, Args: []string{evil, evil}, Env: []string{"A=" + evil}, Cwd: evil},
		} {
			p.Add("", a)
		}
		script := p.Shell()
		syntax(t, script)
		if out := escaped(t, jail, script, ""); out != "" {
			t.Errorf("%q runs a command of its own on the host: %s", evil, out)
		}
		if out := escaped(t, jail, "", "t/child"); out != "" {
			t.Errorf("%q runs a command of its own in the child: %s", evil, out)
		}
		os.Remove(jail + "/t/child")
	}
}

func newJail(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox, for a shell without other files")
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	jail := t.TempDir()
	for _, dir := range []string{"/bin", "/t", "/root"} {
		if err := os.Mkdir(jail+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(jail+"/bin/sh", program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"touch", "cat"} {
		if err := os.Symlink("sh", jail+"/bin/"+name); err != nil {
			t.Fatal(err)
		}
	}
	return jail
}

// harmless takes their effects from the commands that a script uses.
const harmless = `for c in mount mkdir mknod chown chmod ln ip hostname setpriv unshare nsenter umount env sh rm rmdir mkfifo kill read wait sleep; do
	eval "$c() { :; }"
done
mktemp() { echo /t; }
T=/t ROOT=/root PID=
set -- 1
`

// escaped runs a script, or a file of the jail, and is not empty if that has
// made the file /escaped.
func escaped(t *testing.T, jail, script, file string) string {
	t.Helper()
	if file != "" {
		data, err := os.ReadFile(jail + "/" + file)
		if err != nil {
			t.Fatalf("the script has not written its child's half: %v", err)
		}
		script = string(data)
	}
	for _, r := range [][2]string{{"set -eu", "set +eu"}, {"while [ -z", "while false && [ -z"}, {"exec env -i", "true"}} {
		script = strings.Replace(script, r[0], r[1], 1)
	}
	ids := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	gids := []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	cmd := exec.Command("/bin/sh")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/bin"}
	cmd.Stdin = strings.NewReader(harmless + script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: jail, UidMappings: ids, GidMappings: gids, Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("needs user namespaces: %v", err)
	}
	if os.Remove(jail+"/escaped") == nil {
		return "escaped: " + string(out)
	}
	return ""
}
