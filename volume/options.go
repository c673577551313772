// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Device is what a volume of its own file system is mounted from: the options
// type, device and o of the driver local, which are mount(8)'s.
type Device struct {
	Type    string // "none" for a bind mount
	Source  string
	Options []string
}

// Bind reports whether the device is a folder of the host's.
func (d *Device) Bind() bool {
	return d.Type == "none" || d.Type == "bind" || slices.Contains(d.Options, "bind") || slices.Contains(d.Options, "rbind")
}

// ReadOptions reads a volume's options; nil is a volume in its own folder.
func ReadOptions(opts map[string]string) (*Device, error) {
	if len(opts) == 0 {
		return nil, nil
	}
	d := &Device{}
	for _, k := range slices.Sorted(maps.Keys(opts)) {
		v := opts[k]
		switch k {
		case "type":
			d.Type = v
		case "device":
			d.Source = v
		case "o":
			d.Options = strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
		case "size":
			return nil, errors.New(`option "size": a folder has no quota here; with type=tmpfs, o=size=100m limits a volume in memory`)
		default:
			return nil, fmt.Errorf("no option %q: the options are type, device and o", k)
		}
	}
	switch {
	case d.Type == "":
		return nil, errors.New(`option "type" is missing: type=none with o=bind for a folder, or a file system's name`)
	case d.Source == "":
		return nil, errors.New(`option "device" is missing: what is to be mounted`)
	case d.Bind() && !strings.HasPrefix(d.Source, "/"):
		return nil, fmt.Errorf("device %q is no absolute path", d.Source)
	}
	return d, nil
}
