// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// In a user namespace with a range of IDs a file's owner is the one of the image, counted from the range's beginning.
func TestSubordinateIDs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SETUID in the initial user namespace, to map a range of IDs")
	}
	const first, size = 300000, 1000
	ids := []syscall.SysProcIDMap{{HostID: first, Size: size}}
	// Not t.TempDir, whose parent is for its owner only.
	base, err := os.MkdirTemp("", "vitro-layer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(base, first, first); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSubordinateInside$", "-test.v")
	cmd.Env = append(os.Environ(), "VITRO_SUBID_DIR="+base)
	cmd.Dir = base
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skipf("needs the right to make a user namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, id := range map[string]uint32{"f": first + 5, "pipe": first + 6, "d": first + 7, ".": first} {
		if st := lstat(t, base, "fs", name); st.Uid != id || st.Gid != id {
			t.Errorf("%s belongs to %d:%d; want %d", name, st.Uid, st.Gid, id)
		}
	}
	if st := lstat(t, base, "fs", "f"); st.Mode&0o7777 != 0o4755 {
		t.Errorf("f has mode %o; want 4755", st.Mode)
	}
}

func TestSubordinateInside(t *testing.T) {
	base := os.Getenv("VITRO_SUBID_DIR")
	if base == "" {
		t.Skip("is run by TestSubordinateIDs")
	}
	own := func(h entry, id int) entry {
		h.Uid, h.Gid = id, id
		return h
	}
	suid := own(reg("f"), 5)
	suid.Mode = 0o4755
	pipe := own(entry{Name: "pipe", Typeflag: '6'}, 6)
	null := entry{Name: "null", Typeflag: '3', Devmajor: 1, Devminor: 3}
	opts := Options{UserXattr: true, NoSync: true, IgnoreDevices: true}
	do := func(name string, entries ...entry) (Result, error) {
		return unpackReader(context.Background(), bytes.NewReader(archiveOf(t, entries...)),
			Request{Dir: filepath.Join(base, name), Options: opts})
	}
	res, err := do("fs", suid, pipe, own(dir("d"), 7), reg("d/.wh.gone"), reg("d/.wh..wh..opq"), null)
	if err != nil || fmt.Sprint(res.Skipped) != "[null]" {
		t.Errorf("Unpack = %+v, %v; want null to be skipped", res, err)
	}
	if _, err := do("fs2", own(reg("f"), 5000)); err == nil || !strings.Contains(err.Error(), "/etc/subuid") {
		t.Errorf("an ID out of the range: %v; want it to name /etc/subuid", err)
	}
}
