// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vitro/test/world"
)

// boot runs a script as a service of a systemd that is the first process of a
// machine of its own, with a journal, and returns what the script has printed.
// To the machine's files that systemd can write nothing.
func boot(t *testing.T, root, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a systemd as first process needs root")
	}
	for _, tool := range []string{"/lib/systemd/systemd", "/lib/systemd/systemd-journald", "/usr/bin/systemctl", "/usr/bin/journalctl", "/usr/bin/unshare"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("needs %s: the packages systemd and util-linux", tool)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"boot": bootScript, "script": script, "world.target": worldTarget,
		"journal.socket": journalSocket, "journal.service": journalService, "script.service": fmt.Sprintf(scriptService, root, st.vitro, dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/bash", "-e", dir+"/boot", dir, st.dir, filepath.Dir(root))
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	err := world.World{Net: true, Hide: []string{"/run", "/var/log", "/root"}, Label: "-systemd"}.Run(context.Background(), cmd)
	out, _ := os.ReadFile(dir + "/out")
	if err != nil {
		t.Fatalf("%v\nthe script has printed:\n%s\nand systemd:\n%s", err, out, log.String())
	}
	return string(out)
}

// bootScript: a /dev without the kernel's log, and file systems that systemd can't write to.
const bootScript = `
mkdir -p /run/dev /run/units /run/systemd
for d in null zero full random urandom tty; do >/run/dev/$d; mount --bind /dev/$d /run/dev/$d; done
mount --rbind /run/dev /dev
>/run/kmsg; ln -s /run/kmsg /dev/kmsg
for d in "$@"; do mount --bind "$d" "$d"; done
mount -o remount,bind,ro /
for t in sysinit basic shutdown network-online multi-user; do printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $t >/run/units/$t.target; done
cp "$1"/*.service "$1"/*.socket "$1"/*.target /run/units/
export container=vitro SYSTEMD_UNIT_PATH=/run/units
exec unshare --pid --fork --kill-child --mount-proc /lib/systemd/systemd --unit=world.target --log-target=console --show-status=no
`

const worldTarget = "[Unit]\nDescription=everything\nDefaultDependencies=no\nWants=script.service\n"

const journalSocket = `[Unit]
Description=journal
DefaultDependencies=no
[Socket]
ListenDatagram=/run/systemd/journal/socket
ListenStream=/run/systemd/journal/stdout
PassCredentials=yes
Service=journal.service
`

const journalService = `[Unit]
Description=journal
DefaultDependencies=no
Requires=journal.socket
After=journal.socket
[Service]
Type=notify
ExecStart=/lib/systemd/systemd-journald
StandardOutput=null
`

const scriptService = `[Unit]
Description=what the test does
DefaultDependencies=no
Wants=journal.service
After=journal.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
Environment=HOME=/ LC_ALL=C TZ=UTC ROOT=%[1]s VITRO=%[2]s
ExecStart=/bin/bash -e %[3]s/script
StandardOutput=append:%[3]s/out
StandardError=inherit
`

// shellHead is what the scripts have in common. What they print are lines of the
// form "what: value".
const shellHead = `
v() { $VITRO --root $ROOT "$@"; }
say() { printf '%s: %s\n' "$1" "$2"; }
eventually() { for i in $(seq 300); do ! eval "$1" || return 0; sleep 0.1; done; say gave-up "$1"; }
`

const journalTest = shellHead + `
id=$(v run -d --name web --network=none --log-driver=journald --log-opt tag='my-{{.Name}}' busybox sh -c 'echo one; sleep 0.5; echo two >&2; sleep 0.5; printf "a\000b\n\n"; seq 3000; printf end; exec sleep 1000')
eventually '[ "$(v logs web 2>&1 | wc -l)" -ge 3004 ]'
entry() { journalctl -q -o json CONTAINER_NAME=web MESSAGE="$1" | sed "s/$id/ID/g; s/${id:0:12}/SHORT/g"; }
say one "$(entry one | grep -o '"\(CONTAINER_[A-Z_]*\|IMAGE_NAME\|SYSLOG_IDENTIFIER\|PRIORITY\)":"[^"]*"' | sort | tr '\n' ' ')"
say two "$(entry two | grep -o '"PRIORITY":"."')"
say out "$(v logs web 2>/dev/null | head -n 3 | od -An -c | xargs -d '\n' echo | sed 's/  */ /g; s/^ //')"
say err "$(v logs web 2>&1 >/dev/null)"
say lines "$(v logs web 2>/dev/null | sed 1,3d | cmp - <(seq 3000) 2>&1)"
say tail "$(v logs --tail 2 web | tr '\n' ' ')"
say none-since "$(v logs --since 0s web)"
v logs -f web >/run/follow 2>/dev/null & f=$!
eventually 'grep -qsx 3000 /run/follow'
say followed "$(head -n 1 /run/follow)"
kill $f
systemctl restart journal.service
v exec web sh -c 'echo again >/proc/1/fd/1'
eventually 'v logs --tail 5 web | grep -q again'
v stop -t 0 web >/dev/null
say last "$(v logs --tail 1 web)"
v rm web >/dev/null
`

// TestJournal: the journal gets a container's output with the fields that
// Docker writes, and logs reads it back, byte for byte.
func TestJournal(t *testing.T) {
	t.Parallel()
	const want = `one: "CONTAINER_ID":"SHORT" "CONTAINER_ID_FULL":"ID" "CONTAINER_NAME":"web" "CONTAINER_TAG":"my-web" "IMAGE_NAME":"busybox" "PRIORITY":"6" "SYSLOG_IDENTIFIER":"my-web" 
two: "PRIORITY":"3"
out: o n e \n a \0 b \n \n
err: two
lines: 
tail: 2999 3000 
none-since: 
followed: one
last: endagain
`
	if got := boot(t, t.TempDir()+"/root", journalTest); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const unitsTest = shellHead + `
status() { v inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
main() { systemctl show -P MainPID vitro-web; }
beside() { cat $ROOT/containers/$id/monitor; }
id=$(v create --name web --network=none --stop-timeout 0 busybox sh -c 'echo up; exec sleep 1000')
v generate systemd web >/run/units/vitro-web.service
systemctl daemon-reload
systemctl start vitro-web
say started "$(systemctl is-active vitro-web), $(status web)"
[ "$(main)" = "$(beside)" ] || say main "$(main), beside it $(beside)"
systemctl daemon-reload
say reloaded "$(systemctl is-active vitro-web), $(status web)"
pid=$(main)
systemctl restart vitro-web
say restarted "$(systemctl is-active vitro-web), $(status web), $(v logs web | wc -l) times"
[ "$(main)" != $pid ] || say main "is the same"
systemctl stop vitro-web
say stopped "$(systemctl is-active vitro-web || :), $(status web)"
systemctl start vitro-web
v stop web >/dev/null
eventually 'systemctl is-active vitro-web | grep -qx inactive'
say stopped-by-hand "$(systemctl is-active vitro-web || :), $(status web)"

v generate systemd --restart-policy always web >/run/units/vitro-web.service
systemctl daemon-reload
systemctl start vitro-web
v exec web kill -9 1 || :
kill -9 $(v inspect -f '{{.State.Pid}}' web)
eventually '[ "$(v logs web | wc -l)" -gt 4 ]'
eventually 'systemctl -q is-active vitro-web'
say came-back "$(status web)"
pid=$(main) inside=$(v inspect -f '{{.State.Pid}}' web)
kill -9 $pid
eventually 'systemctl -q is-active vitro-web && [ $(main) != $pid ] && [ $(main) != 0 ]'
[ "$(main)" = "$(beside)" ] || say main "$(main), beside it $(beside)"
[ $inside = "$(v inspect -f '{{.State.Pid}}' web)" ] || say inside "is another process"
say monitor-killed "$(status web)"
systemctl stop vitro-web
say stopped-at-last "$(systemctl is-active vitro-web || :), $(status web)"
v system check
v rm web >/dev/null
`

// TestUnits: what vitro generate systemd prints is a unit that systemd starts,
// stops, restarts and watches.
func TestUnits(t *testing.T) {
	t.Parallel()
	const want = `started: active, running 0
reloaded: active, running 0
restarted: active, running 0, 2 times
stopped: inactive, exited 137
stopped-by-hand: inactive, exited 137
came-back: running 0
monitor-killed: running 0
stopped-at-last: inactive, exited 137
`
	if got := boot(t, t.TempDir()+"/root", unitsTest); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestBoot: after a reboot vitro-boot.service starts those that are to come
// back, and they live when it ends.
func TestBoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir() + "/root"
	data, err := os.ReadFile("../../dist/vitro-boot.service")
	if err != nil {
		t.Skipf("needs the project's folder: %v", err)
	}
	unit := strings.NewReplacer("/usr/local/bin/vitro ", st.vitro+" --root "+root+" ").Replace(string(data))
	if err := os.WriteFile(filepath.Dir(root)+"/vitro-boot.service", []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	boot(t, root, shellHead+`
for policy in always unless-stopped on-failure no; do v run -d --name $policy --network=none --restart=$policy busybox sleep 1000; done
v run -d --name stopped --network=none --restart=unless-stopped busybox sleep 1000
v stop -t 0 stopped
`)
	const want = `always: running
no: exited
on-failure: running
stopped: exited
unless-stopped: running
boot: active
always: running
unless-stopped: running
`
	got := boot(t, root, shellHead+`
cp $ROOT/../vitro-boot.service /run/units
systemctl daemon-reload
systemctl start vitro-boot
for c in always no on-failure stopped unless-stopped; do say $c "$(v inspect -f '{{.State.Status}}' $c)"; done
say boot "$(systemctl is-active vitro-boot)"
systemctl stop vitro-boot
for c in always unless-stopped; do say $c "$(v inspect -f '{{.State.Status}}' $c)"; done
v rm -f $(v ps -aq) >/dev/null
v system check
`)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
