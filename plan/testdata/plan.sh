#!/bin/sh
# small: sh
# This makes the same container with the system's own tools. Run it as the user
# for whom it was printed.
set -eu
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
T=$(mktemp -d) PID=
export T
chmod 711 "$T"
mkfifo -m 666 "$T/go" "$T/last" "$T/ready"
undo() {
set +e
rm /run/d
rm /run/c
rm '/run/a b'
rm -rf "$T"
}
trap undo EXIT
trap 'kill -KILL "$PID"' INT TERM HUP

# --- the child's half ---
cat >"$T/child" <<'THE_CHILD'
set -eu
case $1 in
1)
read -r _ <"$T/go"

# root inside
exec setpriv --reuid 0 --regid 0 --clear-groups sh "$T/child" 2 ;;
2)

# processes
mkdir -p "$ROOT"/proc
mount -t proc proc "$ROOT"/proc

# no setuid

# the command

# the command: last, with nothing left of what set it up
exec 3<>"$T/last" 4<>"$T/ready"
exec env -i 'A=b c' setpriv --no-new-privs --reuid=1 --regid=2 --groups=3,4 sh -c 'echo >&4; read -r _ <&3; exec 3<&- 4<&-; cd "$0"; exec "$@"' / sh -c 'echo '\''hi'\''
' ;;
esac
THE_CHILD

# --- the host's half, before the child is born ---

# first
touch '/run/a b'

# second
touch /run/c

# --- birth ---
exec 5<&0
nsenter --preserve-credentials --net='/run/netns/it'\''s' -- unshare --user --keep-caps --pid --mount --propagation unchanged --fork sh "$T/child" 1 <&5 &
MAKER=$!
while [ -z "$PID" ]; do
	kill -0 "$MAKER"
	read -r PID _ <"/proc/$MAKER/task/$MAKER/children" || PID=
done

# --- the host's half, with the child waiting ---

# birth

# with the child there
touch /run/d
echo >"$T/go"

# --- all is in place: the child moves into its root, and runs ---
read -r _ <"$T/ready"
$IN_USER nsenter -t "$PID" -m pivot_root "$ROOT" "$ROOT"
$IN_USER umount -N "$PID" -l /
echo >"$T/last"
wait "$MAKER" && status=0 || status=$?
exit "$status"
