// SPDX-License-Identifier: Apache-2.0

package rootfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/rootfs"
)

func steps(s []plan.Step) string { return (&plan.Plan{Steps: s}).Lines() }

func layers(n int) (dirs []string) {
	for i := range n {
		dirs = append(dirs, fmt.Sprintf("/var/lib/vitro/layers/sha256/%064d/fs", i))
	}
	return dirs
}

func TestRoot(t *testing.T) {
	for _, c := range []struct {
		name          string
		root          rootfs.Root
		before, mount string
	}{
		{"overlay", rootfs.Root{Dir: "/c", Layers: []string{"/l/0", "/l/1"}, Append: true}, `
  1 host  mkdir -p /c
  2 host  mkdir -p /c/rootfs
  3 host  mkdir -p /c/upper
  4 host  mkdir -p /c/work
`, `
  1 child mount -t overlay -o lowerdir=/l/1:/l/0,upperdir=/c/upper,workdir=/c/work overlay /
`},
		{"of another owner, in a user namespace", rootfs.Root{Dir: "/c", Layers: []string{"/l/0"}, UserXattr: true, Owner: &rootfs.Owner{UID: 5, GID: 6}}, `
  1 host  mkdir -p /c
  2 host  chown 5:6 /c
  3 host  mkdir -p /c/rootfs
  4 host  mkdir -p /c/upper
  5 host  chown 5:6 /c/upper
  6 host  mkdir -p /c/work
  7 host  chown 5:6 /c/work
`, `
  1 child mount -t overlay -o lowerdir=/l/0,upperdir=/c/upper,workdir=/c/work,userxattr overlay /
`},
		{"in memory", rootfs.Root{Dir: "/c", Layers: []string{"/l/0"}, Memory: true, Size: "8m"}, `
  1 host  mkdir -p /c
  2 host  mkdir -p /c/rootfs
  3 host  mkdir -p /c/scratch
`, `
  1 child mount -t tmpfs -o size=8m tmpfs /c/scratch
  2 child mount -t overlay -o lowerdir=/l/0,upperdir=/c/scratch/upper,workdir=/c/scratch/work overlay /
`},
		{"a folder itself", rootfs.Root{Dir: "/c", Layers: []string{"/srv/root"}, Direct: true}, `
  1 host  mkdir -p /c
  2 host  mkdir -p /c/rootfs
`, `
  1 child mount --rbind /srv/root /
`},
	} {
		mount, err := c.root.Mount()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := "\n" + steps(c.root.Before()); got != c.before {
			t.Errorf("%s, before:%s\nwant:%s", c.name, got, c.before)
		}
		if got := "\n" + steps(mount); got != c.mount {
			t.Errorf("%s, mount:%s\nwant:%s", c.name, got, c.mount)
		}
	}
}

// TestLayersLimit: one page of options is what mount(2) takes, and lowerdir+
// has no such limit.
func TestLayersLimit(t *testing.T) {
	r := rootfs.Root{Dir: "/c", Layers: layers(40)}
	if _, err := r.Mount(); err != nil {
		t.Errorf("40 layers: %v", err)
	}
	r.Layers = layers(60)
	if _, err := r.Mount(); err == nil || !strings.Contains(err.Error(), "60 layers need ") || !strings.Contains(err.Error(), "Linux 6.7") {
		t.Errorf("60 layers on an old kernel: %v", err)
	}
	r.Append = true
	if _, err := r.Mount(); err != nil {
		t.Errorf("60 layers on a new kernel: %v", err)
	}
	if _, err := (&rootfs.Root{Dir: "/c"}).Mount(); err == nil || err.Error() != "make root file system: no layers" {
		t.Errorf("no layers: %v", err)
	}
}

// TestCanHoldChanges mounts file systems and asks.
func TestCanHoldChanges(t *testing.T) {
	dir := t.TempDir()
	if got, up := rootfs.CanHoldChanges(dir+"/not/there/yet"), rootfs.CanHoldChanges(dir); got != up {
		t.Errorf("of a folder to be made: %t; of the one above: %t", got, up)
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN to mount: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for fstype, want := range map[string]bool{"tmpfs": true, "ramfs": false} {
		if err := unix.Mount(fstype, dir, fstype, 0, ""); err != nil {
			t.Fatal(err)
		}
		if got := rootfs.CanHoldChanges(dir); got != want {
			t.Errorf("%s: %t; want %t", fstype, got, want)
		}
		overlay(t, dir, want)
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

// overlay asks the kernel itself.
func overlay(t *testing.T, dir string, want bool) {
	t.Helper()
	for _, d := range []string{"lower", "upper", "work", "at"} {
		if err := os.Mkdir(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := unix.Mount("overlay", dir+"/at", "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir))
	if want && err != nil {
		t.Errorf("the kernel says no: %v", err)
	}
}

// TestRemove: overlay leaves a folder in work that its owner can't look into.
func TestRemove(t *testing.T) {
	dir := t.TempDir() + "/c"
	if err := os.MkdirAll(dir+"/work/work/index", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/work/work", 0); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
	if err := rootfs.Remove(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// TestShift makes an overlay whose layer belongs to root on the disk, and to
// the container's root as the container sees it.
func TestShift(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN in the first user namespace, to map owners")
	}
	dir := t.TempDir()
	r := rootfs.Root{Dir: dir, Layers: []string{dir + "/layer"}, Append: true}
	for _, d := range []string{"layer", "upper", "work", "rootfs"} {
		if err := os.Mkdir(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/layer/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir+"/layer/file", 7, 8); err != nil {
		t.Fatal(err)
	}
	step, err := r.Shift(524288, 65536)
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	e := &plan.Env{Handles: map[string]int{}}
	if err := step.Action.(plan.Host).Do(e); err != nil {
		if errors.Is(err, unix.EINVAL) {
			t.Skipf("needs a file system below %s whose owners can be mapped, and overlay on it: %v", dir, err)
		}
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(e.Handles["/"], "file", &st, 0); err != nil {
		t.Fatal(err)
	}
	if st.Uid != 524288+7 || st.Gid != 524288+8 {
		t.Errorf("the file belongs to %d:%d; want %d:%d", st.Uid, st.Gid, 524288+7, 524288+8)
	}
	unix.Close(e.Handles["/"])
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if out, err := exec.Command("grep", dir, "/proc/self/mountinfo").Output(); err == nil {
		t.Errorf("mounts are left:\n%s", out)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
