#!/bin/sh
# every child action
# This makes the same container with the system's own tools. Run it as the user
# for whom it was printed.
set -eu
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
umask 022
ROOT=/c/rootfs
T=$(mktemp -d) PID= MAKER=
export ROOT T
chmod 711 "$T"
mkfifo -m 666 "$T/go" "$T/last" "$T/ready"

# --- taking it all back, whatever happens ---
remove() {
	rm -rf "$1" 2>/dev/null || unshare -r --map-auto rm -rf "$1" 2>/dev/null || unshare -r rm -rf "$1"
}
undo() {
set +e
for p in $PID $MAKER; do kill -KILL "$p" 2>/dev/null; done
wait
rm -rf "$T"
}
trap undo EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the child's half ---
cat >"$T/child" <<'THE_CHILD'
set -eu
case $1 in
1)
read -r _ <"$T/go"
exec 4>"$T/ready" # its end tells the host if this fails
exec setpriv --reuid 0 --regid 0 --clear-groups sh "$T/child" 2 ;;
2)
exec setpriv --reuid 0 --regid 0 --keep-groups sh "$T/child" 3 ;;
3)
exec setpriv --reuid 0 --regid 0 --clear-groups sh "$T/child" 4 ;;
4)
echo 0 >/sys/fs/cgroup/pids/c/tasks
exec unshare --cgroup sh "$T/child" 5 ;;
5)
# setsid: a shell's child has its session by then; a new keyring needs keyctl(1)
# setsid: a shell's child has its session by then; a new keyring needs keyctl(1)
umask 0027
mount --make-rslave /
mount --make-private /
mount --make-unbindable /
# chroot: a shell can't do that to itself; the command wants it in front: chroot "$ROOT"
mount -t tmpfs tmpfs /run/c/scratch
mkdir /run/c/scratch/upper /run/c/scratch/work
mount -t tmpfs -o size=64m tmpfs /run/c/scratch
mkdir /run/c/scratch/upper /run/c/scratch/work
mount -t overlay -o lowerdir=/l/1:/l/0,upperdir=/c/upper,workdir=/c/work,userxattr overlay "$ROOT"
mount -t overlay -o 'lowerdir=/l/a\:b\,c\\d:/l/0,upperdir=/c/upper,workdir=/c/work' overlay "$ROOT"
mkdir -p "$ROOT"/tmp
mount -t tmpfs -o nosuid,nodev,size=64m,noswap tmpfs "$ROOT"/tmp
mkdir -p "$ROOT"/proc
mount -t proc proc "$ROOT"/proc
mkdir -p "$ROOT"/data
mount --bind /srv "$ROOT"/data
mkdir -p "$ROOT"/data
mount --rbind /srv "$ROOT"/data
mount -o remount,bind,ro "$ROOT"/data
mount --make-rprivate "$ROOT"/data
mkdir -p "$ROOT"/data
mount --rbind /srv "$ROOT"/data
for m in $(findmnt -R -n -l -o TARGET "$ROOT"/data); do mount -o remount,bind,ro "$m"; done
mount --make-rshared "$ROOT"/data
mkdir -p "$ROOT"/etc; [ -e "$ROOT"/etc/hosts ] || : >"$ROOT"/etc/hosts
mount --bind /etc/hosts "$ROOT"/etc/hosts
mount -o remount,bind,noatime "$ROOT"/etc/hosts
mkdir -p "$ROOT"/data
mount --bind /srv/sub/dir "$ROOT"/data
mkdir -p -m 750 "$ROOT"/srv/a
mkdir -p "$ROOT"/dev; mknod -m 666 "$ROOT"/dev/null c 1 3
mkdir -p "$ROOT"/dev; mknod -m 660 "$ROOT"/dev/disk b 8 1
chown 1:6 "$ROOT"/dev/disk
mkdir -p "$ROOT"; mknod -m 600 "$ROOT"/pipe p
[ -e "$ROOT"/dev/fd ] || ln -s /proc/self/fd "$ROOT"/dev/fd
ip link set lo up
hostname box
domainname example
echo 1 >/proc/sys/net/ipv4/ip_forward
# the terminal: a shell can't send one to its parent; the command runs on the caller's (script(1) would make one)
# the terminal: a shell can't send one to its parent; the command runs on the caller's (script(1) would make one)
# standard streams: the caller's
if [ -e "$ROOT"/proc/sys ]; then mount --rbind "$ROOT"/proc/sys "$ROOT"/proc/sys && mount -o remount,bind,ro "$ROOT"/proc/sys; fi
if [ -d "$ROOT"/proc/kcore ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec tmpfs "$ROOT"/proc/kcore; elif [ -e "$ROOT"/proc/kcore ]; then mount --bind /dev/null "$ROOT"/proc/kcore; fi
mount -o remount,bind,ro "$ROOT"
mkdir -p "$ROOT"/tmp
mount -t tmpfs tmpfs "$ROOT"/tmp
mkdir -p "$ROOT"/data
mount --bind /srv "$ROOT"/data
mount -o remount,bind,ro,suid,relatime "$ROOT"/tmp
mount --make-shared "$ROOT"/tmp
mount -o remount,bind,ro "$ROOT"/data
mount --make-rslave "$ROOT"/data
mount --make-runbindable "$ROOT"/data
mount -o remount,ro,size=1m "$ROOT"/tmp
mount --make-rprivate "$ROOT"/tmp
mount -o remount,bind "$ROOT"/data
chrt --fifo --reset-on-fork --pid 10 $$
chrt --deadline --sched-runtime 1 --sched-deadline 2 --sched-period 3 --pid 0 $$
chrt --other --pid 0 $$
renice -n -5 -p $$
ionice -c 1 -n 7 -p $$
ionice -c 2 -n 0 -p $$
ionice -c 3 -n 0 -p $$
taskset -c -p 0-3,64 $$
# memory policy: 'MPOL_BIND|MPOL_F_STATIC_NODES of nodes 0-1,65'; numactl(8) can set some of them for a command
# memory policy: MPOL_DEFAULT; numactl(8) can set some of them for a command
exec setarch linux32 sh "$T/child" 6 ;;
6)
# seccomp: no shell command loads a filter; this container goes without one
ulimit -Sn 10; ulimit -Hn 20
# --no-pivot: a root that is moved can't be entered by a later shell; pivoted all the same
[ -x /bin/prog ] || [ -x /usr/bin/prog ]
# a script makes and starts a container at once
# terminal is the caller's, and lives as long
mkdir -p "$ROOT"/etc/a; [ -e "$ROOT"/etc/a/b ] || : >"$ROOT"/etc/a/b
exec 900</proc/self/ns/net
# descriptor 901 is the caller's status

# the command: last, with nothing left of what set it up
exec 3<>"$T/last"
exec env -i PATH=/bin 'A=b c' "$(command -v setpriv)" --selinux-label a:b:c --no-new-privs --bounding-set=-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+linux_immutable,+net_bind_service,+net_broadcast,+net_admin,+net_raw,+ipc_lock,+ipc_owner,+sys_module,+sys_rawio,+sys_chroot,+sys_ptrace,+sys_pacct,+sys_boot,+sys_nice,+sys_resource,+sys_time,+sys_tty_config,+mknod,+lease,+audit_write,+audit_control,+setfcap,+mac_override,+mac_admin,+syslog,+wake_alarm,+block_suspend,+audit_read,+perfmon,+checkpoint_restore --reuid=1000 --regid=100 --groups=4,5 --reuid=0 --regid=0 --keep-groups --inh-caps=-all,+chown --ambient-caps=-all,+chown --pdeathsig KILL "$(command -v sh)" -c 'echo >&4; read -r _ <&3; exec 3<&- 4<&-; cd "$0"; unset PWD OLDPWD; exec "$@"' /srv prog 'a b' 'it'\''s' ;;
esac
THE_CHILD

# --- the host's half, before the child is born ---

# --- birth ---
exec 5<&0
 sh "$T/child" 1 <&5 5<&- &
MAKER=$!
exec 5<&-
while [ -z "$PID" ]; do
	sleep 0.01
	kill -0 "$MAKER"
	read -r PID _ <"/proc/$MAKER/task/$MAKER/children" || : # no newline at its end
done

# --- the host's half, with the child waiting ---
exec 6>"$T/go" # opens when the child reads it
echo >&6
exec 6>&-

# --- all is in place: the child moves into its root, and runs ---
read -r _ <"$T/ready"
nsenter -t "$PID" -U nsenter -t "$PID" -m pivot_root "$ROOT" "$ROOT"
nsenter -t "$PID" -U nsenter -t "$PID" -m umount -l /
mount -N "$PID" --make-shared /
nsenter -t "$PID" -U nsenter -t "$PID" -m pivot_root "$ROOT" "$ROOT"
nsenter -t "$PID" -U nsenter -t "$PID" -m umount -l /
echo >"$T/last"
wait "$MAKER" && status=0 || status=$?
PID= MAKER=
exit "$status"
