// SPDX-License-Identifier: Apache-2.0

package engines

// hear starts who waits for a container to be ready.
const hear = `export NOTIFY_SOCKET=$dir/$c.notify; ` + notifying + `=hear $self >$dir/$c.heard & until [ -S $NOTIFY_SOCKET ]; do sleep .1; done
		`

// podmanCases are what only Podman has.
var podmanCases = []testCase{
	{name: "users of its own", script: `once --uidmap 0:100000:65536 --gidmap 0:200000:65536 $img sh -c 'cat /proc/self/uid_map /proc/self/gid_map | xargs; id -u; touch /data/f; stat -c %u /data/f'`, want: "0 100000 65536 0 200000 65536\n0\n0"},
	{name: "users of its own, exec", script: `run -d --uidmap 0:100000:65536 $img sleep 1000 >/dev/null; e exec $c sh -c 'cat /proc/self/uid_map | xargs; id -u'; stat -c %u /proc/$(state Pid)`, want: "0 100000 65536\n0\n100000"},
	{name: "users of its own, no root", script: `once --uidmap 0:100000:65536 -u 1000 $img sh -c 'id -u; test -w /data || echo no'`, want: "1000\nno"},
	{name: "hooks", script: `mkdir -p $dir/$c.hooks
		for h in prestart createRuntime createContainer startContainer poststart poststop; do
		  out=$dir/$c.log; [ $h != startContainer ] || out=/dev/null # that one runs in the container
		  cat >$dir/$c.hooks/$h.json <<-EOF
			{"version":"1.0.0","hook":{"path":"/bin/sh","args":["sh","-c","grep -o '\"status\": *\"[a-z]*\"' | sed 's/^/$h /' >>$out"]},"when":{"always":true},"stages":["$h"]}
		EOF
		done; e --hooks-dir $dir/$c.hooks run --rm --network none $img true; tr -d '" ' <$dir/$c.log | sed 's/status//' | sort`,
		want: "~createContainer:(creating|created)\ncreateRuntime:(creating|created)\npoststart:(created|running)\npoststop:stopped\nprestart:(creating|created)"},
	{name: "a hook that fails", script: `mkdir -p $dir/$c.hooks; echo '{"version":"1.0.0","hook":{"path":"/bin/false"},"when":{"always":true},"stages":["createRuntime"]}' >$dir/$c.hooks/f.json
		e --hooks-dir $dir/$c.hooks run --rm --network none $img echo started`, code: 126, stderr: "(?i)hook"},
	{name: "health", script: `run -d --health-cmd 'test -e /data/ok' --health-interval disable $img sleep 1000 >/dev/null; e healthcheck run $c >/dev/null || echo sick; e exec $c touch /data/ok; e healthcheck run $c && echo well`, want: "sick\nwell"},
	{name: "init", script: `once --init --init-path $(command -v tini-static || command -v docker-init) $img sh -c 'ps -o pid=,comm= | head -n 1 | xargs'`, want: "1 podman-init"},
	{name: "a pod", script: `e pod create --name $c-pod --infra-image localhost/pause:1 --network none --share net,ipc,uts >/dev/null
		e run -d --pod $c-pod --name $c-a $img sleep 1000 >/dev/null; a=$(e exec $c-a readlink /proc/self/ns/net /proc/self/ns/ipc | xargs)
		b=$(e run --rm --pod $c-pod --name $c-b $img readlink /proc/self/ns/net /proc/self/ns/ipc | xargs); test "$a" = "$b" && echo shared
		e pod stop -t 0 $c-pod >/dev/null 2>&1; e pod rm -f $c-pod >/dev/null`, want: "shared"},
	{name: "a pod with common processes", script: `e pod create --name $c-pod --infra-image localhost/pause:1 --network none --share pid >/dev/null
		e run -d --pod $c-pod --name $c-a $img sleep 1000 >/dev/null; e exec $c-a ps -o args= | grep -c '^sleep 1000'; e pod rm -f -t 0 $c-pod >/dev/null`, want: "~[12]"},
	{name: "rootfs", script: `mkdir -p $dir/$c.root; e export $(e create --name $c --network none $img) | tar -x -C $dir/$c.root; e run --rm --network none --rootfs $dir/$c.root cat /etc/plain`, want: "echo text"},
	{name: "systemd's way", script: `once --systemd always $img sh -c 'grep -c " /run \| /tmp " /proc/mounts'`, want: "2"},
	{name: "commit", script: `run $img sh -c 'echo x >/data/f'; e commit -q $c localhost/$c:1 >/dev/null; once localhost/$c:1 cat /data/f; e rmi -f localhost/$c:1 >/dev/null`, want: "x"},
	{name: "build", script: `printf 'FROM localhost/bb:1\nRUN echo built >/data/f\n' >$dir/$c.Dockerfile; e build -q --network none --pull=never -t localhost/$c:1 -f $dir/$c.Dockerfile $dir/podman/net >/dev/null; once localhost/$c:1 cat /data/f; e rmi -f localhost/$c:1 >/dev/null`, want: "built"},
	{name: "unmasked", script: `once --security-opt unmask=ALL $img sh -c 'grep -c " /proc/" /proc/mounts'`, want: "0", code: 1},
	{name: "own cgroup namespace", script: `once --cgroupns private $img sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u'`, want: "/"},
	{name: "host's cgroup namespace", script: `once --cgroupns host $img readlink /proc/self/ns/cgroup | grep -c $(readlink /proc/self/ns/cgroup | tr -dc 0-9)`, want: "1"},
	{name: "preserved descriptors", script: `exec 3<<<hello; once --preserve-fds 1 $img sh -c 'cat <&3'`, want: "hello"},
	{name: "ready when the container says so", script: hear + `run -d --sdnotify container -v $self:/self:ro -e ` + notifying + `=send $img sh -c 'echo $NOTIFY_SOCKET; /self; exec sleep 1000' >/dev/null
		wait; cat $dir/$c.heard; e logs $c`, want: "~MAINPID=[0-9]+\nREADY=1\n/run/notify/notify.sock"},
	{name: "ready when conmon says so", script: hear + `run -d --sdnotify conmon $img sh -c 'echo "socket: $NOTIFY_SOCKET"; exec sleep 1000' >/dev/null
		wait; cat $dir/$c.heard; e logs $c`, want: "~MAINPID=[0-9]+\nREADY=1\nsocket:"},
	{name: "time limit", script: `once --timeout 1 $img sleep 1000`, code: 255},
}
