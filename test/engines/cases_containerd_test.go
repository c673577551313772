// SPDX-License-Identifier: Apache-2.0

package engines

// ctrCases go through containerd's own client.
var ctrCases = []testCase{
	{name: "run", script: `run --rm $img $c echo hello`, want: "hello", short: true},
	{name: "exit code", script: `run --rm $img $c sh -c 'exit 7'`, code: 7},
	{name: "no such command", script: `run --rm $img $c nosuch`, code: 1, stderr: "executable file not found in \\$PATH"},
	{name: "no such file", script: `run --rm $img $c /no/such`, code: 1, stderr: "no such file or directory"},
	{name: "not executable", script: `run --rm $img $c /etc/plain`, code: 1, stderr: "permission denied"},
	{name: "tty", script: `pty "$E run --runc-binary $runtime --rm -t $img $c tty"`, want: "/dev/pts/0"},
	{name: "exec", script: `run -d $img $c sleep 1000; ex --cwd /tmp $c sh -c 'pwd; exit 3'`, want: "/tmp", code: 3},
	{name: "exec with a tty", script: `run -d $img $c sleep 1000; pty "$E task exec -t --exec-id x $c tty" | grep /dev`, want: "/dev/pts/0"},
	{name: "exec of nothing", script: `run -d $img $c sleep 1000; ex $c nosuch`, code: 1, stderr: "executable file not found in \\$PATH"},
	{name: "kill", script: `run -d $img $c sleep 1000; task kill -s KILL $c; until_true sh -c "$E task ls | grep '$c .*STOPPED'"; task delete $c 2>&1 | grep -o 137; task ls -q | grep -cx $c`, want: "~(137\n)?0", code: 1},
	{name: "kill all", script: `run -d $img $c sh -c 'sleep 1000 & sleep 1000'; sleep .2; task kill -a -s KILL $c; until_true sh -c "$E task ls | grep '$c .*STOPPED'"; echo stopped`, want: "stopped"},
	{name: "pause", script: `run -d $img $c sleep 1000; task pause $c; task ls | grep "^$c " | awk '{print $3}'; task resume $c; task ls | grep "^$c " | awk '{print $3}'`, want: "PAUSED\nRUNNING"},
	{name: "ps", script: `run -d $img $c sh -c 'sleep 1000 & sleep 1000'; sleep .3; task ps $c | grep -c '^[0-9]'`, want: "2"},
	{name: "metrics", script: `run -d $img $c sleep 1000; task metrics $c | grep -E 'pids.current|pids_current' | awk '{print $2}'`, want: "1"},
	{name: "state", script: `run -d $img $c sleep 1000; task ls | grep "^$c " | awk '{print $3}'`, want: "RUNNING"},
	{name: "memory", script: `run --rm --memory-limit 67108864 $img $c true; run -d --memory-limit 67108864 $img $c-b sleep 1000; pid=$(task ls | grep "^$c-b " | awk '{print $2}')
		cg=$(grep -E ':memory:|^0::' /proc/$pid/cgroup | head -n 1 | cut -d: -f3); cat /sys/fs/cgroup/memory$cg/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup$cg/memory.max`, want: "67108864"},
	{name: "read-only", script: `run --rm --read-only $img $c touch /x`, code: 1, stderr: "Read-only file system"},
	{name: "environment and folder", script: `run --rm --cwd /tmp --env A=b $img $c sh -c 'pwd; echo $A'`, want: "/tmp\nb"},
	{name: "mount", script: `mkdir -p $dir/$c.v; echo text >$dir/$c.v/f; run --rm --mount type=bind,src=$dir/$c.v,dst=/v,options=rbind:ro $img $c sh -c 'cat /v/f; touch /v/g 2>/dev/null || echo refused'`, want: "text\nrefused"},
	{name: "nearly privileged", script: `run --rm --cap-add CAP_SYS_ADMIN $img $c sh -c 'mount -t tmpfs t /data && grep -c " /data " /proc/mounts'`, want: "1"},
	{name: "network of another", script: `run -d $img $c sleep 1000; pid=$(task ls | grep "^$c " | awk '{print $2}'); a=$(ex $c readlink /proc/self/ns/net); b=$(run --rm --with-ns network:/proc/$pid/ns/net $img $c-b readlink /proc/self/ns/net); test $a = $b && echo same`, want: "same"},
	{name: "pid file", script: `run -d --pid-file $dir/$c.pid $img $c sleep 1000; test "$(cat $dir/$c.pid)" = "$(task ls | grep "^$c " | awk '{print $2}')" && echo same`, want: "same"},
	{name: "log file", script: `run -d --log-uri file://$dir/$c.log $img $c echo logged; until_true grep logged $dir/$c.log; cat $dir/$c.log`, want: "logged"},
	{name: "thirty", alone: true, script: `seq 30 | xargs -P 6 -I N sh -c "$E run --runc-binary $runtime --rm $img $c-N echo N" | sort -n | cksum; seq 30 | cksum`, want: "~(\\d+ \\d+)\n(\\d+ \\d+)"},
}

// criCases go through the CRI plugin, as Kubernetes does. once NAME COMMAND
// CONTAINER POD runs a container in a pod to its end, and shows its log.
var criCases = []testCase{
	{name: "a pod", script: `pod; cri PodSandboxStatus '{"pod_sandbox_id":"'$p'"}' | grep -o 'SANDBOX_READY'; x=$(make a '["sh","-c","echo hello; echo err >&2; exit 7"]'); start $x; until_true ended $x; log a | sort; field_of $x exit_code`,
		want: "SANDBOX_READY\nstderr err\nstdout hello\n7", short: true},
	{name: "no such command", script: `pod; x=$(make a '["nosuch"]'); start $x`, code: 1, stderr: "executable file not found in \\$PATH"},
	{name: "no such file", script: `pod; x=$(make a '["/no/such"]'); start $x`, code: 1, stderr: "no such file or directory"},
	{name: "not executable", script: `pod; x=$(make a '["/etc/plain"]'); start $x`, code: 1, stderr: "permission denied"},
	{name: "exec", script: `pod; x=$(make a '["sleep","1000"]'); start $x; ex $x 'hostname; id -u'; field=exit_code ex $x 'exit 3'; field=stderr ex $x 'echo err >&2'`, want: "~h-c\\d+\n0\n3\nerr"},
	{name: "exec of nothing", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri ExecSync '{"container_id":"'$x'","cmd":["nosuch"]}'`, code: 1, stderr: "executable file not found in \\$PATH"},
	{name: "exec that takes too long", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri ExecSync '{"container_id":"'$x'","timeout":1,"cmd":["sleep","500"]}' 2>&1 | grep -o DeadlineExceeded; ex $x 'ps -o args | grep -c "^sleep 500"'`, want: "DeadlineExceeded\n0"},
	{name: "stop", script: `pod; x=$(make a '["sh","-c","trap \"exit 9\" TERM; while :; do sleep .1; done"]'); start $x; sleep .5; cri StopContainer '{"container_id":"'$x'","timeout":20}' >/dev/null; field_of $x exit_code`, want: "9"},
	{name: "stop by KILL", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri StopContainer '{"container_id":"'$x'","timeout":1}' >/dev/null; field_of $x exit_code`, want: "137"},
	{name: "remove", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri RemoveContainer '{"container_id":"'$x'"}' >/dev/null; cri ContainerStatus '{"container_id":"'$x'"}'`, code: 1, stderr: "not found"},
	{name: "again", script: `pod; for i in 1 2 3; do x=$(make a$i '["sh","-c","echo '$i'"]'); start $x; until_true ended $x; log a$i; cri RemoveContainer '{"container_id":"'$x'"}' >/dev/null; done`, want: "stdout 1\nstdout 2\nstdout 3"},
	{name: "shared namespaces", script: `pod; x=$(make a '["sleep","1000"]'); y=$(make b '["sleep","1000"]'); start $x; start $y; for n in net ipc uts pid mnt; do a=$(ex $x "readlink /proc/self/ns/$n"); b=$(ex $y "readlink /proc/self/ns/$n"); [ $a != $b ] || echo $n; done`, want: "net\nipc\nuts"},
	{name: "common processes", script: `pod '"linux":{"security_context":{"namespace_options":{"pid":"POD"}}}'; x=$(make a '["sleep","1001"]' '"linux":{"security_context":{"namespace_options":{"pid":"POD"}}}'); start $x; ex $x 'ps -o args | grep -c "^sleep 100"'`, want: "2"},
	{name: "processes of another", script: `pod; x=$(make a '["sleep","1001"]'); start $x; y=$(make b '["sleep","1002"]' '"linux":{"security_context":{"namespace_options":{"pid":"TARGET","target_id":"'$x'"}}}'); start $y; ex $y 'ps -o args | grep -c "^sleep 100"'`, want: "2"},
	{name: "the host's network", script: `host=; pod '"linux":{"security_context":{"namespace_options":{"network":"NODE"}}}'; x=$(make a '["sleep","1000"]' '"linux":{"security_context":{"namespace_options":{"network":"NODE"}}}'); start $x; ex $x 'readlink /proc/self/ns/net' | grep -c $(readlink /proc/self/ns/net | tr -dc 0-9)`, want: "1"},
	{name: "the pod's network", script: `pod; cri PodSandboxStatus '{"pod_sandbox_id":"'$p'"}' | grep -o '"ip":"10[^"]*"' | cut -d'"' -f4 >$dir/$c.ip; x=$(make a '["sleep","1000"]'); start $x; ex $x 'ip -o -4 addr show eth0' | grep -c "$(cat $dir/$c.ip)/"; ping -c 1 -W 5 $(cat $dir/$c.ip) 2>/dev/null | grep -c ' 0% packet loss'`, want: "1\n1"},
	{name: "sysctl", script: `once a '["cat","/proc/sys/net/ipv4/ip_unprivileged_port_start"]' '' '"linux":{"sysctls":{"net.ipv4.ip_unprivileged_port_start":"1"}}'`, want: "stdout 1"},
	{name: "limits", script: `pod; x=$(make a '["sleep","1000"]' '"linux":{"resources":{"memory_limit_in_bytes":67108864,"cpu_quota":50000,"cpu_period":100000,"cpu_shares":512}}'); start $x
		ex $x "$(cg memory/memory.limit_in_bytes memory.max)"; ex $x "$(cg cpu/cpu.cfs_quota_us cpu.max)"; ex $x "$(cg cpu/cpu.shares cpu.weight)"`, want: "~67108864\n50000( 100000)?\n(512|20|59)"},
	{name: "limits, changed", script: `pod; x=$(make a '["sleep","1000"]' '"linux":{"resources":{"memory_limit_in_bytes":67108864}}'); start $x; cri UpdateContainerResources '{"container_id":"'$x'","linux":{"memory_limit_in_bytes":33554432,"cpu_shares":256}}' >/dev/null
		ex $x "$(cg memory/memory.limit_in_bytes memory.max)"; ex $x "$(cg cpu/cpu.shares cpu.weight)"`, want: "~33554432\n(256|10|35)"},
	{name: "out of memory", script: `pod; x=$(make a '["tail","/dev/zero"]' '"linux":{"resources":{"memory_limit_in_bytes":16777216}}'); start $x; until_true ended $x; field_of $x exit_code; field_of $x reason`, want: "137\nOOMKilled"},
	{name: "stats", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri ContainerStats '{"container_id":"'$x'"}' | grep -o '"working_set_bytes":{"value":"[0-9]*"' | grep -c '[1-9]'`, want: "1"},
	{name: "user", script: `once a '["sh","-c","id -u; id -g; id -G"]' '"linux":{"security_context":{"run_as_user":{"value":1000},"run_as_group":{"value":2000},"supplemental_groups":[3000]}}'`, want: "~stdout 1000\nstdout 2000\nstdout 2000 .*3000"},
	{name: "user by name", script: `once a '["id","-un"]' '"linux":{"security_context":{"run_as_username":"user"}}'`, want: "stdout user"},
	{name: "read-only", script: `once a '["sh","-c","touch /x 2>&1"]' '"linux":{"security_context":{"readonly_rootfs":true}}'`, want: "stdout touch: /x: Read-only file system\ncode 1"},
	{name: "capabilities", script: `once a '["grep","CapEff","/proc/self/status"]' '"linux":{"security_context":{"capabilities":{"drop_capabilities":["ALL"],"add_capabilities":["CHOWN"]}}}'`, want: "~stdout CapEff:\\s+0{15}1"},
	{name: "no new privileges", script: `once a '["grep","NoNewPrivs","/proc/self/status"]' '"linux":{"security_context":{"no_new_privs":true}}'`, want: "~stdout NoNewPrivs:\\s+1"},
	{name: "seccomp", script: `once a '["grep","Seccomp:","/proc/self/status"]' '"linux":{"security_context":{"seccomp":{"profile_type":"RuntimeDefault"}}}'`, want: "~stdout Seccomp:\\s+2"},
	{name: "masked paths", script: `once a '["sh","-c","cat /proc/timer_list | wc -c"]' '"linux":{"security_context":{"masked_paths":["/proc/timer_list"],"readonly_paths":["/proc/sys"]}}'`, want: "stdout 0"},
	{name: "mounts", script: `mkdir -p $dir/$c.v; echo text >$dir/$c.v/f; once a '["sh","-c","cat /v/f; touch /v/g 2>/dev/null || echo refused"]' '"mounts":[{"container_path":"/v","host_path":"'$dir/$c.v'","readonly":true}]'`, want: "stdout text\nstdout refused"},
	{name: "environment", script: `once a '["sh","-c","echo $A $FROM_IMAGE; pwd"]' '"envs":[{"key":"A","value":"Yg=="}],"working_dir":"/tmp"'`, want: "stdout b yes\nstdout /tmp"},
	{name: "a device", script: `once a '["sh","-c","echo x >/dev/mine && echo written"]' '"devices":[{"container_path":"/dev/mine","host_path":"/dev/null","permissions":"rw"}]'`, want: "stdout written"},
	{name: "oom score", script: `once a '["cat","/proc/self/oom_score_adj"]' '"linux":{"resources":{"oom_score_adj":500}}'`, want: "stdout 500"},
	{name: "tty", script: `once a '["tty"]' '"tty":true'`, want: "stdout /dev/pts/0"},
	{name: "a pod that is stopped", script: `pod; x=$(make a '["sleep","1000"]'); start $x; cri StopPodSandbox '{"pod_sandbox_id":"'$p'"}' >/dev/null; cri PodSandboxStatus '{"pod_sandbox_id":"'$p'"}' | grep -o SANDBOX_NOTREADY; field_of $x exit_code`, want: "SANDBOX_NOTREADY\n137"},
	{name: "the host's cgroup parent", script: `pod '"linux":{"cgroup_parent":"/kube/'$c'"}'; x=$(make a '["sleep","1000"]'); start $x; cri StopPodSandbox '{"pod_sandbox_id":"'$p'"}' >/dev/null; echo stopped; rmdir /sys/fs/cgroup/*/kube/$c /sys/fs/cgroup/kube/$c 2>/dev/null; true`, want: "stopped"},
	{name: "ten containers", alone: true, script: `pod; for i in 0 1 2 3 4 5 6 7 8 9; do (x=$(make a$i '["echo","'$i'"]') && start $x && until_true ended $x) & done; wait; cat $dir/containerd/log/$c/*.log | cut -d' ' -f4 | sort | xargs`, want: "0 1 2 3 4 5 6 7 8 9"},
}
