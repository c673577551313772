// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// needLimits skips where this user can't have a cgroup with limits.
func needLimits(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 && !unified() {
		t.Skip("needs a cgroup of the user's own: version 1 can't be delegated")
	}
}

// spin is a container that takes all the processor that it can get.
func spin(t *testing.T, flags ...string) (s *session, pid int) {
	t.Helper()
	args := append([]string{"vitro", "run", "--network", "none"}, flags...)
	s = begin(t, append(args, "busybox", "sh", "-c", "echo ready; while :; do :; done")...)
	return s, s.find("sh -c echo ready; while :; do :; done")
}

// used is the processor time of a process's cgroup, by the cgroup's own counter.
func used(t *testing.T, pid int) time.Duration {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/"+itoa(pid)+"/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "cpuacct" || strings.HasPrefix(f[1], "cpu,cpuacct") {
			n, err := strconv.ParseInt(read(t, "/sys/fs/cgroup/"+f[1]+f[2]+"/cpuacct.usage"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(n)
		}
		if f[1] == "" && unified() {
			stat := strings.Fields(read(t, "/sys/fs/cgroup"+f[2]+"/cpu.stat")) // usage_usec comes first
			n, err := strconv.ParseInt(stat[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(n) * time.Microsecond
		}
	}
	t.Fatal("no cgroup counts the processor time")
	return 0
}

func TestHalfAProcessor(t *testing.T) {
	needLimits(t)
	_, pid := spin(t, "--cpus", ".5")
	used0, start := used(t, pid), time.Now()
	time.Sleep(3 * time.Second) // the measure itself
	share := float64(used(t, pid)-used0) / float64(time.Since(start))
	// Less is the fault of what else the machine has to do, and no breach.
	if share > 0.55 {
		t.Errorf("it has had %.0f %% of a processor; want 50", 100*share)
	}
	if share < 0.45 {
		t.Logf("it has had only %.0f %% of a processor: the machine is busy", 100*share)
	}
}

// Three containers that want the same processor get it by their shares: 77, 19
// and 3 percent, on either version of cgroups.
func TestShares(t *testing.T) {
	needLimits(t)
	weights := []float64{2048, 512, 80}
	var pids []int
	for _, w := range weights {
		_, pid := spin(t, "--cpuset-cpus", "0", "--cpu-shares", strconv.Itoa(int(w)))
		pids = append(pids, pid)
	}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		before[i] = used(t, pid)
	}
	time.Sleep(4 * time.Second) // the measure itself
	sum, total, got := 0.0, 0.0, make([]float64, len(pids))
	for i, pid := range pids {
		got[i] = float64(used(t, pid) - before[i])
		sum, total = sum+got[i], total+weights[i]
	}
	for i, w := range weights {
		if have, want := 100*got[i]/sum, 100*w/total; have < want-6 || have > want+6 {
			t.Errorf("weight %.0f has had %.1f %% of the three; want %.1f", w, have, want)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	needLimits(t)
	s := begin(t, "vitro", "run", "-m", "10m", "--network", "none", "busybox", "sh", "-c", "head -c 50m /dev/zero | tail >/dev/null")
	if code := s.end(); code != 137 {
		t.Errorf("exit status %d; want 137", code)
	}
	if !strings.Contains(s.errs.String(), "out of memory (OOM)") || !strings.Contains(s.errs.String(), "--memory=10m") {
		t.Errorf("stderr does not name the cause: %s", &s.errs)
	}
	// What fits is left alone.
	s = begin(t, "vitro", "run", "-m", "100m", "--network", "none", "busybox", "sh", "-c", "head -c 50m /dev/zero | tail >/dev/null")
	if code := s.end(); code != 0 || s.errs.Len() > 0 {
		t.Errorf("with 100m: exit status %d, stderr %s", code, &s.errs)
	}
}

func TestForkBomb(t *testing.T) {
	needLimits(t)
	s := begin(t, "vitro", "run", "-i", "--pids-limit", "20", "--network", "none", "busybox", "sh", "-c",
		"(for i in $(seq 50); do sleep 1000 & done) 2>&1; echo bombed; cat")
	for got := s.line(); got != "bombed"; got = s.line() {
		if !strings.Contains(got, "fork") {
			t.Errorf("unexpected output %q", got)
		}
	}
	pid := eventually(t, "process cat", func() (int, bool) { return below(s.cmd.Process.Pid, "cat") })
	for _, f := range pidsFiles(t, pid) {
		n, err := strconv.Atoi(read(t, f))
		if err != nil || n > 20 || n < 10 {
			t.Errorf("%s: %d processes (%v); want nearly 20", f, n, err)
		}
	}
	s.end()
}

func pidsFiles(t *testing.T, pid int) (files []string) {
	for line := range strings.Lines(read(t, "/proc/"+itoa(pid)+"/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "pids" || f[1] == "" && unified() {
			files = append(files, filepath.Join("/sys/fs/cgroup", f[1], f[2], "pids.current"))
		}
	}
	if len(files) == 0 {
		t.Fatal("no cgroup counts the processes")
	}
	return files
}

// A container in a container: three levels of process numbers, and a cgroup
// below the outer one's.
func TestContainerInContainer(t *testing.T) {
	s := begin(t, "vitro", "run", "-i", "--privileged", "-v", filepath.Dir(st.vitro)+":/usr/local/bin:ro", "busybox",
		"vitro", "run", "-i", "busybox", "sh", "-c", "echo ready; cat; : inner")
	pid := s.find("sh -c echo ready; cat; : inner")
	if n := strings.Fields(status(pid, "NStgid")); len(n) != 3 || n[2] != "1" {
		t.Errorf("process numbers %q; want three, the last 1", n)
	}
	outer := children(s.cmd.Process.Pid)
	if len(outer) != 1 {
		t.Fatalf("vitro has children %d; want one", outer)
	}
	for _, k := range []string{"pid", "mnt", "net", "ipc", "uts"} {
		a, _ := os.Readlink("/proc/" + itoa(pid) + "/ns/" + k)
		b, _ := os.Readlink("/proc/" + itoa(outer[0]) + "/ns/" + k)
		if a == "" || a == b {
			t.Errorf("namespace %s is %q inside, %q outside", k, a, b)
		}
	}
	if root := output(t, "findmnt", "-N", itoa(pid), "-n", "-o", "FSTYPE", "/"); root != "overlay" {
		t.Errorf("its root is of type %q; want overlay", root)
	}
	if os.Geteuid() == 0 {
		for line := range strings.Lines(read(t, "/proc/"+itoa(pid)+"/cgroup")) {
			path := line[strings.LastIndex(line, ":")+1:]
			if !strings.HasPrefix(path, st.cgroup+"/") || strings.Count(strings.TrimSpace(path), "/") < 3 {
				t.Errorf("its cgroup is %q; want one below the outer container's", strings.TrimSpace(line))
			}
		}
	}
	if code := s.end(); code != 0 {
		t.Errorf("exit status %d: %s", code, &s.errs)
	}
}

// The tutorials' server with ever longer lines, over the bridge.
func TestServerOverTheBridge(t *testing.T) {
	needRoot(t, "an ordinary user can't plug into a bridge of the machine")
	need(t, "nc")
	s := begin(t, "vitro", "run", "-i", "busybox", "sh", "-c",
		`ip -o -4 addr show eth0 | sed 's,.*inet \([0-9.]*\)/.*,\1,'; nc -l -p 50000 -e sh -c 's=; while true; do s=x$s; echo $s; sleep 0.02; done'`)
	address := s.line()
	client := eventually(t, "server", func() (*session, bool) {
		c := begin(t, "nc", address, "50000")
		text, err := c.out.ReadString('\n')
		return c, err == nil && text == "x\n"
	})
	for want := "xx"; len(want) < 10; want += "x" {
		if got := client.line(); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}
