// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// cgroupName is the cgroup that engines put their containers below, so that
// what they leave behind can be found.
const cgroupName = "vitro-bench"

// scene is the folder of a run, and the loops in it.
type scene struct {
	dir, bin string
	states   string // a folder in memory, for what runtimes keep of containers
	places   map[string]*place
	cni      bool // /var/lib/cni was there before
}

// newScene makes the folder: a bundle with a program that does nothing, and an
// image's archive with busybox.
func newScene(bin string) (*scene, error) {
	dir, err := os.MkdirTemp("", "vitro-bench")
	if err != nil {
		return nil, err
	}
	s := &scene{dir: dir, bin: bin, places: make(map[string]*place)}
	_, err = os.Stat("/var/lib/cni")
	s.cni = err == nil
	s.states, err = os.MkdirTemp(inMemory(), "vitro-bench-states")
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.fill(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// inMemory is a folder in memory, as /run is wherever systemd runs. On ext4 a new file
// costs the more the more were deleted in the last minute (recently_deleted), whoever did it.
func inMemory() string {
	for _, dir := range [...]string{"/run", "/dev/shm"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC && unix.Access(dir, unix.W_OK) == nil {
			return dir
		}
	}
	return ""
}

func (s *scene) fill() error {
	root := s.path("bundle", "rootfs")
	for _, d := range [...]string{"proc", "sys", "dev", "tmp", "bin"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for name, code := range map[string][2]string{"true": exits, "sleeper": sleeps} {
		if err := os.WriteFile(filepath.Join(root, name), program(code), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(s.config("bundle", "/true"), s.config("sleeper", "/sleeper")); err != nil {
		return err
	}
	conf := "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]\n"
	if err := os.WriteFile(s.path("containers.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	return s.archive()
}

func (s *scene) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// config writes the config.json that runc spec makes, or vitro-oci spec where
// there is no runc, changed to run a program of ours, without a terminal.
func (s *scene) config(bundle, program string) error {
	runtime := filepath.Join(s.bin, "vitro-oci")
	if runc, err := exec.LookPath("runc"); err == nil {
		runtime = runc
	}
	if err := os.MkdirAll(s.path(bundle), 0o755); err != nil {
		return err
	}
	args := []string{"spec", "--bundle", s.path(bundle)}
	if os.Geteuid() != 0 {
		args = append(args, "--rootless")
	}
	if out, err := exec.Command(runtime, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", runtime, err, out)
	}
	return s.change(bundle, func(config map[string]any) {
		process := config["process"].(map[string]any)
		process["args"] = []string{program}
		process["terminal"] = false
		config["root"] = map[string]any{"path": s.path("bundle", "rootfs"), "readonly": true}
	})
}

// change changes a bundle's config.json.
func (s *scene) change(bundle string, how func(map[string]any)) error {
	file := s.path(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	how(config)
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// archive writes the tar of a root file system with busybox as its true.
func (s *scene) archive() error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil // the engines say that they lack the image
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range [...]tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/true", Typeflag: tar.TypeSymlink, Linkname: "busybox"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(s.path("image.tar"), b.Bytes(), 0o644)
}

// places are the surroundings that commands are run in, as the command that
// starts a loop there.
func (s *scene) front(name string) (env, argv []string) {
	// What engines keep below /run and /var/lib goes with the mount namespace. A
	// default route is what dockerd looks for.
	const machine = `mount -t tmpfs tmpfs /run; mkdir -p /var/lib/cni; mount -t tmpfs tmpfs /var/lib/cni
		ip link set lo up; ip link add up0 type veth peer name up1; ip address add 192.0.2.1/24 dev up0
		ip link set up0 up; ip link set up1 up; ip route add default via 192.0.2.2
		exec "$@"`
	switch name {
	case "v1": // crun refuses to run where version 2 is mounted beside version 1
		return nil, []string{"unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`, "sh"}
	case "net": // bridges, rules and all that is left running are gone with it
		env = []string{"CONTAINERS_CONF=" + s.path("containers.conf")}
		return env, []string{"unshare", "-nmpf", "--kill-child", "--mount-proc", "sh", "-ec", machine, "sh"}
	}
	return nil, nil
}

// run runs a command in one of the places, which is opened if it is not yet.
func (s *scene) run(name string, argv []string) answer {
	p := s.places[name]
	if p == nil {
		var err error
		if p, err = open(s.front(name)); err != nil {
			return answer{Error: err.Error()}
		}
		s.places[name] = p
	}
	return p.run(argv)
}

// close ends the loops and removes the folder, and cgroups that engines left.
func (s *scene) close() error {
	var errs []error
	for _, p := range s.places {
		errs = append(errs, p.close())
	}
	if !s.cni {
		os.Remove("/var/lib/cni") // an empty one, made to be mounted on
	}
	mine, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroupName)
	for _, top := range append(mine, "/sys/fs/cgroup/"+cgroupName) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			os.Remove(dir)
		}
	}
	if s.states != "" {
		errs = append(errs, os.RemoveAll(s.states))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
