// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/test/bundle"
)

// What other runtimes' own suites ask for, and no specification: words that
// engines look for, what is taken over from whom, options of one of them. Debian's
// runc is older than some of it.

// A variable that is given twice is the last, and there once; a HOME without a
// value is looked up.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"A=1", "B=2", "A=3"}, "A=3 B=2 HOME=/root"},
		{[]string{"HOME="}, "HOME=/root"},
		{[]string{"HOME=/there", "HOME="}, "HOME=/root"},
		{[]string{"HOME=", "HOME=/there"}, "HOME=/there"},
	} {
		b := box(t)
		b.Spec.Process.Env = append(c.env, "PATH=/bin")
		b.Spec.Process.Args = []string{"cat", "/proc/self/environ"}
		all := strings.Split(strings.TrimRight(b.Run().Out, "\x00"), "\x00")
		all = slices.DeleteFunc(all, func(e string) bool { return strings.HasPrefix(e, "PATH=") })
		slices.Sort(all)
		if got := strings.Join(all, " "); got != c.want && !isRunc() {
			t.Errorf("%q: %s; want %s", c.env, got, c.want)
		}
	}
}

// A process of --process has what the container's has, where it says nothing.
func TestProcessInherits(t *testing.T) {
	b := box(t)
	kill := []string{"CAP_KILL"}
	b.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: kill, Permitted: kill, Effective: kill}
	b.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 99, Hard: 99}}
	b.Spec.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE}
	b.Start()
	file := filepath.Join(filepath.Dir(b.Dir), "process.json")
	run := func(more string) string {
		must(t, os.WriteFile(file, []byte(`{"cwd": "/", "args": ["/bin/sh", "-c", "ulimit -n; ionice; grep -E Cap[BE] /proc/self/status"]`+more+`}`), 0o600))
		return strings.Join(strings.Fields(b.Must("exec", "--process", file, b.ID).Out), " ")
	}
	const mask = "0000000000000020"
	if got := run(""); got != "99 idle CapEff: "+mask+" CapBnd: "+mask {
		t.Errorf("exec --process: %s", got)
	}
	const other = `, "capabilities": {}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 98, "hard": 98}], "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}`
	if got := run(other); got != "98 best-effort: prio 7 CapEff: 0000000000000000 CapBnd: 0000000000000000" {
		t.Errorf("exec --process that says it all: %s", got)
	}
}

// A capability that is added is ambient only if it may be; one that can't be
// ambient is left out with a warning.
func TestAmbient(t *testing.T) {
	b := box(t)
	caps := []string{"CAP_CHOWN", "CAP_KILL"}
	b.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Permitted: caps[:1], Effective: caps[:1], Inheritable: caps, Ambient: caps[:1]}
	b.Start()
	ambient := func(args ...string) string {
		out := b.Must(append(append([]string{"exec"}, args...), b.ID, "grep", "CapAmb", "/proc/self/status")...).Out
		return strings.TrimLeft(strings.Fields(out)[1], "0")
	}
	if got := ambient() + " " + ambient("--cap", "CAP_KILL"); got != "1 21" && !isRunc() {
		t.Errorf("ambient without and with --cap CAP_KILL: %s; want 1 21", got)
	}
	b.Must("delete", "--force", b.ID)
	b.Spec.Process.Capabilities.Ambient = []string{"CAP_KILL", "CAP_CHOWN"}
	b.Spec.Process.Args = []string{"grep", "CapAmb", "/proc/self/status"}
	if r := b.Run(); r.Code != 0 || !strings.Contains(r.Err, "can't raise ambient capability CAP_KILL: ") || !strings.HasSuffix(r.Out, "01") {
		t.Errorf("a capability that can't be ambient: %v", r)
	}
}

// Words that programs look for in what a runtime says, each on one line.
func TestWords(t *testing.T) {
	root := os.Geteuid() == 0
	for _, c := range []struct {
		name   string
		change func(*specs.Spec)
		want   string
	}{
		{"interpreter that is not there", func(s *specs.Spec) { s.Process.Args = []string{"/script"} }, `exec /script: no such file or directory`},
		{"hook that fails", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}, {Path: "/bin/false"}}}
		}, `error running createRuntime hook #1: exit status 1`},
		{"hook that is killed", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "kill -SYS $$"}}}}
		}, `error running startContainer hook #0: .*bad system call`},
		{"memory policy", func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Nodes: "0"} }, `invalid memory policy mode`},
		{"memory policy's nodes", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-9876543210"}
		}, `invalid memory policy node`},
		{"nobody listens", func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/no/such/socket",
				Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
		}, `failed to connect with seccomp agent`},
		{"proc on a link", func(s *specs.Spec) { s.Mounts[0].Destination = "/link" }, `must be mounted on ordinary directory`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if isRunc() {
				t.Skip("needs a newer runc")
			}
			b := box(t)
			must(t, os.WriteFile(b.Path("script"), []byte("#!/no/such/program\n"), 0o755))
			must(t, os.Symlink("/tmp", b.Path("link")))
			c.change(b.Spec)
			r := b.Run()
			if r.Code == 0 || !regexp.MustCompile(c.want).MatchString(r.Err) {
				t.Errorf("%v; want %s", r, c.want)
			}
			if strings.Count(strings.TrimSpace(r.Err), "\n") > 0 {
				t.Errorf("more than a line:\n%s", r.Err)
			}
		})
	}
	b := box(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"no-such-command"}, `No help topic for 'no-such-command'`},
		{[]string{"state", "a/b"}, `container ID: invalid character`},
		{[]string{"--log-format", "xml", "list"}, `invalid log-format: xml`},
		{[]string{"--cgroup-manager", "mine", "list"}, `none of cgroupfs, systemd, disabled`},
		{[]string{"--root", "/no/such/folder", "list"}, `no such file or directory`},
	} {
		if r := b.Do(c.args...); r.Code == 0 || !strings.Contains(r.Err, c.want) && !isRunc() {
			t.Errorf("%q: %v; want %s", c.args, r, c.want)
		}
	}
	if !root {
		return
	}
	b.Start()
	for arg, want := range map[string]string{"..": "bad sub cgroup path", "../neighbour": "bad sub cgroup path", "none": " adding pid .*no such file or directory", "what:/": "unknown controller "} {
		if r := b.Do("exec", "--cgroup", arg, b.ID, "true"); r.Code != 255 || !regexp.MustCompile(want).MatchString(r.Err) && !isRunc() {
			t.Errorf("exec --cgroup %s: %v; want %s", arg, r, want)
		}
	}
}

// With --debug the steps are shown: on the standard error, or in the log only.
func TestDebug(t *testing.T) {
	if isRunc() {
		t.Skip("what runc shows is about runc")
	}
	b := box(t)
	b.Spec.Process.Args = []string{"true"}
	b.Spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_LOG"}}
	b.Global = []string{"--debug"}
	for _, want := range []string{" level=debug msg=", `"seccomp filter flags: 2"`, "clone3"} {
		if r := b.Run(); !strings.Contains(r.Err, want) {
			t.Errorf("run --debug doesn't say %s: %v", want, r)
		}
	}
	file := filepath.Join(filepath.Dir(b.Dir), "log")
	b.Global = append(b.Global, "--log", file, "--log-format", "json")
	if r := b.Run(); r.Err != "" || !strings.Contains(read(t, file), `{"level":"debug","msg":"`) {
		t.Errorf("with a log: %v, and the log\n%s", r, read(t, file))
	}
}

// --pidfd-socket hands over a pidfd of the process that is made.
func TestPidfdSocket(t *testing.T) {
	if isRunc() {
		t.Skip("needs a newer runc")
	}
	b := box(t)
	path := filepath.Join(filepath.Dir(b.Dir), "pidfd.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	defer l.Close()
	got := make(chan int, 1)
	receive := func() int {
		go func() { got <- receiveFD(l) }()
		return 0
	}
	b.Save()
	receive()
	b.Must("create", "--pidfd-socket", path, b.ID)
	first := <-got
	defer unix.Close(first)
	if pid := pidOf(t, first); pid != b.Pid() {
		t.Errorf("create --pidfd-socket: of process %d; it is %d", pid, b.Pid())
	}
	b.Must("start", b.ID)
	receive()
	pidFile := filepath.Join(filepath.Dir(b.Dir), "pid")
	b.Must("exec", "--detach", "--pid-file", pidFile, "--pidfd-socket", path, b.ID, "sleep", "1000")
	second := <-got
	defer unix.Close(second)
	if pid := pidOf(t, second); itoa(pid) != read(t, pidFile) {
		t.Errorf("exec --pidfd-socket: of process %d; it is %s", pid, read(t, pidFile))
	}
	must(t, unix.PidfdSendSignal(first, unix.SIGKILL, nil, 0))
	bundle.Eventually(t, "stopped", ended(b))
	b.Must("delete", b.ID)
	if r := b.Run("--detach", "--pidfd-socket", "/no/such/socket"); r.Code == 0 || b.Status() != "" {
		t.Errorf("with nobody there: %v, and then it is %q", r, b.Status())
	}
}

func receiveFD(l *net.UnixListener) int {
	c, err := l.AcceptUnix()
	if err != nil {
		return -1
	}
	defer c.Close()
	data, oob := make([]byte, 64), make([]byte, 64)
	_, n, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return -1
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) == 0 {
		return -1
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	return fds[0]
}

// pidOf is the process that a pidfd is of.
func pidOf(t *testing.T, fd int) (pid int) {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/self/fdinfo/%d", fd))) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			_, err := fmt.Sscan(v, &pid)
			must(t, err)
		}
	}
	return pid
}

// crun's words: another name for config.json, and who makes the cgroup.
func TestCrunOptions(t *testing.T) {
	if isRunc() {
		t.Skip("they are crun's")
	}
	b := box(t)
	b.Spec.Process.Args = []string{"sh", "-c", "grep -c " + b.ID + " /proc/self/cgroup"}
	limit := int64(100)
	b.Spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
	b.Spec.Linux.Namespaces = dropNamespace(b.Spec.Linux.Namespaces, specs.CgroupNamespace)
	b.Save()
	must(t, os.MkdirAll(filepath.Join(b.Dir, "in/a"), 0o755))
	must(t, os.Rename(filepath.Join(b.Dir, "config.json"), filepath.Join(b.Dir, "in/a/folder.json")))
	r := b.Do("--cgroup-manager", "disabled", "run", "--bundle", b.Dir, "--config", "in/a/folder.json", b.ID)
	if r.Out != "0" {
		t.Errorf("--cgroup-manager disabled: in %s cgroups: %v", r.Out, r)
	}
	if os.Geteuid() != 0 {
		return
	}
	if r := b.Do("--cgroup-manager=cgroupfs", "run", "--bundle", b.Dir, "--config", filepath.Join(b.Dir, "in/a/folder.json"), b.ID); r.Out == "0" || r.Code != 0 {
		t.Errorf("--cgroup-manager cgroupfs: %v", r)
	}
}

func dropNamespace(all []specs.LinuxNamespace, typ specs.LinuxNamespaceType) (left []specs.LinuxNamespace) {
	for _, n := range all {
		if n.Type != typ {
			left = append(left, n)
		}
	}
	return left
}

// A cgroup that is there, and frozen or not empty, is nobody's to run in.
func TestCgroupThatIsThere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a cgroup of its own")
	}
	b := box(t)
	b.Spec.Linux.CgroupsPath = "/" + b.ID
	dir, file, word, back := "/sys/fs/cgroup/"+b.ID, "cgroup.freeze", "1", "0"
	if isDir("/sys/fs/cgroup/freezer") {
		dir, file, word, back = "/sys/fs/cgroup/freezer/"+b.ID, "freezer.state", "FROZEN", "THAWED"
	}
	must(t, os.Mkdir(dir, 0o755))
	defer os.Remove(dir)
	must(t, os.WriteFile(filepath.Join(dir, file), []byte(word), 0))
	if r := b.Run("--detach"); r.Code == 0 || !strings.Contains(r.Err, "container's cgroup unexpectedly frozen") {
		t.Errorf("run in a frozen cgroup: %v", r)
	}
	must(t, os.WriteFile(filepath.Join(dir, file), []byte(back), 0))
	b.Start()
	if r := b.Do("create", "--bundle", b.Dir, b.ID+"-2"); r.Code == 0 && !isRunc() || !strings.Contains(r.Err, "container's cgroup is not empty") {
		t.Errorf("create in the same cgroup: %v", r)
	}
	b.Do("delete", "--force", b.ID+"-2")
	b.Must("delete", "--force", b.ID)
}

// The lines of --version, as engines read runc's.
func TestVersion(t *testing.T) {
	b := box(t)
	want := `^[a-z-]+ version \d+\.\d+\.\d+.*\ncommit: .+\nspec: \d+\.\d+\.\d+`
	if r := b.Do("--version"); !regexp.MustCompile(want).MatchString(r.Out) {
		t.Errorf("--version: %q", r.Out)
	}
	var f struct{ Annotations map[string]string }
	must(t, json.Unmarshal([]byte(b.Must("features").Out), &f))
	if f.Annotations["org.opencontainers.runc.checkpoint.enabled"] != "true" && !isRunc() {
		t.Errorf("features: %v", f.Annotations)
	}
}

// A caller that is kept to one processor doesn't keep its containers there.
func TestUnpinned(t *testing.T) {
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("needs taskset")
	}
	if isRunc() {
		t.Skip("needs a newer runc")
	}
	all := allowed(read(t, "/proc/self/status"))
	if all == "0" {
		t.Skip("needs two processors")
	}
	b := box(t)
	pinned := filepath.Join(filepath.Dir(b.Dir), "pinned")
	must(t, os.WriteFile(pinned, []byte("#!/bin/sh\nexec taskset -c 0 '"+b.Runtime+"' \"$@\"\n"), 0o755))
	b.Runtime = pinned
	b.Start()
	if got := allowed(read(t, fmt.Sprintf("/proc/%d/status", b.Pid()))); got != all {
		t.Errorf("the container runs on processors %s; want %s", got, all)
	}
	if got := allowed(b.Must("exec", b.ID, "cat", "/proc/self/status").Out); got != all {
		t.Errorf("a further process runs on processors %s; want %s", got, all)
	}
}

// allowed is the list of processors in /proc/PID/status.
func allowed(status string) string {
	_, rest, _ := strings.Cut(status, "Cpus_allowed_list:\t")
	list, _, _ := strings.Cut(rest, "\n")
	return list
}

// What the caller ignores, as below nohup(1), the container does not: its shell
// could not trap it.
func TestHearsSignals(t *testing.T) {
	b := box(t)
	b.Spec.Process.Args = []string{"grep", "SigIgn", "/proc/self/status"}
	b.Save()
	run := b.Command("run", b.ID)
	run.Args = append([]string{"sh", "-c", `trap '' HUP INT TSTP TTIN TTOU PIPE TERM CHLD USR1; exec "$@"`, "sh"}, run.Args...)
	run.Path = "/bin/sh"
	out, err := run.CombinedOutput()
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != "SigIgn: 0000000000000000" {
		t.Errorf("run below a shell that ignores signals: %v: %s", err, got)
	}
}

// A terminal's output comes out as the program has written it, where the
// caller's output is no terminal.
func TestTerminalIntoPipe(t *testing.T) {
	b := box(t)
	b.Spec.Process.Terminal = true
	b.Spec.Process.Args = []string{"echo", "one line"}
	if r := b.Run(); r.Out != "one line" {
		t.Errorf("run: %q, %q", r.Out, r.Err)
	}
	b.Spec.Process.Args = []string{"sleep", "1000"}
	b.Spec.Process.Terminal = false
	b.Start()
	if r := b.Do("exec", "-t", b.ID, "echo", "one line"); r.Out != "one line" {
		t.Errorf("exec: %q, %q", r.Out, r.Err)
	}
}

// The process that waits to be started holds nothing of its maker's: a lock
// that goes with a descriptor is free again when create has ended.
func TestCreatedHoldsNoLock(t *testing.T) {
	b := box(t)
	b.Save()
	lock := filepath.Join(filepath.Dir(b.Dir), "lock")
	cmd := b.Command("create", b.ID)
	cmd.Args = append([]string{"sh", "-c", `exec 9>` + lock + `; flock -n 9 && "$@"`, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	if r := cmd.Run(); r != nil {
		t.Fatal(r)
	}
	f, err := os.Open(lock)
	must(t, err)
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("lock what create's caller had locked: %v", err)
	}
}
