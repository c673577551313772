// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/processors"
)

// inode is the number of the namespace that a descriptor stands for; 0 if it
// can't be asked.
func inode(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// keep holds a namespace open that may have no other way to it.
func (r *reader) keep(id uint64, fd int) {
	if _, ok := r.open[id]; ok {
		unix.Close(fd)
		return
	}
	r.open[id] = fd
}

// enter opens a namespace by one of the ways that lead to it. The caller
// closes the descriptor.
func (r *reader) enter(n *Namespace) (int, error) {
	if fd, ok := r.open[n.ID]; ok {
		return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	var first error
	for _, way := range r.ways(n) {
		fd, err := way.open()
		if err == nil {
			if inode(fd) == n.ID {
				return fd, nil
			}
			unix.Close(fd)
			err = unix.ENOENT // another thing is there by now
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = unix.ENOENT
	}
	return -1, first
}

// way is a path to a namespace: of our /proc, or from a process's root on.
type way struct{ path, below string }

// open opens it. Below a root that somebody else has the say in, nothing is
// followed, and nothing opened but what is a namespace.
func (w way) open() (int, error) {
	if w.below == "" {
		return unix.Open(w.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	root, err := unix.Open(w.below, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, w.path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.NSFS_MAGIC {
		return -1, unix.ENOENT
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func (r *reader) ways(n *Namespace) (list []way) {
	for _, name := range n.members() {
		list = append(list, way{path: "/proc/" + name + "/ns/" + n.Kind.String()})
	}
	for _, pid := range n.Next[:min(few, len(n.Next))] {
		list = append(list, way{path: fmt.Sprintf("/proc/%d/ns/%s_for_children", pid, n.Kind)})
	}
	for _, d := range n.Descriptors[:min(few, len(n.Descriptors))] {
		list = append(list, way{path: fmt.Sprintf("/proc/%d/fd/%d", d.PID, d.FD)})
	}
	for _, m := range n.Mounts {
		if in := r.spaces[m.In]; in != nil {
			for _, name := range in.members() {
				list = append(list, way{m.Path, "/proc/" + name + "/root"})
			}
		}
	}
	return list
}

// relation is what the kernel says of a namespace.
type relation struct {
	owner, parent uint64
	uid           *uint32
	uids, gids    []Range
	fds           []int // of owner and parent
	hidden        bool
}

// relations asks for owners and parents, and theirs, until there is none that
// isn't known: some are found in this way only.
func (r *reader) relations() {
	var todo []*Namespace
	for _, n := range r.spaces {
		todo = append(todo, n)
	}
	for len(todo) > 0 {
		list := make([]relation, len(todo))
		processors.Each(len(todo), func(i int) { list[i] = r.ask(todo[i]) })
		var found []*Namespace
		for i, n := range todo {
			rel := &list[i]
			n.Owner, n.Parent, n.UID, n.UIDMap, n.GIDMap = rel.owner, rel.parent, rel.uid, rel.uids, rel.gids
			if rel.hidden {
				r.hidden.Relations++
			}
			for _, fd := range rel.fds {
				id := inode(fd)
				if id == 0 || r.spaces[id] != nil {
					unix.Close(fd)
					continue
				}
				kind := User
				if id != rel.owner {
					kind = n.Kind
				}
				found = append(found, r.space(kind, id))
				r.keep(id, fd)
			}
		}
		todo = found
	}
}

func (r *reader) ask(n *Namespace) (rel relation) {
	fd, err := r.enter(n)
	if err != nil {
		rel.hidden = !n.Initial
		return rel
	}
	defer unix.Close(fd)
	known := make(map[uint64]bool)
	follow := func(request uint) uint64 {
		to, err := unix.IoctlRetInt(fd, request)
		if err != nil {
			rel.hidden = rel.hidden || !n.Initial // EPERM: it is above our own
			return 0
		}
		unix.CloseOnExec(to)
		id := inode(to)
		if known[id] {
			unix.Close(to)
		} else {
			rel.fds, known[id] = append(rel.fds, to), true
		}
		return id
	}
	if n.Kind != User || !n.Initial {
		rel.owner = follow(unix.NS_GET_USERNS)
	}
	switch {
	case n.Kind == PID && !n.Initial:
		rel.parent = follow(unix.NS_GET_PARENT)
	case n.Kind == User:
		rel.parent = rel.owner
		if uid, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID); err == nil {
			rel.uid = &uid
		}
		rel.uids, rel.gids = n.maps("uid_map"), n.maps("gid_map")
	}
	return rel
}

// maps reads the IDs of a user namespace, which takes a process in it.
func (n *Namespace) maps(file string) []Range {
	for _, name := range n.members() {
		if data, err := os.ReadFile("/proc/" + name + "/" + file); err == nil {
			return ParseMap(data)
		}
	}
	return nil
}

// ParseMap reads a uid_map: user_namespaces(7).
func ParseMap(data []byte) (list []Range) {
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 {
			continue
		}
		var n [3]uint32
		for i, f := range fields {
			v, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				return list
			}
			n[i] = uint32(v)
		}
		list = append(list, Range{n[0], n[1], n[2]})
	}
	return list
}
