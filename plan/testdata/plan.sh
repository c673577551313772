#!/bin/sh
# small: sh
# This makes the same container with the system's own tools. Run it as the user
# for whom it was printed.
set -eu
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
umask 022
ROOT=''
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
rm /run/d
rm /run/c
rm '/run/a b'
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

# root inside
exec setpriv --reuid 0 --regid 0 --clear-groups sh "$T/child" 2 ;;
2)

# processes
mkdir -p "$ROOT"/proc
mount -t proc proc "$ROOT"/proc

# the command: last, with nothing left of what set it up
exec 3<>"$T/last"
exec env -i 'A=b c' "$(command -v setpriv)" --no-new-privs --reuid=1 --regid=2 --groups=3,4 "$(command -v sh)" -c 'echo >&4; read -r _ <&3; exec 3<&- 4<&-; cd "$0"; unset PWD OLDPWD; exec "$@"' / sh -c 'echo '\''hi'\''
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
nsenter --no-fork --preserve-credentials --net='/run/netns/it'\''s' -- unshare --user --keep-caps --pid --mount --propagation unchanged --fork --kill-child sh "$T/child" 1 <&5 5<&- &
MAKER=$!
exec 5<&-
while [ -z "$PID" ]; do
	sleep 0.01
	kill -0 "$MAKER"
	read -r PID _ <"/proc/$MAKER/task/$MAKER/children" || : # no newline at its end
done

# --- the host's half, with the child waiting ---
exec 6>"$T/go" # opens when the child reads it

# with the child there
touch /run/d
echo >&6
exec 6>&-

# --- all is in place: the child moves into its root, and runs ---
read -r _ <"$T/ready"
nsenter -t "$PID" -U nsenter -t "$PID" -m pivot_root "$ROOT" "$ROOT"
nsenter -t "$PID" -U nsenter -t "$PID" -m umount -l /
echo >"$T/last"
wait "$MAKER" && status=0 || status=$?
PID= MAKER=
exit "$status"
