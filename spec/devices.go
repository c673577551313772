// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// defaultDevices are those that the specification promises every container.
var defaultDevices = [...]struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// devLinks are the links in /dev that programs rely on.
var devLinks = [...]struct{ path, target string }{
	{"/dev/ptmx", "pts/ptmx"},
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

// devices puts the devices and links into /dev, unless the container is given
// a /dev of the host's.
func (c *compiler) devices() error {
	for i := range c.Spec.Mounts {
		if m := &c.Spec.Mounts[i]; path.Clean(m.Destination) == "/dev" && isBind(m) {
			return nil
		}
	}
	for _, d := range defaultDevices {
		n := &plan.Node{Path: "/dev/" + d.name, Type: unix.S_IFCHR, Mode: 0o666, Major: d.major, Minor: d.minor}
		if c.lastDevice(n.Path) >= 0 {
			continue
		}
		if err := c.device("every program expects it", n); err != nil {
			return err
		}
	}
	for i := range c.linux.Devices {
		n, err := node(&c.linux.Devices[i])
		if err != nil {
			return err
		}
		// The last of several at one place counts. /dev/ptmx has to be that of the
		// container's own /dev/pts: the link below.
		if c.lastDevice(n.Path) != i || n.Path == devLinks[0].path {
			continue
		}
		if err := c.device("a device of the host, at the user's wish", n); err != nil {
			return err
		}
	}
	for _, l := range devLinks {
		c.later("", &plan.Symlink{Target: l.target, Path: l.path, Under: c.under(l.path)})
	}
	return nil
}

// lastDevice is the place of a device in linux.devices, from the end; -1 if it is not there.
func (c *compiler) lastDevice(name string) int {
	for i := len(c.linux.Devices) - 1; i >= 0; i-- {
		if path.Clean("/"+c.linux.Devices[i].Path) == name {
			return i
		}
	}
	return -1
}

// device makes a node, or mounts the host's where the kernel makes none: in a
// user namespace, which has pipes only. One that the root has already stays.
func (c *compiler) device(why string, n *plan.Node) error {
	if n.Type != unix.S_IFIFO && (c.ns.inUser() || c.Facts.InUserNS) {
		as := c.handle(n.Path)
		c.plan.Add(why+"; in a user namespace the host's is mounted", &plan.Bind{Source: n.Path, Target: n.Path, As: as, File: true, Share: unix.MS_PRIVATE})
		c.later("", &plan.Attach{Target: n.Path, As: as, File: true, Under: c.under(n.Path)})
		return nil
	}
	if there, err := c.Facts.there(n); there || err != nil {
		return err
	}
	n.Under = c.under(n.Path)
	c.later(why, n)
	return nil
}

func node(d *specs.LinuxDevice) (*plan.Node, error) {
	n := &plan.Node{Path: path.Clean("/" + d.Path), Mode: 0o666, Major: uint32(d.Major), Minor: uint32(d.Minor)}
	switch d.Type {
	case "c", "u":
		n.Type = unix.S_IFCHR
	case "b":
		n.Type = unix.S_IFBLK
	case "p":
		n.Type = unix.S_IFIFO
	default:
		return nil, fmt.Errorf("compile config.json: linux.devices: %s: unknown type %q", d.Path, d.Type)
	}
	if d.FileMode != nil {
		n.Mode = uint32(d.FileMode.Perm())
	}
	if d.UID != nil {
		n.UID = *d.UID
	}
	if d.GID != nil {
		n.GID = *d.GID
	}
	return n, nil
}
