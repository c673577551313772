// SPDX-License-Identifier: Apache-2.0

package mountinfo

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const text = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue
37 36 0:40 / /a\040b\134c\011\012 ro - fuse.x\040y a\043b rw,upper=/\134040
38 36 0:41 / /none rw -  - rw
not a line
39 36 0:42 / /empty rw - tmpfs  rw
40 x 0:42 / /number rw - tmpfs none rw
41 36 0:43 / /cut rw - tmpfs none
`

func TestAll(t *testing.T) {
	want := []Mount{
		{36, 35, "98:0", "/mnt1", "/mnt2", "rw,noatime", "master:1 propagate_from:2", "ext3", "/dev/root", "rw,errors=continue"},
		{37, 36, "0:40", "/", "/a b\\c\t\n", "ro", "", "fuse.x y", "a#b", `rw,upper=/\040`},
		{38, 36, "0:41", "/", "/none", "rw", "", "", "-", "rw"},
		{39, 36, "0:42", "/", "/empty", "rw", "", "tmpfs", "", "rw"},
	}
	if got := slices.Collect(All(text)); !slices.Equal(got, want) {
		t.Errorf("All = %+v\nwant  %+v", got, want)
	}
	for range All(text) { // who breaks off is not called again
		break
	}
}

// What the kernel says of us: each line is read, and statx(2) knows the mounts
// that are seen.
func TestOurOwn(t *testing.T) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Collect(All(string(data)))
	if n := strings.Count(string(data), "\n"); len(list) != n {
		t.Errorf("%d mounts of %d lines", len(list), n)
	}
	for _, m := range slices.Backward(list) {
		var st unix.Statx_t
		if m.Point == "/proc" && unix.Statx(unix.AT_FDCWD, m.Point, unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st) == nil {
			if st.Mnt_id != uint64(m.ID) || m.Type != "proc" {
				t.Errorf("on /proc is %+v; statx says %d", m, st.Mnt_id)
			}
			return
		}
	}
	t.Error("no mount on /proc")
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{`a\040b`: "a b", `a\012b`: "a\nb", `\134`: `\`, `a\9`: `a\9`, `a\0`: `a\0`, "plain": "plain", `\999`: `\999`, `\777`: `\777`} {
		if got := unescape(s); got != want {
			t.Errorf("%q: got %q; want %q", s, got, want)
		}
	}
}

func FuzzAll(f *testing.F) {
	f.Add(text)
	f.Fuzz(func(t *testing.T, text string) {
		for m := range All(text) {
			if len(m.Point)+len(m.Root)+len(m.Super) > len(text) || strings.Contains(m.Device, " ") {
				t.Errorf("%+v of %q", m, text)
			}
		}
	})
}
