// SPDX-License-Identifier: Apache-2.0

package run

import (
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// endReasons are about a child that was ended from outside before its exec.
var endReasons = [...]reason{
	{"", nil, func(s *scene) bool { return ended(s) && s.signal() == "SIGSYS" },
		"a seccomp filter ends processes that make a call of this step", "let the profile answer with an error (SCMP_ACT_ERRNO), or allow the calls of exec and prctl"},
	{"", nil, func(s *scene) bool { return ended(s) && s.signal() == "SIGKILL" },
		"somebody has ended the container while it was made: most often the kernel, for want of memory", "choose a higher --memory; dmesg says whether it was the kernel"},
	{"", nil, ended, "it was ended by {signal}", "try again, with nobody to end it"},
}

// ended reports whether there is no kernel's answer but an end.
func ended(s *scene) bool { return s.errno == 0 && !s.fault.Step.IsHost() && s.signal() != "" }

// networkReasons are about links, addresses and rules. The steps' verbs are
// package network's.
var networkReasons = [...]reason{
	{"bridge veth address firewall", errs{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT}, nil,
		"this kernel lacks what the step makes: the module is not loaded or not built", "sudo modprobe -a bridge veth nf_tables nft_chain_nat nft_masq nft_ct (in a container: on the machine that it runs on)"},
	{"firewall", errs{unix.ENOENT}, nil,
		"this kernel's nftables lacks one of the expressions", "sudo modprobe -a nf_tables nft_chain_nat nft_masq nft_ct (in a container: on the machine that it runs on)"},
	{"bridge veth firewall forward address release", errs{unix.EPERM}, nil,
		"links, addresses and rules take CAP_NET_ADMIN in the user namespace of their network namespace", "run as root; or with no network: --network none"},
	{"forward address bridge", errs{unix.EROFS}, nil, "/proc/sys is mounted read-only", "of a container around: run it with --privileged"},
	{"veth bridge", errs{unix.EEXIST}, nil, "a link of this name is there already, and is none of this network", "see what it is: ip -d link; delete it if it is left over"},
	{"firewall", errs{unix.EEXIST}, nil, "a table of this name is there already", "see what it is: nft list tables; delete it if it is left over"},
	{"address", errs{unix.EEXIST}, nil, "the address or the route is there already", "see what there is: ip addr, ip route"},
	{"veth address", errs{unix.ENODEV}, nil, "the bridge, or the container's end of the cable, was deleted meanwhile", "try again"},
	{"veth", errs{unix.EXFULL, unix.ENOSPC}, nil, "the bridge has as many ports as the kernel allows: 1024", "use another network"},
	{"veth address", errs{unix.ESRCH}, nil, "the container's first process has ended meanwhile", "try again"},
	{"address", errs{unix.ENETUNREACH, unix.EHOSTUNREACH}, nil, "the gateway {gateway} is not in the subnet of {address}", "mend the network's subnet or gateway"},
	{"lease release forward", errs{unix.EACCES, unix.EPERM}, nil, "the folder of the networks belongs to another user", "run as the user who has made the network"},
	{"bridge", errs{unix.EADDRINUSE}, nil, "another link has the gateway's address", "choose another subnet for the network"},
}

// generalReasons go for any step: they are right where nothing better is known.
var generalReasons = [...]reason{
	{"", errs{unix.EMFILE}, nil, "this process has as many open descriptors as it may", "raise the limit: ulimit -n 65536"},
	{"", errs{unix.ENFILE}, nil, "the machine has as many open files as fs.file-max allows", "sudo sysctl -w fs.file-max=1000000, or end programs"},
	{"", errs{unix.ENOMEM}, nil, "the kernel is out of memory, or the cgroup is", "choose a higher --memory, or end programs"},
	{"", errs{unix.EDQUOT}, nil, "the user's quota on this file system, or of keys, is used up", "free some, or have it raised"},
	{"", errs{unix.ENOSPC}, nil, "the file system is full, or has no more inodes", "see which: df -h, df -i"},
	{"", errs{unix.EIO}, nil, "the device under the file system has failed to read or write", "dmesg has more"},
	{"", errs{unix.ENAMETOOLONG}, nil, "a name is longer than 255 bytes, or a path than 4095", "choose a shorter one"},
	{"", errs{unix.ENOSYS}, nil, "{syscall} is unknown to this kernel, or hidden by a seccomp filter around this process", "use Linux 5.12 or newer; of a container around, --security-opt seccomp=unconfined"},
	{"", errs{unix.EPERM}, func(s *scene) bool { return s.call != nil && s.filtered() && s.call.Sys != plan.SysWrite },
		"{syscall} is forbidden to this process: it lacks the privilege, or a seccomp filter around it says so", "of a container around, run it with --privileged"},
	{"file folder mkdir open chown", errs{unix.EACCES, unix.EPERM}, nil, "this user may not reach or change {path}", "look where the way ends: namei -l {path}"},
	{"file folder mkdir open chown", errs{unix.ENOENT}, nil, "a part of {path} is not there", "look where the way ends: namei -l {path}"},
	{"file folder mkdir chown", errs{unix.EROFS}, nil, "{path} is on a file system that is mounted read-only", "keep the state on a writable one: --root DIR"},
	{"mkdir file folder", errs{unix.EEXIST}, nil, "{path} is there already: another container's, or left over", "choose another name, or remove it"},
}
