// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vitro/test/bundle"
)

// Engines read the log: the last error is what they show.
func TestLog(t *testing.T) {
	b := box(t)
	file := filepath.Join(filepath.Dir(b.Dir), "log")
	b.Global = []string{"--log", file, "--log-format", "json"}
	b.Do("start", "nobody")
	var line struct{ Level, Msg, Time string }
	must(t, json.Unmarshal([]byte(read(t, file)), &line))
	if _, err := time.Parse(time.RFC3339, line.Time); err != nil || line.Level != "error" || !strings.Contains(line.Msg, "does not exist") {
		t.Errorf("JSON log: %+v, %v", line, err)
	}
	must(t, os.Remove(file))
	b.Global[3] = "text"
	b.Do("start", "nobody")
	if text := read(t, file); !strings.HasPrefix(text, `time="`) || !strings.Contains(text, " level=error msg=") || !strings.Contains(text, "does not exist") {
		t.Errorf("text log: %q", text)
	}
	b.Global = []string{"--log", "/no/such/folder/log", "--log-format", "json"}
	if r := b.Do("start", "nobody"); !strings.Contains(r.Err, "does not exist") && !isRunc() {
		t.Errorf("with a log that can't be written: %v", r)
	}
}

func TestList(t *testing.T) {
	b := box(t)
	b.Start()
	if out := b.Must("list", "-q").Out; out != b.ID {
		t.Errorf("list -q: %q", out)
	}
	rows := strings.Split(b.Must("list").Out, "\n")
	if got := strings.Join(strings.Fields(rows[0]), " "); got != "ID PID STATUS BUNDLE CREATED OWNER" || len(rows) != 2 {
		t.Errorf("list: %q", rows)
	}
	if f := strings.Fields(rows[1]); len(f) != 6 || f[0] != b.ID || f[1] != itoa(b.Pid()) || f[2] != "running" || f[3] != b.Dir {
		t.Errorf("list: %q", rows[1])
	}
	var all []struct {
		ID, Status, Bundle string
		Pid                int
	}
	must(t, json.Unmarshal([]byte(b.Must("list", "--format", "json").Out), &all))
	if len(all) != 1 || all[0].ID != b.ID || all[0].Pid != b.Pid() || all[0].Status != "running" {
		t.Errorf("list --format json: %+v", all)
	}
	if r := b.Do("list", "--format", "xml"); r.Code == 0 {
		t.Errorf("list --format xml: %v", r)
	}
}

func TestPS(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a cgroup of its own")
	}
	b := box(t)
	b.Start()
	var pids []int
	must(t, json.Unmarshal([]byte(b.Must("ps", "--format", "json", b.ID).Out), &pids))
	if len(pids) != 1 || pids[0] != b.Pid() {
		t.Errorf("ps --format json: %v", pids)
	}
	rows := strings.Split(b.Must("ps", b.ID).Out, "\n")
	if len(rows) != 2 || !strings.HasPrefix(strings.TrimSpace(rows[0]), "UID") || !strings.HasSuffix(rows[1], "sleep 1000") {
		t.Errorf("ps: %q", rows)
	}
	rows = strings.Split(b.Must("ps", b.ID, "-o", "pid,comm").Out, "\n")
	if len(rows) != 2 || strings.Join(strings.Fields(rows[1]), " ") != itoa(b.Pid())+" sleep" {
		t.Errorf("ps -o pid,comm: %q", rows)
	}
}

// A folder for containers may have any name.
func TestRootWithSpaces(t *testing.T) {
	b := box(t)
	b.Root = filepath.Join(filepath.Dir(b.Dir), ` a "root" of mine,\:100% `)
	b.Start()
	if out := b.Must("exec", b.ID, "echo", "in").Out; out != "in" {
		t.Errorf("exec: %q", out)
	}
	b.Must("delete", "--force", b.ID)
}

// run -d is create and start; run --keep leaves the stopped container.
func TestRunDetachedAndKept(t *testing.T) {
	b := box(t)
	pidFile := filepath.Join(filepath.Dir(b.Dir), "pid")
	if r := b.Run("-d", "--pid-file", pidFile); r.Code != 0 {
		t.Fatal(r)
	}
	if s := b.Status(); s != "running" || read(t, pidFile) != itoa(b.Pid()) {
		t.Errorf("run -d: it is %s, pid %d and %s", s, b.Pid(), read(t, pidFile))
	}
	b.Must("delete", "--force", b.ID)

	b.Shell("exit 9")
	if r := b.Run(); r.Code != 9 || b.Status() != "" {
		t.Errorf("run: %v, and then it is %q", r, b.Status())
	}
	if isRunc() {
		return // 1.1.5 has no --keep
	}
	if r := b.Run("--keep"); r.Code != 9 || b.Status() != "stopped" {
		t.Errorf("run --keep: %v, and then it is %q", r, b.Status())
	}
	b.Must("delete", b.ID)
}

// A root that is moved, for hosts whose own can't be pivoted away.
func TestNoPivot(t *testing.T) {
	b := box(t)
	b.Shell("ls /bin/inside; ls /..; true")
	r := b.Run("--no-pivot")
	if r.Code != 0 || !strings.HasPrefix(r.Out, "/bin/inside\n") || strings.Contains(r.Out, "usr") {
		t.Error(r)
	}
	if s := left(b); s != "" {
		t.Errorf("left are\n%s", s)
	}
}

// IDs that are no names of folders are refused.
func TestBadIDs(t *testing.T) {
	b := box(t)
	b.Save()
	for _, id := range []string{"", "..", "a/b", "../x", "a b", "ä", strings.Repeat("x", 2000), "a\nb"} {
		if r := b.Do("create", id); r.Code == 0 {
			t.Errorf("create %q: %v", id, r)
			b.Do("delete", "--force", id)
		}
		if r := b.Do("delete", "--force", id); r.Code == 0 && !isRunc() {
			t.Errorf("delete --force %q: %v", id, r)
		}
	}
	bundle.Eventually(t, "nothing is left", func() bool { return left(b) == "" })
}

// --rootless chooses where containers are kept, and nothing that an engine would see.
func TestRootlessOption(t *testing.T) {
	for _, v := range []string{"true", "false", "auto"} {
		b := box(t)
		b.Global = []string{"--rootless", v}
		b.Spec.Process.Args = []string{"true"}
		if r := b.Run(); r.Code != 0 {
			t.Errorf("--rootless %s: %v", v, r)
		}
	}
}
