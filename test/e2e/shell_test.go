// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A printed script is held to its word: the container that it makes is compared
// with the one that vitro makes of the same flags.
func TestScriptMakesTheSameContainer(t *testing.T) {
	need(t, "unshare", "setpriv", "nsenter", "findmnt", "prlimit")
	dir := t.TempDir()
	for _, c := range []struct {
		name, needs string // "root", "cgroup": a place for limits
		flags       []string
	}{
		{"plain", "", nil},
		{"no network", "", []string{"--network", "none"}},
		{"host's network", "", []string{"--network", "host"}},
		{"host's names", "", []string{"--uts", "host", "--cgroupns", "host"}},
		{"limits", "cgroup", []string{"-m", "50m", "--cpus", ".5", "--cpu-shares", "512", "--pids-limit", "50"}},
		{"rlimits", "", []string{"--ulimit", "nofile=500:600", "--ulimit", "core=0"}},
		{"capabilities", "", []string{"--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "NET_RAW"}},
		{"no new privileges", "", []string{"--security-opt", "no-new-privileges"}},
		{"privileged", "root", []string{"--privileged"}},
		{"read-only", "", []string{"--read-only", "--tmpfs", "/run:size=1m"}},
		{"volumes", "", []string{"-v", dir + ":/data:ro,nosuid", "-v", dir + ":/deep/er/data", "-v", "/etc/hostname:/file"}},
		{"user", "root", []string{"-u", "1000:1001", "--group-add", "7"}},
		{"names", "", []string{"-h", "box", "--domainname", "dom", "-w", "/tmp/new", "-e", "A=b c'd"}},
		{"sysctl", "root", []string{"--sysctl", "net.ipv4.ip_forward=1"}},
		{"single user", "user", []string{"--userns", "single"}},
		{"same user", "subids", []string{"--userns", "keep-id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch root := os.Geteuid() == 0; {
			case c.needs == "root" && !root:
				t.Skip("needs root: an ordinary user has a single ID, or no devices, of its own")
			case c.needs == "cgroup" && !root && !unified():
				t.Skip("needs a cgroup of the user's own: version 1 can't be delegated")
			case c.needs == "user" && root:
				t.Skip("needs an ordinary user: root's layers have mapped owners then, which no shell command makes")
			case c.needs == "subids" && (root || !subids()):
				t.Skip("needs an ordinary user with subordinate IDs (subuid(5))")
			}
			compare(t, c.flags)
		})
	}
}

func compare(t *testing.T, flags []string) {
	if os.Geteuid() != 0 && !slices.Contains(flags, "--network") { // a script stays where it is started, outside the user's networks
		flags = append([]string{"--network", "none"}, flags...)
	}
	s, pid := held(t, flags...)
	want := portrait(t, pid)
	if code := s.end(); code != 0 {
		t.Fatalf("vitro: exit status %d: %s", code, &s.errs)
	}

	args := append(append([]string{"vitro", "explain", "run", "--as", "sh", "-i"}, flags...), "busybox", "sh", "-c", "echo ready; exec cat")
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(output(t, args...)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := surroundings()
	s = begin(t, "sh", file)
	got := portrait(t, s.find("cat"))
	if code := s.end(); code != 0 {
		t.Errorf("script: exit status %d", code)
	}
	if s.errs.Len() > 0 {
		t.Errorf("script: stderr: %s", &s.errs)
	}
	if after := surroundings(); after != before {
		t.Errorf("the script left something behind; before:\n%s\nafter:\n%s", before, after)
	}
	if left, _ := filepath.Glob(st.root + "/containers/*"); len(left) > 0 {
		t.Errorf("the script left folders behind: %s", left)
	}
	for i := range max(len(want), len(got)) {
		w, g := at(want, i), at(got, i)
		if w != g {
			t.Errorf("the script's container differs:\nvitro:  %s\nscript: %s", w, g)
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// changing is what differs between any two containers: IDs, addresses, numbers of namespaces.
var changing = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`[0-9a-f]{64}`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`172\.29\.\d+\.\d+/`), "ADDRESS/"},
	{regexp.MustCompile(`,uuid=on`), ""},
	{regexp.MustCompile(`lowerdir\+=`), "lowerdir="}, // fsconfig(2) takes layers one by one, mount(8) all at once
	{regexp.MustCompile(`(link/ether|inet6) \S+`), "$1 ADDRESS"},
	{regexp.MustCompile(`if\d+`), "ifN"},
}

// portrait is a running container as the kernel and other programs see it.
func portrait(t *testing.T, pid int) (lines []string) {
	t.Helper()
	add := func(title, text string) {
		for _, c := range changing {
			text = c.re.ReplaceAllString(text, c.by)
		}
		for line := range strings.Lines(text) {
			lines = append(lines, title+": "+strings.Join(strings.Fields(line), " "))
		}
	}
	proc := "/proc/" + itoa(pid) + "/"
	for _, k := range []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Umask"} {
		add(k, status(pid, k))
	}
	var own []string
	add("levels", itoa(len(strings.Fields(status(pid, "NSpid")))))
	for _, k := range []string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"} {
		theirs, err := os.Readlink(proc + "ns/" + k)
		if err != nil {
			t.Fatal(err)
		}
		ours, _ := os.Readlink("/proc/self/ns/" + k)
		add("own "+k, fmt.Sprint(theirs != ours))
		if theirs != ours {
			own = append(own, k)
		}
	}
	for _, f := range []string{"uid_map", "gid_map", "setgroups", "limits", "cgroup"} {
		add(f, read(t, proc+f))
	}
	env := strings.Split(read(t, proc+"environ"), "\x00")
	env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "PWD=") || strings.HasPrefix(e, "SHLVL=") })
	slices.Sort(env)
	add("environment", strings.Join(env, "\n"))
	cwd, _ := os.Readlink(proc + "cwd")
	add("cwd", cwd)
	mounts := strings.Split(output(t, "findmnt", "-N", itoa(pid), "-n", "-l", "-o", "TARGET,FSTYPE,OPTIONS,PROPAGATION"), "\n")
	slices.Sort(mounts)
	add("mount", strings.Join(mounts, "\n"))
	enter := entering(pid, own)
	add("name", output(t, append(enter, "hostname")...))
	add("domain", output(t, append(enter, "cat", "/proc/sys/kernel/domainname")...))
	add("address", output(t, append(enter, "ip", "-o", "addr", "show", "scope", "global")...))
	add("route", output(t, append(enter, "ip", "route")...))
	add("forward", output(t, append(enter, "cat", "/proc/sys/net/ipv4/ip_forward")...))
	ls, err := exec.Command("ls", "-ln", "--time-style=+", proc+"root/dev/").Output()
	if err != nil {
		t.Fatal(err)
	}
	add("device", string(ls))
	for _, f := range limitFiles(t, pid) {
		add(filepath.Base(f), read(t, f))
	}
	return lines
}

// entering is a command's beginning that has it run where a container has its
// own network and names. An ordinary user may enter no other.
func entering(pid int, own []string) []string {
	enter := []string{"nsenter", "-t", itoa(pid)}
	if os.Geteuid() != 0 {
		enter = append(enter, "-U", "--preserve-credentials")
	}
	for _, k := range own {
		if k == "net" || k == "uts" {
			enter = append(enter, "--"+k)
		}
	}
	return enter
}

// limitFiles are the files of a process's cgroups that hold limits.
func limitFiles(t *testing.T, pid int) (files []string) {
	for line := range strings.Lines(read(t, "/proc/"+itoa(pid)+"/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dir := "/sys/fs/cgroup/" + strings.TrimPrefix(f[1], "name=") + f[2]
		if f[1] == "" && !unified() {
			dir = "/sys/fs/cgroup/unified" + f[2]
		}
		for _, name := range []string{"memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus",
			"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.mems", "devices.list"} {
			if _, err := os.Stat(dir + "/" + name); err == nil {
				files = append(files, dir+"/"+name)
			}
		}
	}
	return files
}
