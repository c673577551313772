// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// alone runs the calling test again in a process of its own, in a new user
// namespace if we are not root: with threads in all sorts of namespaces, it
// ends with the test. It reports whether this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "VITRO_INSPECT_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("needs user namespaces, or root: %v", err)
	case err != nil:
		t.Errorf("%s", out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

// must ends the test where something that it stands on doesn't work.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// away calls do on a thread that has moved into new namespaces, and ends then.
func away(t *testing.T, flags int, do func()) {
	t.Helper()
	move(t, flags, do, nil)
}

// settle calls do so too, and the thread stays there until the test's end.
func settle(t *testing.T, flags int, do func()) {
	t.Helper()
	end := make(chan bool)
	t.Cleanup(func() { close(end) })
	move(t, flags, do, end)
}

func move(t *testing.T, flags int, do func(), end <-chan bool) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: it ends with the goroutine
		err := unix.Unshare(flags | unix.CLONE_FS)
		defer func() { done <- err }() // even if do has ended the goroutine
		if err == nil {
			do()
		}
		if end != nil {
			done <- err
			<-end
		}
	}()
	if err := <-done; err != nil {
		t.Skipf("needs unshare(2) of %#x: %v", flags, err)
	}
}

func openNS(t *testing.T, path string) (fd int, id uint64) {
	t.Helper()
	fd = must[int](t)(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0))
	return fd, inode(fd)
}

func read(t *testing.T, o Options) *Snapshot {
	t.Helper()
	return must[*Snapshot](t)(Read(o))
}

func found(t *testing.T, s *Snapshot, id uint64) *Namespace {
	t.Helper()
	n := s.Find(id)
	if n == nil {
		t.Fatalf("namespace %d was not found", id)
	}
	return n
}

// lsns are the namespaces that lsns(8) finds, as "ID kind".
func lsns(t *testing.T) map[string]bool {
	t.Helper()
	if _, err := exec.LookPath("lsns"); err != nil {
		t.Skip("needs lsns")
	}
	var out []byte
	err := errors.New("not run")
	for range 20 { // it gives up when a process ends that it looks at
		if out, err = exec.Command("lsns", "--noheadings", "--raw", "--output", "NS,TYPE").Output(); err == nil {
			break
		}
	}
	if err != nil {
		t.Skipf("needs lsns to work: %v", err)
	}
	list := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		list[strings.TrimSpace(line)] = true
	}
	return list
}

func TestFindsAllThatLsnsFinds(t *testing.T) {
	hold := exec.Command("unshare", "--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child",
		"unshare", "--user", "--map-root-user", "--time", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", "echo ready; exec sleep 60")
	stdout := must[interface{ Read([]byte) (int, error) }](t)(hold.StdoutPipe())
	hold.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Skipf("needs unshare: %v", err)
	}
	t.Cleanup(func() { hold.Process.Kill(); hold.Wait() })
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Log("user namespaces can't be made: only those of the machine are compared")
	}
	before := lsns(t)
	s := read(t, Options{})
	after := lsns(t)
	count := 0
	for line := range before {
		if !after[line] {
			continue // it went away meanwhile
		}
		count++
		id, kind, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(s.Namespaces, func(n *Namespace) bool { return fmt.Sprint(n.ID) == id && n.Kind.String() == kind }) {
			t.Errorf("lsns finds %s %s, Read does not", kind, id)
		}
	}
	if count < 8 {
		t.Errorf("lsns has found %d namespaces, want 8 or more", count)
	}
}

func TestFindsThreads(t *testing.T) {
	if !alone(t) {
		return
	}
	var id uint64
	var tid int
	settle(t, unix.CLONE_NEWUTS, func() {
		_, id = openNS(t, "/proc/thread-self/ns/uts")
		tid = unix.Gettid()
	})
	n := found(t, read(t, Options{}), id)
	if want := (Thread{os.Getpid(), tid}); !slices.Contains(n.Threads, want) || n.Kind != UTS {
		t.Errorf("namespace = %+v, want the thread %+v", n, want)
	}
	if n.Owner == 0 {
		t.Error("its owner was not found")
	}
}

func TestFindsDescriptors(t *testing.T) {
	if !alone(t) {
		return
	}
	var id uint64
	var fd int
	away(t, unix.CLONE_NEWNET, func() { fd, id = openNS(t, "/proc/thread-self/ns/net") })
	n := found(t, read(t, Options{}), id)
	if want := (Descriptor{os.Getpid(), fd}); len(n.Descriptors) != 1 || n.Descriptors[0] != want || len(n.Processes) > 0 {
		t.Errorf("namespace = %+v, want the descriptor %+v alone", n, want)
	}
}

func TestFindsSockets(t *testing.T) {
	if !alone(t) {
		return
	}
	var id uint64
	var socket int
	away(t, unix.CLONE_NEWNET, func() {
		var fd int
		fd, id = openNS(t, "/proc/thread-self/ns/net")
		unix.Close(fd)
		socket = must[int](t)(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	})
	n := found(t, read(t, Options{Deep: true}), id)
	if want := (Descriptor{os.Getpid(), socket}); len(n.Sockets) != 1 || n.Sockets[0] != want {
		t.Errorf("namespace = %+v, want the socket %+v", n, want)
	}
}

func TestFindsMounts(t *testing.T) {
	if !alone(t) {
		return
	}
	place := filepath.Join(t.TempDir(), "a place\nwith\x1b[31m colour")
	must[bool](t)(true, os.WriteFile(place, nil, 0o600))
	var id, space uint64
	settle(t, unix.CLONE_NEWNS|unix.CLONE_NEWIPC, func() {
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount("/proc/thread-self/ns/ipc", place, "", unix.MS_BIND, "")); err != nil {
			t.Error(err)
			return
		}
		_, id = openNS(t, place)
		var fd int
		fd, space = openNS(t, "/proc/thread-self/ns/mnt")
		unix.Close(fd)
		must[bool](t)(true, unix.Unshare(unix.CLONE_NEWIPC))
	})
	if t.Failed() {
		return
	}
	s := read(t, Options{})
	if n := found(t, s, id); len(n.Mounts) == 0 || n.Mounts[0].Path != place || n.Owner == 0 {
		t.Errorf("namespace = %+v, want it mounted on %q in %d", n, place, space)
	}
}

func TestFindsOwners(t *testing.T) {
	if !alone(t) {
		return
	}
	hold := exec.Command("unshare", "--user", "--map-root-user", "unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo ready; exec sleep 60")
	stdout := must[interface{ Read([]byte) (int, error) }](t)(hold.StdoutPipe())
	must[bool](t)(true, hold.Start())
	bufio.NewReader(stdout).ReadString('\n')
	_, net := openNS(t, fmt.Sprintf("/proc/%d/ns/net", hold.Process.Pid))
	_, self := openNS(t, "/proc/self/ns/net")
	if net == self {
		t.Skip("needs nested user namespaces")
	}
	hold.Process.Kill()
	hold.Wait()
	s := read(t, Options{})
	inner := found(t, s, found(t, s, net).Owner)
	outer := found(t, s, inner.Parent)
	for _, n := range []*Namespace{inner, outer} {
		if n.Kind != User || len(n.Processes)+len(n.Descriptors)+len(n.Mounts) > 0 {
			t.Errorf("namespace = %+v, want a user namespace that nothing else holds", n)
		}
	}
	if _, own := openNS(t, "/proc/self/ns/user"); outer.Parent != own {
		t.Errorf("the outer one's parent = %d, want ours, %d", outer.Parent, own)
	}
}

// A mount namespace whose only descriptor is on its way through a socket.
func TestFindsMountNamespacesThatNothingPointsTo(t *testing.T) {
	if !alone(t) {
		return
	}
	own, _ := openNS(t, "/proc/self/ns/mnt")
	if mountNS(own) == 0 {
		t.Skip("needs NS_MNT_GET_INFO (Linux 6.12)")
	}
	for _, request := range [...]uintptr{nsMountNext, nsMountPrev} {
		if fd, _, err := besideMountNS(own, request); errors.Is(err, unix.EPERM) {
			t.Skip("needs to be root of the machine: NS_MNT_GET_NEXT is for CAP_SYS_ADMIN of the first user namespace")
		} else if err == nil {
			unix.Close(fd)
		}
	}
	pair := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	var id uint64
	away(t, unix.CLONE_NEWNS, func() {
		var fd int
		fd, id = openNS(t, "/proc/thread-self/ns/mnt")
		must[bool](t)(true, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0))
		unix.Close(fd)
	})
	// The thread ends at its own pace.
	n := found(t, read(t, Options{}), id)
	if len(n.Processes)+len(n.Descriptors) > 0 {
		t.Errorf("namespace = %+v, want nothing that points to it", n)
	}
}

// Nobody has to see more than the kernel shows; nobody is refused either.
func TestAnOrdinaryUserSeesItsOwn(t *testing.T) {
	s := read(t, Options{All: true})
	for k := range kinds {
		if !slices.ContainsFunc(s.Namespaces, func(n *Namespace) bool { return n.Kind == k && slices.Contains(n.Processes, os.Getpid()) }) {
			t.Errorf("our own %s namespace was not found", k)
		}
	}
	if os.Geteuid() != 0 && s.Hidden.Processes == 0 {
		t.Error("other users' processes are said to have been seen")
	}
	if s.Process(os.Getpid()) == nil {
		t.Error("our own process is not described")
	}
}

func TestProcessesThatComeAndGo(t *testing.T) {
	stop := make(chan bool)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				exec.Command("true").Run()
			}
		}
	}()
	for range 5 {
		read(t, Options{All: true, Deep: true})
	}
	close(stop)
	<-done
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	count := func() int { return len(must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd"))) }
	read(t, Options{Deep: true})
	before := count()
	read(t, Options{Deep: true})
	if after := count(); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// The first thread is the main goroutine's alone: what a test does on a thread
// of its own shall not be what the whole process is in.
func init() { runtime.LockOSThread() }
