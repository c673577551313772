// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup"
	"vitro/seccomp/profile"
)

func defaultFilter(caps []string) (*specs.LinuxSeccomp, error) { return profile.Default(caps) }

// usual are the devices that every container has by itself.
var usual = [...]string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx"}

func (w *writer) devices() {
	for _, d := range w.p.Devices {
		if slices.Contains(usual[:], d.Path) {
			continue
		}
		mode := fs.FileMode(d.Mode)
		dev := specs.LinuxDevice{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode}
		if d.UID != 0 || d.GID != 0 {
			dev.UID, dev.GID = &d.UID, &d.GID
		}
		w.Spec.Linux.Devices = append(w.Spec.Linux.Devices, dev)
	}
}

// deviceRules are what of the machine's devices may be used: version 1 lists
// it. Version 2 has a program, which can't be read back.
func (w *writer) deviceRules(r *specs.LinuxResources) {
	v, ok := w.p.Value("devices")
	switch {
	case ok && !v.IsSet():
		r.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	case ok:
		r.Devices = append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, parseRules(v.Value)...)
	case w.origin != nil && w.origin.Linux != nil && w.origin.Linux.Resources != nil:
		r.Devices = w.origin.Linux.Resources.Devices
	default:
		r.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
		for _, d := range w.Spec.Linux.Devices {
			major, minor := d.Major, d.Minor
			r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: "rwm"})
		}
		if len(w.p.Cgroups) > 0 {
			w.note("its rules for devices are a program, which can't be read back: what it has in /dev is allowed")
		}
	}
}

// parseRules reads devices.list, without the rules that every container has.
func parseRules(text string) (list []specs.LinuxDeviceCgroup) {
	number := func(text string) *int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil // any
		}
		return &n
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		major, minor, _ := strings.Cut(f[1], ":")
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Major: number(major), Minor: number(minor), Access: f[2]}
		if !slices.ContainsFunc(cgroup.DefaultDevices(), func(d specs.LinuxDeviceCgroup) bool { return sameRule(d, rule) }) {
			list = append(list, rule)
		}
	}
	return list
}

func sameRule(a, b specs.LinuxDeviceCgroup) bool {
	same := func(a, b *int64) bool {
		any := func(n *int64) bool { return n == nil || *n < 0 }
		return any(a) && any(b) || !any(a) && !any(b) && *a == *b
	}
	return a.Allow == b.Allow && a.Type == b.Type && same(a.Major, b.Major) && same(a.Minor, b.Minor) && a.Access == b.Access
}

// disks are the limits of block devices, version 1's and 2's.
func (w *writer) disks(r *specs.LinuxResources) {
	b := &specs.LinuxBlockIO{}
	for _, name := range [...]string{"io.weight", "io.bfq.weight"} {
		v, ok := w.p.Value(name)
		if !ok || !v.IsSet() {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(strings.Split(v.Value, "\n")[0], "default ")), 10, 16)
		if err == nil {
			weight := uint16(n)
			b.Weight = &weight
		}
	}
	for _, t := range [...]struct {
		gauge, key string
		to         *[]specs.LinuxThrottleDevice
	}{
		{"io.readBps", "rbps", &b.ThrottleReadBpsDevice}, {"io.writeBps", "wbps", &b.ThrottleWriteBpsDevice},
		{"io.readIOps", "riops", &b.ThrottleReadIOPSDevice}, {"io.writeIOps", "wiops", &b.ThrottleWriteIOPSDevice},
	} {
		if v, ok := w.p.Value(t.gauge); ok {
			*t.to = throttles(v.Value, "")
		} else if v, ok := w.p.Value("io.max"); ok {
			*t.to = throttles(v.Value, t.key)
		}
	}
	if b.Weight != nil || len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) > 0 {
		r.BlockIO = b
	}
}

// throttles reads "8:0 1048576" lines, or "8:0 rbps=1048576 wbps=max".
func throttles(text, key string) (list []specs.LinuxThrottleDevice) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		var t specs.LinuxThrottleDevice
		major, minor, _ := strings.Cut(f[0], ":")
		t.Major, _ = strconv.ParseInt(major, 10, 64)
		t.Minor, _ = strconv.ParseInt(minor, 10, 64)
		for _, word := range f[1:] {
			if key != "" {
				var ok bool
				if word, ok = strings.CutPrefix(word, key+"="); !ok {
					continue
				}
			}
			if n, err := strconv.ParseUint(word, 10, 64); err == nil {
				t.Rate = n
				list = append(list, t)
			}
		}
	}
	return list
}
