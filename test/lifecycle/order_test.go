// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"vitro/test/bundle"
)

// A life is the commands that bring a container to a status.
var lives = []struct {
	status string
	steps  [][]string
}{
	{"", nil},
	{"created", [][]string{{"create"}}},
	{"running", [][]string{{"create"}, {"start"}}},
	{"stopped", [][]string{{"create"}, {"start"}, {"kill", "KILL"}}},
	{"paused", [][]string{{"create"}, {"start"}, {"pause"}}},
}

// What a verb does in each status: "" is success, else words that engines look
// for in the error.
var verbs = []struct {
	args []string
	want map[string]string
}{
	{[]string{"state"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "", "paused": ""}},
	{[]string{"create"}, map[string]string{"": "", "created": "exists", "running": "exists", "stopped": "exists", "paused": "exists"}},
	{[]string{"start"}, map[string]string{"": "does not exist", "created": "", "running": "cannot start an already running container",
		"stopped": "cannot start a container that has stopped", "paused": "cannot start"}},
	{[]string{"kill"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "container not running", "paused": ""}},
	{[]string{"kill", "KILL"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "container not running", "paused": ""}},
	{[]string{"exec", "true"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "cannot exec in a stopped container",
		"paused": "cannot exec in a paused container"}},
	{[]string{"delete"}, map[string]string{"": "does not exist", "created": "", "running": "cannot delete container", "stopped": "", "paused": "cannot delete container"}},
	{[]string{"delete", "--force"}, map[string]string{"": "", "created": "", "running": "", "stopped": "", "paused": ""}},
	{[]string{"pause"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "not", "paused": "not"}},
	{[]string{"resume"}, map[string]string{"": "does not exist", "created": "not", "running": "not", "stopped": "not", "paused": ""}},
	{[]string{"ps"}, map[string]string{"": "does not exist", "created": "", "running": "", "stopped": "", "paused": ""}},
}

// verb is a command line on a container: options, its ID, the rest.
func verb(b *bundle.Box, args []string) []string {
	line := []string{args[0]}
	rest := args[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		line, rest = append(line, rest[0]), rest[1:]
	}
	return append(append(line, b.ID), rest...)
}

func TestEveryVerbInEveryStatus(t *testing.T) {
	for _, life := range lives {
		for _, v := range verbs {
			t.Run(life.status+"/"+strings.Join(v.args, "_"), func(t *testing.T) {
				if os.Geteuid() != 0 && (life.status == "paused" || v.args[0] == "pause" || v.args[0] == "ps") {
					t.Skip("needs a cgroup of its own")
				}
				t.Parallel()
				b := box(t)
				b.Save()
				for _, step := range life.steps {
					b.Must(verb(b, step)...)
				}
				if life.status == "stopped" {
					bundle.Eventually(t, "stopped", ended(b))
				}
				if got := b.Status(); got != life.status {
					t.Fatalf("the container is %q; want %q", got, life.status)
				}
				r := b.Do(verb(b, v.args)...)
				want := v.want[life.status]
				if want == "" && r.Code != 0 || want != "" && (r.Code == 0 || !strings.Contains(r.Err, want)) {
					t.Errorf("%s of a container that is %q: %v\nwant %q", v.args, life.status, r, want)
				}
			})
		}
	}
}

func TestState(t *testing.T) {
	b := box(t)
	b.Spec.Annotations = map[string]string{"org.example": `a "quoted" one`}
	b.Save()
	pidFile := filepath.Join(filepath.Dir(b.Dir), "pid")
	b.Must("create", "--pid-file", pidFile, b.ID)
	var s struct {
		OCIVersion, ID, Status, Bundle, Rootfs, Created, Owner string
		Pid                                                    int
		Annotations                                            map[string]string
	}
	must(t, json.Unmarshal([]byte(b.Must("state", b.ID).Out), &s))
	data, err := os.ReadFile(pidFile)
	must(t, err)
	if strconv.Itoa(s.Pid) != string(data) {
		t.Errorf("state has pid %d, --pid-file %q", s.Pid, data)
	}
	if s.ID != b.ID || s.Status != "created" || s.Bundle != b.Dir || s.Rootfs != b.Path("") || s.OCIVersion == "" || s.Created == "" || s.Annotations["org.example"] != `a "quoted" one` {
		t.Errorf("state: %+v", s)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(pidFile), ".*")); len(left) > 0 {
		t.Errorf("left beside the PID file: %s", left)
	}
	b.Must("start", b.ID)
	b.Must("kill", b.ID, "KILL")
	bundle.Eventually(t, "stopped", ended(b))
	if out := b.Must("state", b.ID).Out; !strings.Contains(out, `"pid": 0`) {
		t.Errorf("state of a stopped container: %s", out)
	}
}

// A bad pid file is an error, and leaves no container.
func TestPIDFileThatCannotBe(t *testing.T) {
	for _, command := range []string{"create", "run"} {
		b := box(t)
		b.Save()
		if r := b.Do(command, "--pid-file", filepath.Join(b.Dir, "no", "such"), b.ID); r.Code == 0 {
			t.Errorf("%s: %v", command, r)
		}
		if s := b.Status(); s != "" {
			t.Errorf("%s: the container is %s", command, s)
		}
	}
}

func TestKill(t *testing.T) {
	for _, sig := range []string{"USR1", "SIGUSR1", "sigusr1", "10", "-10"} {
		if isRunc() && sig == "-10" {
			continue // kill(1) has it; runc takes it for a number below zero
		}
		b := box(t)
		b.Shell("trap 'echo got >/tmp/got; exit 3' USR1; echo >/tmp/ready; while true; do sleep 0.01; done")
		b.Start()
		bundle.Eventually(t, "ready", there(b, "tmp/ready"))
		b.Must("kill", b.ID, sig)
		bundle.Eventually(t, "stopped", ended(b))
		if !there(b, "tmp/got")() {
			t.Errorf("kill %s has not arrived", sig)
		}
	}
	b := box(t)
	b.Start()
	for _, sig := range []string{"NOSUCH", "999", "SIG", ""} {
		if r := b.Do("kill", b.ID, sig); r.Code == 0 {
			t.Errorf("kill %q: %v", sig, r)
		}
	}
	if s := b.Status(); s != "running" {
		t.Errorf("after signals that do not exist the container is %s", s)
	}
}

func there(b *bundle.Box, name string) func() bool {
	return func() bool {
		_, err := os.Stat(b.Path(name))
		return err == nil
	}
}

// With --all a signal goes to all, though the first process shares PIDs with
// others, or has ended.
func TestKillAll(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a cgroup of its own")
	}
	b := box(t)
	b.Shell("sleep 1000 & trap 'exit 0' USR1; echo >/tmp/ready; wait; wait")
	for i, n := range b.Spec.Linux.Namespaces {
		if n.Type == "pid" {
			b.Spec.Linux.Namespaces = append(b.Spec.Linux.Namespaces[:i:i], b.Spec.Linux.Namespaces[i+1:]...)
			break
		}
	}
	b.Start()
	bundle.Eventually(t, "ready", there(b, "tmp/ready"))
	b.Must("kill", b.ID, "USR1")
	bundle.Eventually(t, "stopped", ended(b))
	if out := b.Must("ps", "--format", "json", b.ID).Out; strings.Count(out, ",") != 0 || out == "[]" {
		t.Errorf("one process is to be left: %s", out)
	}
	b.Must("kill", "--all", b.ID, "KILL")
	bundle.Eventually(t, "all have ended", func() bool { out := b.Must("ps", "--format", "json", b.ID).Out; return out == "[]" || out == "null" })
	b.Must("delete", b.ID)
}
