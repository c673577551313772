// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/host"
	"vitro/internal/smallfile"
	"vitro/plan"
)

// Facts are what a plan depends on besides the config.json: the kernel, and who
// we are and may do. A test writes them down, ReadFacts finds them out.
type Facts struct {
	Major, Minor int         // the kernel's version
	UID, GID     int         // effective
	Caps         plan.CapSet // effective
	Bounding     plan.CapSet
	LastCap      int  // the highest capability that the kernel knows
	InUserNS     bool // we are in a user namespace ourselves
	SetgroupsOff bool // and it forbids setgroups(2)
	JoinedFixed  bool // the user namespace that is to be joined forbids it

	Cgroups *cgroup.Layout

	// Newuidmap and Newgidmap are the programs' paths, "" where not installed.
	Newuidmap, Newgidmap string
	// Files are the sources of bind mounts that are no folders, Hidden those that
	// the root of the container's user namespace can't reach.
	Files, Hidden map[string]bool
	// Modes are those of the root's folders that a tmpfs without one comes on.
	Modes map[string]uint32
	// Pinned are the processors that are there, if we are kept from some of them;
	// else it is empty.
	Pinned string
	// Nofile is the soft limit on descriptors that we were started with, which
	// the Go runtime has raised for itself; 0 if it has not.
	Nofile       uint64
	AppArmor     bool // is in force
	AppArmorAttr bool // and has its own files below /proc/PID/attr
	SELinux      bool // is in force
	// Resctrl is nil where no such file system is mounted.
	Resctrl *Resctrl
	// Links are the host's network devices of linux.netDevices; nil for one
	// that is not there.
	Links map[string]*host.Link
	// Nodes are the devices that the root has already, by their paths in it.
	Nodes map[string]Node
	// RootMount is the mount that the root is in, where the container has no mount
	// namespace of its own.
	RootMount uint64
	// Home is the home folder of the process's user, as the root file system
	// on the host knows it; "" if it doesn't.
	Home string
}

// OverlayAppend reports whether overlay takes its layers one by one: since Linux 6.7
// (Documentation/filesystems/overlayfs.rst).
func (f *Facts) OverlayAppend() bool { return f.Major > 6 || f.Major == 6 && f.Minor >= 7 }

// ReadFacts finds out what Compile has to know for a container of this
// config.json. It fails where a bind mount's source is missing, or the kernel too old.
func ReadFacts(s *specs.Spec, bundle string) (*Facts, error) {
	f := &Facts{UID: os.Geteuid(), GID: os.Getegid()}
	if err := f.readKernel(); err != nil {
		return nil, err
	}
	if err := f.readCaps(); err != nil {
		return nil, err
	}
	var err error
	f.InUserNS = InUserNS()
	if f.InUserNS {
		deny, _ := smallfile.Read("/proc/self/setgroups")
		f.SetgroupsOff = strings.TrimSpace(string(deny)) == "deny"
	}
	if f.Cgroups, err = cgroup.Detect(); err != nil {
		return nil, err
	}
	if s.Linux != nil && len(s.Linux.UIDMappings) > 0 && f.UID != 0 {
		f.Newuidmap, _ = exec.LookPath("newuidmap")
		f.Newgidmap, _ = exec.LookPath("newgidmap")
	}
	if err := f.readSources(s, bundle); err != nil {
		return nil, err
	}
	if err := f.readFeatures(s, bundle); err != nil {
		return nil, err
	}
	f.Pinned = pinned()
	f.Nofile = StartNofile()
	if s.Root != nil {
		f.readModes(s, absolute(bundle, s.Root.Path))
	}
	if s.Process != nil && s.Root != nil {
		f.readHome(s.Process, absolute(bundle, s.Root.Path))
	}
	f.JoinedFixed = joinedFixed(s)
	if namespace, shared := mountsElsewhere(s.Linux); shared && s.Root != nil {
		if f.RootMount, err = host.MountAt(absolute(bundle, s.Root.Path), namespace); err != nil {
			return nil, fmt.Errorf("look at root.path: %w", err)
		}
	}
	return f, nil
}

// InUserNS reports whether we are in a user namespace that is not the machine's first.
func InUserNS() bool {
	m, err := smallfile.Read("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") != "0 0 4294967295"
}

// readKernel asks for Linux 5.12, the first with mount_setattr(2): without it
// a mount can't be made ready before it is attached.
func (f *Facts) readKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &f.Major, &f.Minor); err != nil {
		return fmt.Errorf("read kernel version %q: %w", release, err)
	}
	if f.Major < 5 || f.Major == 5 && f.Minor < 12 {
		return fmt.Errorf("run on Linux %s: vitro needs Linux 5.12 or newer", release)
	}
	return nil
}

func (f *Facts) readCaps() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	f.Caps = plan.CapSet(data[0].Effective) | plan.CapSet(data[1].Effective)<<32
	for c := range 64 {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break
		}
		f.LastCap = c
		f.Bounding |= plan.CapSet(has) << c
	}
	return nil
}

// readSources looks at what is going to be mounted from the host.
func (f *Facts) readSources(s *specs.Spec, bundle string) error {
	f.Files, f.Hidden = make(map[string]bool), make(map[string]bool)
	users := f.UID == 0 && !f.InUserNS && hasUsers(s)
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if !isBind(m) || slices.Contains(m.Options, "remount") {
			continue
		}
		src := absolute(bundle, m.Source)
		var st unix.Stat_t
		if err := unix.Stat(src, &st); err != nil {
			return fmt.Errorf("mount %s: open source %q: %w", m.Destination, src, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			f.Files[src] = true
		}
		if users && hidden(src) {
			f.Hidden[src] = true
		}
		if err := f.readBelow(m, src); err != nil {
			return err
		}
	}
	return nil
}

// readBelow looks at a mount's Subpath, as the child is going to find it.
func (f *Facts) readBelow(m *specs.Mount, src string) error {
	o, err := readOptions(m)
	if err != nil || o.below == "" {
		return nil // Compile says what is wrong
	}
	top, err := unix.Open(src, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount %s: open source %q: %w", m.Destination, src, err)
	}
	defer unix.Close(top)
	fd, err := unix.Openat2(top, o.below, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return fmt.Errorf("mount %s: open %q in source %q: %w", m.Destination, o.below, src, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		f.Files[path.Join(src, o.below)] = true
	}
	return nil
}

// hidden reports whether there is a folder on the way to a place that is not
// everybody's to enter.
func hidden(src string) bool {
	fd, err := unix.Open(src, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	src, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)) // whatever links there are
	for dir := filepath.Dir(src); err == nil; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err = unix.Stat(dir, &st); err == nil && st.Mode&unix.S_IXOTH == 0 {
			return true
		}
		if dir == "/" {
			break
		}
	}
	return false
}

// hasUsers reports whether the container has a user namespace that is not ours.
func hasUsers(s *specs.Spec) bool {
	return s.Linux != nil && slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
}

// readModes looks at the folders of the root that a tmpfs comes on, as far as
// they are the root's own: a tmpfs takes over the mode that its place has.
func (f *Facts) readModes(s *specs.Spec, root string) {
	dir := -1
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Type != "tmpfs" || slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "mode=") }) {
			continue
		}
		target := filepath.Clean("/" + m.Destination)
		if slices.ContainsFunc(s.Mounts[:i], func(o specs.Mount) bool { return below(target, filepath.Clean("/"+o.Destination)) }) {
			continue
		}
		if dir < 0 {
			var err error
			if dir, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				return
			}
			defer unix.Close(dir)
		}
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := unix.Openat2(dir, target, &how)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			if f.Modes == nil {
				f.Modes = make(map[string]uint32)
			}
			f.Modes[target] = st.Mode & 0o7777
		}
		unix.Close(fd)
	}
}

// below reports whether a path is another, or in it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/") || dir == "/"
}

// readHome looks the process's user up, unless HOME is given: exec(3)'s
// callers expect it. The file is the image's: it is opened within its root.
func (f *Facts) readHome(proc *specs.Process, rootfs string) {
	if hasEnv(lastOfEach(proc.Env), "HOME") {
		return
	}
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return
	}
	defer root.Close()
	data, err := root.ReadFile("etc/passwd")
	if err != nil {
		return
	}
	uid := strconv.FormatUint(uint64(proc.User.UID), 10)
	for line := range strings.Lines(string(data)) {
		if e := strings.Split(strings.TrimSpace(line), ":"); len(e) >= 6 && e[2] == uid {
			f.Home = e[5]
			return
		}
	}
}

// pinned are the processors that are there, if some of them are not ours to run on.
func pinned() string {
	var own unix.CPUSet
	data, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil || unix.SchedGetaffinity(0, &own) != nil {
		return ""
	}
	online := strings.TrimSpace(string(data))
	mask, err := plan.ParseList(online)
	if err != nil {
		return ""
	}
	for n := range 64 * len(mask) {
		if mask[n/64]>>(n%64)&1 != 0 && !own.IsSet(n) {
			return online
		}
	}
	return ""
}

// joinedFixed looks whether a user namespace that is named by a process forbids
// setgroups(2). Of one that is named by another file only the kernel knows.
func joinedFixed(s *specs.Spec) bool {
	if s.Linux == nil {
		return false
	}
	for _, n := range s.Linux.Namespaces {
		dir, ok := strings.CutSuffix(n.Path, "/ns/user")
		if n.Type == specs.UserNamespace && ok {
			return groupsFixed(dir + "/setgroups")
		}
	}
	return false
}

func hasEnv(env []string, key string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, key+"=") {
			return true
		}
	}
	return false
}

// StartNofile guesses the soft limit on descriptors that this program was
// started with. Go raises it to one below the hard limit for itself (package
// syscall, rlimit.go), and restores it only for what os/exec starts: the
// parent's is what it was.
func StartNofile() uint64 {
	var own, parent unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &own) != nil || own.Cur != own.Max-1 {
		return 0
	}
	if unix.Prlimit(os.Getppid(), unix.RLIMIT_NOFILE, nil, &parent) != nil || parent.Max != own.Max {
		return min(1024, own.Max)
	}
	return parent.Cur
}

func absolute(bundle, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(bundle, p)
}
