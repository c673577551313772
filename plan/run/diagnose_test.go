// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// fakeLook is a machine that a test has written down.
type fakeLook struct {
	files   map[string]string
	modes   map[string]uint32
	fs      string
	most    uint64
	user    int
	message string
}

func (l *fakeLook) read(path string) string       { return strings.TrimSpace(l.files[path]) }
func (l *fakeLook) exists(path string) bool       { _, ok := l.files[path]; return ok }
func (l *fakeLook) mode(path string) uint32       { return l.modes[path] }
func (l *fakeLook) fsType(string) string          { return l.fs }
func (l *fakeLook) hard(int) uint64               { return l.most }
func (l *fakeLook) euid() int                     { return l.user }
func (l *fakeLook) said() string                  { return l.message }
func (l *fakeLook) file(name string) *programFile { return nil }
func (l *fakeLook) arch() string                  { return "amd64" }

// named stands for actions of packages that this one doesn't know.
type named struct {
	Name    string `json:"-"`
	Path    string `json:"path,omitempty"`
	Address string `json:"address,omitempty"`
	Gateway string `json:"gateway,omitempty"`
}

func (a *named) Verb() string         { return a.Name }
func (a *named) Line() string         { return a.Name }
func (a *named) Shell(*plan.Script)   {}
func (a *named) Do(*plan.Env) error   { return nil }
func (a *named) Undo() plan.Host      { return nil }
func files(kv ...string) *fakeLook    { return (&fakeLook{}).with(kv...) }
func ordinary(kv ...string) *fakeLook { l := files(kv...); l.user = 1000; return l }
func on(fs string) *fakeLook          { return &fakeLook{fs: fs} }
func says(message string) *fakeLook   { return &fakeLook{message: message} }
func (l *fakeLook) with(kv ...string) *fakeLook {
	l.files = make(map[string]string)
	for i := 0; i < len(kv); i += 2 {
		l.files[kv[i]] = kv[i+1]
	}
	return l
}

// callOf is the first call of an action of this name whose text holds a part.
func callOf(a plan.Action, part string) *plan.Call {
	calls := (&plan.Plan{Steps: []plan.Step{{Action: a}}}).Lower()
	for i := range calls {
		if part != "" && strings.Contains(calls[i].String(), part) {
			return &calls[i]
		}
	}
	return nil
}

const userNS = unix.CLONE_NEWUSER | unix.CLONE_NEWNET

func TestReasons(t *testing.T) {
	write := func(path, value string) plan.Action { return &host.Write{Path: path, Value: value} }
	uidMap := &host.IDMap{Kind: "uid", Tool: "/usr/bin/newuidmap"}
	overlay := &plan.Overlay{Layers: []string{"/l/1", "/l/2"}, Upper: "/u", Work: "/w", Append: true}
	proc := &plan.NewFS{Type: "proc", Target: "/proc"}
	tmpfs := &plan.NewFS{Type: "tmpfs", Options: []string{"size=foo"}, Target: "/tmp"}
	devpts := &plan.NewFS{Type: "devpts", Options: []string{"gid=5"}, Target: "/dev/pts"}
	const cg = "/sys/fs/cgroup/a/b/"
	for _, c := range []struct {
		name   string
		action plan.Action
		call   string // a part of the call that failed
		err    error
		look   *fakeLook
		cause  string
		hint   string
	}{
		{"AppArmor", &plan.Clone{Flags: userNS}, "", unix.EACCES, ordinary("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
			"AppArmor keeps user namespaces of ordinary users from any privilege (Ubuntu 23.10 and newer): kernel.apparmor_restrict_unprivileged_userns is 1", allowByArmor},
		{"AppArmor, at the map", write("/proc/$PID/uid_map", "0 1000 1"), "", unix.EPERM, ordinary("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
			"AppArmor keeps user namespaces of ordinary users from any privilege (Ubuntu 23.10 and newer): kernel.apparmor_restrict_unprivileged_userns is 1", allowByArmor},
		{"Debian", &plan.Clone{Flags: userNS}, "", unix.EPERM, ordinary("/proc/sys/kernel/unprivileged_userns_clone", "0"),
			"user namespaces are forbidden to ordinary users: kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"no user namespaces", &plan.Clone{Flags: userNS}, "", unix.ENOSPC, files("/proc/sys/user/max_user_namespaces", "0"),
			"user namespaces are forbidden: user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"},
		{"limit of namespaces", &plan.Clone{Flags: userNS}, "", unix.ENOSPC, files("/proc/sys/user/max_user_namespaces", "100", "/proc/sys/user/max_net_namespaces", "7"),
			"a limit on namespaces is reached, the lowest of which is user.max_net_namespaces=7 here, or they are nested 32 deep", "raise the limit: sudo sysctl -w user.max_..._namespaces=N; or remove containers"},
		{"kernel without", &plan.Clone{Flags: userNS}, "", unix.EINVAL, files("/proc/self/ns/net", ""),
			"this kernel is built without user namespaces (CONFIG_USER_NS)", "run a kernel that has them, or share the host's"},
		{"seccomp around", &plan.Clone{Flags: userNS}, "", unix.EPERM, files("/proc/self/status", "Name:\tx\nSeccomp:\t2\n"),
			"a seccomp filter around this process forbids new namespaces, as the one of Docker's containers does", "run the container around with --security-opt seccomp=unconfined, or --privileged"},
		{"no privilege", &plan.Clone{Flags: unix.CLONE_NEWNET}, "", unix.EPERM, files(),
			"namespaces take CAP_SYS_ADMIN where no user namespace comes with them", "run as root, or have a user namespace made (rootless)"},
		{"pid namespace that is over", &plan.Clone{Join: []plan.Join{{Kind: "pid"}}}, "", unix.ENOMEM, files(),
			"the pid namespace takes no process any more: its first process has ended", "start its container again"},
		{"no range", uidMap, "", errors.New("exit status 1: newuidmap: uid range [1-65536) -> [100000-165535) not allowed"), files(),
			"/etc/subuid and /etc/subgid don't give this user all of the IDs that the map asks for", subordinates},
		{"no setuid bit", uidMap, "", errors.New("exit status 1: newuidmap: write to uid_map failed: Operation not permitted"), &fakeLook{modes: map[string]uint32{"/usr/bin/newuidmap": 0o100755}},
			"/usr/bin/newuidmap has no setuid bit: unless it has the capability as a file, it may write no map", "sudo chmod u+s /usr/bin/newuidmap, or install the package uidmap (shadow-utils) again"},
		{"map by hand", &host.IDMap{Kind: "gid"}, "", fmt.Errorf("write: %w", unix.EPERM), files(),
			"the kernel lets an ordinary user map no ID but its own, and root none that its own user namespace lacks (user_namespaces(7))", "install newuidmap (package uidmap) and " + subordinates},

		{"overlay on overlay", overlay, "CMD_CREATE", unix.EINVAL, on("overlay"),
			"the container's writable layer is on overlay, which overlay can't write to", "keep the writable layer in memory (--rootfs-size 1g), or the storage on ext4, xfs or tmpfs"},
		{"overlay option", overlay, `"upperdir"`, unix.EINVAL, on("ext4"),
			"this kernel's overlay doesn't take the option upperdir=/u", "see the kernel's own words: dmesg | tail"},
		{"layer missing", overlay, "", unix.ENOENT, files("/l/1", ""),
			"the layer /l/2 is missing: the image is damaged", "remove the image and load or pull it again"},
		{"no overlay", overlay, "", unix.ENODEV, files(),
			"this kernel has no overlay file system", "sudo modprobe overlay (in a container: on the machine that it runs on)"},
		{"too revealing", proc, "", unix.EPERM, files("/proc/self/mountinfo", "1 2 0:1 / /proc rw - proc proc rw\n3 1 0:2 / /proc/kcore rw - tmpfs tmpfs rw\n"),
			"the /proc around has parts of it covered (/proc/kcore), and the kernel shows a user namespace no more than is seen around it", "run the container around with --privileged, or --security-opt systempaths=unconfined (Podman: --security-opt unmask=ALL)"},
		{"proc of another pid namespace", proc, "", unix.EPERM, files(),
			"a user namespace mounts a /proc of its own pid namespace only, and only where the one around is fully visible", "give the container a pid namespace, or mount the /proc around: type bind"},
		{"tmpfs option", tmpfs, `"size"`, unix.EINVAL, says("tmpfs: Bad value for 'size'"),
			"tmpfs doesn't take the option size=foo; the kernel says: tmpfs: Bad value for 'size'", "mend or leave out this option of the mount on /tmp"},
		{"tmpfs option, in silence", tmpfs, `"size"`, unix.EINVAL, files(),
			"tmpfs doesn't take the option size=foo", "mend or leave out this option of the mount on /tmp"},
		{"devpts group", devpts, `"gid"`, unix.EINVAL, files("/proc/7/gid_map", "         0       1000          1\n"),
			"the group of gid=5 is not mapped in the user namespace: its map is 0 1000 1", "leave out gid=5, or map the group"},
		{"file on folder", &plan.Attach{Target: "/etc", File: true}, "move_mount", unix.ENOTDIR, files(),
			"what is mounted is a file, and /etc is a folder in the container", "give both the same kind: name a file as the target"},
		{"link at /proc", &plan.Attach{Target: "/proc", Strict: true}, "openat2", unix.ELOOP, files(),
			"it must be mounted on ordinary directory, and a symbolic link stands on the way in the image: by such links images have got out (CVE-2019-19921)", "take the link out of the image"},
		{"initramfs", &plan.Pivot{}, "pivot_root", unix.EINVAL, files("/proc/self/mountinfo", "1 1 0:2 / / rw - rootfs rootfs rw"),
			"the machine runs from its initramfs, whose root pivot_root(2) can't move", "boot to a real root: in the initramfs, copy it to a tmpfs and switch_root there"},

		{"memory in use", write(cg+"memory.max", "4096"), "", fmt.Errorf("x: %w", unix.EBUSY), files(cg+"memory.current", "123456\n"),
			"the cgroup's processes use more memory already: 123456 bytes", "choose a higher limit"},
		{"CPU that is not there", write(cg+"cpuset.cpus", "0-63"), "", unix.EINVAL, files("/sys/fs/cgroup/a/cpuset.cpus.effective", "0-1\n"),
			"the cgroup may use no more than the one above it has in cpuset.cpus, which is 0-1", "ask for a part of that, written as a list like 0-2,7"},
		{"controller off", write(cg+"io.weight", "100"), "", unix.ENOENT, files(),
			"the cgroup has no file io.weight: the kernel lacks it, or the controller io is not enabled", "see what there is: cat /sys/fs/cgroup/a/b/cgroup.controllers, and ls /sys/fs/cgroup/a/b"},
		{"device that is not there", write(cg+"io.max", "8:99 rbps=1"), "", unix.ENODEV, files(cg+"io.max", ""),
			`there is no such block device: "8:99 rbps=1"`, "see which there are: lsblk -o NAME,MAJ:MIN"},
		{"empty cpuset", &plan.JoinCgroup{Handle: "h", Path: cg + "tasks"}, "write", unix.ENOSPC, files(),
			"the cpuset has no CPUs or no memory nodes yet: no process can be in it", "write some: cat /sys/fs/cgroup/a/b/../cpuset.cpus >/sys/fs/cgroup/a/b/cpuset.cpus, and cpuset.mems likewise"},
		{"cgroups read-only", &named{Name: "mkcgroup", Path: cg}, "", unix.EROFS, files(),
			"the cgroup file system is mounted read-only", "mount it read-write; of a container around, run it with --privileged"},

		{"limit raised", &host.Rlimit{Name: "nofile", Type: unix.RLIMIT_NOFILE, Hard: 5000}, "", unix.EPERM, &fakeLook{most: 4096},
			"raising a hard limit takes CAP_SYS_RESOURCE; ours for nofile is 4096", "ask for no more than that, or run as root"},
		{"above nr_open", &host.Rlimit{Name: "nofile", Type: unix.RLIMIT_NOFILE, Hard: 2000000}, "", unix.EPERM, files("/proc/sys/fs/nr_open", "1048576"),
			"no limit on open files may be above fs.nr_open, which is 1048576", "ask for less, or sudo sysctl -w fs.nr_open=2000000"},
		{"oom", write("/proc/$PID/oom_score_adj", "-500"), "", unix.EACCES, files("/proc/self/oom_score_adj", "200"),
			"only CAP_SYS_RESOURCE may make a process less likely to be ended than this one, whose own value is 200", "ask for 200 or more, or run as root"},
		{"sysctl", &plan.Sysctl{Path: "net/ipv4/none", Value: "1"}, "openat2", unix.ENOENT, files(),
			"this kernel has no parameter net.ipv4.none, or none in this namespace", "check the spelling; if it is a module's, load the module"},
		{"unmapped user", &plan.User{UID: 1000}, "setresuid", unix.EINVAL, files("/proc/7/uid_map", "0 1000 1\n"),
			"user 1000 is not mapped in the user namespace: its map is 0 1000 1", "choose a mapped user, or a larger range in /etc/subuid: " + subordinates},
		{"seccomp without no_new_privs", &plan.Seccomp{Count: 1}, "seccomp", unix.EACCES, files(),
			"without no_new_privs, loading a filter takes CAP_SYS_ADMIN", "set process.noNewPrivileges (--security-opt no-new-privileges)"},
		{"killed for memory", &plan.Pivot{}, "", errors.New("the child was killed"), files("/proc/7/stat", "7 (x) Z 1 0 9"),
			"somebody has ended the container while it was made: most often the kernel, for want of memory", "choose a higher --memory; dmesg says whether it was the kernel"},

		{"no modules for links", &named{Name: "veth"}, "", fmt.Errorf("add: %w", unix.EOPNOTSUPP), files(),
			"this kernel lacks what the step makes: the module is not loaded or not built", "sudo modprobe -a bridge veth nf_tables nft_chain_nat nft_masq nft_ct (in a container: on the machine that it runs on)"},
		{"gateway elsewhere", &named{Name: "address", Address: "10.0.0.2/24", Gateway: "10.1.0.1"}, "", unix.ENETUNREACH, files(),
			"the gateway 10.1.0.1 is not in the subnet of 10.0.0.2/24", "mend the network's subnet or gateway"},
		{"a word without a value", &named{Name: "address"}, "", unix.ENETUNREACH, files(), "", ""},
		{"descriptors", &host.Open{Path: "/x"}, "", unix.EMFILE, files(),
			"this process has as many open descriptors as it may", "raise the limit: ulimit -n 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &Fault{Step: plan.Step{Action: c.action}, Err: c.err}
			s := &scene{fault: f, pid: 7, inUser: true, host: c.look, call: callOf(c.action, c.call)}
			s.explain()
			check(t, f, "", c.cause, c.hint)
		})
	}
}

// hinted is an error that knows its remedy.
type hinted struct{}

func (hinted) Error() string { return "no bridges" }
func (hinted) Hint() string  { return "modprobe bridge" }

func TestOwnHint(t *testing.T) {
	f := &Fault{Step: plan.Step{Action: &named{Name: "bridge"}}, Err: fmt.Errorf("add: %w", hinted{})}
	(&scene{fault: f, host: files()}).explain()
	var h interface{ Hint() string }
	if !errors.As(error(f), &h) || h.Hint() != "modprobe bridge" || f.Cause != "" {
		t.Errorf("hint %q, cause %q; want the error's own hint and no cause", f.Hint(), f.Cause)
	}
}

// Faults that the kernel itself makes.
func TestKernelFaults(t *testing.T) {
	t.Chdir("/") // where a container is when its folder is looked up
	exec := &plan.Exec{Paths: []string{"/"}, Args: []string{"/"}, Cwd: "/"}
	for _, c := range []struct {
		name        string
		flags       uint64
		actions     []plan.Action
		cause, hint string
	}{
		{"option", 0, []plan.Action{&plan.NewFS{Type: "tmpfs", Target: "/a"}, &plan.NewFS{Type: "tmpfs", Options: []string{"size=foo"}, Target: "/tmp"}},
			"tmpfs doesn't take the option size=foo; the kernel says: tmpfs: Bad value for 'size'", "mend or leave out this option of the mount on /tmp"},
		{"unknown option", 0, []plan.Action{&plan.NewFS{Type: "tmpfs", Options: []string{"colour=red"}, Target: "/tmp"}},
			"tmpfs doesn't take the option colour=red; the kernel says: tmpfs: Unknown parameter 'colour'", "mend or leave out this option of the mount on /tmp"},
		{"type", 0, []plan.Action{&plan.NewFS{Type: "nonesuch", Target: "/tmp"}},
			"this kernel knows no file system nonesuch", "check the spelling, or load it: sudo modprobe nonesuch"},
		{"source", 0, []plan.Action{&plan.Bind{Source: "/none/such", Target: "/tmp"}},
			"there is no /none/such on the host", "check the spelling, or make it: mkdir -p /none/such"},
		{"working directory", 0, []plan.Action{&plan.Chdir{Path: "/none/such"}},
			"the container has no folder /none/such", "make it in the image, or choose another: --workdir"},
		{"working directory that is a file", 0, []plan.Action{&plan.Chdir{Path: "/proc/self/status"}},
			"/proc/self/status is no folder in the container", "choose another: --workdir"},
		{"hostname", unix.CLONE_NEWUTS, []plan.Action{&plan.Hostname{Name: strings.Repeat("x", 65)}},
			"the name has 65 bytes, and the kernel takes 64", "choose a shorter one"},
		{"user", unix.CLONE_NEWUSER, []plan.Action{&plan.User{UID: 7, KeepGroups: true}},
			"group 0 is not mapped in the user namespace: its map is empty", "choose a mapped group, or a larger range in /etc/subgid: " + subordinates},
		{"become root", unix.CLONE_NEWUSER, []plan.Action{&plan.EnterIDs{KeepGroups: true}},
			"user or group 0 is not mapped in the user namespace: its maps are empty and empty", "map container ID 0 in linux.uidMappings and linux.gidMappings"},
		{"capabilities", 0, []plan.Action{&plan.Capabilities{}, &plan.Capabilities{Permitted: 1<<unix.CAP_KILL | 1<<unix.CAP_NET_RAW}},
			"the process doesn't have CAP_KILL, CAP_NET_RAW, so it can't keep it", "ask for less (--cap-drop), or give it to this process"},
		{"files above nr_open", 0, []plan.Action{&host.Rlimit{Name: "nofile", Type: unix.RLIMIT_NOFILE, Soft: 1 << 40, Hard: 1 << 40}}, "", ""},
		{"killed by a filter", 0, []plan.Action{&plan.NoNewPrivs{}, &plan.Seccomp{Filter: []byte{6, 0, 0, 0, 0, 0, 0, 0x80}, Count: 1}, &plan.Umask{}},
			"a seccomp filter ends processes that make a call of this step", "let the profile answer with an error (SCMP_ACT_ERRNO), or allow the calls of exec and prctl"},
		{"filter", 0, []plan.Action{&plan.NoNewPrivs{}, &plan.Seccomp{Filter: make([]byte, 8*4097), Count: 4097}},
			"the kernel takes no filter of 4097 instructions (4096 are the most), or not these flags", "shorten the profile, or leave out linux.seccomp.flags"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "files above nr_open" {
				most := (&machineLook{}).read("/proc/sys/fs/nr_open")
				c.cause = "no limit on open files may be above fs.nr_open, which is " + most
				c.hint = "ask for less, or sudo sysctl -w fs.nr_open=1099511627776"
			}
			check(t, start(t, c.flags, append(c.actions, exec)...), "", c.cause, c.hint)
		})
	}
}

// What goes wrong in a container's root, with real files in it.
func TestRootFaults(t *testing.T) {
	exec := &plan.Exec{Paths: []string{"/"}, Args: []string{"/"}, Cwd: "/"}
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	for _, err := range []error{
		os.Mkdir(root+"/folder", 0o755), os.WriteFile(root+"/file", nil, 0o644), os.WriteFile(file, nil, 0o644),
		os.Symlink("folder", root+"/link"), os.Symlink("circle", root+"/circle"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name        string
		source      string
		readonly    bool
		attach      plan.Attach
		cause, hint string
	}{
		{"file on folder", file, false, plan.Attach{Target: "/folder", File: true},
			"what is mounted is a file, and /folder is a folder in the container", "give both the same kind: name a file as the target"},
		{"folder on file", root, false, plan.Attach{Target: "/file"},
			"what is mounted is a folder, and /file is a file in the container", "give both the same kind: name a folder as the target"},
		{"below a file", root, false, plan.Attach{Target: "/file/x"},
			"on the way to it there is a file where a folder should be, in the container's root", "choose another place, or take the file out of the image"},
		{"by a link", root, false, plan.Attach{Target: "/link", Strict: true},
			"it must be mounted on ordinary directory, and a symbolic link stands on the way in the image: by such links images have got out (CVE-2019-19921)", "take the link out of the image"},
		{"by a circle", root, false, plan.Attach{Target: "/circle"},
			"the image's links on the way to /circle lead in a circle, or into the files of a process (CVE-2021-30465)", "take them out of the image, or choose another place"},
		{"read-only", root, true, plan.Attach{Target: "/new"},
			"the place is not there, and the root file system, or a mount on the way, is read-only: nothing can be made in it", "make the place in the image or the bind mount's source before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bind := &plan.Bind{Source: root, Target: "/", Share: unix.MS_PRIVATE}
			if c.readonly {
				bind.Set = unix.MOUNT_ATTR_RDONLY
			}
			f := start(t, 0, &plan.Propagation{Flag: unix.MS_REC | unix.MS_PRIVATE}, bind,
				&plan.Bind{Source: c.source, Target: c.attach.Target}, &plan.SetRoot{At: root}, &plan.Pivot{}, &c.attach, exec)
			check(t, f, "", c.cause, c.hint)
		})
	}
}

// A user namespace, in which the kernel forbids what it allows root outside.
func TestUserNamespaceFaults(t *testing.T) {
	exec := &plan.Exec{Paths: []string{"/"}, Args: []string{"/"}, Cwd: "/"}
	for _, c := range []struct {
		name        string
		action      plan.Action
		cause, hint string
	}{
		{"proc", &plan.NewFS{Type: "proc", Target: "/proc"},
			"a user namespace mounts a /proc of its own pid namespace only, and only where the one around is fully visible", "give the container a pid namespace, or mount the /proc around: type bind"},
		{"sysfs", &plan.NewFS{Type: "sysfs", Target: "/sys"},
			"a user namespace mounts a /sys of its own network namespace only, and only where the one around is fully visible", "give the container a network namespace, or mount the /sys around: type bind, options rbind,ro"},
		{"other", &plan.NewFS{Type: "ext4", Source: "/dev/null", Target: "/x"},
			"ext4 can't be mounted in a user namespace", "mount it on the host and bind it, or run as root"},
		{"overlapping map", &host.IDMap{Kind: "uid", Ranges: []host.Range{{Container: 0, Host: 0, Size: 2}, {Container: 1, Host: 5, Size: 2}}},
			"the ranges of the map overlap, are empty, or are more than 340", "mend linux.uidMappings and linux.gidMappings"},
		{"device node", &plan.Node{Path: "/dev/nonesuch", Type: unix.S_IFCHR, Mode: 0o666, Major: 1, Minor: 3}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if covered := (&scene{host: &machineLook{}}).covered("/proc/"); c.name == "proc" && len(covered) > 0 {
				t.Skipf("needs a /proc that nothing covers: %s", covered)
			}
			if c.name == "device node" {
				t.Chdir(t.TempDir())
				c.action.(*plan.Node).Path = "/node"
				c.cause = "device nodes take CAP_MKNOD in the machine's first user namespace, and the leave of the device cgroup"
				c.hint = "run as root, or bind the host's node: --mount type=bind"
			}
			check(t, start(t, unix.CLONE_NEWUSER, c.action, exec), "", c.cause, c.hint)
		})
	}
}

// What the kernel forbids an ordinary user.
func TestOrdinaryUserFaults(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs an ordinary user: root may do all of it")
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	exec := &plan.Exec{Paths: []string{"/"}, Args: []string{"/"}, Cwd: "/"}
	far := []host.Range{{Container: 0, Host: 4000000000, Size: 65536}}
	own := (&machineLook{}).read("/proc/self/oom_score_adj")
	for _, c := range []struct {
		name        string
		action      plan.Action
		cause, hint string
	}{
		{"map", &host.IDMap{Kind: "uid", Ranges: far},
			"the kernel lets an ordinary user map no ID but its own, and root none that its own user namespace lacks (user_namespaces(7))", "install newuidmap (package uidmap) and " + subordinates},
		{"map by newuidmap", &host.IDMap{Kind: "uid", Ranges: far, Tool: "/usr/bin/newuidmap"},
			"/etc/subuid and /etc/subgid don't give this user all of the IDs that the map asks for", subordinates},
		{"limit", &host.Rlimit{Name: "core", Type: unix.RLIMIT_CORE, Soft: 1, Hard: 1},
			"raising a hard limit takes CAP_SYS_RESOURCE; ours for core is 0", "ask for no more than that, or run as root"},
		{"oom", &host.Write{Path: "/proc/$PID/oom_score_adj", Value: "-1000"},
			"only CAP_SYS_RESOURCE may make a process less likely to be ended than this one, whose own value is " + own, "ask for " + own + " or more, or run as root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a, ok := c.action.(*host.IDMap); ok && a.Tool != "" && !(&machineLook{}).exists(a.Tool) {
				t.Skip("needs ", a.Tool)
			}
			check(t, start(t, 0, c.action, exec), "", c.cause, c.hint)
		})
	}
	_, err := Start(&plan.Plan{Steps: []plan.Step{{Action: &plan.Clone{Flags: unix.CLONE_NEWUTS}}, {Action: exec}}}, Options{})
	var f *Fault
	if !errors.As(err, &f) || f.Err != unix.EPERM {
		t.Fatalf("clone without a user namespace: %v; want EPERM", err)
	}
	if s := (&scene{host: &machineLook{}}); s.filtered() {
		t.Skip("needs no seccomp filter around, for the cause to be the lack of privilege")
	}
	check(t, f, "", "namespaces take CAP_SYS_ADMIN where no user namespace comes with them", "run as root, or have a user namespace made (rootless)")
}

// The overlay's faults need overlays that the host sees: a thread with a mount
// namespace of its own is the host here.
func TestOverlayFaults(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_ADMIN to mount an overlay on the host's side")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Skipf("needs a new mount namespace: %v", err)
	}
	dir := t.TempDir()
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("t", dir, "tmpfs", 0, "")); err != nil {
		t.Skipf("needs a tmpfs: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, d := range []string{"l", "l/sub", "u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("o", dir+"/m", "overlay", 0, fmt.Sprintf("lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", dir, dir, dir)); err != nil {
		t.Skipf("needs the overlay file system: %v", err)
	}
	for _, d := range []string{"m/u", "m/w", "u2", "w2"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name        string
		overlay     plan.Overlay
		cause, hint string
	}{
		{"on overlay", plan.Overlay{Layers: []string{dir + "/l"}, Upper: dir + "/m/u", Work: dir + "/m/w"},
			"the container's writable layer is on overlay, which overlay can't write to", "keep the writable layer in memory (--rootfs-size 1g), or the storage on ext4, xfs or tmpfs"},
		{"missing layer", plan.Overlay{Layers: []string{dir + "/l", dir + "/none"}, Upper: dir + "/u2", Work: dir + "/w2"},
			"the layer DIR/none is missing: the image is damaged", "remove the image and load or pull it again"},
		{"layer in a layer", plan.Overlay{Layers: []string{dir + "/l", dir + "/l/sub"}, Upper: dir + "/u2", Work: dir + "/w2"},
			"the same folder, or one inside another, stands twice among the layers", "remove the image and load or pull it again"},
	} {
		for _, appends := range []bool{false, true} {
			if appends && !takesLayersSingly(t) {
				t.Logf("%s, append true: needs Linux 6.7, whose overlay takes lowerdir+", c.name)
				continue
			}
			{ // no subtest: that would be another thread
				t.Logf("%s, append %t", c.name, appends)
				o := c.overlay
				o.Append, o.At = appends, dir+"/u2"
				p := &plan.Plan{Steps: []plan.Step{{Action: &plan.Clone{Flags: unix.CLONE_NEWNS}}, {Action: &o}, {Action: &plan.Pivot{}}}}
				_, err := Start(p, Options{})
				var f *Fault
				if !errors.As(err, &f) {
					t.Fatal("it was mounted")
				}
				check(t, f, dir, c.cause, c.hint)
			}
		}
	}
}

// takesLayersSingly reports whether the kernel is Linux 6.7 or newer. It can't be
// asked: an older overlay takes any option, and refuses it at the mount.
func takesLayersSingly(t *testing.T) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 7
}

// The tables hold what the printer expects: sentences without a capital or a
// full stop, verbs that there are, words that have a meaning.
func TestTables(t *testing.T) {
	verbs := strings.Fields("clone unshare uid-map gid-map write become-root propagation open overlay mount bind attach console mask " +
		"readonly mkdir symlink mknod root pivot_root seal rlimit sysctl hostname domainname seccomp capabilities bounding-set user chdir stdio " +
		"link-up mkcgroup inherit evacuate devices chown cgroup bridge veth address firewall forward release lease file folder " +
		"mount-root open-root scheduler io-priority memory-policy affinity label net-device copy-up mapped-bind remount")
	values := strings.Fields("path type target source options value name instructions uid gid groups tool at gateway address mode cpus")
	word := regexp.MustCompile(`\{([^}]*)\}`)
	for _, table := range reasons() {
		for _, r := range table {
			for _, v := range strings.Fields(r.verbs) {
				if v, _, _ := strings.Cut(v, ":"); !slices.Contains(verbs, v) {
					t.Errorf("%q: there is no verb %q", r.cause, v)
				}
			}
			for _, text := range []string{r.cause, r.remedy} {
				if text == "" || strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "...") || !strings.HasPrefix(text, "AppArmor") && unicode.IsUpper(rune(text[0])) && unicode.IsLower(rune(text[1])) {
					t.Errorf("%q is not as sentences are here", text)
				}
				for _, m := range word.FindAllStringSubmatch(text, -1) {
					known := slices.Contains(values, m[1])
					for _, w := range words {
						known = known || w.name == m[1]
					}
					if !known {
						t.Errorf("%q: the word %q means nothing", text, m[1])
					}
				}
			}
		}
	}
}
