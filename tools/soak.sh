#!/usr/bin/env bash
# Random statements over the gate and one plain server, with new seeds, until it is stopped or something
# differs. SEED is the first seed; FAMILY=mariadb takes MariaDB instead of MySQL 9.7.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install-test.sh
if [ "${FAMILY:-mysql}" = mariadb ]; then
  SHARDGATE_TEST_MYSQLD=$(command -v mariadbd || echo /usr/sbin/mariadbd)
else
  SHARDGATE_TEST_MYSQLD=$(tools/install-mysql97.sh)
fi
export SHARDGATE_TEST_MYSQLD
export SOAK=1 SEED=${SEED:-$(date +%s)}
exec cargo test --locked --test differential -- random
