// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
	"vitro/plan/run"
)

// change changes the limits of a cage, and returns what holds then.
func (c *cage) change(now *specs.LinuxResources, res string) (*specs.LinuxResources, error) {
	c.t.Helper()
	change, err := layout(c.t).Update(c.Dirs, now, resources(c.t, res))
	if err != nil {
		return nil, err
	}
	return change.Resources, run.Host(&plan.Plan{Title: "update", Steps: change.Steps})
}

func (c *cage) read(controller, v1, v2 string) string {
	c.t.Helper()
	dir, ok := c.Dirs.with(controller)
	if !ok {
		c.t.Fatalf("no controller %s", controller)
	}
	if dir.V2 {
		v1 = v2
	}
	text, err := get(dir.Path, v1)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// Up and down: the order of the two writes of memory and swap differs.
func TestKernelUpdate(t *testing.T) {
	start := `{"memory":{"limit":33554432,"swap":33554432},"pids":{"limit":10}}`
	if dir, err := os.Stat(usual + "/memory"); err == nil && dir.IsDir() && !exists(usual+"/memory/memory.memsw.limit_in_bytes") {
		start = `{"memory":{"limit":33554432},"pids":{"limit":10}}`
	}
	c := newCage(t, start)
	c.started()
	now := resources(t, start)
	for _, size := range []string{"67108864", "50331648"} {
		swap := ""
		if now.Memory.Swap != nil {
			swap = `,"swap":` + size
		}
		var err error
		if now, err = c.change(now, `{"memory":{"limit":`+size+swap+`},"pids":{"limit":20}}`); err != nil {
			t.Fatal(err)
		}
		if got := c.read("memory", "memory.limit_in_bytes", "memory.max"); got != size {
			t.Errorf("the limit of memory is %s, want %s", got, size)
		}
		if got := c.read("pids", "pids.max", "pids.max"); got != "20" {
			t.Errorf("the limit of processes is %s, want 20", got)
		}
	}
	if _, err := c.change(now, `{"memory":{"limit":-1},"pids":{"limit":-1}}`); err != nil {
		t.Fatal(err)
	}
	u, err := c.Dirs.Usage()
	if err != nil || u.Memory.Usage.Limit < 1<<62 || u.Pids.Limit != 0 {
		t.Errorf("without limits, Usage() is %+v, %v", u, err)
	}
	c.Dirs[0].Controllers = nil
	var missing *Unsupported
	if _, err := layout(t).Update(c.Dirs[:1], nil, resources(t, someUser)); !errors.As(err, &missing) {
		t.Errorf("change a limit of a controller that the container is not in: %v, want *Unsupported", err)
	}
}

// What was changed before the kernel refused something is set back.
func TestKernelUpdateRefused(t *testing.T) {
	start := `{"pids":{"limit":10},"cpu":{"cpus":"0"}}`
	c := newCage(t, start)
	c.started()
	before := c.read("cpuset", "cpuset.cpus", "cpuset.cpus")
	layout := layout(t)
	change, err := layout.Update(c.Dirs, resources(t, start), resources(t, `{"pids":{"limit":20},"cpu":{"cpus":"0-1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	pids := change.Steps[len(change.Steps)-1].Action.(*host.Write)
	change.Steps = append(change.Steps, plan.Step{Action: &host.Write{Path: pids.Path, Value: "many"}})
	err = run.Host(&plan.Plan{Steps: change.Steps})
	var fault *run.Fault
	if !errors.As(err, &fault) || fault.Index != len(change.Steps)-1 || !errors.Is(err, unix.EINVAL) {
		t.Fatalf("write nonsense: %v, want a Fault of the last step", err)
	}
	if got := c.read("pids", "pids.max", "pids.max"); got != "10" {
		t.Errorf("pids.max is %s, want the old 10", got)
	}
	if got := c.read("cpuset", "cpuset.cpus", "cpuset.cpus"); got != before {
		t.Errorf("cpuset.cpus is %q, want the old %q", got, before)
	}
}

// Version 1 refuses less memory than is used; version 2 is asked first.
func TestKernelUpdateMemoryInUse(t *testing.T) {
	start := `{"memory":{"limit":67108864}}`
	c := newCage(t, start)
	cmd := c.task("hold=33554432")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if dir, _ := c.Dirs.with("memory"); !dir.V2 { // no swap may take what is to be too much
		if err := put(dir.Path, "memory.swappiness", "0"); err != nil {
			t.Fatal(err)
		}
	}
	now, err := c.change(resources(t, start), `{"memory":{"limit":8388608,"checkBeforeUpdate":true}}`)
	if err == nil {
		t.Fatalf("8 MiB for 32 that are used: no error; now %s", asJSON(t, now))
	}
	for _, word := range []string{"8388608", "memory"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v: it doesn't say %s", err, word)
		}
	}
	if got := c.read("memory", "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("the limit is %s, want the old one", got)
	}
}

func TestKernelUpdateCPU(t *testing.T) {
	start := `{"cpu":{"quota":20000,"period":50000}}`
	c := newCage(t, start)
	now := resources(t, start)
	for _, s := range []struct{ res, v1Quota, v1Period, v2 string }{
		{`{"cpu":{"quota":200000,"period":200000}}`, "200000", "200000", "200000 200000"},
		{`{"cpu":{"period":400000}}`, "200000", "400000", "200000 400000"},
		{`{"cpu":{"quota":-1}}`, "-1", "400000", "max 400000"},
		{`{"cpu":{"quota":10000,"period":100000}}`, "10000", "100000", "10000 100000"},
	} {
		var err error
		if now, err = c.change(now, s.res); err != nil {
			t.Fatalf("%s: %v", s.res, err)
		}
		if dir, _ := c.Dirs.with("cpu"); dir.V2 {
			if got := c.read("cpu", "", "cpu.max"); got != s.v2 {
				t.Errorf("%s: cpu.max is %s, want %s", s.res, got, s.v2)
			}
		} else if quota, period := c.read("cpu", "cpu.cfs_quota_us", ""), c.read("cpu", "cpu.cfs_period_us", ""); quota != s.v1Quota || period != s.v1Period {
			t.Errorf("%s: quota %s, period %s; want %s and %s", s.res, quota, period, s.v1Quota, s.v1Period)
		}
	}
	for _, res := range []string{ // each is refused in another order
		`{"cpu":{"quota":50000,"burst":40000}}`, `{"cpu":{"quota":5000,"burst":0}}`,
		`{"cpu":{"shares":512,"idle":1}}`, `{"cpu":{"shares":1024,"idle":0}}`,
	} {
		var err error
		var missing *Unsupported
		if now, err = c.change(now, res); errors.As(err, &missing) {
			t.Skipf("needs a newer kernel: %v", err)
		} else if err != nil {
			t.Fatalf("%s: %v", res, err)
		}
	}
}

func TestKernelUpdateCpuset(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil || !bytes.Contains(own, []byte("Cpus_allowed_list:\t0-")) {
		t.Skip("needs more than one CPU")
	}
	start := `{"cpu":{"cpus":"0"}}`
	c := newCage(t, start)
	cmd, _ := c.started()
	if _, err := c.change(resources(t, start), `{"cpu":{"cpus":"1"}}`); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil || !bytes.Contains(status, []byte("Cpus_allowed_list:\t1\n")) {
		t.Errorf("the process does not run on CPU 1 only: %v", err)
	}
	u, err := c.Dirs.Usage()
	if err != nil || !slices.Equal(u.CPUSet.CPUs, []uint16{1}) {
		t.Errorf("Usage() tells of the CPUs %v, %v", u.CPUSet.CPUs, err)
	}
}

func TestKernelUpdateDevices(t *testing.T) {
	l := layout(t)
	if !l.mayFilterDevices() {
		t.Skip("needs root of the first user namespace")
	}
	const deny = `{"allow":false,"access":"rwm"}`
	start := resources(t, `{"devices":[`+deny+`]}`)
	full := &specs.LinuxResources{Devices: append(slices.Clone(start.Devices), DefaultDevices()...)}
	c := newCageFor(t, full)
	may := func(script string) bool {
		return c.command("/bin/sh", "-c", script).Run() == nil
	}
	kmsg := ": </dev/kmsg"
	if may(kmsg) {
		t.Fatal("/dev/kmsg is open from the start")
	}
	now, err := c.change(start, `{"devices":[`+deny+`,{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if !may(kmsg) || !may(": >/dev/null") || may(": </dev/mem") {
		t.Error("after /dev/kmsg was allowed, it is not, or /dev/null is not, or /dev/mem is")
	}
	change, err := l.Update(c.Dirs, now, start)
	if err != nil {
		t.Fatal(err)
	}
	change.Steps = append(change.Steps, plan.Step{Action: &host.Write{Path: c.Dirs[0].Path + "/none", Value: "1"}})
	if err := run.Host(&plan.Plan{Steps: change.Steps}); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("a change whose last step fails: %v", err)
	}
	if !may(kmsg) {
		t.Error("the rules were not set back")
	}
	if _, err = c.change(now, `{"devices":[`+deny+`]}`); err != nil {
		t.Fatal(err)
	}
	if may(kmsg) || !may(": >/dev/null") {
		t.Error("after /dev/kmsg was denied again, it is open, or /dev/null is not")
	}
}

func TestKernelOOMWatch(t *testing.T) {
	c := newCage(t, `{"memory":{"limit":33554432}}`)
	w, err := c.Dirs.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ready := func(wait time.Duration) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}, int(wait/time.Millisecond))
		return n == 1
	}
	if ready(0) {
		t.Error("there is news before anything happened")
	}
	if oom, err := w.Next(); oom || err != nil {
		t.Errorf("Next() = %v, %v before anything happened", oom, err)
	}
	for range 2 {
		if out, err := c.task("eat=134217728").CombinedOutput(); err == nil {
			t.Fatalf("128 MiB within 32 MiB: %s", out)
		}
		oom := false
		for deadline := time.Now().Add(10 * time.Second); !oom && time.Now().Before(deadline); {
			if !ready(time.Until(deadline)) {
				break
			}
			if oom, err = w.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if !oom {
			t.Fatal("nothing is heard of the OOM")
		}
	}
	if oom, err := w.Next(); oom || err != nil {
		t.Errorf("Next() = %v, %v; the OOM is told twice", oom, err)
	}
}

// utime is a process's CPU time, in clock ticks.
func utime(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	n, err := strconv.Atoi(f[11])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// spinning starts a process that never rests, and waits until it has begun.
func (c *cage) spinning() *exec.Cmd {
	c.t.Helper()
	cmd := c.task("burn=1h")
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c.grows(cmd.Process.Pid, utime(c.t, cmd.Process.Pid))
	return cmd
}

// grows waits until a process has had more CPU time than it had.
func (c *cage) grows(pid, from int) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); utime(c.t, pid) <= from; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the process does not run")
		}
	}
}

// Frozen processes stand still, those of cgroups below too.
func TestKernelFrozenStandStill(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":100}}`)
	cmd := c.spinning()
	pid := cmd.Process.Pid
	dir, _ := c.Dirs.freezer()
	sub := filepath.Join(dir.Path, "sub")
	if err := unix.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := put(sub, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Dirs.Freeze(); err != nil {
			t.Fatal(err)
		}
		from := utime(t, pid)
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if now := utime(t, pid); now != from {
				t.Fatalf("frozen, it has run %d ticks", now-from)
			}
		}
		if err := c.Dirs.Freeze(); err != nil {
			t.Errorf("freeze what is frozen: %v", err)
		}
		if err := c.Dirs.Thaw(); err != nil {
			t.Fatal(err)
		}
		c.grows(pid, from)
	}
	// frozen by the container itself, and ended all the same
	inner := Dirs{{Path: sub, V2: dir.V2, Controllers: dir.Controllers}}
	if err := inner.Freeze(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := c.Dirs.Frozen(); frozen || err != nil {
		t.Errorf("Frozen() = %v, %v, for a cgroup below", frozen, err)
	}
	if err := c.Dirs.Freeze(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := inner.Frozen(); !frozen || err != nil {
		t.Errorf("Frozen() = %v, %v of the one below", frozen, err)
	}
	if err := c.Dirs.Thaw(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := inner.Frozen(); !frozen || err != nil {
		t.Errorf("Frozen() = %v, %v of the one below, after the one above was thawed", frozen, err)
	}
	if err := c.Dirs.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestNoFreezer(t *testing.T) {
	for _, d := range []Dirs{nil, {{Path: "/nowhere", Controllers: []string{"cpu"}}}, {{Path: "/nowhere", V2: true}}} {
		err := d.Freeze()
		var none *NoFreezer
		if !errors.As(err, &none) || !errors.Is(err, ErrNoController) || none.Hint() == "" {
			t.Errorf("%v: Freeze() = %v, want a *NoFreezer with a hint", d, err)
		}
		if !errors.As(d.Thaw(), &none) {
			t.Errorf("%v: Thaw() is no *NoFreezer", d)
		}
	}
}

// A container that forks all the time is listed, and ended.
func TestKernelForks(t *testing.T) {
	c := newCage(t, `{"pids":{"limit":200}}`)
	cmd := c.command("/bin/sh", "-c", "while :; do /bin/true & done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shell := cmd.Process.Pid
	if dir, ok := c.Dirs.tracker(); !ok || waitListed(dir.Path, shell) != nil {
		t.Fatal("the shell is not listed")
	}
	for range 50 {
		pids, err := c.Dirs.Procs()
		if err != nil || !slices.Contains(pids, shell) {
			t.Fatalf("Procs() = %v, %v; without the shell, %d", pids, err, shell)
		}
	}
	killed := make(chan error, 1)
	go func() { killed <- c.Dirs.Kill() }()
	_ = cmd.Wait()
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	if pids, err := c.Dirs.Procs(); err != nil || len(pids) > 0 {
		t.Errorf("Procs() = %v, %v after Kill", pids, err)
	}
}

// waitListed waits until a process is in a cgroup.
func waitListed(dir string, pid int) error {
	return until(func() (bool, error) {
		pids, err := procs(dir)
		return slices.Contains(pids, pid), err
	})
}
