#!/bin/bash
# Run a command as an ordinary user who has what runc's suite looks for, as its tests/rootless.sh does it: a cgroup that
# is the user's, IDs for a user namespace, and a folder of one of them.
#
# usage: user.sh USER COMMAND...    as root, in a world; TMPDIR is going to be the user's
# environment: ROOTLESS_FEATURES    what of it there is to be (default: idmap+cgroup)
set -euo pipefail
user=$1 uid=$(id -u "$1") gid=$(id -g "$1")
shift
export ROOTLESS_FEATURES=${ROOTLESS_FEATURES-idmap+cgroup}

if [[ $ROOTLESS_FEATURES == *cgroup* ]]; then
  name=runc-cgroups-integration-test
  for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$top/cgroup.procs" ] || continue
    if [ "$top" = /sys/fs/cgroup ]; then
      # A process may be moved by who may write to what both cgroups are below.
      chown "$uid" "$top/cgroup.procs"
      for c in $(<"$top/cgroup.controllers"); do echo "+$c" >"$top/cgroup.subtree_control" || true; done
    fi
    [ -d "$top/$name" ] || mkdir "$top/$name"
    for f in "$top/$name" "$top/$name"/{cgroup.procs,tasks,cgroup.subtree_control,cpuset.cpus,cpuset.mems,cpu.rt_period_us,cpu.rt_runtime_us}; do
      [ ! -e "$f" ] || chown "$uid" "$f"
    done
  done
fi
if [[ $ROOTLESS_FEATURES == *idmap* ]]; then
  IFS=: read -r _ ROOTLESS_UIDMAP_START ROOTLESS_UIDMAP_LENGTH < <(grep "^$user:" /etc/subuid)
  IFS=: read -r _ ROOTLESS_GIDMAP_START ROOTLESS_GIDMAP_LENGTH < <(grep "^$user:" /etc/subgid)
  ROOTLESS_AUX_DIR=$(mktemp -d) ROOTLESS_AUX_UID=1024
  chown $((ROOTLESS_UIDMAP_START - 1000 + ROOTLESS_AUX_UID)) "$ROOTLESS_AUX_DIR" # 1000 is the suite's first mapped ID
  export ROOTLESS_{U,G}IDMAP_{START,LENGTH} ROOTLESS_AUX_{DIR,UID}
fi
export HOME=$TMPDIR/home XDG_RUNTIME_DIR=$TMPDIR/run
mkdir -m 700 "$HOME" "$XDG_RUNTIME_DIR"
chown "$uid:$gid" "$TMPDIR" "$HOME" "$XDG_RUNTIME_DIR" "$(tty </dev/tty || echo "$HOME")"
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"
