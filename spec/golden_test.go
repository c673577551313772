// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup/systemd"
	"vitro/checkpoint"
	"vitro/host"
	"vitro/plan"
)

var update = flag.Bool("update", false, "write the plans into testdata, in place of comparing them")

// input is what a plan is made of, as a test case has it.
type input struct {
	// Base is the config.json that Config changes: "example", "rootless" (with
	// user and group 1000), or "" for one with nothing in it but a command.
	Base   string
	Config map[string]any // a merge patch (RFC 7396)
	Facts  struct {
		Kernel               []int // {6, 18}
		UID                  int
		Caps                 string // "all", "none", or names
		InUserNS             bool
		SetgroupsOff         bool
		Cgroups              string // a name in layouts; "" is v2
		Newuidmap, Newgidmap string
		Files                []string
		Nofile               uint64
		Home                 string
		NoSystemd            bool
		AppArmor, SELinux    bool
		Resctrl              *Resctrl
		Links                map[string]*host.Link
		Nodes                map[string]Node
	}
	Layers  []string // the root is an overlay of these
	Request struct {
		Before, After bool // the network's host steps, by a stand-in
		Stdio         [3]string
		Bound         bool
		Preserve      int
		AllCgroups    bool
		Shared, Await string
		NoPivot       bool
		SystemdCgroup bool // by systemd 252; Facts.NoSystemd: there is none
		Restore       bool // of a checkpoint
	}
	Calls bool // show the system calls
}

// minimal is a config.json that is hardly more than a command.
const minimal = `{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
	"process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["HOME=/"], "cwd": "/"},
	"linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}}`

// config is the config.json of a case.
func (in *input) config(t *testing.T) *specs.Spec {
	t.Helper()
	text := []byte(minimal)
	if in.Base != "" {
		s := Example()
		if in.Base == "rootless" {
			Rootless(s, 1000, 1000)
		}
		var err error
		if text, err = json.Marshal(s); err != nil {
			t.Fatal(err)
		}
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a float64 can't hold every limit
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(mergePatch(tree, in.Config))
	if err != nil {
		t.Fatal(err)
	}
	s := new(specs.Spec)
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatalf("config: %v", err)
	}
	return s
}

// mergePatch changes target as RFC 7396 has it: objects member by member, null
// takes a member away, and everything else replaces.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	old, _ := target.(map[string]any)
	out := maps.Clone(old)
	if out == nil {
		out = make(map[string]any)
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = mergePatch(out[k], v)
		}
	}
	return out
}

func (in *input) facts(t *testing.T) *Facts {
	t.Helper()
	w := &in.Facts
	f := &Facts{Major: 6, Minor: 18, UID: w.UID, GID: w.UID, LastCap: 40, Bounding: plan.AllCaps, InUserNS: w.InUserNS,
		SetgroupsOff: w.SetgroupsOff, Newuidmap: w.Newuidmap, Newgidmap: w.Newgidmap, Nofile: w.Nofile, Home: w.Home,
		Files: make(map[string]bool), Cgroups: layouts("v2"), AppArmor: w.AppArmor, AppArmorAttr: w.AppArmor,
		SELinux: w.SELinux, Resctrl: w.Resctrl, Links: w.Links, Nodes: w.Nodes}
	if len(w.Kernel) == 2 {
		f.Major, f.Minor = w.Kernel[0], w.Kernel[1]
	}
	switch {
	case w.Caps == "all" || w.Caps == "" && w.UID == 0:
		f.Caps = plan.AllCaps
	case w.Caps != "none":
		for name := range strings.FieldsSeq(w.Caps) {
			c, ok := plan.ParseCap(name)
			if !ok {
				t.Fatalf("facts: no capability %q", name)
			}
			f.Caps |= c
		}
		f.Bounding = f.Caps
	}
	if w.Cgroups != "" {
		f.Cgroups = layouts(w.Cgroups)
	}
	for _, file := range w.Files {
		f.Files[file] = true
	}
	return f
}

// standIn is a host step that another package would have made.
type standIn string

func (s standIn) Verb() string                    { return "stand-in" }
func (s standIn) Line() string                    { return string(s) }
func (s standIn) Shell(sc *plan.Script)           { sc.Run("%s", string(s)) }
func (s standIn) Do(*plan.Env) error              { return errors.New("a plan that is only looked at") }
func (s standIn) Undo() plan.Host                 { return nil }
func steps(why string, a plan.Action) []plan.Step { return []plan.Step{{Action: a, Why: why}} }

func (in *input) request(t *testing.T) *Request {
	t.Helper()
	r := &Request{ID: "c1", Spec: in.config(t), Facts: in.facts(t), Title: "a test", Bundle: "/bundle",
		Stdio: in.Request.Stdio, Bound: in.Request.Bound, Preserve: in.Request.Preserve,
		AllCgroups: in.Request.AllCgroups, Shared: in.Request.Shared, Await: in.Request.Await, NoPivot: in.Request.NoPivot, Keyring: true,
		SystemdCgroup: in.Request.SystemdCgroup}
	if r.SystemdCgroup && !in.Facts.NoSystemd {
		r.Facts.Cgroups.Manager = &systemd.Manager{Bus: systemd.Bus{Socket: "/run/systemd/private", Private: true}, Version: 252, ControlGroup: "/"}
	}
	if in.Request.Before {
		r.Before = steps("what the network needs before", standIn("before"))
	}
	if in.Request.After {
		r.After = steps("what the network needs of the child", standIn("after"))
	}
	if len(in.Layers) > 0 {
		r.At = "/run/c1/rootfs"
		r.Root = steps("layers", &plan.Overlay{Layers: in.Layers, Upper: "/run/c1/upper", Work: "/run/c1/work",
			Append: r.Facts.OverlayAppend(), At: r.At})
	}
	return r
}

func (in *input) compile(r *Request) (*Result, error) {
	if !in.Request.Restore {
		return Compile(r)
	}
	r.At = "/run/c1/rootfs"
	o := checkpoint.Options{Criu: "/usr/sbin/criu", Path: "/usr/sbin:/usr/bin", Images: "/images"}
	return CompileRestore(r, &checkpoint.Restore{Options: o, PIDFile: "/run/c1/restored"})
}

// compiled is what Compile answers, as text that is the same on all machines.
func (in *input) compiled(t *testing.T) string {
	t.Helper()
	r := in.request(t)
	before := mustJSON(t, r.Spec)
	res, err := in.compile(r)
	if err != nil {
		text := "error: " + err.Error() + "\n"
		var h interface{ Hint() string }
		if errors.As(err, &h) && h.Hint() != "" {
			text += "hint: " + h.Hint() + "\n"
		}
		return text
	}
	if after := mustJSON(t, r.Spec); after != before {
		t.Errorf("Compile changed its config.json\nfrom %s\nto   %s", before, after)
	}
	checkJumps(t, res.Lower())
	var b strings.Builder
	for _, n := range res.Notes {
		fmt.Fprintf(&b, "# note: %s\n", n)
	}
	b.WriteString(res.Text(in.Calls))
	// A filter has as many instructions as the architecture's call numbers need.
	return instructions.ReplaceAllString(b.String(), "N instructions")
}

// checkJumps: no jump of a real plan leads out of its step.
func checkJumps(t *testing.T, calls []plan.Call) {
	t.Helper()
	for i, c := range calls {
		if n := max(c.SkipErr, c.SkipOK); n > 0 && (i+n >= len(calls) || calls[i+n].Step != c.Step) {
			t.Errorf("step %d: %s jumps out of it", c.Step, c)
		}
	}
}

var instructions = regexp.MustCompile(`\d+ instructions`)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A part of a file of test cases, between lines such as "-- name --" (the
// txtar format).
type part struct{ name, text string }

var marker = regexp.MustCompile(`(?m)^-- (.+) --\n`)

func parseParts(data string) (comment string, parts []part) {
	at := marker.FindAllStringSubmatchIndex(data, -1)
	end := len(data)
	for _, m := range slices.Backward(at) {
		parts = append(parts, part{data[m[2]:m[3]], data[m[1]:end]})
		end = m[0]
	}
	slices.Reverse(parts)
	return data[:end], parts
}

func readInput(t *testing.T, text string) *input {
	t.Helper()
	in := new(input)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(in); err != nil {
		t.Fatalf("read case: %v\n%s", err, text)
	}
	return in
}

// TestGolden compares whole plans, decided for machines that are written down:
// it is the same test for any user on any machine.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			comment, parts := parseParts(string(data))
			if comment == "" || len(parts) != 2 || parts[0].name != "in" || parts[1].name != "want" {
				t.Fatalf("%s: want a comment, and the parts in and want", name)
			}
			in := readInput(t, parts[0].text)
			got := in.compiled(t)
			if *update {
				text := comment + "-- in --\n" + parts[0].text + "-- want --\n" + got
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != parts[1].text {
				t.Errorf("the plan is another (go test ./spec -update writes it down):\n%s", diff(parts[1].text, got))
			}
			if strings.HasPrefix(got, "error: ") {
				return
			}
			for range 3 { // maps must not show in the order
				if again := in.compiled(t); again != got {
					t.Fatalf("not the same plan each time:\n%s", diff(got, again))
				}
			}
		})
	}
}

// diff shows the lines in which two texts differ.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	first := 0
	for first < len(w) && first < len(g) && w[first] == g[first] {
		first++
	}
	last := 0
	for last < len(w)-first && last < len(g)-first && w[len(w)-1-last] == g[len(g)-1-last] {
		last++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "from line %d on\n", first+1)
	const most = 12
	for _, side := range []struct {
		name  string
		lines []string
	}{{"want", w[first : len(w)-last]}, {"got ", g[first : len(g)-last]}} {
		for _, l := range side.lines[:min(most, len(side.lines))] {
			b.WriteString(side.name + " " + l + "\n")
		}
		if n := len(side.lines) - most; n > 0 {
			fmt.Fprintf(&b, "%s ... and %d lines more\n", side.name, n)
		}
	}
	return b.String()
}
