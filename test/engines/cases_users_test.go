// SPDX-License-Identifier: Apache-2.0

package engines

// userCases are for a dockerd whose containers have a user namespace.
var userCases = []testCase{
	{name: "users of its own", script: `once $img sh -c 'cat /proc/self/uid_map | xargs; id -u; touch /data/f; stat -c %u /data/f'`, want: "0 400000 65536\n0\n0", short: true},
	{name: "users of its own, exec", script: `run -d $img sleep 1000 >/dev/null; e exec -t $c sh -c 'cat /proc/self/uid_map | xargs; id -u'; stat -c %u /proc/$(state Pid)`, want: "0 400000 65536\n0\n400000"},
	{name: "the host's users", script: `once --userns host $img sh -c 'cat /proc/self/uid_map | xargs'`, want: "0 0 4294967295"},
}

// rootlessCases are for a Podman that an ordinary user runs.
var rootlessCases = []testCase{
	{name: "run", script: `once $img sh -c 'id -u; cat /proc/self/uid_map | xargs'; `, want: "0\n0 4321 1 1 400000 65536", short: true},
	{name: "exit code", script: `once $img sh -c 'exit 7'`, code: 7},
	{name: "no such command", script: `once $img nosuch`, code: 127},
	{name: "not executable", script: `once $img /etc/plain`, code: 126},
	{name: "stdin", script: `printf 'a\nb\n' | once -i $img cat`, want: "a\nb"},
	{name: "tty", script: `pty "$E run --network none --rm -t $img tty"`, want: "/dev/pts/0"},
	{name: "exec", script: `run -d $img sleep 1000 >/dev/null; e exec -u 1000 $c sh -c 'id -u; exit 3'`, want: "1000", code: 3},
	{name: "exec with a tty", script: `run -d $img sleep 1000 >/dev/null; pty "$E exec -it $c tty"`, want: "/dev/pts/0"},
	{name: "another user", script: `once -u 1000:1000 $img sh -c 'id -u; id -g; touch /tmp/f && stat -c %u:%g /tmp/f'`, want: "1000\n1000\n1000:1000"},
	{name: "the user's own ID", script: `once --userns keep-id $img sh -c 'id -u'`, want: "4321"},
	{name: "stop", script: `run -d $img sh -c 'trap "exit 9" TERM; while :; do sleep .1; done' >/dev/null; sleep .5; e stop -t 20 $c >/dev/null; state ExitCode`, want: "9"},
	{name: "kill", script: `run -d $img sleep 1000 >/dev/null; e kill $c >/dev/null; e wait $c`, want: "137"},
	{name: "rm of what runs", script: `run -d $img sleep 1000 >/dev/null; e rm -f -t 0 $c >/dev/null; e inspect $c >/dev/null 2>&1 || echo gone`, want: "gone"},
	{name: "start again", script: `run $img sh -c 'echo x >>/data/f; wc -l </data/f' && e start -a $c`, want: "1\n2"},
	{name: "a volume", script: `e volume create $c >/dev/null; once -v $c:/data $img sh -c 'echo x >/data/f'; once -v $c:/data $img cat /data/f; e volume rm $c >/dev/null`, want: "x"},
	{name: "read-only volume", script: `once -v $dir/home:/v:ro $img touch /v/f`, code: 1, stderr: "Read-only file system"},
	{name: "devices", script: `once $img sh -c 'echo x >/dev/null && head -c 4 /dev/zero | wc -c'`, want: "4"},
	{name: "host name", script: `once --hostname box $img hostname`, want: "box"},
	{name: "seccomp", script: `once $img grep Seccomp: /proc/self/status`, want: "~Seccomp:\\s+2"},
	{name: "capabilities", script: `once --cap-drop ALL --cap-add CHOWN $img grep CapEff /proc/self/status`, want: "~CapEff:\\s+0{15}1"},
	{name: "processes of another", script: `run -d $img sleep 1000 >/dev/null; once --pid container:$c $img ps -o args= | grep -c '^sleep 1000'`, want: "1"},
	{name: "network of the host", script: `e run --rm --network host $img readlink /proc/self/ns/net | grep -c $(readlink /proc/self/ns/net | tr -dc 0-9)`, want: "1"},
	{name: "privileged", script: `once --privileged $img sh -c 'mount -t tmpfs t /data && grep -c " /data " /proc/mounts'`, want: "1"},
	{name: "read-only", script: `once --read-only $img sh -c 'touch /x 2>&1; touch /tmp/x && echo written'`, want: "touch: /x: Read-only file system\nwritten"},
	{name: "logs", script: `run -d $img sh -c 'echo one; echo two >&2' >/dev/null; e wait $c; e logs $c 2>&1 | sort`, want: "0\none\ntwo"},
	{name: "top", script: `run -d $img sleep 1000 >/dev/null; e top $c | tail -n 1 | grep -o 'sleep 1000'`, want: "sleep 1000"},
	{name: "twenty", alone: true, script: `seq 20 | xargs -P 4 -I N sh -c "$E run --rm --network none $img echo N" | sort -n | cksum; seq 20 | cksum`, want: "~(\\d+ \\d+)\n(\\d+ \\d+)"},
}
