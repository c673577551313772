// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// TestMain is also the program that the tests below run in a cgroup.
func TestMain(m *testing.M) {
	switch task, arg, _ := strings.Cut(os.Getenv("CGROUP_TEST_TASK"), "="); task {
	case "burn":
		d, _ := time.ParseDuration(arg)
		for end := time.Now().Add(d); time.Now().Before(end); {
		}
	case "hold":
		n, _ := strconv.Atoi(arg)
		mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
		fmt.Println("hold", len(mem), err)
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is closed
	case "eat":
		n, _ := strconv.Atoi(arg)
		mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
		fmt.Println("ate", len(mem), err)
	default:
		os.Exit(m.Run())
	}
}

// cage makes a cgroup of the test's own, with the real kernel.
type cage struct {
	*Setup
	t       *testing.T
	handles map[string]int
}

func layout(t *testing.T) *Layout {
	t.Helper()
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testPath is a path for a cgroup that this user may make.
func testPath(l *Layout, t *testing.T) (path string, opt Options) {
	name := "vitro-test-" + strconv.Itoa(os.Getpid())
	if l.UID == 0 {
		name = "/" + name
	}
	return name + "/" + strings.ReplaceAll(t.Name(), "/", "-"), Options{Shared: name}
}

func newCage(t *testing.T, res string, change ...func(*Options)) *cage {
	t.Helper()
	return newCageFor(t, resources(t, res), change...)
}

func newCageFor(t *testing.T, res *specs.LinuxResources, change ...func(*Options)) *cage {
	t.Helper()
	l := layout(t)
	path, opt := testPath(l, t)
	for _, f := range change {
		f(&opt)
	}
	s, err := l.Setup(path, res, opt)
	var denied *NotDelegated
	var missing *Unsupported
	if errors.As(err, &denied) || errors.As(err, &missing) || errors.Is(err, ErrNone) {
		t.Skipf("needs cgroups that this user controls: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &cage{Setup: s, t: t, handles: make(map[string]int)}
	t.Cleanup(c.close)
	env := &plan.Env{Handles: c.handles}
	for _, st := range s.Before {
		if err := st.Action.(plan.Host).Do(env); err != nil {
			t.Fatalf("%s: %v", st.Action.Line(), err)
		}
	}
	return c
}

// close takes everything back, and checks that nothing is left.
func (c *cage) close() {
	if err := c.Dirs.Kill(); err != nil && !errors.Is(err, ErrNoController) {
		c.t.Error(err)
	}
	for _, fd := range c.handles {
		unix.Close(fd)
	}
	for _, st := range slices.Backward(c.Before) {
		if undo := st.Action.(plan.Host).Undo(); undo != nil {
			if err := undo.Do(&plan.Env{}); err != nil {
				c.t.Errorf("%s: %v", undo.Line(), err)
			}
		}
	}
	for _, d := range c.Dirs {
		if exists(d.Path) {
			c.t.Errorf("%s is left", d.Path)
		}
		if exists(filepath.Dir(d.Path)) {
			c.t.Errorf("%s, which containers share, is left by the last", filepath.Dir(d.Path))
		}
	}
}

// command is a command that joins the cgroups as the container's child would.
func (c *cage) command(args ...string) *exec.Cmd {
	script := ""
	for _, s := range c.Join {
		script += "echo 0 >" + s.Action.(*plan.JoinCgroup).Path + " && "
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", script + `exec "$@"`, "sh"}, args...)...)
	if c.Into != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.handles[c.Into]}
	}
	return cmd
}

// task is this program, as TestMain has it.
func (c *cage) task(what string) *exec.Cmd {
	cmd := c.command(os.Args[0])
	cmd.Env = append(os.Environ(), "CGROUP_TEST_TASK="+what, "GOMAXPROCS=1")
	return cmd
}

// started runs cat, and waits until it answers.
func (c *cage) started() (*exec.Cmd, func() string) {
	c.t.Helper()
	cmd := c.command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := bufio.NewReader(out)
	ask := func() string {
		_, _ = in.Write([]byte("hello\n"))
		line, _ := r.ReadString('\n')
		return line
	}
	if got := ask(); got != "hello\n" {
		c.t.Fatalf("the child says %q", got)
	}
	return cmd, ask
}

func TestKernelPids(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":3}}`)
	var out bytes.Buffer
	cmd := c.command("/bin/sh", "-c", "for i in 1 2 3 4 5 6; do cat <&3 & done; wait")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{r}, os.Stderr, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := waitFor(t, &c.Dirs, "max 1")
	w.Close()
	_ = cmd.Wait()
	if !strings.Contains(strings.ToLower(out.String()), "fork") {
		t.Errorf("the shell says %q, and pids.events %q; want it to complain of fork", out.String(), line)
	}
}

// waitFor polls pids.events until the limit was hit.
func waitFor(t *testing.T, d *Dirs, want string) (text string) {
	dir, _ := d.with("pids")
	err := until(func() (bool, error) {
		var err error
		text, err = get(dir.Path, "pids.events")
		return strings.Contains(text, "max ") && !strings.Contains(text, "max 0"), err
	})
	if err != nil {
		t.Errorf("pids.events has not come to %q: %v", want, err)
	}
	return text
}

func TestKernelOOM(t *testing.T) {
	res := `{"memory":{"limit":33554432}}`
	c := newCage(t, res)
	out, err := c.task("eat=134217728").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Fatalf("128 MiB within 32 MiB: %v, %q; want SIGKILL", err, out)
	}
	n, err := c.Dirs.OOMKills()
	if err != nil || n != 1 {
		t.Errorf("OOMKills() = %d, %v; want 1", n, err)
	}
	s, err := c.Dirs.Stats()
	if err != nil || s.MemoryLimit != 33554432 {
		t.Errorf("Stats() = %+v, %v; want the limit of 32 MiB", s, err)
	}
}

func TestKernelQuota(t *testing.T) {
	c := newCage(t, `{"cpu":{"quota":20000,"period":50000}}`, func(o *Options) { o.All = true })
	start := time.Now()
	if out, err := c.task("burn=500ms").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wall := time.Since(start)
	s, err := c.Dirs.Stats()
	if err != nil {
		t.Fatal(err)
	}
	used := time.Duration(s.CPU)
	// two fifths are allowed; a loop without a limit would use nearly all
	if used == 0 || used > wall/2+20*time.Millisecond {
		t.Errorf("a loop of %v used %v of CPU time; want two fifths", wall, used)
	}
}

func TestKernelFreezeAndKill(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":100}}`)
	cmd, ask := c.started()
	pids, err := c.Dirs.Procs()
	if err != nil || !reflect.DeepEqual(pids, []int{cmd.Process.Pid}) {
		t.Fatalf("Procs() = %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	s, err := c.Dirs.Stats()
	if err != nil || s.Pids != 1 {
		t.Errorf("Stats() = %+v, %v; want one task", s, err)
	}
	for range 3 {
		if err := c.Dirs.Freeze(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := c.Dirs.Frozen(); err != nil || !frozen {
			t.Errorf("Frozen() = %v, %v after Freeze", frozen, err)
		}
		if err := c.Dirs.Thaw(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := c.Dirs.Frozen(); err != nil || frozen {
			t.Errorf("Frozen() = %v, %v after Thaw", frozen, err)
		}
		if got := ask(); got != "hello\n" {
			t.Fatalf("the child, thawed, says %q", got)
		}
	}
	if err := c.Dirs.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Dirs.Kill(); err != nil {
		t.Fatal(err)
	}
	if pids, err := c.Dirs.Procs(); err != nil || len(pids) > 0 {
		t.Errorf("Procs() = %v, %v after Kill", pids, err)
	}
}

func TestKernelInUse(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":100}}`)
	l := layout(t)
	path, opt := testPath(l, t)
	again, err := l.Setup(path, resources(t, `{"pids":{"limit":100}}`), opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Before[0].Action.(*Make).Do(&plan.Env{}); err != nil {
		t.Errorf("take over an empty cgroup: %v", err)
	}
	cmd, _ := c.started()
	if err := again.Before[0].Action.(*Make).Do(&plan.Env{}); !errors.Is(err, ErrInUse) {
		t.Errorf("take over a cgroup with a process: %v, want ErrInUse", err)
	}
	begun := time.Now()
	err = again.Before[0].Action.(*Make).Undo().Do(&plan.Env{})
	if who := fmt.Sprintf("process %d (", cmd.Process.Pid); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), who) || time.Since(begun) > 8*time.Second {
		t.Errorf("remove a cgroup with a process, after %v: %v; want EBUSY soon, and %q", time.Since(begun), err, who)
	}
	if _, err := l.Setup(path, resources(t, `{"pids":{"limit":100}}`), opt); !errors.Is(err, ErrInUse) {
		t.Errorf("plan to take over a cgroup with a process: %v, want ErrInUse", err)
	}
}

// A container with a cgroup namespace leaves cgroups of its own behind.
func TestKernelNested(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":100}}`)
	for _, d := range c.Dirs {
		for _, name := range []string{"a", "a/b", "c"} {
			if err := unix.Mkdir(filepath.Join(d.Path, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestKernelEvacuate(t *testing.T) {
	c := newCage(t, `{"memory":{"limit":100000000}}`)
	dir, ok := c.Dirs.unified()
	if !ok || !slices.Contains(dir.Controllers, "memory") {
		t.Skip("needs a cgroup hierarchy of version 2 with the memory controller")
	}
	cmd, ask := c.started()
	if err := put(dir.Path, "cgroup.subtree_control", "+memory"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("enable a controller above processes: %v, want EBUSY", err)
	}
	if err := (&Evacuate{Path: dir.Path, Leaf: leaf}).Do(&plan.Env{}); err != nil {
		t.Fatal(err)
	}
	if err := put(dir.Path, "cgroup.subtree_control", "+memory"); err != nil {
		t.Error(err)
	}
	if pids, err := procs(dir.Path + "/" + leaf); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("the leaf holds %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	if got := ask(); got != "hello\n" {
		t.Errorf("the child says %q", got)
	}
}

func TestKernelDevices(t *testing.T) {
	l := layout(t)
	if !l.mayFilterDevices() {
		t.Skip("needs root of the first user namespace")
	}
	rules := append(resources(t, `{"devices":[{"allow":false,"access":"rwm"}]}`).Devices, DefaultDevices()...)
	major, minor := int64(1), int64(5)
	rules = append(rules, specs.LinuxDeviceCgroup{Type: "c", Major: &major, Minor: &minor, Access: "w"})
	c := newCageFor(t, &specs.LinuxResources{Devices: rules})
	for _, test := range []struct {
		script string
		ok     bool
	}{
		{": >/dev/null", true},
		{": </dev/zero", true},
		{": >/dev/zero", false},
		{": <>/dev/zero", false},
		{": </dev/kmsg", false},
	} {
		out, err := c.command("/bin/sh", "-c", test.script).CombinedOutput()
		if (err == nil) != test.ok {
			t.Errorf("%s: %v, %s; want ok: %v", test.script, err, out, test.ok)
		}
	}
}

// The container's root, given its cgroup, may make more below it, but not
// touch its limits.
func TestKernelDelegate(t *testing.T) {
	l := layout(t)
	if l.UID != 0 || l.Version() != "v2" {
		t.Skip("needs root, and cgroups of version 2 without version 1")
	}
	c := newCage(t, `{"pids":{"limit":100},"memory":{"limit":100000000}}`, func(o *Options) { o.Owner = &Owner{12345, 12345} })
	dir := c.Dirs[0].Path
	cmd := c.command("/bin/sh", "-c", "cd "+dir+` && mkdir sub && echo $$ >sub/cgroup.procs && echo +pids >cgroup.subtree_control &&
echo 5 >sub/pids.max && ! echo 200 >pids.max`)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 12345, Gid: 12345}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestKernelCpuset(t *testing.T) {
	c := newCage(t, `{"cpu":{"cpus":"0"}}`)
	out, err := c.command("grep", "Cpus_allowed_list", "/proc/self/status").Output()
	if f := strings.Fields(string(out)); err != nil || len(f) != 2 || f[1] != "0" {
		t.Errorf("the child may use the CPUs %q, %v; want 0", out, err)
	}
}

// What systemd may have made, with the process in it, is taken as it is; and a
// process that isn't in it yet is moved.
func TestKernelAdopt(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":10}}`)
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	dir, _ := c.Dirs.with("pids")
	for range 2 {
		for _, a := range []plan.Host{&Make{Path: dir.Path, Below: filepath.Dir(dir.Path), Adopt: true}, &Enter{Path: dir.Path}} {
			if err := a.Do(&plan.Env{Pid: cmd.Process.Pid}); err != nil {
				t.Fatalf("%s: %v", a.Line(), err)
			}
		}
		if pids, err := procs(dir.Path); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("in %s are %v, %v; want %d", dir.Path, pids, err, cmd.Process.Pid)
		}
	}
	if err := (&Make{Path: dir.Path, Below: filepath.Dir(dir.Path)}).Do(&plan.Env{}); !errors.Is(err, ErrInUse) {
		t.Errorf("make a cgroup that is in use: %v, want ErrInUse", err)
	}
}

// The cgroup above was another container's, and went with it after the plan was made.
func TestKernelParentGone(t *testing.T) {
	first := newCage(t, `{"pids":{"limit":10}}`)
	l := layout(t)
	path, _ := testPath(l, t)
	s, err := l.Setup(path+"-second", resources(t, `{"pids":{"limit":7}}`), Options{}) // sees the parent, as if it were to stay
	if err != nil {
		t.Fatal(err)
	}
	first.close()
	second := &cage{Setup: s, t: t, handles: make(map[string]int)}
	env := &plan.Env{Handles: second.handles}
	defer func() {
		for _, d := range s.Dirs {
			_ = os.Remove(d.Path)
			_ = os.Remove(filepath.Dir(d.Path))
		}
	}()
	for _, st := range s.Before {
		if err := st.Action.(plan.Host).Do(env); err != nil {
			t.Fatalf("%s: %v", st.Action.Line(), err)
		}
	}
	dir, _ := s.Dirs.with("pids")
	if limit, err := get(dir.Path, "pids.max"); err != nil || strings.TrimSpace(limit) != "7" {
		t.Errorf("the limit is %q, %v; want 7", limit, err)
	}
}

// The two ways to find the mounts agree.
func TestDetectMatchesMountinfo(t *testing.T) {
	l := layout(t)
	if l.Version() == "none" {
		t.Skip("needs a mounted cgroup file system")
	}
	own, err := readFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := readFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	want := match(parseMemberships(own), parseMounts(mounts))
	slices.SortStableFunc(want, func(a, b Hierarchy) int { return b2i(a.V2) - b2i(b.V2) })
	if !reflect.DeepEqual(l.Hierarchies, want) {
		t.Errorf("Detect() = %+v, the mount table says %+v", l.Hierarchies, want)
	}
	for _, h := range l.Hierarchies {
		if pids, err := procs(h.dir(h.Own)); err != nil || !slices.Contains(pids, os.Getpid()) {
			t.Errorf("%s is not the own cgroup: %v", h.dir(h.Own), err)
		}
	}
}

func BenchmarkSetup(b *testing.B) {
	l, err := Detect()
	if err != nil {
		b.Fatal(err)
	}
	res := &specs.LinuxResources{Devices: DefaultDevices()}
	for b.Loop() {
		if _, err := l.Setup("/vitro/abc", res, Options{All: true, Shared: "/vitro"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}
