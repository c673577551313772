// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
	"vitro/internal/processors"
)

// hiddenMounts finds the mount namespaces that no process is in, and nothing
// points to: the kernel has them in a row (Linux 6.12), for whoever has
// CAP_SYS_ADMIN over them.
func (r *reader) hiddenMounts() {
	own, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(own)
	for _, request := range [...]uintptr{nsMountPrev, nsMountNext} {
		at, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		for err == nil {
			var next int
			next, _, err = besideMountNS(at, request)
			unix.Close(at)
			if err != nil {
				break
			}
			at = next
			if id := inode(at); id != 0 && r.spaces[id] == nil {
				r.space(Mount, id)
				if dup, err := unix.FcntlInt(uintptr(at), unix.F_DUPFD_CLOEXEC, 0); err == nil {
					r.keep(id, dup)
				}
			}
		}
	}
}

// mounts finds the namespaces that are mounted, in every mount namespace that
// may be looked at.
func (r *reader) mounts() {
	var spaces []*Namespace
	for _, n := range r.spaces {
		if n.Kind == Mount {
			spaces = append(spaces, n)
		}
	}
	found := make([][]mounted, len(spaces))
	var lock sync.Mutex
	processors.Each(len(spaces), func(i int) {
		list, err := r.mountedIn(spaces[i])
		found[i] = list
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			lock.Lock()
			r.hidden.Mounts++
			lock.Unlock()
		}
	})
	for i, list := range found {
		for _, m := range list {
			n := r.space(m.kind, m.id)
			n.Mounts = append(n.Mounts, Place{In: spaces[i].ID, Path: m.point})
		}
	}
}

// mounted is a namespace that is mounted.
type mounted struct {
	kind  Kind
	id    uint64
	point string
}

// mountedIn asks the kernel directly, which has an answer even where no
// process is left, and reads a member's mountinfo where it can't be asked.
func (r *reader) mountedIn(n *Namespace) ([]mounted, error) {
	fd, err := r.enter(n)
	if err == nil {
		id := mountNS(fd)
		unix.Close(fd)
		if id != 0 {
			if list, err := askForMounts(id); err == nil {
				return list, nil
			}
		}
	}
	for _, name := range n.members() {
		var data []byte
		if data, err = os.ReadFile("/proc/" + name + "/mountinfo"); err == nil {
			return mountedNamespaces(data), nil
		}
	}
	return nil, err
}

func askForMounts(space uint64) (list []mounted, err error) {
	ids, err := listMounts(space)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 16<<10) // two paths of 4096 bytes, and the rest
	for _, id := range ids {
		card, err := statMount(space, id, buf)
		if err != nil || card.kind != "nsfs" {
			continue // ENOENT: it has been unmounted meanwhile
		}
		if k, id, ok := parseLink(card.root); ok {
			list = append(list, mounted{k, id, card.point})
		}
	}
	return list, nil
}

// mountedNamespaces are those in a text as proc_pid_mountinfo(5) has it.
func mountedNamespaces(data []byte) (list []mounted) {
	for m := range mountinfo.All(string(data)) {
		if k, id, ok := parseLink(m.Root); ok && m.Type == "nsfs" {
			list = append(list, mounted{k, id, m.Point})
		}
	}
	return list
}

// members are the processes and threads in a namespace, as names in /proc.
func (n *Namespace) members() (list []string) {
	for _, pid := range n.Processes[:min(few, len(n.Processes))] {
		list = append(list, fmt.Sprint(pid))
	}
	for _, t := range n.Threads[:min(few, len(n.Threads))] {
		list = append(list, fmt.Sprintf("%d/task/%d", t.PID, t.TID))
	}
	return list
}

// listed asks a kernel that can list its namespaces for those that have not
// been found yet.
func (r *reader) listed() {
	ids, err := listSpaces()
	if err != nil {
		return // ENOSYS
	}
	for _, id := range ids {
		fd, err := openSpace(id)
		if err != nil {
			continue
		}
		flag, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		k, known := kindOfFlag(flag)
		ino := inode(fd)
		if err != nil || !known || ino == 0 || r.spaces[ino] != nil {
			unix.Close(fd)
			continue
		}
		r.space(k, ino)
		r.keep(ino, fd)
	}
}
