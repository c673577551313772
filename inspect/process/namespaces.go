// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/inspect"
)

// namespaces finds the process's namespaces, who owns them, and on which of
// them its capabilities count: it has them over what its own user namespace
// owns, and over all that is below that.
func namespaces(p *Process, dir string) {
	var own uint64
	for _, k := range inspect.Kinds() {
		fd, err := unix.Open(dir+"/ns/"+k.String(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			p.miss("its namespaces", err)
			continue
		}
		n := Namespace{Kind: k, ID: number(fd)}
		n.Shared, n.Initial = n.ID == ownID(k), inspect.IsInitial(k, n.ID)
		if k == inspect.User {
			own = n.ID
		}
		chain := above(fd, unix.NS_GET_USERNS)
		if k == inspect.User {
			chain = append([]uint64{n.ID}, chain...)
			if len(chain) > 1 {
				n.Owner = chain[1]
			}
		} else if len(chain) > 0 {
			n.Owner = chain[0]
		}
		for _, id := range chain {
			n.Held = n.Held || id == own && own != 0
		}
		if k == inspect.PID {
			p.level(n.ID, above(fd, unix.NS_GET_PARENT))
		}
		unix.Close(fd)
		p.Namespaces = append(p.Namespaces, n)
	}
}

// level fills in which namespaces the process's numbers are of: its own is the
// innermost.
func (p *Process) level(own uint64, parents []uint64) {
	for i, id := range append([]uint64{own}, parents...) {
		if at := len(p.Levels) - 1 - i; at >= 0 {
			p.Levels[at].Namespace = id
		}
	}
}

// above are the namespaces above one, from the nearest on, as far as this
// process may see. A user namespace's owner is its parent.
func above(fd int, request uint) (list []uint64) {
	at, err := unix.IoctlRetInt(fd, request)
	for err == nil && len(list) < 64 { // 32 is the kernel's limit
		unix.CloseOnExec(at)
		list = append(list, number(at))
		next := -1
		next, err = unix.IoctlRetInt(at, unix.NS_GET_PARENT)
		unix.Close(at)
		at = next
	}
	if err == nil {
		unix.Close(at)
	}
	return list
}

func number(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

func ownID(k inspect.Kind) uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/"+k.String(), &st) != nil {
		return 0
	}
	return st.Ino
}

// enter calls do on a thread that is in another process's namespaces of some
// kinds. The thread ends with it.
func enter(dir string, kinds []inspect.Kind, do func() error) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, k := range kinds {
		fd, err := unix.Open(dir+"/ns/"+k.String(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if number(fd) == ownID(k) { // nothing to enter, and no right needed
			unix.Close(fd)
			continue
		}
		fds = append(fds, fd)
	}
	return inFDs(fds, do)
}

// inFDs calls do on a thread that is in the namespaces of descriptors.
func inFDs(fds []int, do func() error) error {
	if len(fds) == 0 {
		return do()
	}
	return OnThread(func() error {
		for _, fd := range fds {
			if err := unix.Setns(fd, 0); err != nil {
				return fmt.Errorf("setns: %w", err)
			}
		}
		return do()
	})
}

// OnThread calls do on a thread that ends behind it: whatever it has moved to
// is nobody else's. It is never the first thread, which can't end, and by which
// /proc knows the whole process.
func OnThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			done <- OnThread(do) // on another one, since this goroutine has the first
			return
		}
		done <- do() // locked still: the thread ends with the goroutine
	}()
	return <-done
}

// RootTree opens the file system that is a process's root, without what is
// mounted in it: a copy of the mount, attached to nothing. The caller closes it.
func RootTree(pid int) (fd int, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	ns, err := unix.Open(dir+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the mount namespace of process %d: %w", pid, err)
	}
	defer unix.Close(ns)
	root, err := unix.Open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the root of process %d: %w", pid, err)
	}
	defer unix.Close(root)
	err = OnThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_FS); err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNS)
		}
		if err == nil {
			fd, err = unix.OpenTree(root, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		}
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("copy the root mount of process %d: %w", pid, err)
	}
	return fd, nil
}

// parameters are those that a namespace has of its own, and that engines set.
var parameters = [...]struct {
	kind inspect.Kind
	name string
}{
	{inspect.Network, "net.ipv4.ip_unprivileged_port_start"}, {inspect.Network, "net.ipv4.ping_group_range"},
	{inspect.Network, "net.ipv4.ip_forward"}, {inspect.Network, "net.ipv6.conf.all.disable_ipv6"},
	{inspect.Network, "net.core.somaxconn"}, {inspect.Network, "net.ipv4.ip_local_port_range"},
	{inspect.Network, "net.ipv4.tcp_syncookies"}, {inspect.Network, "net.ipv4.tcp_keepalive_time"},
	{inspect.Network, "net.ipv4.conf.all.rp_filter"}, {inspect.Network, "net.ipv4.conf.default.rp_filter"},
	{inspect.IPC, "kernel.shmmax"}, {inspect.IPC, "kernel.shmall"}, {inspect.IPC, "kernel.shmmni"}, {inspect.IPC, "kernel.msgmax"},
	{inspect.IPC, "kernel.msgmnb"}, {inspect.IPC, "kernel.msgmni"}, {inspect.IPC, "kernel.sem"},
	{inspect.IPC, "fs.mqueue.msg_max"}, {inspect.IPC, "fs.mqueue.queues_max"},
}

// inside reads what only a thread in the namespaces can: the names of the
// machine, and parameters.
func inside(p *Process, dir string) {
	err := enter(dir, []inspect.Kind{inspect.UTS}, func() error {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return err
		}
		p.Hostname, p.Domainname = unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Domainname[:])
		if p.Domainname == "(none)" {
			p.Domainname = ""
		}
		return nil
	})
	p.miss("its host name", err)
	for _, k := range [...]inspect.Kind{inspect.Network, inspect.IPC} {
		if n := p.NamespaceOf(k); n == nil || n.Shared {
			continue
		}
		err := enter(dir, []inspect.Kind{k}, func() error {
			p.Sysctl = append(p.Sysctl, Parameters(k)...)
			return nil
		})
		p.miss("its kernel parameters", err)
	}
}

// Parameters are those of this thread's namespaces of some kinds: the reader's
// count, whatever process's /proc it is.
func Parameters(kinds ...inspect.Kind) (list []Sysctl) {
	for _, s := range parameters {
		if !slices.Contains(kinds, s.kind) {
			continue
		}
		if data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/")); err == nil {
			list = append(list, Sysctl{s.name, strings.Join(strings.Fields(string(data)), " ")})
		}
	}
	return list
}

// Find translates a PID: the process that is called pid in the innermost PID
// namespace of another process.
func Find(pid, of int) (int, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(of)+"/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open the PID namespace of process %d: %w", of, err)
	}
	defer unix.Close(fd)
	want := number(fd)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		outside, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p := &Process{PID: outside}
		data, err := os.ReadFile("/proc/" + e.Name() + "/status")
		if err != nil {
			continue
		}
		parseStatus(p, data)
		at := -1
		for i, l := range p.Levels {
			if l.PID == pid {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		ns, err := unix.Open("/proc/"+e.Name()+"/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		p.level(number(ns), above(ns, unix.NS_GET_PARENT))
		unix.Close(ns)
		for _, l := range p.Levels {
			if l.PID == pid && l.Namespace == want {
				return outside, nil
			}
		}
	}
	return 0, fmt.Errorf("find PID %d in the PID namespace of process %d: there is none", pid, of)
}
