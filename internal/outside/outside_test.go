// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const asked = "VITRO_OUTSIDE_ASKED"

// The variable counts where we are root of a user namespace, and nowhere else.
func TestIDs(t *testing.T) {
	if os.Getenv(asked) != "" {
		uid, gid, inside := IDs()
		if uid != 1234 || gid != 567 || !inside || UID() != 1234 || !Inside() {
			t.Errorf("IDs = %d, %d, %t", uid, gid, inside)
		}
		for _, bad := range []string{"", "1234", "a:b", ":"} {
			t.Setenv(Variable, bad)
			if uid, _, inside := IDs(); uid != 0 || inside {
				t.Errorf("%q: IDs = %d, %t", bad, uid, inside)
			}
		}
		return
	}
	t.Setenv(Variable, Value(1234, 567))
	if uid, gid, inside := IDs(); uid != os.Geteuid() || gid != os.Getegid() || inside {
		t.Errorf("outside of such a namespace: IDs = %d, %d, %t", uid, gid, inside)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--user", "--map-root-user", self, "-test.run=^TestIDs$", "-test.v")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "=== RUN") {
		t.Skipf("needs unshare and user namespaces: %v: %s", err, out)
	}
	if err != nil {
		t.Errorf("%s", out)
	}
}

func TestFolder(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for data, want := range map[string]string{"": home + "/.local/share/vitro", "relative": home + "/.local/share/vitro", "/data": "/data/vitro"} {
		t.Setenv("XDG_DATA_HOME", data)
		if os.Geteuid() == 0 {
			want = "/var/lib/vitro"
		}
		if got, err := Folder(); err != nil || got != filepath.Clean(want) {
			t.Errorf("XDG_DATA_HOME=%s: %s, %v; want %s", data, got, err, want)
		}
	}
}
