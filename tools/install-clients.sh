#!/usr/bin/env bash
# Installs the runtimes of the programs in tests/clients from the distribution's packages. Their drivers
# come with them (PHP, Perl, Ruby, C) or, at pinned versions, from the registries of Go, Python, Node and
# Maven when the tests first run. What cannot be had is listed as not run by the tests.
set -uo pipefail
cd "$(dirname "$0")"
. ./install.sh
status=0
want() { # NAME PACKAGE...
  local name=$1
  shift
  apt_install "$@" || { echo "$name could not be installed" >&2; status=1; }
}
want "PHP" php-cli php-mysql
want "Perl's DBI" libdbd-mysql-perl libdbd-mariadb-perl
want "Ruby's mysql2" ruby-mysql2
want "libmariadb and a C compiler" gcc libc6-dev libmariadb-dev pkg-config
command -v go >/dev/null || want "Go" golang-go
command -v npm >/dev/null || want "Node" nodejs npm
command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || want "Python" python3 python3-venv
python3 -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null || want "Python's headers" python3-dev
exit "$status"
