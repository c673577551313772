// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// readFeatures finds out what the rarer properties need, if they are there.
func (f *Facts) readFeatures(s *specs.Spec, bundle string) error {
	f.readModules(s.Process, s.Linux)
	if s.Linux == nil {
		return nil
	}
	if rdt := s.Linux.IntelRdt; rdt != nil {
		f.Resctrl = readResctrl(rdt)
	}
	if len(s.Linux.NetDevices) > 0 {
		f.Links = make(map[string]*host.Link)
		for name := range s.Linux.NetDevices {
			l, err := host.FindLink(name)
			if err != nil {
				return fmt.Errorf("look for network device %q: %w", name, err)
			}
			f.Links[name] = l
		}
	}
	f.readNodes(s, bundle)
	return nil
}

// readModules looks which security modules are in force, if one is asked for.
func (f *Facts) readModules(p *specs.Process, l *specs.Linux) {
	if p != nil && p.ApparmorProfile != "" {
		enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
		f.AppArmor = err == nil && strings.HasPrefix(string(enabled), "Y")
		_, err = os.Stat("/proc/self/attr/apparmor/exec") // Linux 5.8
		f.AppArmorAttr = err == nil
	}
	if p != nil && p.SelinuxLabel != "" || l != nil && l.MountLabel != "" {
		f.SELinux = mountOf("selinuxfs") != ""
	}
}

// mountOf is where a file system of a type is mounted; empty if it isn't.
func mountOf(fstype string) string {
	data, _ := os.ReadFile("/proc/self/mounts")
	return mountIn(string(data), fstype)
}

// mountIn finds it in the text of /proc/PID/mounts (proc_pid_mounts(5)).
func mountIn(mounts, fstype string) string {
	for line := range strings.Lines(mounts) {
		if w := strings.Fields(line); len(w) > 2 && w[2] == fstype {
			return w[1]
		}
	}
	return ""
}

func readResctrl(rdt *specs.LinuxIntelRdt) *Resctrl {
	r := &Resctrl{Path: mountOf("resctrl")}
	if r.Path == "" {
		return nil
	}
	if rdt.ClosID == "" {
		return r // the class is the container's own, and to be made
	}
	dir := path.Join(r.Path, class(rdt, ""))
	_, err := os.Stat(dir)
	r.Exists = err == nil
	data, _ := os.ReadFile(dir + "/schemata")
	r.Schemata = string(data)
	return r
}

// A Node is a device node, or another file, that the root has already.
type Node struct {
	Type         uint32 // S_IFCHR and its kin
	Major, Minor uint32
}

// readNodes looks which of the devices the root has already, where no mount
// covers them. It is the folder root.path that is looked at, by descriptor: the
// links in it lead to nowhere else. If it can't be, the plan's steps will say so.
func (f *Facts) readNodes(s *specs.Spec, bundle string) {
	paths := slices.DeleteFunc(devicePaths(s.Linux), func(p string) bool {
		return slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool { return covered(p, path.Clean("/"+m.Destination)) })
	})
	if s.Root == nil || len(paths) == 0 {
		return
	}
	root, err := unix.Open(absolute(bundle, s.Root.Path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(root)
	f.Nodes = make(map[string]Node)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for _, p := range paths {
		fd, err := unix.Openat2(root, p, &how)
		if err != nil {
			continue // it is to be made
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			f.Nodes[p] = Node{Type: st.Mode & unix.S_IFMT, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}
		}
		unix.Close(fd)
	}
}

// covered reports whether a mount on target hides what the root has at p.
func covered(p, target string) bool {
	return target == p || strings.HasPrefix(p, strings.TrimSuffix(target, "/")+"/")
}

func devicePaths(l *specs.Linux) (paths []string) {
	for _, d := range defaultDevices {
		paths = append(paths, "/dev/"+d.name)
	}
	for i := range l.Devices {
		paths = append(paths, path.Clean("/"+l.Devices[i].Path))
	}
	return paths
}

// there reports whether a device is there already; one that is another is an error.
func (f *Facts) there(n *plan.Node) (bool, error) {
	have, ok := f.Nodes[n.Path]
	if !ok {
		return false, nil
	}
	if have.Type != n.Type || n.Type != unix.S_IFIFO && (have.Major != n.Major || have.Minor != n.Minor) {
		return false, fmt.Errorf("compile config.json: linux.devices: %s: the root has another file there", n.Path)
	}
	return true, nil
}
