#!/usr/bin/env bash
# Installs a MySQL-compatible server (Debian's mariadb-server) where the machine has none. The server
# is not started: `shardgate dev` starts its own, on data folders of its own.
set -euo pipefail
cd "$(dirname "$0")"
. ./install.sh
for server in mysqld mariadbd; do
  for folder in ${PATH//:/ } /usr/sbin /usr/local/sbin /usr/local/bin /usr/local/mysql/bin /usr/libexec; do
    [ -x "$folder/$server" ] && exit 0
  done
done
# Ubuntu and Debian both have it; either of the two will do.
apt_install mariadb-server || apt_install mysql-server
