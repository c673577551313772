// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's own opinion on the marks: two layers, unpacked and mounted in fresh namespaces, which go with the process.
func TestOverlay(t *testing.T) {
	tests := []struct {
		name string
		user bool
	}{{"user namespace", true}, {"root", false}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
			if tt.user {
				attr.Cloneflags |= syscall.CLONE_NEWUSER
				attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
				attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			} else if os.Geteuid() != 0 {
				t.Skip("needs CAP_SYS_ADMIN in the initial user namespace, for trusted.overlay attributes")
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestOverlayInside$", "-test.v")
			cmd.Env = append(os.Environ(), fmt.Sprintf("VITRO_OVERLAY_DIR=%s", t.TempDir()), fmt.Sprintf("VITRO_OVERLAY_USER=%v", tt.user))
			cmd.SysProcAttr = attr
			out, err := cmd.CombinedOutput()
			if err != nil && len(out) == 0 {
				t.Skipf("needs the right to make a mount namespace (and a user namespace): %v", err)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if reason := string(out); strings.Contains(reason, "SKIP") {
				t.Skip(reason)
			}
		})
	}
}

func TestOverlayInside(t *testing.T) {
	base := os.Getenv("VITRO_OVERLAY_DIR")
	if base == "" {
		t.Skip("is run by TestOverlay")
	}
	user := os.Getenv("VITRO_OVERLAY_USER") == "true"
	lower := archiveOf(t, reg("keep"), reg("gone"), reg("d/old"), reg("e/old"), reg("f/old"), reg("g/keep"))
	upper := archiveOf(t, reg(".wh.gone"), reg("d/.wh..wh..opq"), reg("d/new"), reg(".wh.e"), reg("e/new"), reg(".wh.f"), reg("g/new"))
	var dirs []string
	for i, archive := range [][]byte{lower, upper} {
		fs := filepath.Join(base, fmt.Sprint(i))
		_, err := unpackReader(context.Background(), bytes.NewReader(archive), Request{Dir: fs, Options: Options{UserXattr: user, DropOwner: user, NoSync: true}})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append([]string{fs}, dirs...)
	}
	merged := filepath.Join(base, "merged")
	if err := os.Mkdir(merged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	data := "lowerdir=" + strings.Join(dirs, ":")
	if user {
		data += ",userxattr"
	}
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, data); err != nil {
		t.Skipf("SKIP: needs a kernel with overlayfs (in user namespaces: Linux 5.11): %v", err)
	}
	defer unix.Unmount(merged, 0)
	var got []string
	err := filepath.WalkDir(merged, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(path, merged+"/"))
		}
		return err
	})
	want := "d/new e/new g/keep g/new keep"
	if s := strings.Join(got, " "); err != nil || s != want {
		t.Errorf("merged view: %s, %v; want %s", s, err, want)
	}
	if _, err := os.Lstat(filepath.Join(merged, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("f is still there: %v", err)
	}
}

// A user namespace can't have device nodes but for the mark of a deleted file.
func TestWhiteoutIsNoDevice(t *testing.T) {
	h := entry{Name: "w", Typeflag: tar.TypeChar}
	fs := mustUnpack(t, h)
	if st := lstat(t, fs, "w"); !isWhiteout(&st) {
		t.Errorf("device 0:0 has mode %o", st.Mode)
	}
}
