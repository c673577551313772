// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Options are how thoroughly Read looks.
type Options struct {
	All  bool // about every process, not only the first of each namespace
	Deep bool // for namespaces that only a socket holds, too, and at each thread's own descriptors
	// About are processes that somebody will read about, whatever the rest.
	About []int
}

// few is how many of the things that hold a namespace are tried as a way to it,
// and described.
const few = 3

// reader is a snapshot in the making.
type reader struct {
	Options
	proc   int // descriptor of /proc
	spaces map[uint64]*Namespace
	open   map[uint64]int // descriptors of namespaces that are found no other way
	hidden Hidden
}

// Read looks at the machine, as far as this process may.
func Read(o Options) (*Snapshot, error) {
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	defer unix.Close(proc)
	r := &reader{Options: o, proc: proc, spaces: make(map[uint64]*Namespace), open: make(map[uint64]int)}
	defer r.close()
	pids, err := r.pids()
	if err != nil {
		return nil, err
	}
	r.members(pids)
	r.hiddenMounts() // before the mounts: they are looked through as well
	r.mounts()
	r.listed()
	r.relations()
	return r.snapshot(), nil
}

func (r *reader) close() {
	for _, fd := range r.open {
		unix.Close(fd)
	}
}

// pids are the processes that there are at this moment.
func (r *reader) pids() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// space is the namespace with an ID, which is noted if it is new.
func (r *reader) space(k Kind, id uint64) *Namespace {
	n := r.spaces[id]
	if n == nil {
		n = &Namespace{ID: id, Kind: k, Initial: id == kindTable[k].first}
		r.spaces[id] = n
	}
	return n
}

// snapshot puts all in order, and finds out about the processes that are to be
// shown.
func (r *reader) snapshot() *Snapshot {
	s := &Snapshot{Hidden: r.hidden}
	s.Hidden.UID = os.Geteuid()
	about := make(map[int]bool)
	for _, pid := range r.About {
		about[pid] = true
	}
	for _, n := range r.spaces {
		s.Namespaces = append(s.Namespaces, n)
		shown := n.Processes
		if !r.All {
			shown = n.first()
		}
		for _, pid := range shown {
			about[pid] = true
		}
		for _, pid := range n.holders() {
			about[pid] = true
		}
	}
	slices.SortFunc(s.Namespaces, func(a, b *Namespace) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	list := make([]int, 0, len(about))
	for pid := range about {
		list = append(list, pid)
	}
	slices.Sort(list)
	s.Processes = Describe(list)
	return s
}

// first is the first of a namespace's processes. Being in the machine's first
// namespaces says nothing of a process, and hundreds are.
func (n *Namespace) first() []int {
	if n.Initial {
		return nil
	}
	return n.Processes[:min(1, len(n.Processes))]
}

// holders are the first few processes that keep a namespace without being in it.
func (n *Namespace) holders() []int {
	pids := slices.Clone(n.Next[:min(few, len(n.Next))])
	for _, t := range n.Threads[:min(few, len(n.Threads))] {
		pids = append(pids, t.PID)
	}
	for _, list := range [...][]Descriptor{n.Descriptors, n.Sockets} {
		for _, d := range list[:min(few, len(list))] {
			pids = append(pids, d.PID)
		}
	}
	return pids
}

// Open opens a namespace of the snapshot by what holds it. The caller closes
// the descriptor.
func (s *Snapshot) Open(n *Namespace) (int, error) {
	r := &reader{spaces: make(map[uint64]*Namespace, len(s.Namespaces))}
	for _, n := range s.Namespaces {
		r.spaces[n.ID] = n
	}
	return r.enter(n)
}
