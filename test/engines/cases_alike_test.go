// SPDX-License-Identifier: Apache-2.0

package engines

// alikeCases are what Docker's users type, right and wrong, and scripts as
// they have them. Not in it is what differs on purpose: docs/docker.md.
var alikeCases = []struct{ name, script string }{
	{"stop and kill", `
		run aa sleep 1000; run bb sh -c 'trap "exit 3" USR1; while :; do sleep .1; done'; e create --name cc $img true >/dev/null; sleep .5
		try e kill nosuch bb; try e wait bb; try e kill bb; try e start bb; sleep .5; try e kill -s SIGUSR1 bb; try e wait bb
		try e kill; try e start bb; try e kill -s NOSUCH bb; try e kill -s 999 bb
		try e stop -t 0 nosuch aa bb; try e stop aa; try e stop; try e stop -t x aa; try e stop cc
		try e restart -t 0 aa; try e inspect -f '{{.State.Status}} {{.RestartCount}}' aa; try e restart -t 0 aa nosuch; try e restart
		try e ps -a --format '{{.Names}} {{.State}} {{.Networks}}'`},
	{"prune", `
		make aa --label x=1 $img true; make bb $img true; run cc sleep 1000; make dd -v used:/d -v /anon $img true
		try e container prune </dev/null; echo n | try e container prune; echo y | try e container prune --filter label=x
		try e container prune -f --filter until=1h; try e container prune -f --filter nosuch=1
		e volume create vv >/dev/null; e volume create ww --label k=v >/dev/null
		try e volume ls -q; try e volume ls -q -f dangling=true; try e volume ls -q -f dangling=false; try e volume ls -q -f dangling=x; try e volume ls -qf name=vv
		try e volume ls -qf label=k=v; try e volume ls -qf driver=local; try e volume ls; try e volume rm used nosuch; try e volume rm -f nosuch
		try e volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}}' used nosuch; try e volume create used; try e volume create 'a b'; try e volume create
		try e volume ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
		e network create nn >/dev/null; e network create oo --label k >/dev/null
		try e network prune -f --filter label=k; try e network prune -f; try e container prune -f; try e container prune -f; try e ps -a --format '{{.Names}}'
		try e rm -f cc; make ee $img true; e commit ee one >/dev/null; e commit -m again ee one >/dev/null
		try e image prune -f --filter label=none; try e image prune -f; try e image prune </dev/null; try e system prune -f --filter label=none; try e system prune -f`},
	{"networks", `
		e network create n1 >/dev/null; e network create n2 --label k >/dev/null; try e network create used; e create --name aa --network used $img true >/dev/null
		try e network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'; try e network ls -f name=n --format '{{.Name}}'; try e network ls -f label=k --format '{{.Name}}'
		try e network ls -f driver=bridge --format '{{.Name}}'; try e network ls -qf type=builtin; try e network ls -f nosuch=1; try e network ls
		try e network rm nosuch n1; try e network create used; try e network create bridge; try e network create host; try e network rm bridge
		try e network inspect -f '{{.Name}} {{.Driver}} {{.Internal}} {{.Scope}} {{.EnableIPv6}} {{len .Containers}}' used nosuch; try e network inspect -f '{{.Name}} {{.Driver}}' none host bridge
		try e network connect used nosuch; try e inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}}{{end}}' aa
		try e ps -aq -f network=used; try e inspect --type network -f '{{.Name}}' used`},
	{"import, commit, save, load", `
		mkdir t; echo f >t/f; tar c -C t f >t.tar
		try e import t.tar imp; try e import - imp:2 <t.tar; try e import -c 'CMD ["x"]' -m message t.tar imp:3; try e import nosuch.tar x; try e import -c BOGUS t.tar x
		try e import; try e history --format '{{.Comment}}|{{.CreatedBy}}' imp:3; try e inspect -f '{{.Config.Cmd}}' imp:3; echo no tar | try e import - x; try e import t.tar 'Bad Name'
		make aa $img true; try e commit nosuch; try e commit -m msg -a me -c 'ENV A=b' aa x:1; try e commit -c BOGUS aa; try e inspect -f '{{.Config.Env}} {{.Author}} {{.Comment}}' x:1
		try e tag x:1 x; try e tag nosuch y; try e tag x 'Bad'; try e tag x; try e history nosuch; try e history -q nosuch
		try e save -o s.tar x:1 imp:2; tar xOf s.tar manifest.json | python3 -c 'import json,sys; print(sorted(t for m in json.load(sys.stdin) for t in m["RepoTags"]))'
		try e save -o t2.tar nosuch x; try e save nosuch; try e save x -o no/dir/x.tar; ls; try e load -i s.tar; try e load <s.tar; try e load -q -i s.tar; try e load -i nosuch; echo bad | try e load; try e load </dev/null
		e save $(e images -q --no-trunc imp:3) >byid.tar; e rmi imp:3 >/dev/null; try e load -i byid.tar; try e save
		try e rmi nosuch x; try e rmi; try e rmi -f nosuch; e tag imp y; try e rmi y; try e images -q y; try e rmi $img; try e rmi $(e images -q imp:2)
		try e export nosuch; e export aa >e.tar; try e export aa -o f.tar; tar tf e.tar | sort >e; tar tf f.tar | sort >f; cmp e f; try e images -f bogus=1; try e images -f dangling=x; try e images nosuch; try e images --format '{{.Bogus}}'`},
	{"names", `
		make aa $img true; make bb $img true
		try e rename aa cc; try e rename cc bb; try e rename cc cc; try e rename nosuch xx; try e rename cc 'x y'; try e rename cc; try e rename cc ''; try e ps -a --format '{{.Names}}'; try e inspect -f '{{.Name}}' cc
		try e create --name cc $img true; try e create --name 'a b' $img; try e create --pull never --name dd nosuch:1; try e run --name bb $img true
		for n in $(seq 17); do e create --network none $img true; done >all; p=$(cut -c 1 all | sort | uniq -d | head -n 1)
		e inspect $p >out 2>&1; echo $?; e rm $p >/dev/null 2>&1; echo $?; e rm $(head -n 1 all | cut -c 1-20) | wc -w; e ps -aq | wc -l`},
	{"update and pause", `
		e run -d --network none --name aa -m 64m --memory-swap 64m $img sleep 1000 >/dev/null
		try e update --cpu-shares 512 aa; try e update aa; try e update -m 1 aa; try e update --restart on-failure:3 aa; try e update --cpu-shares 512 nosuch aa; try e update --restart sometimes aa
		try e inspect -f '{{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.Memory}}' aa
		try e update -m 128m aa; try e update --memory-swap 256m -m 128m aa; try e update --cpus 1.5 aa; try e update --pids-limit 10 aa; try e inspect -f '{{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' aa
		try e pause aa; try e pause aa; try e ps --format '{{.Names}} {{.State}}'; try e exec aa true; try e ps -q -f status=paused; try e unpause aa; try e unpause aa; try e pause nosuch aa
		try e stop -t 0 aa; try e pause aa; try e rm aa`},
	{"rm", `
		e run -d --network none --name aa -v /anon -v named:/n $img sleep 1000 >/dev/null; make bb -v /anon $img true; make cc -v /anon $img true
		try e rm aa; try e rm nosuch bb; try e rm -f nosuch aa; try e rm -f nosuch; try e rm; try e volume ls -q; try e rm -v cc; try e volume ls -q
		try e run --network none --rm -v /anon $img true; try e volume ls -q`},
	{"start, attach, wait", `
		make aa -i $img sh -c 'cat; exit 3'; make bb $img sh -c 'echo b; exit 4'; make cc $img nosuch; make dd $img /etc/plain
		echo in | try e start -a -i aa; try e start -a bb; try e start aa bb; try e wait bb; try e start nosuch bb; try e wait bb bb; try e start -a nosuch; try e start -a aa bb; try e start
		try e start cc; try e inspect -f '{{.State.Status}} {{.State.ExitCode}}' cc; try e start dd bb; try e wait nosuch; try e wait; try e attach bb; try e attach nosuch; try e attach
		e run -d -i --network none --name ee $img sh -c 'while read x; do echo got $x; done' >/dev/null
		{ (sleep 1; echo word; sleep 1) | timeout -s KILL 3 $E attach --sig-proxy=false ee >/dev/null; } 2>/dev/null; try e logs ee`},
	{"logs", `
		e run --network none --name aa $img sh -c 'echo one; sleep .3; echo two >&2; sleep .3; echo three; printf four' >/dev/null 2>&1
		try e logs aa; try e logs --tail 1 aa; try e logs --tail 2 aa; try e logs -n 0 aa; try e logs --tail all aa; try e logs --tail -1 aa; try e logs -t aa; try e logs --details aa
		try e logs --since 1h aa; try e logs --since 2099-01-01 aa; try e logs --until 1h aa; try e logs --until 2099-01-01T00:00:00 aa; try e logs --since bogus aa; try e logs --since 0 aa
		try e logs --since 1m --until 0s -n 1 aa; try e logs -f aa; try e logs nosuch; try e logs; try e logs aa aa; make bb $img true; try e logs bb
		e run --network none --name cc --log-driver none $img echo x >/dev/null; try e logs cc
		e run --network none --name dd --log-opt labels=who,no -l who='m e' --log-opt env=E -e E=v $img echo x >/dev/null; try e logs --details dd; try e logs -t --details dd`},
	{"cp and diff", `
		make aa $img true; mkdir -p d/s; echo f >d/f; echo g >d/s/g
		try e cp d aa:/new; try e cp d aa:/new; try e cp d/. aa:/new2; try e cp d/ aa:/tmp; try e cp d/f aa:/tmp/; try e cp d/f aa:/nodir/; try e cp d/f aa:/nodir/x; try e cp nosuch aa:/tmp
		try e cp d aa:/etc/plain; try e cp d/f nosuch:/; try e cp aa:/nosuch .; try e cp aa:/new out; try e cp aa:/new/. out2; try e cp aa:/new/ out3; try e cp aa:/new out; find out out2 out3 | sort
		try e cp aa:/etc/plain out/; try e cp aa:/etc/plain nodir/; try e cp aa:/etc/plain nodir/x; try e cp aa:/etc/plain; try e cp aa:etc/plain rel; cat rel; try e cp d/f aa:f; e cp aa:/f - | tar t
		tar c -C d . | try e cp - aa:/tmp; tar c -C d . | try e cp - aa:/nosuch; tar c -C d f | try e cp - aa:/etc/plain; echo bad | try e cp - aa:/tmp; e cp aa:/tmp - | tar t | sort; e cp aa:/bin/ls - | tar t
		try e cp aa:/bin/ls ls; readlink ls; try e cp -L aa:/bin/ls ls2; test -x ls2 || echo no; try e cp aa:/f aa:/g; try e cp d e; try e cp -a d aa:/arch
		ln -s f d/l; try e cp d/l aa:/l; try e cp -L d/l aa:/l2; e cp aa:/l - | tar tv | cut -c 1; e cp aa:/l2 - | tar tv | cut -c 1
		e run --network none --name bb $img sh -c 'echo x >/etc/x; rm /etc/plain; mkdir -p /data/y/z; chmod 600 /etc/group; touch /tmp/t; ln -s /etc /root/l' >/dev/null; e diff bb | sort; try e diff nosuch; try e diff`},
	{"top and stats", `
		run aa sleep 1000
		e top aa -o pid,args | sed 's/[0-9][0-9]* /PID /'; try e top aa -eo comm; e top aa | head -n 1; try e top aa -o bogus; try e top nosuch; try e top
		try e stats --no-stream --format '{{.Name}} {{.PIDs}}' aa; try e stats --no-stream nosuch; try e stats --no-stream --format '{{.Bogus}}' aa
		e stats --no-stream --format '{{json .}}' aa | python3 -c 'import json,sys; print(sorted(json.load(sys.stdin)))'; e stats --no-stream aa | head -n 1 | xargs; e stop -t 0 aa >/dev/null
		try e stats --no-stream --format '{{.Name}}'; try e stats --no-stream -a --format '{{.Name}}'; try e top aa`},
	{"events", `
		since=$(date +%s); sleep 1.1; e run -d --network none --name aa -l k=v -v vol:/d $img true >/dev/null; e wait aa >/dev/null; e rm aa >/dev/null; e volume rm vol >/dev/null; sleep 1.1; until=$(date +%s)
		ev() { e events --since $since --until $until "$@"; }
		try ev --format '{{.Type}} {{.Action}}' --filter container=aa; try ev --filter event=die --format '{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}} {{.Actor.Attributes.image}} {{.Actor.Attributes.k}}'
		try ev -f type=volume -f event=create -f event=destroy --format '{{.Type}} {{.Action}} {{.Actor.ID}}'; try ev -f label=k=v -f event=create --format '{{.Action}} {{.ID}} {{.Status}} {{.From}}'
		try ev -f type=bogus; try ev -f image=$img -f event=start --format '{{.Action}}'; ev -f event=start --format '{{json .}}' | python3 -c 'import json,sys; d=json.load(sys.stdin); print(sorted(d), sorted(d["Actor"]["Attributes"]))'
		try ev -f event=destroy; e events --since 0 --until $until -f event=die --format '{{.Action}}' | sort -u`},
	{"inspect", `
		make aa -v vol:/d $img true
		try e inspect -f '{{.Name}}' aa nosuch aa; try e inspect nosuch; try e inspect --type image aa; try e inspect --type container $img; try e inspect --type volume -f '{{.Name}}' vol; try e inspect --type bogus aa
		try e inspect -f '{{.Id}}' aa; try e inspect -f '{{.RepoTags}}' $img; try e inspect -f '{{.Bogus}}' aa; try e inspect -f '{{.State.Bogus}}' aa; try e inspect -f '{{' aa; try e inspect; try e inspect -f '{{.SizeRw}}' aa
		try e inspect -s -f '{{.SizeRw}}' aa; try e inspect -f '{{.Config.Labels.foo}}' aa; try e inspect -f '{{index .Config.Labels "foo"}}' aa; try e inspect -f '{{.Path}} {{.Args}} {{.Config.Cmd}} {{.Config.Entrypoint}}' aa
		try e inspect -f '{{.Name}}' bridge; try e image inspect aa; try e container inspect $img; try e container inspect -f '{{.Name}}' aa; try e inspect --format='{{.Name}}' $(e ps -aq)
		e inspect $img | python3 -c 'import json,sys; d=json.load(sys.stdin)[0]; print([k for k in "Architecture Author Comment Config Created Id Os RepoDigests RepoTags RootFS Size".split() if k not in d])'
		e inspect aa | python3 -c '
import json, sys
d = json.load(sys.stdin)[0]
for names in ". AppArmorProfile Args Config Created Driver ExecIDs GraphDriver HostConfig HostnamePath HostsPath Id Image LogPath MountLabel Mounts Name NetworkSettings Path Platform ProcessLabel ResolvConfPath RestartCount State", "State Dead Error ExitCode FinishedAt OOMKilled Paused Pid Restarting Running StartedAt Status", "Config AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env Hostname Image Labels OnBuild OpenStdin StdinOnce Tty User Volumes WorkingDir", "HostConfig AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd CapDrop Cgroup CgroupParent CgroupnsMode ConsoleSize ContainerIDFile CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpuShares CpusetCpus CpusetMems DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Isolation Links LogConfig MaskedPaths Memory MemoryReservation MemorySwap MemorySwappiness NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit PortBindings Privileged PublishAllPorts ReadonlyPaths ReadonlyRootfs RestartPolicy Runtime SecurityOpt ShmSize UTSMode Ulimits UsernsMode VolumeDriver VolumesFrom", "NetworkSettings Bridge EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen HairpinMode IPAddress IPPrefixLen IPv6Gateway MacAddress Networks Ports SandboxID SandboxKey":
    where, *names = names.split()
    print(where, "lacks", [n for n in names if n not in (d if where == "." else d[where])])'`},
	{"run", `
		echo in | try once -i $img cat; try once $img sh -c 'exit 9'; try once $img nosuch; try once $img /etc; try once $img sh -c 'kill -9 $$'; try once --init $img sh -c 'kill -9 $$'; try once --pull never nosuch:1; try once --nosuch $img; try e run
		try once -it $img true </dev/null; echo x | try once -t $img true; try once -i $img sh -c 'cat; echo err >&2; exit 4' </dev/null; try once -a stdout $img sh -c 'echo o; echo e >&2'; try once -a stderr $img sh -c 'echo o; echo e >&2'
		try once --entrypoint '' $img echo hi; try once --entrypoint '' $img; try once --entrypoint echo $img a b; try once --entrypoint 'echo x' $img`},
	{"run, more", `
		try once -w /no/such $img pwd; try once -w rel $img pwd; try once -h h --domainname d $img hostname; try once --restart always $img true; try once --read-only $img touch /x; try once --cidfile cid $img true; wc -c <cid; try once --cidfile cid $img true; try e ps -aq`},
	{"users", `
		try once -u user $img id; try once -u user:more $img id; try once -u nosuch $img id; try once -u 0:nosuch $img id; try once -u 1234 $img id; try once -u 1234:5678 $img id; try once -u :more $img id; try once -u user: $img id
		try once --group-add more -u user $img id; try once --group-add nosuch $img id; try once -u 4242 $img sh -c 'echo $HOME'; try once $img id`},
	{"environment", `
		export OURS=ours; unset NOTOURS; printf '# c\n\nA=1\n  B=2\nC = 3\n' >f; printf 'A=1\n  B=2\nD=\nOURS\nNOTOURS\nE="q"\nF=a b # c\nG=x=y\n' >g; printf '=x\n' >h; printf '\xef\xbb\xbfA=1\r\nB=2' >i
		env() { once "$@" $img env | sort; }
		env -e OURS -e NOTOURS -e X= -e Y=a=b -e 'Z=a b'; env --env-file g --env-file i -e A=3; env -e FROM_IMAGE -e HOME=/x -e HOSTNAME=y -e TERM=z; env -t -e A | tr -d '\r'
		for f in f nosuch h; do refused e create --env-file $f $img; done; refused e create -e =x $img; try once -e PATH=/x $img /bin/env; e create --name aa -l zz -l ww= -l k=v=w $img true >/dev/null; try e inspect -f '{{json .Config.Labels}}' aa`},
	{"mounts", `
		mkdir dd; echo f >dd/f; vol() { refused e create -v "$1" $img true; }; mnt() { refused e create --mount "$1" $img true; }
		try once -v ./dd:/m $img cat /m/f; try once -v data:/m -v /anon $img ls /m; try e volume ls -q; try once -v $work/nosuch:/m $img ls /m; ls; try once -v $work/dd:/m:ro $img touch /m/x
		vol $work/dd:rel; vol $work/dd:/m:bogus; vol a:b:c:d; vol ''; vol :/m; vol $work/dd:; vol $work/dd:/; vol 'Bad name:/m'; vol x/y:/m; refused e create -v xx:/m -v yy:/m $img true; try once -v $work/dd:/etc/plain $img true; try once -v $work/dd/f:/m $img cat /m
		mnt type=bind,source=$work/none,target=/m; mnt type=bind,source=dd,target=/m; mnt type=bind,target=/m; mnt type=tmpfs,source=x,target=/m; mnt type=bogus,target=/m; mnt type=bind,source=$work/dd; mnt type=bind,source=$work/dd,target=rel; mnt bogus
		mnt type=bind,source=$work/dd,target=/m,bogus=1; mnt type=volume,source=$work/dd,target=/m; mnt type=bind,source=$work/dd,target=/m,bind-propagation=bogus; mnt type=bind,volume-nocopy=true,source=$work/dd,target=/m
		try once --mount type=bind,src=$work/dd,dst=/m,readonly $img touch /m/x; try once --mount source=vv,target=/m --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700 --tmpfs /u $img sh -c 'ls /m; stat -c %a /t /u'
		refused e create --tmpfs rel $img; refused e create --volumes-from nosuch $img; make aa -v vol:/v1:ro -v $work/dd:/v2 $img true
		try once --volumes-from aa $img sh -c 'ls /v1 /v2; touch /v1/x; touch /v2/x'; try once --volumes-from aa:ro $img touch /v2/x; refused e create --volumes-from aa:bogus $img true
		e inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}}{{println}}{{end}}{{.HostConfig.Binds}}' aa | sort; try e ps -a -f name=aa --format '{{.Mounts}}'; try e ps -aq -f volume=vol; try e ps -aq -f volume=/v1; try e ps -aq -f volume=/nosuch`},
	{"ps", `
		e run -d --network none --name aa -l k=v $img sleep 1000 >/dev/null; e run --network none --name bb $img sh -c 'exit 3'; e create --name cc $img sh -c 'echo "a b"' >/dev/null; e run --network none --name dd $img sh -c 'exit 0'
		try e ps --format '{{.Names}}'; try e ps -a --format '{{.Names}}|{{.Image}}|{{.Command}}|{{.Ports}}|{{.State}}|{{.Networks}}|{{.Labels}}|{{.Mounts}}|{{.LocalVolumes}}|{{.RunningFor}}'; try e ps -a --format '{{.Names}}|{{.Status}}'
		try e ps -q -f status=exited; try e ps -aq -f exited=3 --no-trunc; try e ps -aq -f name=aa -f name=bb; try e ps -a -f name=^bb$ --format '{{.Names}}'; try e ps -aq -f label=k; try e ps -aq -f label=k=w; try e ps -aq -f ancestor=$img
		try e ps -aq -f ancestor=nosuch; try e ps -aq -f status=bogus; try e ps -aq -f bogus=1; try e ps -a -f since=aa --format '{{.Names}}'; try e ps -a -f before=cc --format '{{.Names}}'; try e ps -a -f since=nosuch; try e ps -aq -f exited=x
		try e ps -l --format '{{.Names}}'; try e ps -n 2 --format '{{.Names}}'; try e ps -aq -f network=none; try e ps -aq -f network=bridge; try e ps -aq -f health=none; try e ps -a --format 'table {{.Names}}\t{{.Image}}'; try e ps -a --format '{{.Bogus}}'
		e ps -a --format '{{json .}}' | python3 -c 'import json,sys; [print(sorted(json.loads(l))) for l in sys.stdin]'; e ps -a | tr -s ' '; try e ps x; try e ps -a -f id=$(e ps -q -f name=aa) --format '{{.Names}}'; try e container ls -q; try e ps -a --format '{{.Label "k"}}'
		try e ps --format '{{json .Names}} {{upper .Names}}'; try e ps -q -f ancestor=$(e images -q $img)`},
	{"exec", `
		run aa sleep 1000; make bb $img true
		try e exec aa sh -c 'exit 7'; try e exec nosuch true; try e exec aa; echo in | try e exec -i aa cat; echo in | try e exec aa cat; try e exec -it aa true </dev/null; try e exec -t aa echo hi | tr -d '\r'; try e exec -d aa true
		e exec -e A=1 -e PATH=/bin aa env | sort; try e exec -u user aa id; try e exec -u user:more aa id; try e exec -w /etc aa pwd; try e exec aa sh -c 'echo o; echo e >&2; kill -9 $$'; try e exec --nosuch aa true; try e exec bb true
		printf 'echo from file\nexit 3\n' >f; try e exec -i aa sh <f; try e exec --env-file nosuch aa env; try e exec -u 77 aa sh -c 'echo $HOME'; try e exec -u user aa sh -c 'echo $HOME'
		for w in nosuch /etc/plain; do e exec aa $w >/dev/null 2>&1; case $? in 126 | 127) echo not run; esac; done; e exec -w /nosuch aa pwd >/dev/null 2>&1; echo $?`},
	{"ports", `
		port() { sed 's/:[0-9]*$/:PORT/'; }; e run -d --name aa -p 127.0.0.1::80 -p 127.0.0.1::53/udp --expose 99 $img sleep 1000 >/dev/null
		e port aa | port; e port aa 80 | port; e port aa 80/tcp | port; try e port aa 53; e port aa 53/udp | port; try e port aa 1; try e port aa x; try e port nosuch; try e port; make bb $img true; try e port bb; try e port bb 80; e container port aa 80 | port
		e ps --format '{{.Ports}}' | sed 's/:[0-9]*->/:PORT->/g'; try e inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}} {{len .NetworkSettings.Ports}} {{json (index .NetworkSettings.Ports "99/tcp")}}' aa
		p=$(e port aa 80 | cut -d : -f 2); e run -d --name cc -p 127.0.0.1:$p:80 $img true >out 2>/dev/null; echo $?; e rm -f cc >/dev/null 2>&1; e stop -t 0 aa >/dev/null; try e port aa; try e ps -a --format '{{.Names}} {{.Ports}}'
		for p in 80:80:80:80 x 127.0.0.1:70000:80 1000-1001:80-82 0:80/bogus; do refused e create -p $p $img true; done; try e ps -q -f publish=80; e start aa >/dev/null; try e ps -q -f publish=80; try e ps -q -f expose=99
		try e inspect -f '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}} {{$v.IPPrefixLen}}{{end}}' aa`},

	// Scripts.
	{"script: wait until it is healthy", `
		run aa --health-cmd 'test -e /tmp/ready' --health-interval 100ms --health-retries 100 $img sh -c 'sleep 1; touch /tmp/ready; sleep 1000'
		for i in $(seq 100); do s=$(e inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{end}}' aa); [ "$s" = healthy ] && break; sleep .1; done
		echo $s; e ps --filter health=healthy --format '{{.Names}}'; e ps --format '{{.Status}}'; e inspect -f '{{json .State.Health}}' aa | python3 -c 'import json,sys; h=json.load(sys.stdin); print(h["Status"], h["Log"][-1]["ExitCode"], sorted(h), sorted(h["Log"][-1]))'`},
	{"script: backup of a volume and back", `
		set -e; e volume create data >/dev/null; once -v data:/data $img sh -c 'echo precious >/data/f; mkdir /data/d'; make db -v data:/data $img true
		e run --rm --volumes-from db -v "$(pwd)":/backup $img tar cf /backup/backup.tar -C /data .; tar tf backup.tar | sort; e volume create again >/dev/null; e run --rm -v again:/to -v "$(pwd)":/backup:ro $img tar xf /backup/backup.tar -C /to
		e run --rm -v again:/to:ro $img cat /to/f; e run --rm -i -v data:/in -v again:/out $img sh -c 'cp -a /in/. /out && ls /out'`},
	{"script: clean up", `
		for n in 1 2 3; do e run --network none --name job$n $img true; done; run web sleep 1000
		e rm $(e ps -aq -f status=exited) | wc -l; e stop -t 0 $(e ps -q) | wc -l; e rm $(e ps -a -q) | wc -l; e images -f dangling=true -q | xargs -r $E rmi; e volume ls -qf dangling=true | xargs -r $E volume rm
		e ps -a --format '{{.ID}} {{.Names}}' | awk '{print $2}' | xargs -r $E rm; e rm -f web 2>/dev/null || true; e network inspect mynet >/dev/null 2>&1 || e network create mynet >/dev/null; e network ls --format '{{.Name}}' | grep -q '^mynet$' && echo there
		if [ -z "$(e ps -q -f name=^web$)" ]; then echo not running; fi; if ! e image inspect nosuch >/dev/null 2>&1; then echo no image; fi; e container inspect web >/dev/null 2>&1 || echo no container`},
	{"script: blue and green", `
		up() { e run -d --name $1 -p 127.0.0.1::80 $img sh -c "mkdir -p /w; echo $1 >/w/index.html; exec httpd -f -p 80 -h /w" >/dev/null; }
		get() { local p=$(e port $1 80/tcp | head -n 1 | cut -d : -f 2); until_true busybox wget -q -O- http://127.0.0.1:$p/; busybox wget -q -O- http://127.0.0.1:$p/; }
		up blue; get blue; up green; get green; ip=$(e inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' green); e run --rm $img wget -q -O- http://$ip/
		e stop -t 0 blue >/dev/null; e rename blue old; e rename green blue; get blue; e rm old; e ps --format '{{.Names}}'; e inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}' blue`},
	{"script: JSON", `
		run aa -l team=one $img sleep 1000; run bb -l team=two $img sleep 1000
		e ps --format '{{json .}}' | python3 -c 'import json,sys; [print(c["Names"], c["State"], c["Labels"], c["Image"]) for c in map(json.loads, sys.stdin)]'
		e inspect $(e ps -q) | python3 -c 'import json,sys; [print(c["Name"], c["State"]["Running"], c["Config"]["Labels"], c["HostConfig"]["NetworkMode"], c["HostConfig"]["RestartPolicy"]) for c in json.load(sys.stdin)]'
		e images --format '{{json .}}' | python3 -c 'import json,sys; [print(i["Repository"], i["Tag"]) for i in map(json.loads, sys.stdin)]'; e volume ls --format '{{json .}}'; e network ls --format '{{json .}}' | python3 -c 'import json,sys; [print(n["Name"], n["Driver"]) for n in map(json.loads, sys.stdin)]'
		e ps -q --no-trunc | while read id; do e inspect --format '{{.Name}}' $id | cut -c 2-; done`},
	{"script: logs and events in a loop", `
		e events --filter event=die --filter type=container --format '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}' >died & events=$!; sleep 1
		run aa sh -c 'for n in 1 2 3; do echo line $n; sleep .1; done; exit 5'; e logs -f aa 2>&1 | while read -r line; do echo "seen: $line"; done; e wait aa; until_true grep aa died; kill $events; cat died
		e logs aa | grep -c line; e logs --tail=1 aa; e logs aa | tail -n +2 | head -n 1`},
	{"script: a shell's pipes", `
		run aa sleep 1000; printf 'select\n1\n' >in.sql; e exec -i aa cat <in.sql; echo word | e exec -i aa tr a-z A-Z; e exec aa sh -c 'echo dumped' >dump; cat dump; tar c in.sql | e cp - aa:/tmp; e exec aa ls /tmp; e cp aa:/tmp/in.sql - | tar xO
		e exec aa cat /etc/passwd | head -n 1; echo hi | e run --rm -i $img cat | tr a-z A-Z; x=$(e run --rm $img sh -c 'echo out; exit 3'); echo $? $x; e run --rm $img sh -c 'echo e >&2' 2>&1 | sed s/e/E/; yes | e run --rm -i $img head -n 1
		e export aa | tar t | grep -c ^etc/passwd; e save $img | tar t | grep -c manifest.json; id=$(e create $img true); e cp $id:/etc/group g; e rm $id | wc -c; wc -l <g; e run --rm -e LIST="$(printf 'a\nb')" $img sh -c 'echo "$LIST"'`},
	{"script: trap and stop", `
		cat >s.sh <<'END'
cid=$($E run -d --network none --name aa $img sh -c 'trap "echo bye; exit 0" TERM; while :; do sleep .1; done')
trap '$E stop -t 5 $cid >/dev/null; $E logs $cid; $E inspect -f "{{.State.ExitCode}}" $cid; $E rm $cid >/dev/null' EXIT
[ "$($E inspect -f '{{.Id}}' aa)" = "$cid" ] && echo same; [ "$($E ps -q --no-trunc -f id=$cid)" = "$cid" ] && echo listed; sleep .5; exit 7
END
		E="$E" img=$img bash s.sh; echo $?; e ps -aq; timeout 3 $E run --rm --name fg --network none $img sh -c 'trap "echo term; exit 4" TERM; while :; do sleep .1; done'; echo $?; until_true sh -c "! $E inspect fg"; e ps -aq`},
}
