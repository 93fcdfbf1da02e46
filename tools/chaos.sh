#!/usr/bin/env bash
# All of tests/atomicity, on MySQL 9.7 and MariaDB where they are there: chaos.sh [SECONDS [NAME...]]
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install-test.sh || true
servers=$(command -v mariadbd || ls /usr/sbin/mariadbd 2>/dev/null || true)
if mysqld=$(tools/install-mysql97.sh); then servers="$mysqld${servers:+,$servers}"; fi
export SHARDGATE_TEST_MYSQLD=${SHARDGATE_TEST_MYSQLD:-$servers}
export SHARDGATE_CHAOS_SECONDS=${1:-300} SHARDGATE_CHAOS_FULL=1
cargo test --locked --features testkit --test atomicity -- "${@:2}"
