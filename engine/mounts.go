// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/spec"
)

// initPath is where the container finds the init that --init runs.
const initPath = "/sbin/vitro-init"

// mounts are the usual file systems, then the engine's own files, then what
// the flags ask for: a mount hides what is below it, so outer ones come first.
func (d *draft) mounts() error {
	if d.ShmSize != "" {
		if _, err := size("shm-size", d.ShmSize); err != nil {
			return err
		}
	}
	ms := spec.Mounts()
	for i := range ms {
		d.adapt(&ms[i])
	}
	if kind, _, _ := strings.Cut(d.IPC, ":"); kind == "host" { // the host's queues, if it shows any
		if _, err := os.Stat("/dev/mqueue"); err != nil {
			ms = slices.DeleteFunc(ms, func(m specs.Mount) bool { return m.Destination == "/dev/mqueue" })
		}
	}
	user, err := d.userMounts()
	if err != nil {
		return err
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		ms = append(ms, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(d.dir, name), Options: []string{"bind", "rprivate"}})
	}
	if d.Init {
		program, err := companion()
		if err != nil {
			return err
		}
		ms = append(ms, specs.Mount{Destination: initPath, Type: "bind", Source: program, Options: []string{"bind", "ro", "rprivate"}})
	}
	// What the user mounts stands in for what is usually there.
	ms = slices.DeleteFunc(ms, func(m specs.Mount) bool {
		return slices.ContainsFunc(user, func(u specs.Mount) bool { return u.Destination == m.Destination })
	})
	slices.SortStableFunc(user, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	d.spec.Mounts = append(ms, user...)
	return nil
}

// adapt changes a usual mount by the flags.
func (d *draft) adapt(m *specs.Mount) {
	switch m.Destination {
	case "/dev/pts":
		if d.maps != nil && d.maps.single() { // group 5, tty, doesn't exist there
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "gid=5" })
		}
	case "/dev/shm":
		if d.ShmSize != "" {
			if n, err := units.RAMInBytes(d.ShmSize); err == nil {
				m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "size=") }), fmt.Sprintf("size=%d", n))
			}
		}
		if kind, _, _ := strings.Cut(d.IPC, ":"); kind == "host" {
			*m = specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: []string{"rbind", "rprivate"}}
		}
	case "/sys", "/sys/fs/cgroup":
		if d.Privileged {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
}

// userMounts reads -v, --mount and --tmpfs.
func (d *draft) userMounts() ([]specs.Mount, error) {
	var ms []specs.Mount
	for _, read := range []struct {
		flag   string
		values []string
		parse  func(string) (specs.Mount, error)
	}{
		{"volume", d.Volumes, parseVolume}, {"mount", d.Flags.Mounts, parseMount}, {"tmpfs", d.Tmpfs, parseTmpfs},
	} {
		for _, v := range read.values {
			m, err := read.parse(v)
			if err != nil {
				return nil, fmt.Errorf("read --%s %q: %w", read.flag, v, err)
			}
			if !path.IsAbs(m.Destination) || path.Clean(m.Destination) == "/" {
				return nil, fmt.Errorf("read --%s %q: %q is no path of the container to mount on", read.flag, v, m.Destination)
			}
			m.Destination = path.Clean(m.Destination)
			if slices.ContainsFunc(ms, func(o specs.Mount) bool { return o.Destination == m.Destination }) {
				return nil, fmt.Errorf("read --%s %q: something is mounted on %s already", read.flag, v, m.Destination)
			}
			ms = append(ms, m)
		}
	}
	return ms, nil
}

// volumeOptions are the options of -v, with those of the mount.
var volumeOptions = [...]string{"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "rbind", "bind",
	"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// parseVolume reads SOURCE:TARGET[:OPTIONS]. A source that isn't there is made.
func parseVolume(text string) (m specs.Mount, err error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return m, hint(errors.New("not SOURCE:TARGET"), "for instance -v /srv/data:/data:ro; volumes without a source, or with a name, are not there yet")
	}
	if !filepath.IsAbs(parts[0]) {
		if !strings.HasPrefix(parts[0], "./") && !strings.HasPrefix(parts[0], "../") && parts[0] != "." {
			return m, hint(fmt.Errorf("%q is the name of a volume", parts[0]), "volumes with names are not there yet: give a path, such as ./%s", parts[0])
		}
		if parts[0], err = filepath.Abs(parts[0]); err != nil {
			return m, err
		}
	}
	m = specs.Mount{Destination: parts[1], Type: "bind", Source: parts[0], Options: []string{"rbind"}}
	share := "rprivate"
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch {
			case o == "z" || o == "Z" || o == "" || o == "cached" || o == "delegated" || o == "consistent":
				// labels are SELinux's; the others are for Docker's virtual machines
			case !slices.Contains(volumeOptions[:], o):
				return m, hint(fmt.Errorf("no option %q", o), "the options are %s", strings.Join(volumeOptions[:], ", "))
			case strings.HasSuffix(o, "private") || strings.HasSuffix(o, "shared") || strings.HasSuffix(o, "slave"):
				share = o
			case o == "bind":
				m.Options = slices.DeleteFunc(m.Options, func(s string) bool { return s == "rbind" })
				m.Options = append(m.Options, "bind")
			case o == "ro": // and what is mounted below
				m.Options = append(m.Options, "rro")
			default:
				m.Options = append(m.Options, o)
			}
		}
	}
	m.Options = append(m.Options, share)
	if err := os.MkdirAll(m.Source, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		var st os.FileInfo
		if st, _ = os.Stat(m.Source); st == nil {
			return m, fmt.Errorf("make source: %w", err)
		}
	}
	return m, nil
}

// parseMount reads key=value pairs: type=bind,source=/a,target=/b,readonly.
func parseMount(text string) (m specs.Mount, err error) {
	m.Type = "volume"
	share, rec, ro := "rprivate", "rbind", false
	var fs []string
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "type":
			m.Type = value
		case "source", "src":
			m.Source = value
		case "target", "dst", "destination":
			m.Destination = value
		case "readonly", "ro":
			ro = value == "" || value == "true" || value == "1"
		case "bind-propagation":
			share = value
		case "bind-nonrecursive":
			rec = "bind"
		case "bind-recursive":
			if value == "disabled" {
				rec = "bind"
			}
		case "tmpfs-size":
			n, err := units.RAMInBytes(value)
			if err != nil {
				return m, fmt.Errorf("tmpfs-size %q is no amount of memory", value)
			}
			fs = append(fs, fmt.Sprintf("size=%d", n))
		case "tmpfs-mode":
			if _, err := strconv.ParseUint(value, 8, 16); err != nil {
				return m, fmt.Errorf("tmpfs-mode %q is no octal number", value)
			}
			fs = append(fs, "mode="+value)
		case "consistency":
		default:
			return m, hint(fmt.Errorf("no key %q", key), "the keys are type, source, target, readonly, bind-propagation, bind-recursive, tmpfs-size, tmpfs-mode")
		}
	}
	switch m.Type {
	case "bind":
		if !filepath.IsAbs(m.Source) {
			return m, fmt.Errorf("source %q is no absolute path", m.Source)
		}
		m.Options = []string{rec, share}
	case "tmpfs":
		if m.Source != "" {
			return m, errors.New("a tmpfs has no source")
		}
		m.Source, m.Options = "tmpfs", append([]string{"nosuid", "nodev", "noexec"}, fs...)
	default:
		return m, hint(fmt.Errorf("type %q is not there yet", m.Type), "there are type=bind and type=tmpfs")
	}
	if ro {
		m.Options = append(m.Options, map[bool]string{true: "rro", false: "ro"}[m.Type == "bind"])
	}
	return m, nil
}

// parseTmpfs reads TARGET[:OPTIONS].
func parseTmpfs(text string) (specs.Mount, error) {
	target, opts, _ := strings.Cut(text, ":")
	m := specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "noexec"}}
	if opts != "" {
		m.Options = append(m.Options, strings.Split(opts, ",")...)
	}
	return m, nil
}

// companion finds vitro-oci: beside this program, or in PATH.
func companion() (string, error) {
	if self, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(self), "vitro-oci")
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	p, err := exec.LookPath("vitro-oci")
	if err != nil {
		return "", hint(errors.New("find vitro-oci: neither beside vitro nor in PATH"), "install both programs in the same folder")
	}
	return filepath.Abs(p)
}
