// SPDX-License-Identifier: Apache-2.0

package engines

// dockerCases are what only Docker has.
var dockerCases = []testCase{
	{name: "health", script: `run -d --health-cmd 'test -e /data/ok' --health-interval 300ms --health-retries 1 $img sleep 1000 >/dev/null
		until_true is Health.Status unhealthy; state Health.Status; e exec $c touch /data/ok; until_true is Health.Status healthy; state Health.Status`, want: "unhealthy\nhealthy"},
	{name: "init", script: `once --init $img sh -c 'ps -o pid=,args= | head -n 1' | grep -c docker-init`, want: "1"},
	{name: "an own network", script: `e network create $c-net >/dev/null; e run -d --name $c-a --network $c-net $img sleep 1000 >/dev/null
		e run --rm --name $c-b --network $c-net $img ping -c 1 -W 5 $c-a | grep -c ' 0% packet loss'; e rm -f $c-a >/dev/null; e network rm $c-net >/dev/null`, want: "1"},
	{name: "a network that comes later", script: `e network create $c-net >/dev/null; run -d $img sleep 1000 >/dev/null; e network disconnect none $c; e network connect $c-net $c
		e exec $c sh -c 'ip -o -4 addr show eth0 | wc -l'; e network disconnect $c-net $c; e rm -f $c >/dev/null; e network rm $c-net >/dev/null`, want: "1"},
	{name: "commit", script: `run $img sh -c 'echo x >/data/f'; e commit $c localhost/$c:1 >/dev/null; once localhost/$c:1 cat /data/f; e rmi -f localhost/$c:1 >/dev/null`, want: "x"},
	{name: "build", script: `mkdir $dir/$c.build; printf 'FROM localhost/bb:1\nRUN echo built >/data/f\n' >$dir/$c.build/Dockerfile; DOCKER_BUILDKIT=0 e build -q --network none -t localhost/$c:1 $dir/$c.build >/dev/null 2>&1; once localhost/$c:1 cat /data/f; e rmi -f localhost/$c:1 >/dev/null`, want: "built"},
	{name: "diff", script: `run $img touch /data/f; e diff $c | grep data/f`, want: "A /data/f"},
	{name: "rename", script: `run -d $img sleep 1000 >/dev/null; e rename $c $c-new; e exec $c-new echo ran; e rm -f $c-new >/dev/null`, want: "ran"},
	{name: "logs are followed", script: `run -d $img sh -c 'for i in 1 2 3; do echo $i; sleep .2; done' >/dev/null; e logs -f $c`, want: "1\n2\n3"},
	{name: "a read-only container's volume", script: `once --read-only -v $c-v:/v $img sh -c 'echo x >/v/f && cat /v/f'; e volume rm $c-v >/dev/null`, want: "x"},
	{name: "unconfined paths", script: `once --security-opt systempaths=unconfined $img sh -c 'grep -c " /proc/" /proc/mounts'`, want: "0", code: 1},
	{name: "a link's limit", script: `once --device-write-bps /dev/vda:1mb $img sh -c "$(cg blkio/blkio.throttle.write_bps_device io.max)"`, want: "~254:0 .*1048576.*", only: "none"},
	{name: "live restore of nothing", script: `e info -f '{{.DefaultRuntime}} {{.LiveRestoreEnabled}}'`, want: "tested false"},
}
