#!/bin/bash
# The images of runc's suite, made of this machine's programs, in place of its get-images.sh, which fetches them.
#
# usage: get-images.sh [DIR]     with DIR: make them there; then, as the original, say where they are
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
    www-data:x:33:33:www-data:/var/www:/bin/false nobody:x:65534:65534:nobody:/home:/bin/false >"$1/etc/passwd"
  printf '%s\n' root:x:0: daemon:x:1: bin:x:2: sys:x:3: adm:x:4: tty:x:5: disk:x:6: nogroup:x:65534: >"$1/etc/group"
}

# Some programs of this machine, with their libraries: what the suite wants of Debian's image.
debian() {
  mkdir -p "$1"/{dev,etc,home,root,run,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64}
  chmod 1777 "$1/tmp"
  local name program lib
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$1/$name"; done
  for name in bash sh ls cat echo true false id stat chmod chown touch mkdir rmdir rm ln cp mv sleep tail head grep sed awk findmnt mount \
    umount chrt ionice taskset nice env readlink realpath sort tr wc cut uname date tty setpriv nproc mountpoint ldconfig ldd unshare; do
    program=$(PATH=$PATH:/usr/sbin:/sbin type -P "$name") || continue
    cp -L "$program" "$1/usr/bin/$name"
    for lib in $(ldd "$program" 2>/dev/null | grep -o '/[^ )]*'); do
      case $lib in /usr/*) ;; *) lib=/usr$lib ;; esac
      mkdir -p "$1${lib%/*}"
      [ -e "$1$lib" ] || cp -L "$lib" "$1$lib"
    done
  done
  mv "$1/usr/bin/ldconfig" "$1/usr/sbin/"
  users "$1"
  cp -r /etc/ld.so.conf /etc/ld.so.conf.d /etc/os-release "$1/etc/"
  "$1/usr/sbin/ldconfig" -r "$1"
}

if [ $# -gt 0 ]; then
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  for image in busybox debian; do
    mkdir "$tmp/$image"
    "$image" "$tmp/$image"
    tar -C "$tmp/$image" -cf "$1/$image.tar" .
  done
fi
echo "BUSYBOX_IMAGE=$dir/busybox.tar"
echo "DEBIAN_IMAGE=$dir/debian.tar"
