// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/seccomp/profile"
	"vitro/spec"
)

// defaultCaps are the capabilities that Docker leaves root.
const defaultCaps = plan.CapSet(1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID | 1<<unix.CAP_FOWNER |
	1<<unix.CAP_MKNOD | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETFCAP |
	1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_KILL | 1<<unix.CAP_AUDIT_WRITE)

// chooseCaps reads --cap-add and --cap-drop: first what is dropped, then what
// is added; ALL is all.
func (d *draft) chooseCaps() (plan.CapSet, error) {
	caps := defaultCaps
	if d.Privileged {
		caps = plan.AllCaps
	}
	for _, list := range []struct {
		flag  string
		names []string
		apply func(set plan.CapSet)
	}{
		{"cap-drop", d.CapDrop, func(s plan.CapSet) { caps &^= s }},
		{"cap-add", d.CapAdd, func(s plan.CapSet) { caps |= s }},
	} {
		for _, name := range list.names {
			set, ok := plan.ParseCap(name)
			if strings.EqualFold(name, "all") || strings.EqualFold(name, "cap_all") {
				set, ok = plan.AllCaps, true
			}
			if !ok {
				return 0, hint(fmt.Errorf("read --%s=%s: no such capability", list.flag, name), "capabilities(7) has the list; ALL is all of them")
			}
			list.apply(set)
		}
	}
	return caps, nil
}

// security reads the flags that take privileges away, or leave them.
func (d *draft) security() error {
	p, l := d.spec.Process, d.spec.Linux
	caps, err := d.chooseCaps()
	if err != nil {
		return err
	}
	names := caps.Names()
	p.Capabilities = &specs.LinuxCapabilities{Bounding: names}
	if p.User.UID == 0 {
		p.Capabilities.Permitted, p.Capabilities.Effective = names, names
	}
	filter := ""
	for _, opt := range d.SecurityOpt {
		key, value, _ := strings.Cut(strings.Replace(opt, ":", "=", 1), "=")
		switch {
		case key == "no-new-privileges" && (value == "" || value == "true"):
			p.NoNewPrivileges = true
		case key == "no-new-privileges" && value == "false":
		case key == "seccomp" && value != "":
			filter = value
		case key == "apparmor" && value == "unconfined", key == "label":
		case key == "systempaths" && value == "unconfined":
		default:
			return hint(fmt.Errorf("read --security-opt %s: no such option", opt), "there are no-new-privileges, seccomp=FILE, seccomp=unconfined, systempaths=unconfined")
		}
	}
	if !d.Privileged && !d.option("systempaths=unconfined") {
		l.MaskedPaths, l.ReadonlyPaths = spec.Masked, spec.Readonly
	}
	switch {
	case filter == "unconfined" || filter == "" && d.Privileged:
	case filter == "" || filter == "builtin":
		l.Seccomp, err = profile.Default(names)
	default:
		var data []byte
		if data, err = os.ReadFile(filter); err == nil {
			l.Seccomp, err = profile.Load(data, names)
		}
		if err != nil {
			err = fmt.Errorf("read --security-opt seccomp=%s: %w", filter, err)
		}
	}
	return err
}

func (d *draft) option(want string) bool {
	for _, o := range d.SecurityOpt {
		if strings.Replace(o, ":", "=", 1) == want {
			return true
		}
	}
	return false
}

// devices reads --device, and gives a privileged container all that the host has.
func (d *draft) devices() error {
	l := d.spec.Linux
	if d.Privileged {
		l.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		l.Devices = hostDevices()
	} else {
		l.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	}
	for _, text := range d.Flags.Devices {
		if err := d.addDevice(text); err != nil {
			return err
		}
	}
	for _, text := range d.DeviceRules {
		rule, err := parseDeviceRule(text)
		if err != nil {
			return err
		}
		l.Resources.Devices = append(l.Resources.Devices, rule)
	}
	if d.maps != nil { // devices can't be made in a user namespace, so there is nothing to filter
		l.Resources.Devices = nil
	}
	return nil
}

// splitDevice reads PATH[:PATH IN CONTAINER][:PERMISSIONS].
func splitDevice(text string) (src, dst, access string, err error) {
	parts := strings.Split(text, ":")
	src, dst, access = parts[0], parts[0], "rwm"
	switch {
	case len(parts) == 2 && strings.HasPrefix(parts[1], "/"):
		dst = parts[1]
	case len(parts) == 2:
		access = parts[1]
	case len(parts) == 3:
		dst, access = parts[1], parts[2]
	case len(parts) > 3:
		return "", "", "", fmt.Errorf("read --device %q: too many parts", text)
	}
	if access == "" || strings.Trim(access, "rwm") != "" {
		return "", "", "", hint(fmt.Errorf("read --device %q: %q are no permissions", text, access), "any of r, w and m")
	}
	return src, dst, access, nil
}

// addDevice gives the container a device of the host.
func (d *draft) addDevice(text string) error {
	src, dst, access, err := splitDevice(text)
	if err != nil {
		return err
	}
	dev, err := device(src)
	if err != nil {
		return fmt.Errorf("read --device %q: %w", text, err)
	}
	if dst != src && d.maps != nil {
		return hint(fmt.Errorf("read --device %q: in a user namespace a device keeps its path", text), "give %s alone", src)
	}
	dev.Path = dst
	l := d.spec.Linux
	l.Devices = append(l.Devices, dev)
	l.Resources.Devices = append(l.Resources.Devices, specs.LinuxDeviceCgroup{
		Allow: true, Type: dev.Type, Major: &dev.Major, Minor: &dev.Minor, Access: access})
	return nil
}

// parseDeviceRule reads --device-cgroup-rule: "c 1:3 rwm", with * for any number.
func parseDeviceRule(text string) (r specs.LinuxDeviceCgroup, err error) {
	bad := hint(fmt.Errorf("read --device-cgroup-rule %q: no such rule", text), "a type, numbers and permissions: \"c 10:200 rwm\", \"b 8:* r\"")
	f := strings.Fields(text)
	if len(f) != 3 || !strings.Contains("a b c", f[0]) || len(f[0]) != 1 || strings.Trim(f[2], "rwm") != "" {
		return r, bad
	}
	r.Allow, r.Type, r.Access = true, f[0], f[2]
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return r, bad
	}
	for _, n := range [...]struct {
		text string
		to   **int64
	}{{major, &r.Major}, {minor, &r.Minor}} {
		if n.text == "*" {
			continue
		}
		v, err := strconv.ParseInt(n.text, 10, 32)
		if err != nil || v < 0 {
			return r, bad
		}
		*n.to = &v
	}
	return r, nil
}

// device reads a device of the host.
func device(path string) (dev specs.LinuxDevice, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return dev, fmt.Errorf("open %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		dev.Type = "c"
	case unix.S_IFBLK:
		dev.Type = "b"
	default:
		return dev, fmt.Errorf("%s is no device", path)
	}
	mode := fs.FileMode(st.Mode & 0o777)
	dev.Path, dev.FileMode = path, &mode
	dev.Major, dev.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	dev.UID, dev.GID = &st.Uid, &st.Gid
	return dev, nil
}

// notDevices are the parts of /dev that a container has of its own.
var notDevices = [...]string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/ptmx",
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

// hostDevices are all devices of the host.
func hostDevices() []specs.LinuxDevice {
	var out []specs.LinuxDevice
	_ = filepath.WalkDir("/dev", func(path string, e fs.DirEntry, err error) error {
		for _, n := range notDevices {
			if path == n {
				if err == nil && e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
		}
		if err == nil && e.Type()&fs.ModeDevice != 0 {
			if dev, err := device(path); err == nil {
				out = append(out, dev)
			}
		}
		return nil
	})
	return out
}
