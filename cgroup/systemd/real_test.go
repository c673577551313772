// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/cgroup/systemd"
	"vitro/host"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// What the tests below say is checked by a systemd that is the first process
// of a world of its own, as root and as a user: in hybrid mode and with version
// 1 alone, or with version 2, as this machine has it.
func TestRealSystemd(t *testing.T) {
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	worlds := []string{"hybrid", "v1"}
	if l.Version() != "hybrid" {
		worlds = []string{l.Version()}
	}
	for _, kind := range worlds {
		t.Run(kind, func(t *testing.T) {
			out, err := newWorld(t, kind != "v1").run(t)
			if err != nil {
				t.Errorf("the tests inside: %v\n%s", err, out)
			}
			for _, name := range []string{"TestInside/root", "TestInside/user"} {
				if strings.Contains(out, "--- PASS: "+name) || kind == "v1" && strings.Contains(out, "--- SKIP: "+name) {
					continue
				}
				t.Errorf("%s has not passed:\n%s", name, out)
			}
			for _, skip := range regexp.MustCompile(`(?s)--- SKIP: .*?\n.*?\n`).FindAllString(out, -1) {
				t.Log(skip)
			}
		})
	}
}

// TestInside is what the world's service runs; the root's half has systemd run
// the user's.
func TestInside(t *testing.T) {
	switch os.Getenv("SYSTEMD_TEST_WORLD") {
	case "root":
		if !systemd.IsRunning() {
			t.Error("IsRunning() is false, below a systemd")
		}
		t.Run("root", func(t *testing.T) { inside(t, false) })
		out, err := exec.Command("systemctl", "start", "session.service").CombinedOutput()
		if err != nil {
			t.Errorf("the user's session: %v, %s", err, out)
		}
		// a user's systemd takes its time to end
		if out, err := exec.Command("systemctl", "kill", "--signal=KILL", "user@1.service").CombinedOutput(); err != nil {
			t.Errorf("kill the user's systemd: %v, %s", err, out)
		}
	case "user":
		t.Run("user", func(t *testing.T) { inside(t, true) })
	default:
		t.Skip("needs a systemd: TestRealSystemd runs it below one")
	}
}

// A lab is a container's cgroups, with a process that sleeps for a container.
type lab struct {
	*testing.T
	layout *cgroup.Layout
	user   bool
}

func inside(t *testing.T, user bool) {
	m, err := systemd.Ask(user)
	if err != nil {
		t.Fatal(err)
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	l.Manager = m
	t.Logf("systemd %d at %+v, its cgroups in %s, %s", m.Version, m.Bus, m.ControlGroup, l.Version())
	if m.Version < 200 || m.Bus.User != user || !strings.HasPrefix(m.ControlGroup, "/") || user == (m.ControlGroup == "/") {
		t.Errorf("Ask() = %+v", m)
	}
	x := &lab{t, l, user}
	buses := []systemd.Bus{{Socket: "/run/systemd/private", Private: true}, {Socket: "/run/dbus/system_bus_socket"}}
	if user {
		buses = []systemd.Bus{{Socket: "/run/user/1/bus", User: true}, {Socket: "/run/user/1/systemd/private", Private: true, User: true}}
	}
	if m.Bus != buses[0] {
		t.Errorf("Ask() chooses %+v, want %+v", m.Bus, buses[0])
	}
	x.lives("first", buses[0], x.keeps)
	x.lives("second", buses[1], func(*cgroup.Setup) {})
	x.container()
	x.twice()
	x.crash()
	if !user {
		x.slice()
	}
}

const small = `{"memory":{"limit":33554432},"pids":{"limit":20}}`

// do does host steps as package run does.
func (x *lab) do(pid int, steps []plan.Step) error {
	env := &plan.Env{Pid: pid, Handles: make(map[string]int)}
	defer func() {
		for _, fd := range env.Handles {
			unix.Close(fd)
		}
	}()
	for _, s := range steps {
		if err := s.Action.(plan.Host).Do(env); err != nil {
			return err
		}
	}
	return nil
}

func (x *lab) sleeper() *exec.Cmd {
	x.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { end(cmd) })
	return cmd
}

func end(cmd *exec.Cmd) { _ = cmd.Process.Kill(); _ = cmd.Wait() }

func (x *lab) setup(name, path, res string) *cgroup.Setup {
	x.Helper()
	r := new(specs.LinuxResources)
	if err := json.Unmarshal([]byte(res), r); err != nil {
		x.Fatal(err)
	}
	s, err := x.layout.Setup(path, r, cgroup.Options{Name: name, Systemd: true})
	if err != nil {
		x.Fatal(err)
	}
	return s
}

// limits reports whether this user may limit: a user of version 1 may not.
func (x *lab) limits() bool { return !x.user || x.layout.Version() == "v2" }

// lives is a unit's whole life: born, limited, what there is to be seen, and
// gone. It is told by one way to reach systemd.
func (x *lab) lives(name string, bus systemd.Bus, meanwhile func(*cgroup.Setup)) {
	x.layout.Manager.Bus = bus
	res := `{}`
	if x.limits() {
		res = small
	}
	if !x.user { // who may limit devices
		res = small[:len(small)-1] + `,"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}]}`
	}
	s := x.setup(name, "", res)
	cmd := x.sleeper()
	if err := x.do(cmd.Process.Pid, append(s.Before, s.Born...)); err != nil {
		x.Fatal(err)
	}
	unit := "vitro-" + name + ".scope"
	if got := x.show(unit, "Description", "Delegate", "DefaultDependencies", "CollectMode", "ActiveState"); got !=
		"container "+name+" yes no inactive-or-failed active" {
		x.Errorf("the unit is %s", got)
	}
	in, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cgroup")
	if err != nil || !strings.Contains(string(in), "/"+unit+"\n") {
		x.Errorf("the process is in %s, %v", in, err)
	}
	for _, d := range s.Dirs {
		procs, err := os.ReadFile(d.Path + "/cgroup.procs")
		joined := len(s.Join) > 0 && !strings.Contains(string(procs), strconv.Itoa(cmd.Process.Pid)) // the child's own step
		if err != nil || strings.TrimSpace(string(procs)) != strconv.Itoa(cmd.Process.Pid) && !joined {
			x.Errorf("%s has the processes %q, %v", d.Path, procs, err)
		}
	}
	if x.limits() {
		x.limited(s, "at first", "33554432", "20")
		meanwhile(s)
	}
	end(cmd)
	for _, st := range append(s.Born, s.Before...) {
		if undo := st.Action.(plan.Host).Undo(); undo != nil {
			if err := x.do(0, []plan.Step{{Action: undo}}); err != nil {
				x.Errorf("%s: %v", undo.Line(), err)
			}
		}
	}
	if got := x.show(unit, "LoadState"); got != "not-found" {
		x.Errorf("the stopped unit is %s", got)
	}
	for _, d := range s.Dirs {
		if _, err := os.Stat(d.Path); err == nil {
			x.Errorf("%s is left", d.Path)
		}
	}
}

// keeps checks the limits, before and after systemd reads everything anew, and
// after a change.
func (x *lab) keeps(s *cgroup.Setup) {
	x.Helper()
	x.devices(s, "at first")
	x.reload()
	x.limited(s, "after a daemon-reload", "33554432", "20")
	x.devices(s, "after a daemon-reload")
	res := new(specs.LinuxResources)
	if err := json.Unmarshal([]byte(`{"memory":{"limit":67108864},"pids":{"limit":30}}`), res); err != nil {
		x.Fatal(err)
	}
	c, err := x.layout.UpdateUnit(x.layout.Manager.Ref(s.Unit.Unit), s.Dirs, nil, res)
	if err != nil {
		x.Fatal(err)
	}
	if err := x.do(0, c.Steps); err != nil {
		x.Fatal(err)
	}
	x.limited(s, "after an update", "67108864", "30")
	x.reload()
	x.limited(s, "after an update and a daemon-reload", "67108864", "30")
	if err := x.do(0, []plan.Step{{Action: c.Steps[0].Action.(plan.Host).Undo()}}); err != nil {
		x.Fatal(err)
	}
	x.limited(s, "with the update taken back", "33554432", "20")
}

func (x *lab) reload() {
	x.Helper()
	if out, err := x.systemctl("daemon-reload").CombinedOutput(); err != nil {
		x.Fatalf("daemon-reload: %v, %s", err, out)
	}
}

func (x *lab) limited(s *cgroup.Setup, when, memory, pids string) {
	x.Helper()
	for _, f := range []struct{ v1, v2, want string }{{"memory.limit_in_bytes", "memory.max", memory}, {"pids.max", "pids.max", pids}} {
		found := false
		for _, d := range s.Dirs {
			name := f.v1
			if d.V2 {
				name = f.v2
			}
			got, err := os.ReadFile(filepath.Join(d.Path, name))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			found = true
			if strings.TrimSpace(string(got)) != f.want {
				x.Errorf("%s %s has %q, want %s", when, filepath.Join(d.Path, name), got, f.want)
			}
		}
		if !found {
			x.Errorf("%s no cgroup has a file %s", when, f.v2)
		}
	}
}

// devices has a process look what the rules let through.
func (x *lab) devices(s *cgroup.Setup, when string) {
	if x.user {
		return
	}
	x.Helper()
	for _, d := range s.Dirs {
		if !slices.Contains(d.Controllers, "devices") && (!d.V2 || x.layout.Version() != "v2") {
			continue
		}
		out, err := exec.Command("sh", "-c", `echo $$ >"$0"/cgroup.procs; : </dev/null && echo null; : </dev/zero && echo zero`, d.Path).CombinedOutput()
		if !strings.HasPrefix(string(out), "null\n") || strings.HasSuffix(string(out), "zero\n") || err == nil {
			x.Errorf("%s, of /dev/null and /dev/zero the first can be opened, so the rules say: %s, %v", when, out, err)
		}
		return
	}
	x.Errorf("%s no cgroup has the devices' controller", when)
}

func (x *lab) systemctl(args ...string) *exec.Cmd {
	if x.user {
		args = append([]string{"--user"}, args...)
	}
	return exec.Command("systemctl", args...)
}

func (x *lab) show(unit string, names ...string) string {
	x.Helper()
	out, err := x.systemctl("show", "-p", strings.Join(names, ","), unit).CombinedOutput()
	if err != nil {
		x.Fatalf("systemctl show %s: %v, %s", unit, err, out)
	}
	values := make([]string, len(names))
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if i := slices.Index(names, name); i >= 0 {
			values[i] = value
		}
	}
	return strings.Join(values, " ")
}

// container is a whole one, by its plan: it sees its own cgroup as the root of
// all, since it is there before it gets a cgroup namespace.
func (x *lab) container() {
	root := x.TempDir()
	copyFile(x.T, "/bin/busybox", root+"/sh")
	s := spec.Example()
	if x.user {
		spec.Rootless(s, 1, 1)
	}
	s.Root = &specs.Root{Path: root}
	s.Process.Terminal, s.Process.Args, s.Process.Env = false, []string{"/sh", "-c", "while read -r y; do echo $y; done </proc/self/cgroup; read -r x; exit 7"}, nil
	s.Annotations = map[string]string{"org.systemd.property.Documentation": "['man:vitro']"}
	if !x.limits() {
		s.Linux.Resources = nil
	}
	facts, err := spec.ReadFacts(s, root)
	if err == nil {
		err = facts.Cgroups.AskSystemd()
	}
	if err != nil {
		x.Fatal(err)
	}
	res, err := spec.Compile(&spec.Request{ID: "whole", Spec: s, Facts: facts, Bundle: root, SystemdCgroup: true, Stdio: [3]string{"in", "out", "out"}})
	if err != nil {
		x.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		x.Fatal(err)
	}
	defer r.Close()
	in, hold, err := os.Pipe() // it waits for the end of its input
	if err != nil {
		x.Fatal(err)
	}
	defer in.Close()
	undo, err := run.CreateUndo(root + "/undo")
	if err != nil {
		x.Fatal(err)
	}
	seen := ""
	child, err := run.Start(res.Plan, run.Options{Undo: undo, Handles: map[string]int{"in": int(in.Fd()), "out": int(w.Fd())},
		Meanwhile: func(int) error { seen = x.show(res.Unit.Unit, "Documentation", "ActiveState"); return nil }})
	w.Close()
	hold.Close()
	if err != nil {
		x.Fatal(err)
	}
	out, err := io.ReadAll(r)
	status, _, werr := child.Wait()
	if err != nil || werr != nil || status.ExitStatus() != 7 {
		x.Errorf("the container has ended with %v, %v, %v: %s", status, err, werr, out)
	}
	if seen != "man:vitro active" {
		x.Errorf("its unit was %q", seen)
	}
	for line := range strings.Lines(string(out)) {
		if (strings.HasPrefix(line, "0::") && x.layout.Version() != "v1" || strings.Contains(line, "name=systemd")) && !strings.HasSuffix(line, ":/\n") {
			x.Errorf("it sees its own cgroup as %s", line)
		}
	}
	if err := run.Undo(root+"/undo", host.Actions, cgroup.Actions); err != nil {
		x.Error(err)
	}
	if got := x.show(res.Unit.Unit, "LoadState"); got != "not-found" || res.Unit.Unit != "vitro-whole.scope" {
		x.Errorf("%s is %s when the container has gone", res.Unit.Unit, got)
	}
	for _, d := range res.Cgroups {
		if _, err := os.Stat(d.Path); err == nil {
			x.Errorf("%s is left", d.Path)
		}
	}
}

// twice: a second unit of one name is refused, and the first lives on, also
// when the second's list is undone; nor does a systemd without the process lie.
func (x *lab) twice() {
	first, second := x.sleeper(), x.sleeper()
	s := x.setup("same", "", `{}`)
	if err := x.do(first.Process.Pid, s.Born[:1]); err != nil {
		x.Fatal(err)
	}
	again := *s.Born[0].Action.(*systemd.Start)
	again.Description = "somebody else's"
	err := x.do(second.Process.Pid, []plan.Step{{Action: &again}})
	if !errors.Is(err, systemd.ErrExists) || !strings.Contains(err.Error(), "vitro-same.scope") {
		x.Errorf("start a second unit of one name: %v", err)
	}
	if err := x.do(0, []plan.Step{{Action: again.Undo()}}); err != nil {
		x.Error(err)
	}
	if got := x.show("vitro-same.scope", "ActiveState"); got != "active" {
		x.Errorf("the first unit is %s after the second was taken back", got)
	}
	for range 2 { // with a process in it, which systemd ends; then it is not there
		if err := x.do(0, []plan.Step{{Action: s.Born[0].Action.(plan.Host).Undo()}}); err != nil {
			x.Error(err)
		}
	}
	if err := first.Wait(); err == nil {
		x.Error("the process of a stopped unit has ended well")
	}
	gone := x.sleeper()
	end(gone)
	var bad *systemd.UnitError
	if err := x.do(gone.Process.Pid, s.Born[:1]); !errors.As(err, &bad) || bad.Unit != "vitro-same.scope" {
		x.Errorf("start a unit with a process that has gone: %v", err)
	}
	if got := x.show("vitro-same.scope", "LoadState"); got != "not-found" {
		x.Errorf("the unit that did not start is %s", got)
	}
}

// crash: a unit whose process ends is collected without us, and its name is free.
func (x *lab) crash() {
	for range 2 {
		cmd := x.sleeper()
		s := x.setup("crash", "", `{}`)
		if err := x.do(cmd.Process.Pid, s.Born[:1]); err != nil {
			x.Fatal(err)
		}
		end(cmd)
		deadline := time.Now().Add(20 * time.Second)
		for x.show("vitro-crash.scope", "LoadState") != "not-found" {
			if time.Now().After(deadline) {
				x.Fatal("systemd has not noticed that the unit is empty")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// slice is a unit that is a slice itself: made ahead of the process.
func (x *lab) slice() {
	s := x.setup("in-slice", "::lab-pod.slice", small)
	if len(s.Born) > 0 || s.Unit.Unit != "lab-pod.slice" {
		x.Fatalf("%d steps behind the clone, for %+v", len(s.Born), s.Unit)
	}
	if err := x.do(0, s.Before); err != nil {
		x.Fatal(err)
	}
	x.limited(s, "in a slice", "33554432", "20")
	if got := x.show("lab-pod.slice", "ActiveState", "Slice"); got != "active lab.slice" {
		x.Errorf("the slice is %s", got)
	}
	for i := len(s.Before) - 1; i >= 0; i-- {
		if undo := s.Before[i].Action.(plan.Host).Undo(); undo != nil {
			if err := x.do(0, []plan.Step{{Action: undo}}); err != nil {
				x.Errorf("%s: %v", undo.Line(), err)
			}
		}
	}
	if got := x.show("lab-pod.slice", "ActiveState"); got != "inactive" {
		x.Errorf("the stopped slice is %s", got)
	}
}
