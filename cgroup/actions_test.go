// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"vitro/plan"
)

// What takes an action back is written to a file, and read by another process.
func TestUndoIsReadBack(t *testing.T) {
	for _, a := range []plan.Host{
		&Make{Path: "/x/y", Below: "/x"}, &Make{Path: "/x/y", Below: "/x", Adopt: true}, &Enter{Path: "/x"}, &Inherit{Path: "/x"}, &Evacuate{Path: "/x"}, &AttachDevices{Path: "/x"}, &ListDevices{Path: "/x"},
	} {
		undo := a.Undo()
		if undo == nil {
			continue
		}
		text, err := json.Marshal(undo)
		if err != nil {
			t.Fatal(err)
		}
		back := Actions(undo.Verb())
		if back == nil {
			t.Fatalf("the verb %q is not known", undo.Verb())
		}
		if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(undo, back) {
			t.Errorf("%s comes back as %+v, %v", text, back, err)
		}
	}
}

// The script of a plan does what the plan does; here it is the text that counts.
func TestShell(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout *Layout
		res    string
	}{
		{"shell-v1", v1Layout(), someDev[:len(someDev)-1] + `,"cpu":{"cpus":"0"}}`},
		{"shell-v2", innerLayout(), someDev[:len(someDev)-1] + `,"memory":{"limit":10485760}}`},
	} {
		s, err := c.layout.Setup("/docker/abc", resources(t, c.res), Options{Shared: "/docker"})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, st := range append(s.Before, s.Join...) {
			lines = append(lines, st.Shell()...)
		}
		golden(t, c.name, strings.Join(lines, "\n")+"\n")
	}
}

// Remove is written down before Make is called, so it has to be right if
// nothing was made.
func TestRemoveOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := (&Remove{Path: dir + "/a/b", Below: dir}).Do(&plan.Env{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the folder above was removed: %v", err)
	}
}
