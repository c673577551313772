// SPDX-License-Identifier: Apache-2.0

package lab

// checks is the table of what is asked about each lesson. In see, $LAB is the
// lab's folder and $PID the lesson's process.
var checks = [...]struct {
	lesson string
	rows   []row
}{
	{"root", []row{
		{"root has the usual folders", "ls $LAB/root", folders},
		{"root/bin/busybox is a program that needs no loader", "ldd $LAB/root/bin/busybox", static},
		{"it has at least a hundred names in root/bin", "stat --format %h $LAB/root/bin/busybox", names},
	}},
	{"overlay", []row{
		{"merged is an overlay of lower1 over lower2, with upper and work", "findmnt $LAB/overlay/merged", layered},
		{"both comes from lower1", "cat $LAB/overlay/merged/both", isText("overlay/merged/both", "from lower1")},
		{"changed was copied up, and has a line more", "cat $LAB/overlay/upper/changed", isText("overlay/upper/changed", "from lower2\nand a line")},
		{"the one in lower2 is as it was", "cat $LAB/overlay/lower2/changed", isText("overlay/lower2/changed", "from lower2")},
		{"hidden is a whiteout in upper", "ls -l $LAB/overlay/upper/hidden", whiteout},
		{"the one in lower2 is still there", "cat $LAB/overlay/lower2/hidden", isText("overlay/lower2/hidden", "from lower2")},
		{"made lies in upper", "ls $LAB/overlay/upper/made", isText("overlay/upper/made", "new")},
	}},
	{"private", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/private /proc/[0-9]*/environ", begun("private")},
		{"its root is not yours", "ls /proc/$PID/root", rootIn("private", "private/merged")},
		{"it sees /MANIFEST", "cat /proc/$PID/root/MANIFEST", manifest},
		{"the file lies in upper, and not in the layer below", "ls $LAB/private/upper $LAB/root", privately},
	}},
	{"uts", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/uts /proc/[0-9]*/environ", begun("uts")},
		{"its UTS namespace is not yours", "readlink /proc/$PID/ns/uts /proc/self/ns/uts", apart("uts", "uts")},
		{"its host name is lab-uts", "nsenter -t $PID -u hostname", hostname("uts", "lab-uts")},
	}},
	{"pid", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/pid /proc/[0-9]*/environ", begun("pid")},
		{"it has a number more than you have, or is 1 there", "grep NSpid /proc/$PID/status", numbers("pid", 1)},
		{"its /proc shows its own namespace", "cat /proc/$PID/root/proc/1/comm", ownProc("pid")},
	}},
	{"mnt", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/mnt /proc/[0-9]*/environ", begun("mnt")},
		{"its mount namespace is not yours", "readlink /proc/$PID/ns/mnt /proc/self/ns/mnt", apart("mnt", "mnt")},
		{"it has a tmpfs on mnt/place, and you have none", "findmnt -N $PID $LAB/mnt/place", mountedThere},
		{"a note is in there", "cat /proc/$PID/root$LAB/mnt/place/note", textThere("mnt", "mnt/place/note", "hello")},
	}},
	{"ipc", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/ipc /proc/[0-9]*/environ", begun("ipc")},
		{"its IPC namespace is not yours", "readlink /proc/$PID/ns/ipc /proc/self/ns/ipc", apart("ipc", "ipc")},
		{"it has a queue of System V's", "nsenter -t $PID -i ipcs -q", queue},
		{"it has a queue called letters", "ls /proc/$PID/root$LAB/ipc/mqueue", textThere("ipc", "ipc/mqueue/letters", "QSIZE:")},
	}},
	{"net", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/net /proc/[0-9]*/environ", begun("net")},
		{"its network namespace is not yours", "readlink /proc/$PID/ns/net /proc/self/ns/net", apart("net", "net")},
		{"it has no link but lo", "nsenter -t $PID -n ip link", onlyLo},
		{"lo is up", "nsenter -t $PID -n ip address show lo", loUp},
	}},
	{"time", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/time /proc/[0-9]*/environ", begun("time")},
		{"its time namespace is not yours", "readlink /proc/$PID/ns/time /proc/self/ns/time", apart("time", "time")},
		{"its clock since boot is ten days ahead", "cat /proc/$PID/timens_offsets", tenDays},
	}},
	{"user", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/user /proc/[0-9]*/environ", begun("user")},
		{"its user namespace is not yours", "readlink /proc/$PID/ns/user /proc/self/ns/user", apart("user", "user")},
		{"user 0 in there is mapped", "cat /proc/$PID/uid_map", mapped("uid_map")},
		{"group 0 in there is mapped", "cat /proc/$PID/gid_map", mapped("gid_map")},
		{"groups can't be dropped", "cat /proc/$PID/setgroups", denied},
	}},
	{"caps", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/caps /proc/[0-9]*/environ", begun("caps")},
		{"its user namespace is not yours", "readlink /proc/$PID/ns/user /proc/self/ns/user", apart("caps", "user")},
		{"that namespace owns its UTS namespace", "lsns -p $PID -o NS,TYPE,ONS", owns("caps", "uts")},
		{"its capabilities are CHOWN and KILL, and it can get no others", "grep Cap /proc/$PID/status", two},
	}},
	{"pivot", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/pivot /proc/[0-9]*/environ", begun("pivot")},
		{"its mount namespace is not yours", "readlink /proc/$PID/ns/mnt /proc/self/ns/mnt", apart("pivot", "mnt")},
		{"the root of that namespace is the overlay", "findmnt -N $PID /", rootIn("pivot", "pivot/new")},
		{"nothing of the old tree is mounted any more", "findmnt -N $PID", onlyMounts("pivot", "/ /proc")},
		{"its /proc shows its own namespace", "cat /proc/$PID/root/proc/1/comm", ownProc("pivot")},
	}},
	{"dev", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/dev /proc/[0-9]*/environ", begun("dev")},
		{"its namespaces are not yours", "lsns -p $PID", apart("dev", "mnt", "pid", "net", "ipc", "uts", "cgroup")},
		{"the root of its mount namespace is the overlay", "findmnt -N $PID /", rootIn("dev", "dev/new")},
		{"proc, sysfs, cgroup2 and mqueue are where they belong", "findmnt -N $PID", pseudo},
		{"the devices are there", "ls -l /proc/$PID/root/dev", devices},
		{"nothing of the old tree is mounted any more", "findmnt -N $PID",
			onlyMounts("dev", "/ /proc /sys /sys/fs/cgroup /dev /dev/mqueue /dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero")},
		{"its host name is lab-dev", "nsenter -t $PID -u hostname", hostname("dev", "lab-dev")},
	}},
	{"nsenter", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/nsenter /proc/[0-9]*/environ", begun("nsenter")},
		{"its namespaces are those of lesson 13", "lsns -p $PID", joined},
		{"it is not number 1 there", "grep NSpid /proc/$PID/status", notFirst},
	}},
	{"archive", []row{
		{"lab.tar has a manifest with two layers", "tar -xOf $LAB/archive/lab.tar manifest.json", archived},
		{"the configuration names the layers by their sums", "tar -xOf $LAB/archive/lab.tar config.json", summed},
		{"fs has the file of the upper layer", "cat $LAB/archive/fs/etc/motd", isText("archive/fs/etc/motd", "hello from layer 2")},
		{"what the whiteout hides is gone, and so is the whiteout", "find $LAB/archive/fs -name vi -o -name '.wh.*'", whitened},
	}},
	{"nested", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/nested /proc/[0-9]*/environ", begun("nested")},
		{"it has two numbers more than you have, and is 1", "grep NSpid /proc/$PID/status", numbers("nested", 2)},
		{"its user namespace is two below yours", "lsns -p $PID -t user -o NS,PNS", grandchild},
		{"its root is an overlay in memory", "findmnt -N $PID /", rootOverlay("nested")},
		{"its host name is lab-inner", "nsenter -t $PID -U -u --preserve-credentials hostname", hostname("nested", "lab-inner")},
	}},
	{"cpu", []row{
		{"the group vitro-lab/cpu is there", "find /sys/fs/cgroup -path '*vitro-lab/cpu'", group("cpu", "cpu")},
		{"it may have half a processor", "grep . $(find /sys/fs/cgroup -path '*vitro-lab/cpu')/cpu.*", half},
		{"a process has burned time in it", "cat $(find /sys/fs/cgroup -path '*vitro-lab/cpu')/cpu.stat", burned},
	}},
	{"shares", []row{
		{"the groups a, b and c are there", "find /sys/fs/cgroup -path '*vitro-lab/[abc]'", group("cpu", "a", "b", "c")},
		{"they have 2048, 512 and 80 shares", "grep . $(find /sys/fs/cgroup -path '*vitro-lab/[abc]')/cpu.*", weights},
		{"they got 77, 19 and 3 % of what they had", "cat $LAB/shares/[abc]", obtained},
	}},
	{"memory", []row{
		{"the group vitro-lab/memory is there", "find /sys/fs/cgroup -path '*vitro-lab/memory'", group("memory", "memory")},
		{"it may have 10 MB", "grep . $(find /sys/fs/cgroup -path '*vitro-lab/memory')/memory.*", tenMB},
		{"somebody was killed for it", "grep oom_kill $(find /sys/fs/cgroup -path '*vitro-lab/memory')/memory.*", oomKilled},
	}},
	{"pids", []row{
		{"the group vitro-lab/pids is there", "find /sys/fs/cgroup -path '*vitro-lab/pids'", group("pids", "pids")},
		{"it may have 30 processes", "cat $(find /sys/fs/cgroup -path '*vitro-lab/pids')/pids.max", thirty},
		{"one more was refused", "cat $(find /sys/fs/cgroup -path '*vitro-lab/pids')/pids.events", refused},
	}},
	{"delegate", []row{
		{"the group vitro-lab/delegated is there", "find /sys/fs/cgroup -path '*vitro-lab/delegated'", group("", "delegated")},
		{"it is an ordinary user's, and so are the files to delegate", "ls -ln $(find /sys/fs/cgroup -path '*vitro-lab/delegated')", delegated},
		{"its limits are not", "ls -ln $(find /sys/fs/cgroup -path '*vitro-lab/delegated')", limitsKept},
		{"the user has made a group, and moved a process there", "cat $(find /sys/fs/cgroup -path '*vitro-lab/delegated')/two/cgroup.procs", moved},
	}},
	{"cgroupns", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/cgroupns /proc/[0-9]*/environ", begun("cgroupns")},
		{"its cgroup is vitro-lab/view", "cat /proc/$PID/cgroup", inView},
		{"its cgroup namespace is not yours", "readlink /proc/$PID/ns/cgroup /proc/self/ns/cgroup", apart("cgroupns", "cgroup")},
		{"that begins at its cgroup", "nsenter -t $PID -C grep ^0: /proc/$PID/cgroup", viewFromInside},
	}},
	{"veth", []row{
		{"a process of the lesson is there", "grep -l VITRO_LAB=$LAB/veth /proc/[0-9]*/environ", begun("veth")},
		{"its network namespace is not yours", "readlink /proc/$PID/ns/net /proc/self/ns/net", apart("veth", "net")},
		{"your end lab-0 is up, with 198.51.100.1", "ip -d address show lab-0", end("", "lab-0", "198.51.100.1/30")},
		{"its end lab-1 is up, with 198.51.100.2", "nsenter -t $PID -n ip -d address show lab-1", innerEnd},
		{"ip(8) knows the namespace as lab-veth", "ip netns pids lab-veth", named},
	}},
	{"nc", []row{
		{"the cable of lesson 23 is there", "ip -d address show lab-0", end("", "lab-0", "198.51.100.1/30")},
		{"the client got lines that grow", "cat $LAB/nc", growing},
	}},
	{"bridge", []row{
		{"the namespaces lab-host, lab-a, lab-b and lab-out are there", "ip netns", spaces},
		{"in lab-host, lab-br is a bridge with 192.0.2.1", "ip -n lab-host -d address show lab-br", end("lab-host", "lab-br", "192.0.2.1/24")},
		{"lab-a and lab-b are plugged into it", "ip -n lab-host link show master lab-br", plugged},
		{"the containers have their addresses and a way out", "ip -n lab-a address; ip -n lab-a route", wayOut},
		{"the server has its address", "ip -n lab-out address", end("lab-out", "eth0", "203.0.113.2/24")},
		{"lab-host passes packets on", "ip netns exec lab-host cat /proc/sys/net/ipv4/ip_forward", forwards},
		{"and puts its own address in", "ip netns exec lab-host nft list table ip vitro-lab", masquerades},
	}},
	{"clean", []row{
		{"no process of the lab's is left", "grep -l VITRO_LAB=$LAB/ /proc/[0-9]*/environ", noProcesses},
		{"nothing is mounted below the folder", "findmnt -l | grep $LAB", noMounts},
		{"no group of the lab's is left", "find /sys/fs/cgroup -name vitro-lab", noGroups},
		{"no link and no network namespace of the lab's is left", "ip link; ip netns", noLinks},
		{"no folder of the lab's is left", "ls -d $LAB", noFolder},
	}},
}
