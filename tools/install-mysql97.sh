#!/usr/bin/env bash
# Puts MySQL's own server and client (9.7, from Debian unstable) into a cache folder, beside the
# machine's packages and without touching them. Prints the path of its mysqld, and nothing else, on
# standard output; everything it says goes to standard error.
#
#   tools/install-mysql97.sh          needs root or sudo, about 700 MB and some minutes, once
#
# The folder is ${SHARDGATE_CACHE:-$HOME/.cache/shardgate}/mysql97; a complete one is left as it is.
set -euo pipefail
cd "$(dirname "$0")"
. ./install.sh
home=${SHARDGATE_CACHE:-$HOME/.cache/shardgate}/mysql97
works() { [ -x "$1" ] && "$1" --no-defaults --version >/dev/null 2>&1; }
if works "$home/bin/mysqld"; then
  echo "$home/bin/mysqld"
  exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
  echo "MySQL 9.7 is only installed on x86_64" >&2
  exit 1
fi
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
apt_install debootstrap >&2

# The mirror that this machine itself uses; Debian's own redirector where it uses none of Debian.
mirror() {
  sed -nE 's#^deb (\[[^]]*\] )?(https?://[^ ]+).*#\2#p; s#^URIs: *(https?://[^ ]+).*#\1#p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | grep '/debian/*$' | head -n 1
}
# No mirror in its sources is no reason to stop.
from=$(mirror || true)
echo "installing MySQL 9.7 from Debian unstable into $home (debootstrap)" >&2
mkdir -p "$home/bin"
"${sudo[@]}" rm -rf "$home/root"
arguments=(--variant=minbase --include=mysql-server-core,mysql-client-core)
# Debian's keys are not on every machine; packages are then taken as the mirror gives them.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] && arguments+=("--keyring=$keys")
if ! "${sudo[@]}" debootstrap "${arguments[@]}" sid "$home/root" ${from:+"$from"} >"$home/debootstrap.log" 2>&1 </dev/null; then
  tail -n 5 "$home/debootstrap.log" >&2
  echo "MySQL 9.7 could not be installed" >&2
  exit 1
fi

# Programs of another Debian run with their own loader and libraries.
wrap() { # NAME PROGRAM [ARGUMENT...]
  local name=$1 program=$2 lib=$home/root/usr/lib/x86_64-linux-gnu
  shift 2
  {
    echo '#!/bin/sh'
    printf 'exec "%s" --library-path "%s" "%s" "$@"' \
      "$home/root/lib64/ld-linux-x86-64.so.2" "$lib:$lib/mysql:$home/root/usr/lib" "$home/root/usr/$program"
    [ $# -eq 0 ] || printf ' "%s"' "$@"
    echo
  } >"$home/bin/$name"
  chmod +x "$home/bin/$name"
}
wrap mysqld sbin/mysqld "--basedir=$home/root/usr" "--plugin-dir=$home/root/usr/lib/mysql/plugin" \
  "--lc-messages-dir=$home/root/usr/share/mysql" "--character-sets-dir=$home/root/usr/share/mysql/charsets"
wrap mysql bin/mysql
wrap mysqldump bin/mysqldump
works "$home/bin/mysqld" || { echo "the installed MySQL 9.7 does not run" >&2; exit 1; }
echo "$home/bin/mysqld"
