#!/bin/bash
# Root file systems for the suites, made of this machine's programs. For runc's it is in place of its get-images.sh, which
# fetches them.
#
# usage: get-images.sh                say, as the original, where they are
#        get-images.sh DIR NAME...    make them there: busybox, debian, cri, nonewprivs
set -euo pipefail
dir=$(dirname "$(readlink -f "$0")")/testdata

# A busybox, with a link for each of its commands.
busybox() {
  mkdir -p "$1"/{bin,dev,etc,home,tmp,usr/bin,usr/sbin,var/spool/mail,var/www}
  mkdir -m 700 "$1/root"
  chmod 1777 "$1/tmp"
  cp "$(type -P busybox)" "$1/bin/busybox"
  for c in $(command busybox --list); do [ "$c" = busybox ] || ln "$1/bin/busybox" "$1/bin/$c"; done
  ln -s ../../bin/env "$1/usr/bin/env"
  users "$1"
}

users() {
  printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/bin/false mail:x:8:8:mail:/var/spool/mail:/bin/false \
    www-data:x:33:33:www-data:/var/www:/bin/false nobody:x:65534:65534:nobody:/home:/bin/false \
    default-user:x:1000:1000::/home:/bin/sh >"$1/etc/passwd"
  printf '%s\n' root:x:0: daemon:x:1: bin:x:2: sys:x:3: adm:x:4: tty:x:5: disk:x:6: nogroup:x:65534: \
    default-user:x:1000: group-defined-in-image:x:50000:default-user >"$1/etc/group"
}

# program DIR NAME: a program of this machine, with its libraries, into a tree whose lib and lib64 are links into usr.
program() {
  local program lib
  program=$(PATH=$PATH:/usr/sbin:/sbin type -P "$2") || return 0
  cp -L "$program" "$1/usr/bin/$2"
  for lib in $(ldd "$program" 2>/dev/null | grep -o '/[^ )]*'); do
    case $lib in /usr/*) ;; *) lib=/usr$lib ;; esac
    mkdir -p "$1${lib%/*}"
    [ -e "$1$lib" ] || cp -L "$lib" "$1$lib"
  done
}

# What runc's suite wants of Debian's image.
debian() {
  mkdir -p "$1"/{dev,etc,home,root,run,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64}
  chmod 1777 "$1/tmp"
  local name
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$1/$name"; done
  for name in bash sh ls cat echo true false id stat chmod chown touch mkdir rmdir rm ln cp mv sleep tail head grep sed awk findmnt mount \
    umount chrt ionice taskset nice env readlink realpath sort tr wc cut uname date tty setpriv nproc mountpoint ldconfig ldd unshare; do
    program "$1" "$name"
  done
  mv "$1/usr/bin/ldconfig" "$1/usr/sbin/"
  users "$1"
  cp -r /etc/ld.so.conf /etc/ld.so.conf.d /etc/os-release "$1/etc/"
  "$1/usr/sbin/ldconfig" -r "$1"
}

# A busybox with what Debian's lacks, and a web server on port 80, or with -c /etc/nginx/12003.conf on that one.
cri() {
  busybox "$1"
  mkdir -p "$1"/{usr/lib,usr/lib64,etc/nginx,run,var/lib/nginx,var/log/nginx,srv}
  ln -s usr/lib usr/lib64 "$1"
  ln -s ../run "$1/var/run"
  local name port
  for name in pgrep ipcs nginx; do program "$1" "$name"; done
  cp -r /etc/ld.so.conf /etc/ld.so.conf.d "$1/etc/"
  /sbin/ldconfig -r "$1"
  echo page >"$1/srv/index.html"
  for port in 80 12003; do
    echo "user nobody nogroup; events {} http { access_log off; server { listen $port; root /srv; } }" >"$1/etc/nginx/$port.conf"
  done
}

# A program that says as whom it runs, which is as root if setuid counts.
nonewprivs() {
  mkdir "$1/etc"
  users "$1"
  echo '#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("Effective uid: %d\n", geteuid()) < 0; }' | gcc -static -x c -o "$1/nnp" -
  chmod 4755 "$1/nnp"
}

if [ $# -gt 0 ]; then
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  for image in "${@:2}"; do
    mkdir -m 755 "$tmp/$image"
    "$image" "$tmp/$image"
    tar -C "$tmp/$image" -cf "$1/$image.tar" .
  done
fi
echo "BUSYBOX_IMAGE=$dir/busybox.tar"
echo "DEBIAN_IMAGE=$dir/debian.tar"
