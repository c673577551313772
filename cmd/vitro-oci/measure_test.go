// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
	"vitro/internal/ocijson"
	"vitro/plan"
)

// subject is a container as far as measuring goes: cgroups, a process in them,
// and a folder that says so.
type subject struct {
	t     *testing.T
	root  string
	setup *cgroup.Setup
	fds   map[string]int
	stop  func()
	in    io.Writer
}

func newSubject(t *testing.T, res string, script string) *subject {
	t.Helper()
	s := &subject{t: t, root: t.TempDir(), fds: make(map[string]int)}
	limits, err := ocijson.DecodeLinuxResources([]byte(res))
	if err != nil {
		t.Fatal(err)
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	name := "vitro-oci-test-" + strconv.Itoa(os.Getpid())
	if l.UID == 0 {
		name = "/" + name
	}
	s.setup, err = l.Setup(name+"/c", limits, cgroup.Options{All: true, Shared: name})
	var denied *cgroup.NotDelegated
	var missing *cgroup.Unsupported
	if errors.As(err, &denied) || errors.As(err, &missing) || errors.Is(err, cgroup.ErrNone) {
		t.Skipf("needs cgroups that this user controls: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	for _, st := range s.setup.Before {
		if err := st.Action.(plan.Host).Do(&plan.Env{Handles: s.fds}); err != nil {
			t.Fatalf("%s: %v", st.Action.Line(), err)
		}
	}
	s.save(limits, s.start(script))
	return s
}

// start runs a script in the cgroups, and waits until it says something.
func (s *subject) start(script string) (pid int) {
	s.t.Helper()
	join := ""
	for _, st := range s.setup.Join {
		join += "echo 0 >" + st.Action.(*plan.JoinCgroup).Path + " && "
	}
	cmd := exec.Command("/bin/sh", "-c", join+"echo ready && "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.setup.Into != "" {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, s.fds[s.setup.Into]
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.in = in
	s.stop = func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() }
	if _, err := out.Read(make([]byte, 16)); err != nil {
		s.t.Fatal(err)
	}
	return cmd.Process.Pid
}

func (s *subject) save(limits *specs.LinuxResources, pid int) {
	s.t.Helper()
	c, err := (&container.Store{Root: s.root, Made: "state"}).Create("c")
	if err == nil {
		err = c.Begin()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Release()
	config := ocijson.AppendSpec(nil, &specs.Spec{Linux: &specs.Linux{Resources: limits}})
	if err := os.WriteFile(c.Path("config.json"), config, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Save(&container.State{Pid: pid, Created: time.Now(), Cgroups: s.setup.Dirs}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *subject) remove() {
	if err := s.setup.Dirs.Kill(); err != nil {
		s.t.Error(err)
	}
	if s.stop != nil {
		s.stop()
	}
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	for _, st := range slices.Backward(s.setup.Before) {
		if undo := st.Action.(plan.Host).Undo(); undo != nil {
			if err := undo.Do(&plan.Env{}); err != nil {
				s.t.Errorf("%s: %v", undo.Line(), err)
			}
		}
	}
}

// run is a command of vitro-oci about the container.
func (s *subject) run(args ...string) (string, error) {
	var out bytes.Buffer
	err := oci(&out, append(append([]string{"--root", s.root}, args...), "c")...)
	return out.String(), err
}

// oci is a command line of vitro-oci.
func oci(out io.Writer, args ...string) error {
	inv, err := parse(args)
	if err != nil {
		return err
	}
	inv.stdout = out
	_, err = inv.do()
	return err
}

// must is run without an error.
func (s *subject) must(args ...string) string {
	s.t.Helper()
	out, err := s.run(args...)
	if err != nil {
		s.t.Fatalf("vitro-oci %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// usage are the statistics.
func (s *subject) usage() *cgroup.Usage {
	s.t.Helper()
	var e struct {
		Type, ID string
		Data     cgroup.Usage
	}
	if err := json.Unmarshal([]byte(s.must("events", "--stats")), &e); err != nil || e.Type != "stats" || e.ID != "c" {
		s.t.Fatalf("events --stats: %+v, %v", e, err)
	}
	return &e.Data
}

const someLimits = `{"memory":{"limit":67108864},"pids":{"limit":50},"cpu":{"quota":50000,"period":100000}}`

func TestUpdateVerb(t *testing.T) {
	s := newSubject(t, someLimits, "cat")
	s.must("update", "--memory", "96m", "--memory-swap=-1", "--pids-limit", "20", "--cpu-quota", "20000")
	s.must("update", "--cpu-period", "50000", "--kernel-memory", "1g")
	u := s.usage()
	if u.Memory.Usage.Limit != 96<<20 || u.Pids.Limit != 20 {
		t.Errorf("after the update: %+v, %+v", u.Memory.Usage, u.Pids)
	}
	data, err := os.ReadFile(filepath.Join(s.root, "c", container.ResourcesFile))
	want := `{"memory":{"limit":100663296,"swap":-1},"cpu":{"quota":20000,"period":50000},"pids":{"limit":20},"blockIO":{}}` + "\n"
	if err != nil || string(data) != want {
		t.Errorf("kept is %s, %v; want %s", data, err, want)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(file, []byte(`{"memory":{"limit":50331648},"pids":{"limit":-1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("update", "-r", file, "--pids-limit", "7") // the option doesn't count
	if u = s.usage(); u.Memory.Usage.Limit != 48<<20 || u.Pids.Limit != 0 {
		t.Errorf("after the update by a file: %+v, %+v", u.Memory.Usage, u.Pids)
	}
	for _, c := range []struct{ want, args string }{
		{`read option --memory: "12q": not a size`, "--memory 12q"},
		{`read option --blkio-weight: "70000": not a number, or out of range`, "--blkio-weight 70000"},
		{"no linux.intelRdt", "--l3-cache-schema L3:0=1"},
		{"read resources: open /nonexistent", "--resources /nonexistent"},
		{`set cpu.period to "1": the kernel takes 1000 to 1000000`, "--cpu-period 1"},
		{`set cpu.cpus: `, "--cpuset-cpus 5000"},
	} {
		if _, err := s.run(append([]string{"update"}, strings.Fields(c.args)...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("update %s: %v, want %s", c.args, err, c.want)
		}
	}
	if _, err := s.run("update", "--pids-limit", "9", "--cpuset-cpus", "5000"); err == nil {
		t.Error("a CPU that isn't there is no error")
	}
	if u = s.usage(); u.Pids.Limit != 0 {
		t.Errorf("of an update that has failed, pids.limit %d is left", u.Pids.Limit)
	}
}

func TestPauseVerb(t *testing.T) {
	s := newSubject(t, someLimits, "while :; do :; done")
	if _, err := s.run("resume"); err == nil {
		t.Error("resume what runs: no error")
	}
	s.must("pause")
	if _, err := s.run("pause"); err == nil {
		t.Error("pause what is paused: no error")
	}
	before := s.usage().CPU.Usage.Total
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if now := s.usage().CPU.Usage.Total; now != before {
			t.Fatalf("paused, it has run %d ns", now-before)
		}
	}
	s.must("resume")
	for deadline := time.Now().Add(20 * time.Second); s.usage().CPU.Usage.Total == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("resumed, it does not run")
		}
	}
}

// lines collects what a command writes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestEventsVerb(t *testing.T) {
	// the shell itself stays: it eats by a child, when it is told to
	s := newSubject(t, `{"memory":{"limit":33554432}}`, `read x; head -c 100000000 /dev/zero | tail; read x`)
	out, done := make(lines, 100), make(chan error, 1)
	go func() {
		done <- oci(out, "--root", s.root, "events", "--interval", "20ms", "c")
	}()
	await := func(want string) {
		t.Helper()
		for timeout := time.After(60 * time.Second); ; {
			select {
			case l := <-out:
				if strings.HasPrefix(l, want) {
					return
				}
			case err := <-done:
				t.Fatalf("events has ended before %s: %v", want, err)
			case <-timeout:
				t.Fatalf("no %s", want)
			}
		}
	}
	await(`{"type":"stats","id":"c","data":{"cpu":{"usage":{"total":`)
	await(`{"type":"stats",`)
	if _, err := io.WriteString(s.in, "eat\n"); err != nil {
		t.Fatal(err)
	}
	await(`{"type":"oom","id":"c"}` + "\n")
	s.stop()
	for timeout := time.After(60 * time.Second); ; {
		select {
		case <-out:
			continue
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-timeout:
			t.Error("events doesn't end with the container")
		}
		break
	}
	for _, verb := range []string{"events", "update"} {
		if _, err := s.run(verb); !errors.Is(err, container.ErrStopped) {
			t.Errorf("%s of a container that has ended: %v", verb, err)
		}
	}
	if err := oci(out, "--root", s.root, "events", "none"); !errors.Is(err, container.ErrNotFound) {
		t.Errorf("events of no container: %v", err)
	}
	if _, err := s.run("events", "--interval", "0s"); err == nil || !strings.Contains(err.Error(), "--interval") {
		t.Errorf("an interval of nothing: %v", err)
	}
}

// keys are the paths in a JSON value; a list stands for its first entry, and
// raw counters, which are the kernel's, for their map.
func keys(v any, path string, all map[string]bool) {
	all[path] = true
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if path != ".data.memory.raw" {
				keys(e, path+"."+k, all)
			}
		}
	case []any:
		if len(v) > 0 {
			keys(v[0], path+"[]", all)
		}
	}
}

func keysOf(t *testing.T, text []byte) map[string]bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	all := make(map[string]bool)
	keys(v, "", all)
	return all
}

// The statistics of one and the same container, by runc and by vitro-oci.
func TestEventsAsRunc(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs runc, and root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	id, state := "vitro-oci-test-"+strconv.Itoa(os.Getpid()), t.TempDir()
	bundle := runcBundle(t, busybox, id)
	do := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(runc, append([]string{"--root", state}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("runc %s: %v, %s", strings.Join(args, " "), err, stderrOf(err))
		}
		return out
	}
	detached := exec.Command(runc, "--root", state, "run", "--detach", "--bundle", bundle, id)
	if err := detached.Run(); err != nil { // with its streams at /dev/null: it would keep a pipe of ours
		t.Skipf("needs a runc that runs here: %v", err)
	}
	t.Cleanup(func() { do("delete", "--force", id) })
	var st struct {
		Pid int `json:"pid"`
	}
	if err := json.Unmarshal(do("state", id), &st); err != nil {
		t.Fatal(err)
	}
	settled(t, st.Pid, "sleep")
	do("pause", id) // for both to see the same
	s := &subject{t: t, root: t.TempDir(), setup: &cgroup.Setup{Dirs: dirsOf(t, st.Pid)}}
	s.save(nil, st.Pid)
	var ours, theirs []byte
	for range 50 { // until nothing changes any more: the kernel adds up late
		theirs, ours = do("events", "--stats", id), []byte(s.must("events", "--stats"))
		if bytes.Equal(theirs, do("events", "--stats", id)) {
			break
		}
	}
	got, want := keysOf(t, ours), keysOf(t, theirs)
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !got[k] {
			t.Errorf("runc has %s, and vitro-oci has not", k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		switch {
		case want[k]:
		case strings.Contains(k, ".psi"), k == ".data.memory.usage.max": // runc since 1.2, on version 2
		case strings.HasPrefix(k, ".data.network_interfaces["): // runc never has any
		case strings.HasPrefix(k, ".data.hugetlb.") && hybrid(t): // it looks at version 1 only there
		case strings.HasPrefix(k, ".data.cpuset.") && strings.HasSuffix(strings.TrimSuffix(k, "[]"), "s"): // cpus, mems: version 1 only
		default:
			t.Errorf("vitro-oci has %s, and runc has not", k)
		}
	}
	if t.Failed() {
		t.Logf("runc:\n%s\nvitro-oci:\n%s", theirs, ours)
	}
	var a, b struct{ Data cgroup.Usage }
	if err := errors.Join(json.Unmarshal(ours, &a), json.Unmarshal(theirs, &b)); err != nil {
		t.Fatal(err)
	}
	for _, u := range []*cgroup.Usage{&a.Data, &b.Data} { // what only one of them has
		u.CPU.PSI, u.Memory.PSI, u.IO.PSI, u.Memory.Usage.Max, u.Hugetlb = nil, nil, nil, 0, nil
		u.CPUSet.CPUs, u.CPUSet.Mems = nil, nil
		for _, k := range []string{"file_mapped", "mapped_file", "total_mapped_file"} {
			delete(u.Memory.Raw, k) // of runc's own file, which the container has paid for, and runc maps
		}
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("vitro-oci says\n%s\nrunc\n%s", ours, theirs)
	}
}

func hybrid(t *testing.T) bool {
	t.Helper()
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	return l.Version() == "hybrid"
}

func stderrOf(err error) []byte {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.Stderr
	}
	return nil
}

// settled waits until a process has become its program: runc doesn't.
func settled(t *testing.T, pid int, program string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if string(comm) == program+"\n" {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("process %d is %q, not %s: %v", pid, comm, program, err)
		}
	}
}

// runcBundle is a container that waits.
func runcBundle(t *testing.T, busybox, id string) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "rootfs", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "sleep"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["/bin/sleep", "600"], "cwd": "/", "user": {}},
"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
"linux": {"cgroupsPath": "/%s", "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}],
"resources": {"memory": {"limit": 67108864}, "pids": {"limit": 30}, "cpu": {"quota": 50000, "period": 100000}}}}`, id)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// dirsOf are a process's cgroups.
func dirsOf(t *testing.T, pid int) (dirs cgroup.Dirs) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, h := range l.Hierarchies {
			if h.V2 != (f[1] == "") || !h.V2 && f[1] != strings.Join(h.Controllers, ",") || f[2] == "/" {
				continue
			}
			d := cgroup.Dir{Path: h.Mount + f[2], V2: h.V2, Controllers: h.Controllers}
			if h.V2 {
				on, err := os.ReadFile(d.Path + "/cgroup.controllers")
				if err != nil {
					t.Fatal(err)
				}
				d.Controllers = strings.Fields(string(on))
			}
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "512": 512, "10b": 10, "1k": 1024, "2M": 2 << 20, "1.5G": 3 << 29, "1gb": 1 << 30, "1GiB": 1 << 30, "3 tb": 3 << 40, "1p": 1 << 50,
		"": -2, "-2": -2, "m": -2, "1x": -2, "1ibk": -2, "1kk": -2, "1e3": -2, "0x10": -2, "9000000p": -2, "1..5m": -2, "nan": -2, "1i": -2, "99999999999999999999": -2,
	} {
		got, err := sizeOf(text)
		if err != nil {
			got = -2
		}
		if got != want {
			t.Errorf("sizeOf(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestResourcesOfInput(t *testing.T) {
	r, err := (&invocation{options: map[string][]string{"resources": {"-"}, "memory": {"1m"}}}).readChange(strings.NewReader(`{"cpu":{"idle":1},"unified":{"memory.high":"5"}}`))
	if err != nil || r.Memory != nil || *r.CPU.Idle != 1 || r.Unified["memory.high"] != "5" {
		t.Errorf("read %+v, %v", r, err)
	}
	if _, err := (&invocation{options: map[string][]string{"resources": {"-"}}}).readChange(strings.NewReader(`{"cpu":{"idle":"x"}}`)); err == nil || !strings.Contains(err.Error(), "cpu.idle") {
		t.Errorf("%v: it doesn't say where the mistake is", err)
	}
}

func TestParseInterfaces(t *testing.T) {
	got := parseInterfaces(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       5       1    0    0    0     0          0         0        5       1    0    0    0     0       0          0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
`)
	want := []linkStatistic{{"eth0", 1000, 10, 1, 2, 2000, 20, 3, 4}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzSizes(f *testing.F) {
	for _, s := range []string{"512m", "1.5GiB", "-1", "9000000p", "1 tb", ".5k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := sizeOf(s); err == nil && (n < -1 || n == -1 && s != "-1") {
			t.Errorf("sizeOf(%q) = %d", s, n)
		}
	})
}

// FuzzInterfaces: an interface's name and numbers stand in the text.
func FuzzInterfaces(f *testing.F) {
	own, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	for _, s := range [...]string{"", ":", "eth0:" + strings.Repeat(" 1", 16), "a:b:" + strings.Repeat(" -1", 17), "lo:" + strings.Repeat(" 2", 16)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range parseInterfaces(text) {
			if l.Name == "lo" || !strings.Contains(text, l.Name+":") && strings.TrimSpace(l.Name) == l.Name && !strings.Contains(text, l.Name) {
				t.Errorf("%q: interface %q", text, l.Name)
			}
		}
	})
}
