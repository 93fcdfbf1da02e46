#!/usr/bin/env bash
# Installs what the benchmarks use beside the tests' programs: sysbench, HAProxy and strace.
set -euo pipefail
cd "$(dirname "$0")"
. ./install.sh
./install-server.sh
apt_install sysbench haproxy strace
