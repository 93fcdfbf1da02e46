#!/usr/bin/env bash
# The table of benches/gate on standard output; how it goes, on standard error. Uses MySQL 9.7 where it
# can be installed, else the machine's own server. The variables in benches/gate/main.rs change the run.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${BENCH_MYSQLD:-}" ] && mysqld=$(tools/install-mysql97.sh); then
  export BENCH_MYSQLD=$mysqld
fi
exec cargo bench --locked --quiet --bench gate
