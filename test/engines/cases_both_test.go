// SPDX-License-Identifier: Apache-2.0

package engines

import "fmt"

var sprintf = fmt.Sprintf

// common are words of all engines' scripts. cg FILE prints a file of the
// container's own cgroup as it sees it: the name on v1, then that on v2.
const common = `
until_true() { local n; for n in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never true: $*" >&2; return 1; }
cg() { echo "cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2"; }
state() { e inspect -f "{{.State.$1}}" "$c"; }
is() { [ "$(state "$1")" = "$2" ]; }
pty() { script -qec "$1" /dev/null </dev/null; }
`

// bothCases are for Podman and for Docker: the same words at the prompt.
var bothCases = []testCase{
	// Start, exit codes, and what is said when nothing can be started.
	{name: "run", script: `once $img echo hello`, want: "hello", short: true},
	{name: "exit code", script: `once $img sh -c 'exit 7'`, code: 7},
	{name: "no such command", script: `once $img nosuch`, code: 127, stderr: "(?i)executable file .*not found|no such file or directory"},
	{name: "no such file", script: `once $img /no/such`, code: 127, stderr: "(?i)no such file or directory"},
	{name: "not executable", script: `once $img /etc/plain`, code: 126, stderr: "(?i)permission denied"},
	{name: "a folder", script: `once $img /etc`, code: 126, stderr: "(?i)permission denied|is a directory"},
	{name: "no interpreter", script: `once $img script; case $? in 1 | 126 | 127 | 255) echo refused; esac`, want: "refused", stderr: "(?i)no such file or directory"},
	{name: "the engine's own error", script: `once --no-such-flag $img true`, code: 125},
	{name: "a device that isn't there", script: `once --device /dev/nosuch $img true`, code: 125 + 0, stderr: "no such file or directory", only: "podman"},
	{name: "what could not be started is created", script: `run $img nosuch 2>/dev/null; state Status`, want: "created"},

	// Streams.
	{name: "stdin", script: `printf 'a\nb\n' | once -i $img cat`, want: "a\nb"},
	{name: "stdin closed", script: `once $img cat`, want: ""},
	{name: "stderr", script: `once $img sh -c 'echo out; echo err >&2'`, want: "out", stderr: "err"},
	{name: "much output", script: `once $img sh -c 'yes 0123456789abcde | head -n 100000' | cksum`, want: "~[0-9]+ 1700000|[0-9]+ 1600000"},
	{name: "tty", script: `pty "$E run --network none --rm -t $img sh -c 'tty; test -t 0 && test -t 2 && echo yes'"`, want: "/dev/pts/0\nyes"},
	{name: "tty's size", script: `pty "stty cols 91 rows 33; $E run --network none --rm -it $img sh -c 'for i in 1 2 3 4 5; do stty size; sleep .2; done'"`, want: `~.*33 91`},
	{name: "tty, detached, attached", script: `run -dit $img sh -c 'read x; echo got $x; exit 3' >/dev/null
		pty "(sleep 1; echo word) | script -qec '$E attach $c' /dev/null" >/dev/null; e wait $c; e logs $c | tr -d '\r' | grep got`, want: "3\ngot word", only: "none"},
	{name: "logs", script: `run -d $img sh -c 'echo one; echo two >&2' >/dev/null; e wait $c; e logs $c 2>&1 | sort`, want: "0\none\ntwo"},
	{name: "logs of a terminal", script: `run -dt $img sh -c 'echo one; echo two >&2' >/dev/null; e wait $c; e logs $c`, want: "0\none\ntwo"},
	{name: "attach", script: `e create -i --network none --name $c $img sh -c 'read x; echo got $x; exit 3' >/dev/null; echo word | e start -ai $c`, want: "got word", code: 3},

	// Life cycle.
	{name: "wait", script: `run -d $img sh -c 'sleep .5; exit 5' >/dev/null; e wait $c; state ExitCode`, want: "5\n5"},
	{name: "stop by TERM", script: `run -d $img sh -c 'trap "exit 9" TERM; while :; do sleep .1; done' >/dev/null; sleep .5; e stop -t 20 $c >/dev/null; state ExitCode`, want: "9", short: true},
	{name: "stop by KILL", script: `run -d $img sleep 1000 >/dev/null; e stop -t 1 $c >/dev/null 2>&1; state ExitCode`, want: "137"},
	{name: "stop signal", script: `run -d --stop-signal USR1 $img sh -c 'trap "exit 9" USR1; while :; do sleep .1; done' >/dev/null; sleep .5; e stop -t 20 $c >/dev/null; state ExitCode`, want: "9"},
	{name: "kill", script: `run -d $img sleep 1000 >/dev/null; e kill $c >/dev/null; e wait $c; state Running`, want: "137\nfalse"},
	{name: "kill with a signal", script: `run -d $img sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep .1; done' >/dev/null
		until_true sh -c "$E logs $c | grep ready"; e kill -s USR1 $c >/dev/null; until_true sh -c "$E logs $c | grep usr1"; state Running`, want: "true"},
	{name: "kill what has ended", script: `run $img true; e kill $c`, code: 1, only: "docker", stderr: "not running"},
	{name: "kill what has ended (podman)", script: `run $img true; e kill $c`, code: 125, only: "podman"},
	{name: "start again", script: `run $img sh -c 'echo x >>/data/f; wc -l </data/f' && e start -a $c && e restart -t 0 $c >/dev/null && e wait $c && e logs $c | tail -n 1`, want: "1\n2\n0\n3"},
	{name: "create and start", script: `e create --network none --name $c $img sh -c 'echo $0 started' me >/dev/null; state Status; e start -a $c`, want: "created\nme started"},
	{name: "create and rm", script: `e create --network none --name $c $img true >/dev/null; e rm $c >/dev/null; e inspect $c >/dev/null 2>&1 && echo there; true`, want: ""},
	{name: "rm of what runs", script: `run -d $img sleep 1000 >/dev/null; e rm $c >/dev/null 2>&1 || echo refused; e rm -f $c >/dev/null; e inspect $c >/dev/null 2>&1 || echo gone`, want: "refused\ngone"},
	{name: "rm leaves nothing of the process", script: `run -d $img sleep 1000 >/dev/null; p=$(state Pid); e rm -f $c >/dev/null; until_true sh -c "! kill -0 $p" && echo gone`, want: "gone"},
	{name: "restart policy", script: `run -d --restart on-failure:2 $img sh -c 'echo run; exit 1' >/dev/null
		until_true sh -c "$E logs $c | grep -c run | grep 3"; until_true is Running false; e logs $c; state ExitCode`, want: "run\nrun\nrun\n1"},
	{name: "pause", script: `run -d $img sh -c 'while :; do echo x; sleep .05; done' >/dev/null; sleep .3; e pause $c >/dev/null; state Paused
		a=$(e logs $c | wc -l); sleep .5; b=$(e logs $c | wc -l); test $a = $b && echo still; e unpause $c >/dev/null; state Paused
		until_true sh -c "test \$($E logs $c | wc -l) -gt $b" && echo moving`, want: "true\nstill\nfalse\nmoving"},
	{name: "exec in what is paused", script: `run -d $img sleep 1000 >/dev/null; e pause $c >/dev/null; e exec $c true 2>/dev/null || echo refused; e unpause $c >/dev/null; e exec $c echo ran`, want: "refused\nran"},
	{name: "kill of what is paused", script: `run -d $img sleep 1000 >/dev/null; e pause $c >/dev/null; e rm -f $c >/dev/null; e inspect $c >/dev/null 2>&1 || echo gone`, want: "gone"},

	// Exec.
	{name: "exec", script: `run -d --hostname h $img sleep 1000 >/dev/null; e exec $c sh -c 'hostname; id -u; pwd; exit 3'`, want: "h\n0\n/", code: 3, short: true},
	{name: "exec as another", script: `run -d $img sleep 1000 >/dev/null; e exec -u 1000:2000 -w /tmp -e A=b $c sh -c 'id -u; id -g; pwd; echo $A; echo $FROM_IMAGE'`, want: "1000\n2000\n/tmp\nb\nyes"},
	{name: "exec by name", script: `run -d $img sleep 1000 >/dev/null; e exec -u user $c id`, want: "~uid=1000\\(user\\) gid=1000\\(user\\) groups=(1000\\(user\\),)?2000\\(more\\)"},
	{name: "exec with stdin", script: `run -d $img sleep 1000 >/dev/null; printf 'x\ny\n' | e exec -i $c wc -l`, want: "2"},
	{name: "exec with a tty", script: `run -d $img sleep 1000 >/dev/null; pty "$E exec -it $c sh -c 'tty; test -t 0 && echo yes'"`, want: "/dev/pts/0\nyes"},
	// Docker 20 says it on stdout, and ends with 126 in both cases.
	{name: "exec of nothing", script: `run -d $img sleep 1000 >/dev/null; e exec $c nosuch 2>&1; echo $?`, want: "~(?i).*(executable file .*not found|no such file or directory).*\n12[67]"},
	{name: "exec of what can't be", script: `run -d $img sleep 1000 >/dev/null; e exec $c /etc/plain 2>&1; echo $?`, want: "~(?i).*permission denied.*\n126"},
	{name: "exec in the background", script: `run -d $img sleep 1000 >/dev/null; e exec -d $c sh -c 'echo there >/data/f' >/dev/null; until_true e exec $c test -s /data/f; e exec $c cat /data/f`, want: "there"},
	{name: "exec with all capabilities", script: `run -d $img sleep 1000 >/dev/null; a=$(e exec $c grep CapEff /proc/self/status); b=$(e exec --privileged $c grep CapEff /proc/self/status); test "$a" != "$b" && echo more`, want: "more"},
	{name: "exec in the cgroup", script: `run -d $img sleep 1000 >/dev/null; a=$(e exec $c cat /proc/1/cgroup); b=$(e exec $c cat /proc/self/cgroup); test "$a" = "$b" && echo same`, want: "same"},
	{name: "exec in the namespaces", script: `run -d $img sleep 1000 >/dev/null; e exec $c sh -c 'for n in mnt pid net ipc uts cgroup; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n; done'`, want: ""},
	{name: "many execs", script: `run -d $img sleep 1000 >/dev/null; for i in 1 2 3 4 5 6 7 8; do e exec $c sh -c "exit $i" & p[i]=$!; done; s=0; for i in 1 2 3 4 5 6 7 8; do wait ${p[i]}; s=$((s+$?)); done; echo $s`, want: "36"},
	{name: "exec ends with the container", script: `run -d $img sleep 1000 >/dev/null; e exec $c sleep 1000 & sleep .7; e kill $c >/dev/null; wait $!`, code: 137},

	// What the process finds.
	{name: "environment", script: `once -e A=b -e EMPTY= $img sh -c 'echo $A $FROM_IMAGE $PATH; env | grep -c ^EMPTY=$'`, want: "b yes /usr/bin:/bin\n1"},
	{name: "folder", script: `once -w /home $img pwd`, want: "/home"},
	{name: "user", script: `once -u 1000:2000 $img sh -c 'id -u; id -g; id -G; grep CapEff /proc/self/status'`, want: "~1000\n2000\n2000\nCapEff:\\s+0{16}"},
	{name: "groups", script: `once -u user --group-add 3000 $img id -G`, want: "1000 2000 3000"},
	{name: "host name", script: `once --hostname box $img hostname`, want: "box"},
	{name: "process 1", script: `once $img sh -c 'echo $$; ps -o pid='`, want: "~1\\s+1(\\s+\\d+)?"},
	{name: "mounts", script: `once $img sh -c 'for m in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do grep -q " $m " /proc/mounts && echo $m; done'`, want: "/proc\n/dev\n/dev/pts\n/dev/shm\n/dev/mqueue\n/sys"},
	{name: "devices", script: `once $img sh -c 'cd /dev; echo x >null; head -c 4 zero | wc -c; for l in fd stdin stdout stderr ptmx; do readlink $l; done'`, want: "4\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx"},
	{name: "no descriptor of others", script: `once $img sh -c 'ls /proc/self/fd | xargs'`, want: "0 1 2 3"},
	{name: "masked paths", script: `once $img sh -c 'cat /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | xargs; echo 1 >/proc/sys/kernel/printk' 2>/dev/null`, want: "0", code: 1},
	{name: "capabilities", script: `once --cap-drop ALL --cap-add CHOWN $img grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status`, want: "~(Cap...:\\s+0{15}1\n?){3}"},
	{name: "no new privileges", script: `once --security-opt no-new-privileges $img grep NoNewPrivs /proc/self/status`, want: "~NoNewPrivs:\\s+1"},
	{name: "seccomp", script: `once $img sh -c 'grep Seccomp: /proc/self/status; unshare -m true 2>/dev/null || echo denied'`, want: "~Seccomp:\\s+2\ndenied"},
	{name: "no seccomp", script: `once --security-opt seccomp=unconfined $img grep Seccomp: /proc/self/status`, want: "~Seccomp:\\s+0"},
	{name: "a seccomp profile", script: `echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >$dir/$c.json
		once --security-opt seccomp=$dir/$c.json $img sh -c 'mkdir /tmp/x 2>&1; echo after'`, want: "mkdir: can't create directory '/tmp/x': Operation not permitted\nafter"},
	{name: "sysctl", script: `once --sysctl net.ipv4.ip_unprivileged_port_start=1 $img cat /proc/sys/net/ipv4/ip_unprivileged_port_start`, want: "1"},
	{name: "limits of the process", script: `once --ulimit nofile=100:200 --ulimit core=0 --ulimit nproc=4096 $img sh -c 'ulimit -n; ulimit -Hn; ulimit -c'`, want: "100\n200\n0"},
	{name: "oom score", script: `once --oom-score-adj 500 $img cat /proc/self/oom_score_adj`, want: "500"},
	// In a user namespace the host's node is mounted, so it has to have the same name there.
	{name: "a device", script: `once --device /dev/null:/dev/mine:rw $img sh -c 'echo x >/dev/mine && stat -c "%F %t %T" /dev/mine'`, want: "character special file 1 3", only: "podman docker"},
	{name: "devices are denied", script: `once --cap-add MKNOD $img sh -c 'mknod /dev/x b 254 0 && head -c 1 /dev/x' 2>&1 | tail -n 1`, want: "~.*Operation not permitted"},
	{name: "privileged", script: `once --privileged $img sh -c 'mount -t tmpfs t /data && grep -c " /data " /proc/mounts; test -w /proc/sys/kernel/printk && echo writable; grep Seccomp: /proc/self/status'`, want: "~1\nwritable\nSeccomp:\\s+0", only: "podman"},
	// Docker's --privileged asks for more than a machine without CAP_SYS_RESOURCE has.
	{name: "nearly privileged", script: `once --cap-add ALL --cap-drop SYS_RESOURCE --security-opt seccomp=unconfined --security-opt systempaths=unconfined $img sh -c 'mount -t tmpfs t /data && grep -c " /data " /proc/mounts; grep Seccomp: /proc/self/status'`, want: "~1\nSeccomp:\\s+0", only: "docker"},

	// Files.
	{name: "read-only", script: `once --read-only $img sh -c 'touch /x 2>&1; touch /dev/shm/x && echo shm'`, want: "touch: /x: Read-only file system\nshm"},
	{name: "tmpfs", script: `once --tmpfs /t:size=64k,mode=1777 $img sh -c 'grep " /t " /proc/mounts | cut -d" " -f3; dd if=/dev/zero of=/t/f bs=1k count=65 2>&1 | grep -c "No space"; stat -c %a /t'`, want: "tmpfs\n1\n1777"},
	{name: "a volume", script: `mkdir -p $dir/$c.v; chmod 777 $dir/$c.v; echo in >$dir/$c.v/f; once -v $dir/$c.v:/v $img sh -c 'cat /v/f; echo out >/v/g'; cat $dir/$c.v/g`, want: "in\nout"},
	{name: "a read-only volume", script: `mkdir -p $dir/$c.v; once -v $dir/$c.v:/v:ro $img touch /v/f`, code: 1, stderr: "Read-only file system"},
	{name: "a file as volume", script: `echo text >$dir/$c.f; once -v $dir/$c.f:/a/b/c $img cat /a/b/c`, want: "text"},
	{name: "a named volume", script: `e volume create $c >/dev/null; once -v $c:/data $img sh -c 'echo x >/data/f'; once -v $c:/data $img cat /data/f; e volume rm $c >/dev/null`, want: "x"},
	{name: "size of shm", script: `once --shm-size 1m $img sh -c 'df -k /dev/shm | tail -n 1 | awk "{print \$2}"'`, want: "1024"},
	{name: "cp", script: `run -d $img sleep 1000 >/dev/null; echo text >$dir/$c.f; e cp $dir/$c.f $c:/data/g >/dev/null 2>&1; e exec $c cat /data/g`, want: "text"},

	// Limits, as the kernel has them.
	{name: "memory", script: `once -m 64m --memory-swap 64m $img sh -c "$(cg memory/memory.limit_in_bytes memory.max)"`, want: "67108864", short: true},
	{name: "pids", script: `once --pids-limit 50 $img sh -c "$(cg pids/pids.max pids.max)"`, want: "50"},
	{name: "pids reached", script: `once --pids-limit 5 $img sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 3 & done' 2>&1 | grep -ci "resource temporarily unavailable\|can.t fork"`, want: "~[1-9]"},
	{name: "processors", script: `once --cpus 0.5 $img sh -c "$(cg cpu/cpu.cfs_quota_us cpu.max)"`, want: "~50000( 100000)?"},
	{name: "shares", script: `once --cpu-shares 512 $img sh -c "$(cg cpu/cpu.shares cpu.weight)"`, want: "~512|20|59"},
	{name: "cpuset", script: `once --cpuset-cpus 0 $img sh -c "grep Cpus_allowed_list /proc/self/status"`, want: "~Cpus_allowed_list:\\s+0"},
	{name: "out of memory", script: `run -m 16m --memory-swap 16m $img sh -c 'tail /dev/zero; exit $?'`, code: 137},
	// dockerd loses the event now and then, with any runtime, if the exit comes first.
	{name: "out of memory, process 1", script: `for n in 1 2 3; do run -m 16m --memory-swap 16m $img tail /dev/zero; echo $?; ! is OOMKilled true || break; e rm $c >/dev/null; done; state OOMKilled`, want: "~(137\n)+true", only: "docker dockerusers"},
	{name: "update", script: `run -d -m 64m --memory-swap 64m $img sleep 1000 >/dev/null; e update -m 32m --memory-swap 32m --cpu-shares 256 $c >/dev/null; e exec $c sh -c "$(cg memory/memory.limit_in_bytes memory.max)"; e exec $c sh -c "$(cg cpu/cpu.shares cpu.weight)"`, want: "~33554432\n(256|10|35)"},

	// Looking in.
	{name: "top", script: `run -d $img sleep 1000 >/dev/null; e top $c | tail -n 1 | grep -o 'sleep 1000'`, want: "sleep 1000"},
	{name: "stats", script: `run -d -m 64m $img sleep 1000 >/dev/null; e stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' $c`, want: "~1 .* / (64MiB|67.11MB)"},
	{name: "inspect", script: `run -d $img sleep 1000 >/dev/null; state Status; test -d /proc/$(state Pid)/ns && echo alive`, want: "running\nalive"},
	{name: "ps", script: `run -d $img sleep 1000 >/dev/null; e ps --filter name=^$c\$ --format '{{.Status}}' | cut -c1-2; e kill $c >/dev/null; e wait $c; e ps -a --filter name=^$c\$ --format '{{.Status}}' | cut -c1-12`, want: "Up\n137\nExited (137)"},

	// Sharing namespaces.
	{name: "network of another", script: `run -d $img sleep 1000 >/dev/null; a=$(e exec $c readlink /proc/self/ns/net); b=$(e run --rm --network container:$c $img readlink /proc/self/ns/net); test $a = $b && echo same`, want: "same"},
	{name: "processes of another", script: `run -d $img sleep 1000 >/dev/null; once --pid container:$c $img ps -o args= | grep -c '^sleep 1000'`, want: "1"},
	{name: "ipc of another", script: `run -d --ipc shareable $img sleep 1000 >/dev/null; a=$(e exec $c readlink /proc/self/ns/ipc); b=$(once --ipc container:$c $img readlink /proc/self/ns/ipc); test $a = $b && echo same`, want: "same"},
	{name: "processes of the host", script: `once --pid host $img readlink /proc/self/ns/pid | grep -c $(readlink /proc/self/ns/pid | tr -dc 0-9)`, want: "1", only: "podman docker"},
	{name: "names of the host", script: `once --uts host $img hostname | grep -cx "$(hostname)"`, want: "1"},
	{name: "network of the host", script: `e run --rm --network host $img readlink /proc/self/ns/net | grep -c $(readlink /proc/self/ns/net | tr -dc 0-9)`, want: "1", only: "podman docker"},

	// Networks.
	{name: "a bridge", script: `e run --rm --name $c $img sh -c 'ip -o -4 addr show eth0 | wc -l; ip route | grep -c default'`, want: "1\n1"},
	{name: "a published port", script: `e run -d --name $c -p 127.0.0.1:18080:80 $img sh -c 'echo served >/data/index.html; httpd -f -p 80 -h /data' >/dev/null; until_true busybox wget -qO- http://127.0.0.1:18080/; busybox wget -qO- http://127.0.0.1:18080/`, want: "served", alone: true},

	// Many.
	{name: "a hundred", alone: true, only: "podman docker", script: `seq 100 | xargs -P 8 -I N sh -c "$E run --rm --network none $img echo N" | sort -n | cksum; seq 100 | cksum`, want: "~(\\d+ \\d+)\n(\\d+ \\d+)"},
}
