// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"vitro/internal/processors"
)

// member is what one process shows.
type member struct {
	links   [len(links)]uint64
	denied  bool // it may not be looked at
	private bool // nor its descriptors
	threads []thread
	files   []file
	sockets []file
}

type thread struct {
	tid   int
	links [kinds]uint64
}

type file struct {
	fd   int
	kind Kind
	id   uint64
}

// members looks at each process: its namespaces, its threads', its descriptors.
func (r *reader) members(pids []int) {
	list := make([]member, len(pids))
	processors.Each(len(pids), func(i int) { r.look(pids[i], &list[i]) })
	for i := range list {
		r.note(pids[i], &list[i])
	}
}

func (r *reader) look(pid int, m *member) {
	name := strconv.Itoa(pid)
	dir, err := unix.Openat(r.proc, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(dir)
	if err := readLinks(dir, "ns", m.links[:]); err != nil {
		m.denied = errors.Is(err, fs.ErrPermission)
		return
	}
	var st unix.Stat_t
	// A folder's links are its folders and two: here the threads.
	if err := unix.Fstatat(dir, "task", &st, 0); err == nil && st.Nlink > 3 {
		r.lookAtThreads(dir, pid, m)
	}
	m.private = r.lookAtFiles(dir, "fd", m) != nil
}

// readLinks reads the links in a folder "ns". A kernel without a kind of
// namespace has no link for it, and leaves 0; so does a process that has ended.
func readLinks(dir int, folder string, to []uint64) error {
	ns, err := unix.Openat(dir, folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	var buf [64]byte
	for i := range to {
		n, err := unix.Readlinkat(ns, links[i].name, buf[:])
		if err != nil {
			if i == 0 && errors.Is(err, unix.EACCES) {
				return err
			}
			continue
		}
		to[i] = number(buf[:n])
	}
	return nil
}

// number is the one between the brackets of "net:[4026531840]".
func number(link []byte) (id uint64) {
	inside := false
	for _, c := range link {
		switch {
		case c == '[':
			inside = true
		case inside && c >= '0' && c <= '9':
			id = id*10 + uint64(c-'0')
		}
	}
	return id
}

func (r *reader) lookAtThreads(dir, pid int, m *member) {
	for _, name := range names(dir, "task") {
		tid, err := strconv.Atoi(name)
		if err != nil || tid == pid {
			continue
		}
		t := thread{tid: tid}
		if readLinks(dir, "task/"+name+"/ns", t.links[:]) == nil && t.links != [kinds]uint64(m.links[:kinds]) {
			m.threads = append(m.threads, t)
		}
		if r.Deep { // CLONE_FILES need not have been given
			_ = r.lookAtFiles(dir, "task/"+name+"/fd", m)
		}
	}
}

// lookAtFiles finds the descriptors of namespaces. Those of other things are
// not looked at any further, unless they are sockets and Deep is set.
func (r *reader) lookAtFiles(dir int, folder string, m *member) error {
	fds, err := unix.Openat(dir, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fds)
	var buf [64]byte
	var batch [4096]byte
	for {
		n, err := unix.Getdents(fds, batch[:])
		if n <= 0 || err != nil {
			return err
		}
		_, _, list := unix.ParseDirent(batch[:n], -1, nil)
		for _, name := range list {
			n, err := unix.Readlinkat(fds, name, buf[:])
			if err != nil || n < 6 || buf[n-1] != ']' {
				continue
			}
			fd, _ := strconv.Atoi(name)
			if k, id, ok := parseLink(buf[:n]); ok {
				if f := (file{fd, k, id}); !slices.Contains(m.files, f) {
					m.files = append(m.files, f)
				}
			} else if r.Deep && folder == "fd" && string(buf[:7]) == "socket:" {
				m.sockets = append(m.sockets, file{fd: fd})
			}
		}
	}
}

// names are those of a folder's entries; of a folder that is gone there are none.
func names(dir int, folder string) []string {
	fd, err := unix.Openat(dir, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), folder)
	defer f.Close()
	list, _ := f.Readdirnames(-1)
	return list
}

// note adds what a process has shown to the namespaces.
func (r *reader) note(pid int, m *member) {
	if m.denied {
		r.hidden.Processes++
	}
	if m.private {
		r.hidden.Files++
	}
	for i, id := range m.links {
		if id == 0 {
			continue
		}
		n := r.space(links[i].kind, id)
		switch {
		case i < int(kinds):
			n.Processes = append(n.Processes, pid)
			// The kernel's own threads stay in the first namespaces, whose numbers
			// older kernels have not fixed.
			n.Initial = n.Initial || pid == 2 && m.links[PID] == kindTable[PID].first && m.links[User] == kindTable[User].first
		case id != m.links[links[i].kind]:
			n.Next = append(n.Next, pid)
		}
	}
	for _, t := range m.threads {
		for k, id := range t.links {
			if id != 0 && id != m.links[k] {
				n := r.space(Kind(k), id)
				n.Threads = append(n.Threads, Thread{pid, t.tid})
			}
		}
	}
	for _, f := range m.files {
		n := r.space(f.kind, f.id)
		n.Descriptors = append(n.Descriptors, Descriptor{pid, f.fd})
	}
	if len(m.sockets) > 0 {
		r.lookAtSockets(pid, m.links[Network], m.sockets)
	}
}

// lookAtSockets finds the network namespaces that a process's sockets were
// made in, by taking a copy of each (pidfd_getfd(2)).
func (r *reader) lookAtSockets(pid int, own uint64, list []file) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	for _, f := range list {
		fd, err := unix.PidfdGetfd(pidfd, f.fd, 0)
		if err != nil {
			continue
		}
		ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
		unix.Close(fd)
		if err != nil {
			continue
		}
		id := inode(ns)
		if id == 0 || id == own {
			unix.Close(ns)
			continue
		}
		n := r.space(Network, id)
		n.Sockets = append(n.Sockets, Descriptor{pid, f.fd})
		r.keep(id, ns)
	}
}
