// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
)

// A place is a namespace, and a way into it.
type place struct {
	*Namespace
	path string // a file that stands for it
}

// find looks for namespaces in all places where one can be.
func find(m *Machine, known map[int]Container) ([]*place, error) {
	f := &finder{machine: m, known: known, places: make(map[uint64]*place)}
	own, err := inode("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	f.at(own, "/proc/thread-self/ns/net").Own = true
	if err := f.processes(); err != nil {
		return nil, err
	}
	f.mounts()
	for _, p := range f.pids {
		f.descriptors(p)
	}
	list := make([]*place, 0, len(f.places))
	for _, p := range f.places {
		slices.SortFunc(p.Processes, func(a, b Process) int { return a.PID - b.PID })
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *place) int {
		if a.Own != b.Own {
			return map[bool]int{true: -1, false: 1}[a.Own]
		}
		return cmp.Or(cmp.Compare(a.first(), b.first()), cmp.Compare(a.ID, b.ID))
	})
	for _, p := range list {
		m.Namespaces = append(m.Namespaces, p.Namespace)
	}
	if f.hidden > 0 {
		m.Unseen = append(m.Unseen, fmt.Sprintf("the network namespaces of other users' processes, of which there are %d: look as root", f.hidden))
	}
	return list, nil
}

// first is the lowest process, which was there before the others, mostly.
func (n *Namespace) first() int {
	if len(n.Processes) == 0 {
		return 1 << 30
	}
	return n.Processes[0].PID
}

type finder struct {
	machine *Machine
	known   map[int]Container
	places  map[uint64]*place
	pids    []int
	hidden  int
	names   nameCache
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

func (f *finder) at(id uint64, path string) *place {
	p := f.places[id]
	if p == nil {
		p = &place{&Namespace{ID: id}, path}
		f.places[id] = p
	}
	return p
}

// processes asks each process where it lives.
func (f *finder) processes() error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		path := "/proc/" + name + "/ns/net"
		id, err := inode(path)
		if errors.Is(err, fs.ErrPermission) {
			f.hidden++
		}
		if err != nil {
			continue // gone, or dead
		}
		f.pids = append(f.pids, pid)
		p := f.at(id, path)
		if isKernel("/proc/" + name + "/stat") {
			continue
		}
		comm, _ := os.ReadFile("/proc/" + name + "/comm")
		p.Processes = append(p.Processes, Process{pid, strings.TrimSuffix(string(comm), "\n")})
		c, ok := f.known[pid]
		if !ok {
			cgroup, _ := os.ReadFile("/proc/" + name + "/cgroup")
			c, ok = containerOf(string(cgroup))
		}
		if ok && !p.Own {
			p.add(c, &f.names)
		}
	}
	slices.Sort(f.pids)
	return nil
}

// isKernel reports whether a process is a thread of the kernel's (PF_KTHREAD in include/linux/sched.h).
func isKernel(stat string) bool {
	text, _ := os.ReadFile(stat)
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 32)
	return err == nil && flags&0x200000 != 0
}

func (n *Namespace) add(c Container, names *nameCache) {
	if c.Name == "" {
		c.Name = names.name(c)
	}
	for i, k := range n.Containers {
		if k.ID == c.ID {
			n.Containers[i].Name = cmp.Or(k.Name, c.Name)
			return
		}
	}
	n.Containers = append(n.Containers, c)
}

// mounts are the files that namespaces are bound to, by ip netns and by engines.
func (f *finder) mounts() {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		f.machine.Unseen = append(f.machine.Unseen, "namespaces that are bound somewhere: "+err.Error())
		return
	}
	for m := range mountinfo.All(string(text)) {
		if m.Type != "nsfs" || !strings.HasPrefix(m.Root, "net:[") {
			continue
		}
		path := m.Point
		id, err := inode(path)
		if err != nil {
			f.machine.Unseen = append(f.machine.Unseen, fmt.Sprintf("what is bound at %s: %v", Clean(path), err))
			continue
		}
		if p := f.at(id, path); !slices.Contains(p.Names, path) {
			p.Names = append(p.Names, path)
		}
	}
}

// descriptors are the namespaces that a process has open.
func (f *finder) descriptors(pid int) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // not ours to see; its namespace was counted
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		to, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(to, "net:[") {
			continue
		}
		if id, err := inode(path); err == nil {
			if p := f.at(id, path); len(p.Processes) == 0 && !slices.Contains(p.Held, pid) {
				p.Held = append(p.Held, pid)
			}
		}
	}
}
