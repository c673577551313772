// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/host"
)

// linkName says what is wrong with a network device's name, as the kernel sees
// it (dev_valid_name in net/core/dev.c); empty: nothing. A template holds one %d.
func linkName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "it is not a name"
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Sprintf("it has %d bytes, and the kernel takes %d", len(name), unix.IFNAMSIZ-1)
	case strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
		return "it holds a slash, a colon, a space or a NUL byte"
	}
	return ""
}

// netDevices moves devices of the host into the container's network namespace.
func (c *compiler) netDevices() error {
	const property = "compile config.json: linux.netDevices"
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(c.linux.NetDevices)) {
		to := c.linux.NetDevices[name].Name
		if to == "" {
			to = name
		}
		link := c.Facts.Links[name]
		switch {
		case !c.ns.private(unix.CLONE_NEWNET):
			return fmt.Errorf("%s: %s: unable to move network devices without a private NET namespace", property, name)
		case linkName(name) != "":
			return fmt.Errorf("%s: %q: %s", property, name, linkName(name))
		case linkName(to) != "":
			return fmt.Errorf("%s: %s: name %q: %s", property, name, to, linkName(to))
		case strings.Contains(strings.Replace(to, "%d", "", 1), "%"):
			return fmt.Errorf("%s: %s: name %q: of percent signs it may have one, in %%d, for the kernel to choose a number", property, name, to)
		case name == "lo":
			return fmt.Errorf("%s: lo: every network namespace has its own, which never leaves it", property)
		case slices.Contains(taken, to):
			return fmt.Errorf("%s: two devices are to be %q", property, to)
		case !c.Facts.Caps.Has(unix.CAP_NET_ADMIN):
			return &NetDeviceError{name, "moving a device takes CAP_NET_ADMIN", "run as root, or leave the property out"}
		case link == nil:
			return &NetDeviceError{name, "the host has no such device", "ip link shows those that it has"}
		}
		if !strings.Contains(to, "%") {
			taken = append(taken, to)
		}
		c.plan.Add("a network device of the host's, for the container alone: linux.netDevices",
			&host.NetDevice{Name: name, To: to, Link: *link, Joined: c.ns.joined(unix.CLONE_NEWNET)})
	}
	return nil
}

// NetDeviceError is a network device that can't be moved.
type NetDeviceError struct{ Name, Reason, Remedy string }

func (e *NetDeviceError) Error() string {
	return fmt.Sprintf("compile config.json: linux.netDevices: %s: %s", e.Name, e.Reason)
}

// Hint says what to do about it.
func (e *NetDeviceError) Hint() string { return e.Remedy }
