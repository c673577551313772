// SPDX-License-Identifier: Apache-2.0

package run

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
	"vitro/plan"
)

// mountReasons are about file systems, and about what is made in the container's root.
var mountReasons = [...]reason{
	// The overlay.
	{"overlay", errs{unix.ENODEV}, nil, "this kernel has no overlay file system", "sudo modprobe overlay (in a container: on the machine that it runs on)"},
	{"overlay", errs{unix.ENOENT}, nil, "the layer {layer} is missing: the image is damaged", "remove the image and load or pull it again"},
	{"overlay", errs{unix.EINVAL}, func(s *scene) bool {
		a, ok := s.fault.Step.Action.(*plan.Overlay)
		return ok && !a.Append && a.OptionsSize() > os.Getpagesize()
	}, "the paths of the layers don't fit into one page, which is all that mount(2) takes", "use Linux 6.7 or newer, an image of fewer layers, or a shorter path for the storage"},
	{"overlay", errs{unix.EINVAL}, func(s *scene) bool { return slices.Contains(cantBeUpper, s.word("upper on")) },
		"the container's writable layer is on {upper on}, which overlay can't write to", "keep the writable layer in memory (--rootfs-size 1g), or the storage on ext4, xfs or tmpfs"},
	{"overlay", errs{unix.EINVAL}, nil, "the kernel says: {kernel}", "mend what it names; more may be in dmesg"},
	{"overlay", errs{unix.EINVAL}, func(s *scene) bool { return s.option() != "" }, "this kernel's overlay doesn't take the option {option}", "see the kernel's own words: dmesg | tail"},
	{"overlay", errs{unix.EINVAL}, nil, "overlay refuses these folders; the writable layer is on {upper on}. It can't be written on some file systems, or stacked more than twice", "see the kernel's own words: dmesg | tail"},
	{"overlay", errs{unix.EPERM}, inUser, "this kernel lets no user namespace mount an overlay", "use Linux 5.11 or newer as kernel.org has it, or run as root"},
	{"overlay", errs{unix.ELOOP}, nil, "the same folder, or one inside another, stands twice among the layers", "remove the image and load or pull it again"},
	{"overlay", errs{unix.EBUSY}, nil, "another mounted overlay uses the same writable layer", "stop the container that has it, or unmount what is left of it: grep overlay /proc/mounts"},
	{"overlay", errs{unix.ESTALE}, nil, "the writable layer was made on top of other layers", "make the container anew"},
	{"overlay", errs{unix.EROFS}, nil, "the writable layer is on a file system that is mounted read-only", "keep the storage on a writable one"},

	// File systems that show a namespace.
	{"mount:proc", errs{unix.EPERM}, nil, "the /proc around has parts of it covered ({covered}), and the kernel shows a user namespace no more than is seen around it", "run the container around with --privileged, or --security-opt systempaths=unconfined (Podman: --security-opt unmask=ALL)"},
	{"mount:proc", errs{unix.EPERM}, nil, "a user namespace mounts a /proc of its own pid namespace only, and only where the one around is fully visible", "give the container a pid namespace, or mount the /proc around: type bind"},
	{"mount:sysfs", errs{unix.EPERM}, nil, "a user namespace mounts a /sys of its own network namespace only, and only where the one around is fully visible", "give the container a network namespace, or mount the /sys around: type bind, options rbind,ro"},
	{"mount:mqueue", errs{unix.EPERM}, nil, "a user namespace mounts message queues of its own ipc namespace only", "give the container an ipc namespace, or leave /dev/mqueue out"},
	{"mount:cgroup mount:cgroup2", errs{unix.EPERM}, nil, "a user namespace mounts cgroups of its own cgroup namespace only, and only where those around are fully visible", "give the container a cgroup namespace, or mount those around: type bind"},
	{"mount:cgroup", errs{unix.EBUSY}, nil, "the controllers {options} are mounted together with others, or in use by cgroup version 2", "mount them as the host does: grep cgroup /proc/mounts"},

	// File systems and their options: the kernel's own words are the best.
	{"mount", errs{unix.ENODEV}, nil, "this kernel knows no file system {type}", "check the spelling, or load it: sudo modprobe {type}"},
	{"mount", errs{unix.EINVAL}, func(s *scene) bool { return s.value("type") == "devpts" && strings.HasPrefix(s.option(), "gid=") },
		"the group of {option} is not mapped in the user namespace: its map is {gid_map}", "leave out {option}, or map the group"},
	{"mount", errs{unix.EINVAL, unix.ENOENT, unix.ERANGE}, func(s *scene) bool { return s.option() != "" },
		"{type} doesn't take the option {option}; the kernel says: {kernel}", "mend or leave out this option of the mount on {target}"},
	{"mount", errs{unix.EINVAL, unix.ENOENT, unix.ERANGE}, func(s *scene) bool { return s.option() != "" },
		"{type} doesn't take the option {option}", "mend or leave out this option of the mount on {target}"},
	{"mount", nil, nil, "the kernel says: {kernel}", "mend the options of the mount on {target}"},
	{"mount:devpts", errs{unix.EINVAL}, nil, "an option of devpts names an ID that is not mapped in the user namespace: {options}", "leave out gid=5, or map the group"},
	{"mount", errs{unix.EINVAL}, nil, "{type} doesn't take these options together: {options}", "mend the options of the mount on {target}; more may be in dmesg"},
	{"mount", errs{unix.EPERM}, inUser, "{type} can't be mounted in a user namespace", "mount it on the host and bind it, or run as root"},
	{"mount", errs{unix.EACCES}, nil, "the device {source} can only be read, or is kept from this process by its cgroup", "add the option ro, or allow the device"},

	// Parts of the host.
	{"bind", errs{unix.ENOENT}, nil, "there is no {source} on the host", "check the spelling, or make it: mkdir -p {source}"},
	{"bind", errs{unix.ENOTDIR}, nil, "on the way to {source} there is a file where a folder should be", "check the spelling"},
	{"bind", errs{unix.EACCES}, nil, "the user who makes the container may not reach {source}", "look where the way ends: namei -l {source}"},
	{"bind", errs{unix.ELOOP}, nil, "{source} is a symbolic link that leads back to itself", "look at the links: namei {source}"},
	{"bind", errs{unix.EPERM}, func(s *scene) bool { return s.called(plan.SysMountSetattr) },
		"in a user namespace an option can't be taken off that the mount of {source} has on the host", "add the options that it has there: findmnt -no OPTIONS -T {source}"},
	{"bind", errs{unix.EINVAL}, inUser, "{source} has mounts inside that must not be uncovered in a user namespace, or may not be bound at all", "bind it with all that is inside: option rbind"},
	{"bind", errs{unix.EINVAL}, nil, "the mount of {source} is unbindable, or doesn't take these options", "look at it: findmnt -o TARGET,OPTIONS,PROPAGATION -T {source}"},

	// Putting mounts in their places.
	{"attach console", errs{unix.ELOOP}, refusesLinks,
		"it must be mounted on ordinary directory, and a symbolic link stands on the way in the image: by such links images have got out (CVE-2019-19921)", "take the link out of the image"},
	{"attach", errs{unix.ELOOP}, nil, "the image's links on the way to {target} lead in a circle, or into the files of a process (CVE-2021-30465)", "take them out of the image, or choose another place"},
	{"mask readonly", errs{unix.ELOOP}, nil, "the links on the way to {path} lead in a circle, or into the files of a process", "take them out of the image"},
	{"attach", errs{unix.ENOTDIR, unix.EINVAL}, func(s *scene) bool { return s.called(plan.SysMoveMount) && s.value("file") == "true" },
		"what is mounted is a file, and {target} is a folder in the container", "give both the same kind: name a file as the target"},
	{"attach", errs{unix.ENOTDIR, unix.EINVAL}, func(s *scene) bool { return s.called(plan.SysMoveMount) },
		"what is mounted is a folder, and {target} is a file in the container", "give both the same kind: name a folder as the target"},
	{"attach mkdir symlink mknod console", errs{unix.ENOTDIR}, nil, "on the way to it there is a file where a folder should be, in the container's root", "choose another place, or take the file out of the image"},
	{"attach mkdir symlink mknod console", errs{unix.EROFS}, child, "the place is not there, and the root file system, or a mount on the way, is read-only: nothing can be made in it", "make the place in the image or the bind mount's source before"},
	{"attach mkdir symlink mknod console", errs{unix.EOVERFLOW}, child, "the mount maps IDs, and the container's root is none of those that it knows", "have the mount's map include the container's IDs"},
	{"attach mkdir symlink mknod console", errs{unix.EACCES}, childInUser, "the container's root may not write there: the folder's owner is not mapped in its user namespace", "have the root file system belong to the mapped IDs; they are {uid_map}"},
	{"mknod", errs{unix.EPERM}, nil, "device nodes take CAP_MKNOD in the machine's first user namespace, and the leave of the device cgroup", "run as root, or bind the host's node: --mount type=bind"},
	{"attach root bind readonly mask", errs{unix.ENOSPC}, nil, "the namespace has as many mounts as fs.mount-max allows", "sudo sysctl -w fs.mount-max=200000"},
	{"attach mkdir console", errs{unix.EAGAIN}, nil, "somebody moved folders in the root while the way was looked up", "try again, with nobody at work in the root"},
	{"root", errs{unix.ENOENT}, nil, "there is no folder {at} to put the root on", "check root.path in config.json"},
	{"root", errs{unix.ENOTDIR, unix.EINVAL}, nil, "{at} is no folder, or not one of this mount namespace", "check root.path in config.json"},
	{"mount-root", errs{unix.EPERM}, nil, "the container has no mount namespace of its own, and in the one that it shares only its owner may mount", "give it one, \"mount\" in linux.namespaces, with \"user\" beside it if you aren't root"},
	{"open-root", errs{unix.ENOENT}, nil, "there is no folder {at} in the mount namespace that the container shares", "check root.path in config.json"},
	{"pivot_root", errs{unix.EINVAL}, onInitramfs, "the machine runs from its initramfs, whose root pivot_root(2) can't move", "boot to a real root: in the initramfs, copy it to a tmpfs and switch_root there"},
	{"pivot_root", errs{unix.EINVAL}, nil, "the root, or what it is mounted on, is shared with other mount namespaces", "look at it: findmnt -o TARGET,PROPAGATION /"},
	{"seal readonly", errs{unix.EPERM}, inUser, "in a user namespace this mount's options are those that it has around", "leave it writable, or make it read-only on the host"},
	{"propagation", errs{unix.EINVAL}, nil, "/ is no mount point here: this process is in a chroot", "run outside of the chroot, or bind its root on itself first: mount --bind / /"},
}

// cantBeUpper are file systems that lack what overlay's writable layer needs.
var cantBeUpper = []string{"overlay", "nfs", "fuse", "9p", "cifs", "vfat", "exfat", "ecryptfs", "lustre", "squashfs", "erofs"}

func refusesLinks(s *scene) bool {
	a, ok := s.fault.Step.Action.(*plan.Attach)
	return !ok || a.Strict
}

func inUser(s *scene) bool { return s.inUser }

func child(s *scene) bool { return !s.fault.Step.IsHost() }

func childInUser(s *scene) bool { return child(s) && s.inUser }

// onInitramfs reports whether / is the kernel's first file system.
func onInitramfs(s *scene) bool {
	for m := range mountinfo.All(s.host.read("/proc/self/mountinfo")) {
		if m.Point == "/" {
			return m.Type == "rootfs" || m.Type == "ramfs"
		}
	}
	return false
}
