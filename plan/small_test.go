// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFind(t *testing.T) {
	p := small()
	for _, c := range []struct {
		name string
		want int
	}{
		{"touch", 0}, {"clone", 2}, {"mount", 5}, {"attach", 7}, {"exec", 10},
		{"c", 1},      // the last element of a path
		{"/run/d", 3}, // a whole word
		{"/proc", 5},  // the first that holds it
		{"proc", 5},   // by word before by place
		{"netns", -1}, // in the middle of a path
		{"mou", -1}, {"", -1},
	} {
		if got := p.Find(c.name); got != c.want {
			t.Errorf("Find(%q) = %d; want %d", c.name, got, c.want)
		}
	}
}

func TestWhere(t *testing.T) {
	p := small()
	if got := p.Born(); got != 2 {
		t.Errorf("Born() = %d; want 2", got)
	}
	for i, s := range p.Steps {
		if want := map[bool]string{true: "host", false: "child"}[i < 4]; s.Where() != want {
			t.Errorf("step %d, %s: in the %s; want %s", i, s.Action.Line(), s.Where(), want)
		}
	}
	if got := (&Plan{}).Born(); got != 0 {
		t.Errorf("Born() of nothing = %d; want 0", got)
	}
}

func TestCapSet(t *testing.T) {
	for _, c := range []struct {
		set        CapSet
		text, plus string
		names      []string
	}{
		{0, "none", "", nil},
		{AllCaps, "all", "", nil},
		{AllCaps | 1<<60, "all", "", nil}, // a capability of a later kernel
		{1 << unix.CAP_CHOWN, "chown", ",+chown", []string{"CAP_CHOWN"}},
		{1<<unix.CAP_BPF | 1<<unix.CAP_KILL, "kill bpf", ",+kill,+bpf", []string{"CAP_KILL", "CAP_BPF"}},
		{AllCaps &^ (1 << unix.CAP_SYS_ADMIN), "all but sys_admin", "", nil},
	} {
		if got := c.set.String(); got != c.text {
			t.Errorf("%#x: %q; want %q", uint64(c.set), got, c.text)
		}
		if got := c.set.plus(); c.plus != "" && got != c.plus {
			t.Errorf("%s: %q; want %q", c.text, got, c.plus)
		}
		if got := c.set.Names(); c.names != nil && !slices.Equal(got, c.names) {
			t.Errorf("%s: %q; want %q", c.text, got, c.names)
		}
	}
	for n := range 64 {
		name := CapName(n)
		if name == "" {
			if n <= unix.CAP_LAST_CAP {
				t.Errorf("capability %d has no name", n)
			}
			continue
		}
		for _, spelling := range []string{name, "CAP_" + name, strings.ToLower(name), "cap_" + strings.ToLower(name)} {
			if got, ok := ParseCap(spelling); !ok || got != 1<<n || !got.Has(n) {
				t.Errorf("ParseCap(%q) = %#x, %t; want bit %d", spelling, uint64(got), ok, n)
			}
		}
	}
	for _, bad := range []string{"", "CAP_", "CAP_CAP_CHOWN", "CHOWN ", "ALL"} {
		if got, ok := ParseCap(bad); ok {
			t.Errorf("ParseCap(%q) = %s; want none", bad, got)
		}
	}
	if CapName(-1) != "" {
		t.Error("capability -1 has a name")
	}
}

func TestNamespaceFlag(t *testing.T) {
	for name, want := range map[string]uint64{"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "time": unix.CLONE_NEWTIME, "mount": 0, "": 0} {
		if got := NamespaceFlag(name); got != want {
			t.Errorf("NamespaceFlag(%q) = %#x; want %#x", name, got, want)
		}
	}
}

// TestOptionsSize: what is asked for before the mount is what mount(2) gets.
func TestOptionsSize(t *testing.T) {
	o := &Overlay{Layers: []string{"/a", "/b:c"}, Upper: "/u", Work: "/w", At: "/at", Options: []string{"userxattr"}}
	a := new(Asm)
	o.Lower(a)
	if got := len(a.Calls[0].Args[4].Text) + 1; got != o.OptionsSize() {
		t.Errorf("mount(2) gets %d bytes; OptionsSize says %d", got, o.OptionsSize())
	}
}

// words that a quoting might get wrong.
var words = []string{"", "a", "a b", "it's", `\`, `'\''`, "$HOME", "`id`", "a\nb", "~", "*", "#", "-n", "=", "ä", "\xff", "a\tb", "!", "{a,b}", "[a]", ";", "&", "|", "<>", "()", `"`}

// readBack has a shell read quoted words, and returns them.
func readBack(t *testing.T, quoted string) []string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `set -- `+quoted+`
[ $# -eq 0 ] || printf '%s\0' "$@"`)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sh: %v: %s\n%s", err, stderr.Bytes(), quoted)
	}
	if len(out) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestQuote(t *testing.T) {
	if got := readBack(t, Quote(words...)); !slices.Equal(got, words) {
		t.Errorf("got  %q\nwant %q", got, words)
	}
	for _, plain := range []string{"a", "/srv/a-b_c.d", "rw,size=64m", "10:229", "a+b%c@d"} {
		if got := Quote(plain); got != plain {
			t.Errorf("Quote(%q) = %s; want it as it is", plain, got)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, w := range words {
		f.Add(w, "next")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") {
			t.Skip("no argument holds a NUL byte")
		}
		if got := readBack(t, Quote(a, b)); !slices.Equal(got, []string{a, b}) {
			t.Errorf("%q comes back as %q by %s", []string{a, b}, got, Quote(a, b))
		}
	})
}
