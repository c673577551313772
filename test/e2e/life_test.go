// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// detached starts a container in the background that is removed after the
// test, and returns its ID.
func detached(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("vitro", append([]string{"run", "-d"}, args...)...).CombinedOutput()
	id := strings.TrimSpace(string(out))
	if err != nil || len(id) != 64 {
		t.Fatalf("vitro run -d %q: %v: %s", args, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("vitro", "rm", "-f", id).CombinedOutput(); err != nil {
			t.Errorf("rm -f: %v: %s", err, out)
		}
	})
	return id
}

// file is a file of a container's folder.
func file(id, name string) string {
	data, _ := os.ReadFile(filepath.Join(st.root, "containers", id, name))
	return strings.TrimSpace(string(data))
}

// beside is the process beside a container.
func beside(t *testing.T, id string) int {
	t.Helper()
	pid, err := strconv.Atoi(file(id, "monitor"))
	if err != nil {
		t.Fatalf("the process beside container %s: %v", id, err)
	}
	return pid
}

// gone reports whether a process has ended.
func gone(pid int) bool {
	return status(pid, "State") == "" || strings.HasPrefix(status(pid, "State"), "Z")
}

// TestCommandKilled: the container doesn't care about the command that has started it.
func TestCommandKilled(t *testing.T) {
	t.Parallel()
	s := begin(t, "vitro", "run", "busybox", "sh", "-c", "echo ready; while :; do sleep 0.05; done")
	if got := s.line(); got != "ready" {
		t.Fatalf("got %q", got)
	}
	id := ""
	for _, a := range s.cmd.Args {
		if data, err := os.ReadFile(a); err == nil && len(data) == 64 {
			id = string(data)
		}
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.wait()
	if got := output(t, "vitro", "exec", id, "echo", "alive"); got != "alive" {
		t.Errorf("got %q", got)
	}
}

// TestMonitorKilled: a container whose monitor is killed goes on, what it
// prints meanwhile is not lost, and the next command gives it a new one, which
// sees how it ends.
func TestMonitorKilled(t *testing.T) {
	t.Parallel()
	id := detached(t, "busybox", "sh", "-c", "trap 'echo bye; exit 9' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
	first := beside(t, id)
	eventually(t, "monitor of vitro-oci", func() (int, bool) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", first))
		return 0, strings.HasSuffix(exe, "vitro-oci")
	})
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the monitor", func() (int, bool) { return 0, gone(first) })
	if got := output(t, "vitro", "exec", id, "echo", "alive"); got != "alive" {
		t.Errorf("without a monitor: %q", got)
	}
	output(t, "vitro", "system", "sweep")
	second := beside(t, id)
	if second == first || gone(second) {
		t.Fatalf("process %d is beside the container, as before", second)
	}
	output(t, "vitro", "stop", id)
	var last int
	for i, line := range strings.Split(strings.TrimSpace(output(t, "vitro", "logs", id)), "\n") {
		if line == "bye" {
			last = i
			break
		}
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d of the log is %q", i+1, line)
		}
	}
	if last == 0 {
		t.Error("the last word is not in the log")
	}
	if exit := file(id, "exit"); !strings.HasPrefix(exit, "code 9\n") && !strings.Contains(exit, "unknown yes") {
		t.Errorf("it has ended so: %s", exit)
	}
}

// TestMonitorKilledWhileFollowed: who waits for a container, or reads its log,
// hears of its end, and not of the monitor's.
func TestMonitorKilledWhileFollowed(t *testing.T) {
	t.Parallel()
	id := detached(t, "--network=none", "busybox", "sh", "-c", "trap 'echo bye; exit 9' TERM; echo hello; while :; do sleep 0.02; done")
	waits, logs := begin(t, "vitro", "wait", id), begin(t, "vitro", "logs", "-f", id)
	if got := logs.line(); got != "hello" {
		t.Fatalf("the log begins with %q", got)
	}
	for range 2 {
		first := beside(t, id)
		// It follows once there is a connection besides the one that listens.
		eventually(t, "client", func() (int, bool) { return 0, sockets(first) > 1 })
		if err := unix.Kill(first, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "adoption", func() (int, bool) { return 0, gone(first) && beside(t, id) != first })
	}
	eventually(t, "client", func() (int, bool) { return 0, sockets(beside(t, id)) > 1 })
	output(t, "vitro", "stop", id)
	if got := logs.line(); got != "bye" {
		t.Errorf("the log ends with %q", got)
	}
	if code := logs.wait(); code != 0 {
		t.Errorf("logs: exit status %d: %s", code, logs.errs.String())
	}
	got := waits.line()
	if code := waits.wait(); code != 0 || got != strings.TrimPrefix(strings.SplitN(file(id, "exit"), "\n", 2)[0], "code ") {
		t.Errorf("wait: %q, exit status %d: %s; it has ended so: %s", got, code, waits.errs.String(), file(id, "exit"))
	}
}

// sockets counts a process's sockets.
func sockets(pid int) (n int) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, e := range entries {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// TestBothKilled: an end that nobody has seen is found, and cleaned up.
func TestBothKilled(t *testing.T) {
	t.Parallel()
	id := detached(t, "busybox", "sleep", "1000")
	pid := state(t, id)
	for _, p := range []int{beside(t, id), pid} {
		if err := unix.Kill(p, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its end", func() (int, bool) { return 0, gone(p) })
	}
	output(t, "vitro", "system", "sweep")
	// Where another container's process was at it already, the sweep left it to that.
	eventually(t, "how it has ended", func() (string, bool) { got := file(id, "exit"); return got, strings.HasPrefix(got, "code 137\n") })
	for _, name := range []string{"state", "undo", "attach"} {
		eventually(t, "the end of its file "+name, func() (int, bool) {
			_, err := os.Lstat(filepath.Join(st.root, "containers", id, name))
			return 0, err != nil
		})
	}
	output(t, "vitro", "start", id)
	if again := state(t, id); again == pid {
		t.Error("it was not started again")
	}
}

// TestBothKilledAndSeen: who only looks finds what became of it, at once: it
// has ended, or its restart policy has it running again.
func TestBothKilledAndSeen(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"no": "exited", "always": "running"} {
		id := detached(t, "--restart", policy, "busybox", "sleep", "1000")
		for _, p := range []int{beside(t, id), state(t, id)} {
			if err := unix.Kill(p, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "its end", func() (int, bool) { return 0, gone(p) })
		}
		began := time.Now()
		output(t, "vitro", "ps", "-a")
		if d := time.Since(began); d > patience {
			t.Errorf("restart %s: ps took %v", policy, d)
		}
		eventually(t, "status "+want+" with --restart="+policy, func() (int, bool) {
			return 0, output(t, "vitro", "ps", "-a", "-f", "id="+id, "--format", "{{.State}}") == want
		})
	}
}

// state is a container's first process, by its file.
func state(t *testing.T, id string) int {
	t.Helper()
	line, _, _ := strings.Cut(file(id, "state"), "\n")
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "pid "))
	if err != nil {
		t.Fatalf("state of container %s: %v", id, err)
	}
	return pid
}

// TestNothingIsLostOnTheWay: what a container writes while its monitor changes
// its program reaches the one who is attached, and the log, once and in order.
func TestNothingIsLostOnTheWay(t *testing.T) {
	t.Parallel()
	const lines = 3000
	cid := filepath.Join(t.TempDir(), "id")
	cmd := exec.Command("vitro", "run", "--cidfile", cid, "--name", "order"+strconv.Itoa(os.Getpid()), "busybox", "sh", "-c",
		fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; [ $((i%%50)) -ne 0 ] || sleep 0.02; done", lines))
	cmd.Args = append(cmd.Args[:1], append([]string{"create"}, cmd.Args[2:]...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id, err := os.ReadFile(cid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { output(t, "vitro", "rm", "-f", string(id)) }()
	for what, out := range map[string]string{"attached": output(t, "vitro", "start", "-a", string(id)), "log": output(t, "vitro", "logs", string(id))} {
		got := strings.Split(strings.TrimSpace(out), "\n")
		if len(got) != lines {
			t.Errorf("%s: %d lines, of %d", what, len(got), lines)
		}
		for i, line := range got {
			if line != strconv.Itoa(i+1) {
				t.Errorf("%s: line %d is %q", what, i+1, line)
				break
			}
		}
	}
}

// TestRestartPolicy: a container is started again as its policy says, and not
// after its user has stopped it.
func TestRestartPolicy(t *testing.T) {
	t.Parallel()
	t.Run("on-failure", func(t *testing.T) {
		t.Parallel()
		id := detached(t, "--restart=on-failure:3", "busybox", "sh", "-c", "echo run; exit 5")
		eventually(t, "the last end", func() (int, bool) { return 0, gone(beside(t, id)) })
		if got := output(t, "vitro", "logs", id); got != strings.TrimSpace(strings.Repeat("run\n", 4)) {
			t.Errorf("it has printed %q", got)
		}
		if got := file(id, "exit"); !strings.HasPrefix(got, "code 5\n") || !strings.Contains(got, "restarts 3") {
			t.Errorf("it has ended so: %q", got)
		}
	})
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		id := detached(t, "--restart=always", "busybox", "sleep", "1000")
		pid := state(t, id)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a new process", func() (int, bool) {
			line, _, _ := strings.Cut(file(id, "state"), "\n")
			p, err := strconv.Atoi(strings.TrimPrefix(line, "pid "))
			return p, err == nil && p != pid && !gone(p)
		})
		output(t, "vitro", "stop", "-t", "0", id)
		eventually(t, "no process beside it", func() (int, bool) { return 0, gone(beside(t, id)) })
		if file(id, "state") != "" {
			t.Error("it runs again after it was stopped")
		}
	})
}

// TestRestartAfterTrouble: that something of a container can't be taken down at
// once, as on a machine that is very busy, is no reason not to start it again.
func TestRestartAfterTrouble(t *testing.T) {
	t.Parallel()
	id := detached(t, "--network=none", "--restart=always", "busybox", "sleep", "1000")
	pid, undo := state(t, id), filepath.Join(st.root, "containers", id, "undo")
	good := file(id, "undo")
	if good != "" { // a user without a cgroup has nothing to take back
		good += "\n"
	}
	if err := os.WriteFile(undo, []byte(good+"nothing {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end", func() (string, bool) { text := file(id, "exit"); return text, text != "" })
	if _, rest, ok := strings.Cut(good, `rmcgroup {"path":"`); ok { // the rest of the list is taken back by a first try
		dir, _, _ := strings.Cut(rest, `"`)
		eventually(t, "first try", func() (error, bool) { _, err := os.Lstat(dir); return err, err != nil })
	}
	if err := os.WriteFile(undo, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new process", func() (int, bool) {
		line, _, _ := strings.Cut(file(id, "state"), "\n")
		p, err := strconv.Atoi(strings.TrimPrefix(line, "pid "))
		return p, err == nil && p != pid && !gone(p)
	})
}

// TestHealth: a check's answers are counted, and an unhealthy container is
// dealt with as was asked for.
func TestHealth(t *testing.T) {
	t.Parallel()
	id := detached(t, "--health-cmd=test ! -e /ill", "--health-interval=100ms", "--health-retries=2", "--health-on-failure=kill", "busybox", "sleep", "1000")
	status := func() string { line, _, _ := strings.Cut(file(id, "health"), "\n"); return line }
	eventually(t, "health", func() (int, bool) { return 0, status() == "status healthy" })
	output(t, "vitro", "exec", id, "touch", "/ill")
	eventually(t, "its end", func() (int, bool) { return 0, strings.HasPrefix(file(id, "exit"), "code 137\n") })
}

// TestManyAtOnce: two hundred commands on the same and on different containers
// lose nothing.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const containers = 10
	name := func(i int) string { return fmt.Sprintf("many%d-%d", i, os.Getpid()) }
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed []string
	do := func(args ...string) {
		all.Add(1)
		go func() {
			defer all.Done()
			if out, err := exec.Command("vitro", args...).CombinedOutput(); err != nil {
				mu.Lock()
				failed = append(failed, fmt.Sprintf("%q: %v: %s", args, err, out))
				mu.Unlock()
			}
		}()
	}
	for i := range containers {
		do("run", "-d", "--network=none", "--name", name(i), "busybox", "sh", "-c", "echo up; exec sleep 1000")
	}
	all.Wait()
	for i := range containers {
		for range 6 {
			do("exec", name(i), "true")
			do("logs", name(i))
			do("ps", "-a")
		}
	}
	all.Wait()
	for i := range containers {
		do("rm", "-f", name(i))
		do("rm", "-f", name(i))
	}
	all.Wait()
	for _, f := range failed {
		t.Error(f)
	}
	if out := output(t, "vitro", "ps", "-a"); strings.Contains(out, "many") {
		t.Errorf("left: %s", out)
	}
}

// TestNameIsTaken: of several who want one name, one gets it.
func TestNameIsTaken(t *testing.T) {
	t.Parallel()
	name := "taken" + strconv.Itoa(os.Getpid())
	detached(t, "--name", name, "busybox", "sleep", "1000")
	out, err := exec.Command("vitro", "run", "--name", name, "busybox", "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "name container \""+name+"\"") || !strings.Contains(string(out), "hint: ") {
		t.Errorf("%v: %s", err, out)
	}
	output(t, "vitro", "run", "--replace", "--name", name, "busybox", "true")
	out, err = exec.Command("vitro", "stop", name+"x").CombinedOutput()
	if err == nil {
		t.Errorf("stopped what isn't there: %s", out)
	}
}

// TestStopIsPatient: a container that doesn't listen is killed when its time is over.
func TestStopIsPatient(t *testing.T) {
	t.Parallel()
	id := detached(t, "--stop-timeout=1", "busybox", "sleep", "1000")
	began := time.Now()
	output(t, "vitro", "stop", id)
	if took := time.Since(began); took < time.Second {
		t.Errorf("killed after %v", took)
	}
	if got := strings.TrimSpace(output(t, "vitro", "wait", id)); got != "137" {
		t.Errorf("exit code %s", got)
	}
}

// TestInputIsKept: the process beside a container is killed, again and again; its
// terminal is not hung up, its input does not come to an end, and whoever
// attaches then has both. The keeper ends with the container.
func TestInputIsKept(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"-it", "-i"} {
		id := detached(t, "--network=none", flags, "busybox", "sh")
		pid, keeper := state(t, id), keeper(t, id)
		for n := range 3 {
			monitor := beside(t, id)
			if err := unix.Kill(monitor, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "end of the monitor", func() (int, bool) { return monitor, gone(monitor) })
			question, answer := fmt.Sprintf("echo $((%d+40)):$$\n", n), fmt.Sprintf("%d:1", n+40)
			if flags == "-it" {
				s := sit(t, "vitro", "attach", "--detach-keys=ctrl-x", id)
				s.typed(question)
				s.expect(answer)
				s.typed("\x18")
				s.wait()
				continue
			}
			s := exec.Command("vitro", "attach", id)
			in, _ := s.StdinPipe()
			out, _ := s.StdoutPipe()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(in, question)
			if got, err := bufio.NewReader(out).ReadString('\n'); got != answer+"\n" {
				t.Errorf("-i: got %q, %v", got, err)
			}
			_ = s.Process.Kill()
			_ = s.Wait()
		}
		if gone(pid) || gone(keeper) {
			t.Errorf("%s: the container or its keeper has gone", flags)
		}
		output(t, "vitro", "kill", id)
		eventually(t, "end of the keeper", func() (int, bool) { return keeper, gone(keeper) })
	}
}

// keeper is the process that keeps a container's input open.
func keeper(t *testing.T, id string) int {
	t.Helper()
	line, _, _ := strings.Cut(file(id, "keeper"), "\n")
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "pid "))
	if err != nil {
		t.Fatalf("the keeper of container %s: %v", id, err)
	}
	return pid
}

// TestInputLost: where the keeper is killed as well the terminal is hung up.
// A container that lives on has lost its input, which whoever takes over says.
func TestInputLost(t *testing.T) {
	t.Parallel()
	bereave := func(command string) (id string, pid int) {
		t.Helper()
		id = detached(t, "--network=none", "-t", "busybox", "sh", "-c", command)
		pid = state(t, id)
		for _, victim := range []int{keeper(t, id), beside(t, id)} {
			if err := unix.Kill(victim, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "end of a process", func() (int, bool) { return victim, gone(victim) })
		}
		return id, pid
	}
	id, pid := bereave("cat")
	eventually(t, "end of the command with its input", func() (int, bool) { return pid, gone(pid) })
	if got := strings.TrimSpace(output(t, "vitro", "inspect", "-f", "{{.State.Status}}", id)); got != "exited" {
		t.Errorf("its status is %s", got)
	}
	// Another test's command may be faster to look, and be told instead.
	eventually(t, "word of what was lost", func() (string, bool) {
		id, _ := bereave("sleep 1000")
		out, err := exec.Command("vitro", "logs", id).CombinedOutput()
		return string(out), err == nil && strings.Contains(string(out), "vitro: warning: find the container's input")
	})
}

// TestMonitorIsSmall: what stays beside an idle container for days takes little
// memory, also where it answers questions for names.
func TestMonitorIsSmall(t *testing.T) {
	t.Parallel()
	network := fmt.Sprintf("small%d", os.Getpid())
	output(t, "vitro", "network", "create", network)
	t.Cleanup(func() { output(t, "vitro", "network", "rm", network) })
	for _, at := range []string{"none", network} {
		id := detached(t, "--network="+at, "busybox", "sleep", "1000")
		eventually(t, "at most 2 MB that are its own, and 4 MB with text that it alone has in use, on "+at, func() (int, bool) {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", beside(t, id)))
			if err != nil { // it has just executed its program
				return 0, false
			}
			var dirty, clean int
			for line := range strings.Lines(string(data)) {
				_, _ = fmt.Sscanf(line, "Private_Dirty: %d kB", &dirty)
				_, _ = fmt.Sscanf(line, "Private_Clean: %d kB", &clean)
			}
			return dirty, dirty > 0 && dirty <= 2<<10 && dirty+clean <= 4<<10
		})
	}
}
