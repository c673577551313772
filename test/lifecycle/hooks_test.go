// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/test/bundle"
)

// kinds are the hooks in the order of a container's life.
var kinds = []struct {
	name   string
	inside bool // its files are the container's
	status string
	at     func(*specs.Hooks) *[]specs.Hook
}{
	{"prestart", false, "creating", func(h *specs.Hooks) *[]specs.Hook { return &h.Prestart }}, //nolint:staticcheck // Docker's
	{"createRuntime", false, "creating", func(h *specs.Hooks) *[]specs.Hook { return &h.CreateRuntime }},
	{"createContainer", false, "creating", func(h *specs.Hooks) *[]specs.Hook { return &h.CreateContainer }},
	{"startContainer", true, "created", func(h *specs.Hooks) *[]specs.Hook { return &h.StartContainer }},
	{"poststart", false, "running", func(h *specs.Hooks) *[]specs.Hook { return &h.Poststart }},
	{"poststop", false, "stopped", func(h *specs.Hooks) *[]specs.Hook { return &h.Poststop }},
}

// hooked is a container with each kind of hook doing a script, and the folder
// that is $OUT for it.
func hooked(t *testing.T, script string) (b *bundle.Box, out string) {
	t.Helper()
	b = box(t)
	out = filepath.Join(filepath.Dir(b.Dir), "hooks")
	must(t, os.Mkdir(out, 0o777))
	b.Mount("bind", out, "/host", "bind", "rw")
	b.Spec.Hooks = new(specs.Hooks)
	for _, k := range kinds {
		dir := out
		if k.inside {
			dir = "/host"
		}
		*k.at(b.Spec.Hooks) = []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin", "KIND=" + k.name, "OUT=" + dir}}}
	}
	return b, out
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return string(data)
}

func TestHooksInOrder(t *testing.T) {
	b, out := hooked(t, `cat >$OUT/$KIND.state; echo $KIND >>$OUT/order; for n in mnt pid net; do readlink /proc/self/ns/$n; done >$OUT/$KIND.ns`)
	b.Save()
	b.Must("create", b.ID)
	if got := read(t, out+"/order"); got != "prestart\ncreateRuntime\ncreateContainer\n" {
		t.Errorf("after create: %q", got)
	}
	pid := b.Pid()
	ns := func(kind string) string {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		must(t, err)
		return to
	}
	inside := ns("mnt") + "\n" + ns("pid") + "\n" + ns("net") + "\n"
	b.Must("start", b.ID)
	b.Must("kill", b.ID, "KILL")
	bundle.Eventually(t, "stopped", ended(b))
	b.Must("delete", b.ID)
	want := ""
	for _, k := range kinds {
		if isRunc() && k.name == "poststart" {
			continue // runc 1.1.5 calls it at the end of create
		}
		want += k.name + "\n"
		var s specs.State
		must(t, json.Unmarshal([]byte(read(t, out+"/"+k.name+".state")), &s))
		if string(s.Status) != k.status && !(isRunc() && k.name == "startContainer") || s.ID != b.ID || s.Bundle != b.Dir {
			t.Errorf("%s reads %+v; want status %s", k.name, s, k.status)
		}
		if (s.Pid == 0) != (k.name == "poststop") || s.Pid != pid && s.Pid != 0 && k.name != "startContainer" && k.name != "createContainer" {
			t.Errorf("%s reads pid %d; it is %d", k.name, s.Pid, pid)
		}
		seen := read(t, out+"/"+k.name+".ns")
		if mnt := strings.HasPrefix(seen, ns0(inside)); mnt != (k.inside || k.name == "createContainer") {
			t.Errorf("%s runs in\n%sthe container is in\n%s", k.name, seen, inside)
		}
	}
	if got := read(t, out+"/order"); got != want {
		t.Errorf("hooks ran as\n%swant\n%s", got, want)
	}
}

// ns0 is the first line: the mount namespace.
func ns0(s string) string { first, _, _ := strings.Cut(s, "\n"); return first }

// A hook that fails ends the container, and says why; behind the start only a
// warning is left to be given.
func TestHookFails(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b, out := hooked(t, `echo $KIND >>$OUT/order; [ $KIND != `+k.name+` ] || { echo said by the hook >&2; exit 7; }`)
			b.Save()
			var all string
			failed := false
			for _, step := range []string{"create", "start", "kill"} {
				r := b.Do(step, b.ID)
				if all += r.Err; r.Code != 0 {
					failed = true
					break
				}
			}
			bundle.Eventually(t, "no process runs", func() bool { s := b.Status(); return s == "stopped" || s == "" || s == "running" && !failed })
			created := b.Status() != ""
			all += b.Do("delete", "--force", b.ID).Err
			if !strings.Contains(all, "hook") && k.name != "poststop" && k.name != "poststart" {
				t.Errorf("nobody speaks of the hook: %s", all)
			}
			if k.inside && !failed || k.status == "creating" && (!failed || created) {
				t.Errorf("failed %v, and a container is left: %v", failed, created)
			}
			if k.status == "creating" && strings.Contains(read(t, out+"/order"), "startContainer") {
				t.Errorf("later hooks have run: %s", read(t, out+"/order"))
			}
			if s := b.Status(); s != "" {
				t.Errorf("after delete it is %s", s)
			}
		})
	}
}

func TestHookTakesTooLong(t *testing.T) {
	b, _ := hooked(t, `true`)
	limit := 1
	b.Spec.Hooks.CreateRuntime = []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Timeout: &limit}}
	b.Save()
	began := time.Now()
	if r := b.Do("create", b.ID); r.Code == 0 || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(began), r)
	}
	if s := b.Status(); s != "" {
		t.Errorf("the container is %s", s)
	}
}

// What a hook reads ends: it need not be read, and is never waited for.
func TestHookReadsNothing(t *testing.T) {
	b, out := hooked(t, `exec <&-; echo $KIND >>$OUT/order`)
	b.Spec.Annotations = map[string]string{"long": strings.Repeat("x", 1<<17)} // more than a pipe holds
	b.Spec.Process.Args = []string{"true"}
	if r := b.Run(); r.Code != 0 {
		t.Error(r)
	}
	if got := strings.Count(read(t, out+"/order"), "\n"); got != len(kinds) {
		t.Errorf("%d hooks ran; want %d", got, len(kinds))
	}
}

// A hook without an environment has the runtime's; with an empty one, none.
func TestHookEnvironment(t *testing.T) {
	b, out := hooked(t, "")
	for _, k := range kinds {
		if !k.inside {
			h := &(*k.at(b.Spec.Hooks))[0]
			h.Env, h.Args = nil, []string{"sh", "-c", "echo $ASKED >" + out + "/" + k.name + "; pwd >" + out + "/" + k.name + ".pwd"}
		}
	}
	h := &b.Spec.Hooks.Poststop
	*h = append(*h, (*h)[0])
	(*h)[1].Env, (*h)[1].Args = []string{}, []string{"sh", "-c", "echo ${ASKED-none} >" + out + "/empty"}
	b.Save()
	must(t, os.WriteFile(b.Dir+"/config.json", []byte(strings.Replace(read(t, b.Dir+"/config.json"), "/empty\"]", "/empty\"],\"env\":[]", 1)), 0o600))
	for _, verb := range []string{"create", "start", "kill", "delete"} {
		b.Env = []string{"ASKED=" + verb}
		args := []string{verb, b.ID}
		if verb == "kill" {
			args = append(args, "KILL")
		}
		b.Must(args...)
		if verb == "kill" {
			bundle.Eventually(t, "stopped", ended(b))
		}
	}
	for name, want := range map[string]string{
		"prestart": "create", "createRuntime": "create", "createContainer": "create", "poststart": "start", "poststop": "delete", "empty": "none",
	} {
		if isRunc() && (name == "poststart" || name == "createContainer") { // early, and without
			continue
		}
		if got := read(t, out+"/"+name); got != want+"\n" {
			t.Errorf("%s hook: ASKED is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"prestart": b.Dir, "createRuntime": b.Dir, "createContainer": b.Path("")} {
		if got := strings.TrimSpace(read(t, out+"/"+name+".pwd")); got != want {
			t.Errorf("%s hook begins in %q, want %q", name, got, want)
		}
	}
}
