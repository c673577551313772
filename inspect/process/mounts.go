// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
)

// A Mount is one of the process's: proc_pid_mountinfo(5).
type Mount struct {
	ID          int      `json:"id"`
	Parent      int      `json:"parent"`
	Device      string   `json:"device"` // major:minor
	Root        string   `json:"root"`   // which part of the file system
	Point       string   `json:"point"`
	Options     []string `json:"options"`
	Propagation []string `json:"propagation,omitempty"` // shared:2, master:1, unbindable; none is private
	Type        string   `json:"type"`
	Source      string   `json:"source,omitempty"`
	Super       []string `json:"super,omitempty"`
	// Hidden is the ID of the mount that is found in its place; 0 if it is seen.
	Hidden int `json:"hidden,omitempty"`
}

// Has reports whether an option is set on the mount.
func (m *Mount) Has(option string) bool { return slices.Contains(m.Options, option) }

func readMounts(p *Process, dir string) {
	data, err := os.ReadFile(dir + "/mountinfo")
	p.miss("its mounts", err)
	p.Mounts = ParseMounts(data)
	hide(p.Mounts)
}

// ParseMounts reads a text as /proc/PID/mountinfo has it. Lines that it
// doesn't understand are left out.
func ParseMounts(data []byte) (list []Mount) {
	for m := range mountinfo.All(string(data)) {
		list = append(list, Mount{ID: m.ID, Parent: m.Parent, Device: m.Device, Root: m.Root, Point: m.Point, Options: strings.Split(m.Options, ","),
			Propagation: strings.Fields(m.Propagation), Type: m.Type, Source: m.Source, Super: strings.Split(m.Super, ",")})
	}
	return list
}

// hide finds out which mounts lie under others: those that a walk from the
// root to their place does not end in.
func hide(list []Mount) {
	type key struct {
		parent int
		point  string
	}
	on := make(map[key]int) // what is mounted on a place in a mount
	known := make(map[int]bool)
	for _, m := range list {
		on[key{m.Parent, m.Point}] = m.ID
		known[m.ID] = true
	}
	root := 0
	for _, m := range list {
		if !known[m.Parent] || m.Parent == m.ID {
			root = m.ID
			break
		}
	}
	for i := range list {
		m := &list[i]
		at := root
		climb := func(place string) {
			for range list { // a mount is on another, and not in a circle
				next, ok := on[key{at, place}]
				if !ok || next == at {
					return
				}
				at = next
			}
		}
		climb("/")
		place := ""
		for part := range strings.SplitSeq(strings.Trim(m.Point, "/"), "/") {
			if part != "" {
				place += "/" + part
				climb(place)
			}
		}
		if at != m.ID {
			m.Hidden = at
		}
	}
}

// Root is the mount that is the process's root, nil if it isn't known.
func (p *Process) RootMount() *Mount {
	var root *Mount
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Point == "/" && m.Hidden == 0 {
			root = m
		}
	}
	return root
}

// A Device is a device node.
type Device struct {
	Path  string `json:"path"`
	Type  string `json:"type"` // c, b
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
	Mode  uint32 `json:"mode"`
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
}

// mostDevices bounds how much of a /dev is looked at.
const mostDevices = 4096

// readDevices lists the nodes in the process's /dev, if that is its own. No
// link in it is followed.
func readDevices(p *Process, dir string) {
	own := false
	for _, m := range p.Mounts {
		own = own || m.Point == "/dev" && m.Type == "tmpfs"
	}
	if !own {
		return
	}
	root, err := unix.Open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		p.miss("its devices", err)
		return
	}
	defer unix.Close(root)
	p.walkDevices(root, "/dev")
}

func (p *Process) walkDevices(root int, folder string) {
	fd, err := unix.Openat2(root, folder, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		p.miss("its devices", err)
		return
	}
	f := os.NewFile(uintptr(fd), folder)
	defer f.Close()
	names, _ := f.Readdirnames(mostDevices)
	slices.Sort(names)
	for _, name := range names {
		var st unix.Stat_t
		if len(p.Devices) >= mostDevices || unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		at := path.Join(folder, name)
		d := Device{Path: at, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			if name != "pts" && name != "shm" && name != "mqueue" {
				p.walkDevices(root, at)
			}
			continue
		case unix.S_IFCHR:
			d.Type = "c"
		case unix.S_IFBLK:
			d.Type = "b"
		default:
			continue
		}
		p.Devices = append(p.Devices, d)
		p.Terminal = p.Terminal || at == "/dev/console" && d.Major >= 136 && d.Major <= 143
	}
}
