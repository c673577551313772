// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
)

// Seen is what a running container shows of itself that a checkpoint depends on.
type Seen struct {
	PID    int
	Mounts []Mount
	// Places are paths of the container, as config.json has them, with where
	// they really are: links are followed.
	Places map[string]string
	// Streams are the standard streams as /proc/PID/fd shows them, or, if they
	// are files of the host's, by their names for criu: "file[1f:40014]".
	Streams [3]string
	// Namespaces are the inodes of its namespaces that are not ours: "net", "pid".
	Namespaces map[string]uint64
}

// A Mount is a line of /proc/PID/mountinfo.
type Mount struct {
	ID    int
	Point string // in the container
	Type  string
}

// Look looks at a running container's first process. Places are paths of its
// config.json that may be mount points.
func Look(pid int, places []string) (*Seen, error) {
	s := &Seen{PID: pid, Places: make(map[string]string), Namespaces: make(map[string]uint64)}
	dir := "/proc/" + strconv.Itoa(pid)
	var err error
	if s.Mounts, err = readMounts(dir); err != nil {
		return nil, err
	}
	if err := s.follow(dir, places); err != nil {
		return nil, err
	}
	for i := range s.Streams {
		s.Streams[i] = s.stream(dir, i)
	}
	for _, kind := range [...]string{"net", "pid"} {
		var own, its unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+kind, &own); err != nil {
			return nil, fmt.Errorf("look at %s namespace: %w", kind, err)
		}
		if err := unix.Stat(dir+"/ns/"+kind, &its); err != nil {
			return nil, fmt.Errorf("look at %s namespace of process %d: %w", kind, pid, err)
		}
		if own.Ino != its.Ino {
			s.Namespaces[kind] = its.Ino
		}
	}
	return s, nil
}

// HostMounts are the mounts that this process sees.
func HostMounts() ([]Mount, error) { return readMounts("/proc/self") }

func readMounts(dir string) ([]Mount, error) {
	data, err := os.ReadFile(dir + "/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look at mounts: %w", err)
	}
	var mounts []Mount
	for m := range mountinfo.All(string(data)) {
		mounts = append(mounts, Mount{ID: m.ID, Point: m.Point, Type: m.Type})
	}
	return mounts, nil
}

// follow finds out where paths of the container lead to, within its root.
func (s *Seen) follow(dir string, places []string) error {
	root, err := unix.Open(dir+"/root", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root of process %d: %w", s.PID, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for _, p := range places {
		fd, err := unix.Openat2(root, p, &how)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue // a path to hide that there is not
		}
		if err != nil {
			return fmt.Errorf("look at %s in the container: %w", p, err)
		}
		real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("look at %s in the container: %w", p, err)
		}
		s.Places[p] = real
	}
	return nil
}

// stream names a standard stream.
func (s *Seen) stream(dir string, fd int) string {
	name := fmt.Sprintf("%s/fd/%d", dir, fd)
	to, err := os.Readlink(name)
	if err != nil {
		return "" // closed
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return to
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFCHR || strings.HasPrefix(to, "/dev/pts/") || strings.HasPrefix(to, "/dev/tty") {
		return to
	}
	info, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", dir, fd))
	if err != nil {
		return to
	}
	id := mountOf(string(info))
	for i := range s.Mounts {
		if s.Mounts[i].ID == id {
			return to // the container's own
		}
	}
	return fmt.Sprintf("file[%x:%x]", id, st.Ino)
}

// mountOf reads the mount of an open file from its fdinfo (proc_pid_fdinfo(5)).
func mountOf(info string) int {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			id, _ := strconv.Atoi(strings.TrimSpace(v))
			return id
		}
	}
	return 0
}

// mountAt is the uppermost mount at a place.
func (s *Seen) mountAt(point string) (m Mount, ok bool) {
	for _, x := range s.Mounts {
		if x.Point == point {
			m, ok = x, true
		}
	}
	return m, ok
}
