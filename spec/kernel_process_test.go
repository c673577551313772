// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan/run"
	"vitro/spec"
)

// waiting is a script that says that it is there, and stays.
const waiting = "echo ready; exec sleep 1000"

// TestScheduler asks chrt(1), and the kernel's own table for the nice value,
// which is ours where the policy knows none.
func TestScheduler(t *testing.T) {
	prio, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the call gives it as 20 - nice
	if err != nil {
		t.Fatal(err)
	}
	ours := strconv.Itoa(20 - prio)
	for _, c := range []struct {
		name string
		s    specs.Scheduler
		chrt string
		nice string
	}{
		{"other", specs.Scheduler{Policy: specs.SchedOther, Nice: 7}, "SCHED_OTHER", "7"},
		{"batch", specs.Scheduler{Policy: specs.SchedBatch, Nice: -3}, "SCHED_BATCH", "-3"},
		{"idle", specs.Scheduler{Policy: specs.SchedIdle}, "SCHED_IDLE", ours},
		{"fifo", specs.Scheduler{Policy: specs.SchedFIFO, Priority: 11}, "priority: 11", ours},
		{"round robin", specs.Scheduler{Policy: specs.SchedRR, Priority: 12, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}, "SCHED_RR|SCHED_RESET_ON_FORK", ours},
		{"deadline", specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1e6, Deadline: 2e6, Period: 3e6}, "1000000/2000000/3000000", ours},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBundle(t, waiting)
			b.Process.Scheduler = &c.s
			s, err := b.start(t)
			if errors.Is(err, unix.EPERM) && c.s.Policy != specs.SchedOther {
				t.Skipf("needs a cgroup with a share of real time: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.end()
			has(t, "chrt", oracle(t, "chrt", "-a", "-p", pid(s)), c.chrt)
			stat, err := os.ReadFile("/proc/" + pid(s) + "/stat")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "nice value", strings.Fields(string(stat)[strings.IndexByte(string(stat), ')')+1:])[16], c.nice)
		})
	}
}

func TestIOPriority(t *testing.T) {
	for _, c := range []struct {
		class    specs.IOPriorityClass
		priority int
		want     string
	}{
		{specs.IOPRIO_CLASS_IDLE, 0, "idle"},
		{specs.IOPRIO_CLASS_BE, 6, "best-effort: prio 6"},
		{specs.IOPRIO_CLASS_RT, 3, "realtime: prio 3"},
	} {
		b := newBundle(t, waiting)
		b.Process.IOPriority = &specs.LinuxIOPriority{Class: c.class, Priority: c.priority}
		s, _ := b.must(t)
		want(t, string(c.class), oracle(t, "ionice", "-p", pid(s)), c.want)
	}
}

func TestPersonality(t *testing.T) {
	for domain, p := range map[specs.LinuxPersonalityDomain]string{specs.PerLinux: "00000000", specs.PerLinux32: "00000008"} {
		b := newBundle(t, waiting)
		b.Linux.Personality = &specs.LinuxPersonality{Domain: domain}
		s, _ := b.must(t)
		got, err := os.ReadFile("/proc/" + pid(s) + "/personality")
		if err != nil {
			t.Fatal(err)
		}
		want(t, string(domain), string(got), p)
	}
}

// TestMemoryPolicy reads numa_maps, where the kernel says where each mapping's memory comes from.
func TestMemoryPolicy(t *testing.T) {
	if _, err := os.Stat("/proc/self/numa_maps"); err != nil {
		t.Skip("needs a kernel with CONFIG_NUMA")
	}
	for _, c := range []struct {
		p    specs.LinuxMemoryPolicy
		want string
	}{
		{specs.LinuxMemoryPolicy{Mode: specs.MpolDefault}, " default "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}, " bind:0 "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}, " bind=static:0 "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFRelativeNodes}}, " interleave=relative:0 "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0"}, " prefer:0 "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferredMany, Nodes: "0"}, " prefer (many):0 "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}, " local "},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave, Nodes: "0"}, " weighted interleave:0 "},
	} {
		b := newBundle(t, "cat /proc/self/numa_maps")
		b.Linux.MemoryPolicy = &c.p
		got, err := b.text(t)
		if errors.Is(err, unix.EINVAL) && c.p.Mode == specs.MpolWeightedInterleave {
			t.Logf("%s needs Linux 6.9", c.p.Mode)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		has(t, string(c.p.Mode), got, c.want)
	}
}

// TestTimeOffsets: the clocks inside are ahead, with and without a user namespace.
func TestTimeOffsets(t *testing.T) {
	for _, users := range []bool{false, true} {
		b := newBundle(t, "cat /proc/uptime /proc/self/timens_offsets")
		if users {
			b.users(t)
		}
		b.Linux.Namespaces = append(b.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		b.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000, Nanosecs: 5}, "monotonic": {Secs: 86400}}
		got := b.says(t)
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(got, ".")
		inside, err := strconv.ParseInt(up, 10, 64)
		if d := inside - ts.Sec; err != nil || d < 999900 || d > 1000001 {
			t.Errorf("up for %s inside, %d outside: %v", up, ts.Sec, err)
		}
		has(t, "offsets", strings.Join(strings.Fields(got), " "), "monotonic 86400 0 boottime 1000000 5")
	}
}

// TestUser asks /proc for what has been set.
func TestUser(t *testing.T) {
	b := newBundle(t, "id -u; id -g; id -G; umask; cat /proc/self/oom_score_adj; grep 'open files' /proc/self/limits")
	mask, adj := uint32(0o27), 500
	b.Process.User = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9, 10}, Umask: &mask, Username: "ignored"}
	b.Process.OOMScoreAdj = &adj
	b.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 40, Hard: 50}}
	want(t, "user", strings.Join(strings.Fields(b.says(t)), " "), "7 8 8 9 10 0027 500 Max open files 40 50 files")
}

// TestApparmor: where AppArmor is in force the profile is asked for; elsewhere the
// property is refused by its name.
func TestApparmor(t *testing.T) {
	b := newBundle(t, "cat /proc/self/attr/current 2>/dev/null || echo unconfined")
	b.Process.ApparmorProfile = "unconfined"
	want(t, "profile", b.says(t), "unconfined")
	b.Process.ApparmorProfile = "vitro-no-such-profile"
	_, err := b.start(t)
	if on, read := os.ReadFile("/sys/module/apparmor/parameters/enabled"); read == nil && on[0] == 'Y' {
		var f *run.Fault
		if !errors.As(err, &f) || f.Step.Action.Verb() != "label" || !errors.Is(err, unix.ENOENT) || f.Cause != "AppArmor has no such profile loaded" {
			t.Errorf("a profile that there is not: %v", err)
		}
		return
	}
	var none *spec.NoModuleError
	if !errors.As(err, &none) || none.Property != "process.apparmorProfile" {
		t.Errorf("without AppArmor: %v", err)
	}
}

// TestAffinity is about further processes: what comes before the birth, and what after.
func TestAffinity(t *testing.T) {
	s := spec.Example()
	s.Process.Terminal = false
	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0-1"}
	p, err := spec.CompileExec(&spec.ExecRequest{ID: "c", Spec: s, Process: s.Process, Facts: new(spec.Facts), Inside: &spec.Inside{PID: 1, Namespaces: unix.CLONE_NEWNS}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(p.Lines()) {
		if strings.Contains(line, "processors") || strings.Contains(line, "clone") {
			got = append(got, strings.Join(strings.Fields(line)[1:], " "))
		}
	}
	if w := "[host run on processors 0 host setns [pidfd of 1] CLONE_NEWNS, clone3 host run on all processors again child run on processors 0-1]"; fmt.Sprint(got) != w {
		t.Logf("%s", p.Lines())
		t.Errorf("\ngot  %s\nwant %s", fmt.Sprint(got), w)
	}
}

// TestDevicesAgain: a root without a /dev of its own keeps its devices, for the
// next container to find.
func TestDevicesAgain(t *testing.T) {
	b := newBundle(t, "stat -c '%n %F %a %t:%T' /dev/null /dev/pipe; [ -e /dev/wrong ] || mknod /dev/wrong c 1 5")
	b.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc"}}
	b.Process.Capabilities.Bounding = append(b.Process.Capabilities.Bounding, "CAP_MKNOD")
	b.Process.Capabilities.Permitted, b.Process.Capabilities.Effective = b.Process.Capabilities.Bounding, b.Process.Capabilities.Bounding
	mode := os.FileMode(0o640)
	b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pipe", Type: "p", FileMode: &mode}}
	for range 2 {
		want(t, "devices", b.says(t), "/dev/null character special file 666 1:3\n/dev/pipe fifo 640 0:0")
	}
	b.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/wrong", Type: "c", Major: 1, Minor: 3}}
	if _, err := b.start(t); err == nil || err.Error() != "compile config.json: linux.devices: /dev/wrong: the root has another file there" {
		t.Errorf("another device in its place: %v", err)
	}
}

// TestCwdOfTheUser: the root of a user namespace has no power over a folder of a
// foreign group, its owner has.
func TestCwdOfTheUser(t *testing.T) {
	for uid, ok := range map[uint32]bool{1000: true, 1001: false} {
		b := newBundle(t, "pwd; id -u; grep CapEff /proc/self/status")
		b.users(t)
		dir := b.root + "/home"
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 101000, 0)); err != nil {
			t.Fatal(err)
		}
		b.Process.Cwd, b.Process.User.UID = "/home", uid
		got, err := b.text(t)
		if !ok {
			if err == nil || !strings.Contains(err.Error(), "chdir /home") {
				t.Errorf("another user: %v, %s", err, got)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, "its owner", strings.Join(strings.Fields(got), " "), "/home 1000 CapEff: 0000000000000000")
	}
}
